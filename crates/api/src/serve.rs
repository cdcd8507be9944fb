//! Serves a router on a listener: HTTP/1.1 and HTTP/2, bounded in connections and in the patience
//! with slow clients.
//!
//! Whoever connects gets one of a number of places. When none is left, [`places`] decides who gives way, and who may
//! not have another one's place waits for a while ([`waiting`]).

mod activity;
mod episode;
mod idle;
mod places;
mod stand_in;
mod waiting;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::routing::future::RouteFuture;
use axum::{Extension, Router};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use mediahooks_model::chain;
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::util::{MapFuture, MapRequest};

use crate::events::Stopping;
use crate::telemetry::{CONNECTIONS, CUT, REFUSED};
use activity::Activity;
use episode::{Episode, Summary};
use idle::{IdleTimeout, OpenBody};
use places::{Displaced, PlaceId, Places, Standing, network};
use stand_in::RangeStream;
use waiting::{Waiter, Waiting};

pub(crate) use stand_in::StandIns;

/// How many connections are served at a time, and how many of one client address, so that no single client takes all
/// places. That is many because the clients behind a reverse proxy or a NAT share one address.
const PLACES: (usize, usize) = (1024, 512);

/// Who comes when more than this part of the places is taken is one of a crowd: a thousand clients that take nothing are not
/// to hold what all others have to work with.
const CROWD_PART: usize = 16;

/// What the kernel may take for each of a crowd, beside what is on its way. It is 2 to 4 MB for others, at the best speed;
/// for all places that would be all that it has for the TCP of the whole machine, publishers included.
const UNSENT_BYTES_IN_A_CROWD: u32 = 256 << 10;

/// How long a newcomer waits for a place.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often is looked whether somebody has to give way by now.
const LOOK: Duration = Duration::from_secs(1);

/// How long a connection may go without a whole head of a request, and a request without a byte in either direction.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what waits for it. TCP shows what it takes a window at a time, so the slowest
/// pace is a kilobyte a second on the same machine, whose segments have 64 KiB, and some 25 bytes a second elsewhere.
const TAKE_NOTHING_MAX: Duration = Duration::from_secs(60);

/// How long running requests may take after a shutdown began: a second less than all of a stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(9);

/// Pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Bytes of the head of one request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Requests at a time on one HTTP/2 connection. Each that is not taken holds up to 32 KiB.
const STREAMS_MAX: u32 = 100;

/// The same on each connection of a crowd.
const STREAMS_IN_A_CROWD: u32 = 16;

/// Serves until `shutdown`, then takes no new connections and lets running requests finish for 9 s.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    Server::new(router, shutdown, TAKE_NOTHING_MAX, PLACES).run(listener).await;
}

struct Server {
    router: Router,
    shutdown: CancellationToken,
    /// With clients that take nothing.
    patience: Duration,
    places: Arc<Mutex<Places<Arc<Activity>>>>,
    /// More connections than these are one.
    crowd: usize,
    waiting: Waiting<TcpStream>,
    episode: Episode,
    graceful: GracefulShutdown,
    connections: JoinSet<()>,
}

impl Server {
    /// `places`: in all, and for one address.
    fn new(
        router: Router,
        shutdown: CancellationToken,
        patience: Duration,
        (places, per_address): (usize, usize),
    ) -> Self {
        Self {
            router: router.layer(Extension(Stopping(shutdown.clone()))),
            shutdown,
            patience,
            places: Arc::new(Mutex::new(Places::new(places, per_address))),
            crowd: places / CROWD_PART,
            waiting: Waiting::new(),
            episode: Episode::default(),
            graceful: GracefulShutdown::new(),
            connections: JoinSet::new(),
        }
    }

    async fn run(mut self, listener: TcpListener) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_to_look = !self.waiting.is_empty() || self.episode.is_open();
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.welcome(stream, peer.ip()),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an HTTP connection; trying again");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.connections.join_next() => self.offer_places(),
                _ = looks.tick(), if has_to_look => self.look(),
            }
        }
        self.stop(listener).await;
    }

    /// Serves a newcomer, or lets it wait.
    fn welcome(&mut self, stream: TcpStream, address: IpAddr) {
        let newcomer = Waiter { address, until: Instant::now() + WAIT_MAX, newcomer: stream };
        if let Err(newcomer) = self.admit(newcomer)
            && let Err(newcomer) = self.waiting.add(newcomer)
        {
            self.refuse(newcomer);
        }
    }

    /// Serves a newcomer, or gives it back when nobody gives way to it.
    fn admit(&mut self, newcomer: Waiter<TcpStream>) -> Result<(), Waiter<TcpStream>> {
        let activity = Arc::new(Activity::new(StandIns::default()));
        let mut places = lock(&self.places);
        let Ok(admitted) = places.admit(newcomer.address, Arc::clone(&activity), |other| other.standing())
        else {
            return Err(newcomer);
        };
        let open = places.len();
        drop(places);
        gauge!(CONNECTIONS).set(open as f64);
        if let Some(displaced) = admitted.instead_of {
            self.displace(&displaced);
        }
        let place = Place { places: Arc::clone(&self.places), id: admitted.place };
        let Waiter { address, newcomer: stream, .. } = newcomer;
        if let Err(error) = stream.set_nodelay(true) {
            // Replies are written whole; waiting for more to send only delays them.
            tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
        }
        let in_a_crowd = open > self.crowd;
        let unsent_max = in_a_crowd.then_some(UNSENT_BYTES_IN_A_CROWD);
        let streams_max = if in_a_crowd { STREAMS_IN_A_CROWD } else { STREAMS_MAX };
        let stopping = self.shutdown.clone();
        let stream = RangeStream::new(stream, Arc::clone(&activity), stopping, self.patience, unsent_max);
        let served = connection(
            stream,
            Arc::clone(&activity),
            address,
            streams_max,
            self.router.clone(),
            self.graceful.watcher(),
        );
        self.connections.spawn(async move {
            tokio::select! {
                () = served => {}
                () = activity.given_up() => {}
            }
            drop(place);
        });
        Ok(())
    }

    fn displace(&mut self, displaced: &Displaced<Arc<Activity>>) {
        let Displaced { holder, standing, address, held } = displaced;
        holder.give_up(matches!(standing, Standing::Idle(_)));
        counter!(CUT, "standing" => standing.name()).increment(1);
        tracing::debug!(%address, held, ?standing, "an HTTP connection gave its place up");
        // Idle connections are ended all the time, and nobody loses anything.
        if !matches!(standing, Standing::Idle(_)) && self.episode.cut(*address, Instant::now()) {
            tracing::warn!(
                %address, held,
                "all HTTP connections are in use: those of the addresses that hold most, and take least, give way"
            );
        }
    }

    fn refuse(&mut self, newcomer: Waiter<TcpStream>) {
        counter!(REFUSED).increment(1);
        let address = network(newcomer.address);
        if self.episode.refused(address, Instant::now()) {
            let held = lock(&self.places).held_by(address);
            tracing::warn!(%address, held, "all HTTP connections are in use: more are refused");
        }
    }

    /// Somebody may have left.
    fn offer_places(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::replace(&mut self.waiting, Waiting::new());
        let places = Arc::clone(&self.places);
        waiting.offer(|address| lock(&places).held_by(address), |newcomer| self.admit(newcomer));
        self.waiting = waiting;
    }

    /// Time has passed.
    fn look(&mut self) {
        self.offer_places();
        for newcomer in self.waiting.expired(Instant::now()) {
            self.refuse(newcomer);
        }
        if let Some(summary) = self.episode.over(Instant::now()) {
            tell(&summary);
        }
    }

    async fn stop(mut self, listener: TcpListener) {
        drop(listener);
        drop(self.waiting);
        if let Some(summary) = self.episode.end() {
            tell(&summary);
        }
        if tokio::time::timeout(DRAIN_TIME_MAX, self.graceful.shutdown()).await.is_err() {
            let open = self.connections.len();
            tracing::warn!(open, "HTTP requests were still running at shutdown and are cut");
        }
    }
}

fn tell(summary: &Summary) {
    let Summary { lasted, cut, refused, addresses } = summary;
    tracing::warn!(
        lasted_s = lasted.as_secs(), cut, refused, %addresses,
        "HTTP connections had run out: so many were cut or refused, of these addresses"
    );
}

/// A place that is held, until dropped.
struct Place {
    places: Arc<Mutex<Places<Arc<Activity>>>>,
    id: PlaceId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        places.leave(self.id);
        gauge!(CONNECTIONS).set(places.len() as f64);
    }
}

fn lock(places: &Mutex<Places<Arc<Activity>>>) -> MutexGuard<'_, Places<Arc<Activity>>> {
    // Whole after every statement that touches it.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(streams_max: u32) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Stand-ins for stored bytes are to reach the socket as they are.
        .writev(true)
        .timer(TokioTimer::new())
        // Idle connections are ended by [`IdleTimeout`], in a way that lets a slow client fetch what it has not yet.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

async fn connection(
    stream: RangeStream,
    activity: Arc<Activity>,
    address: IpAddr,
    streams_max: u32,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let io = TokioIo::new(IdleTimeout::new(stream, IDLE_TIME_MAX, Arc::clone(&activity)));
    let stand_ins = activity.stand_ins().clone();
    let router = MapRequest::new(router, move |mut request: Request<Incoming>| {
        if request.version() < Version::HTTP_2 {
            stand_ins.next_request();
            request.extensions_mut().insert(stand_ins.clone());
        }
        request
    });
    let service = TowerToHyperService::new(MapFuture::new(router, move |reply: RouteFuture<Infallible>| {
        let open = activity.open();
        async move {
            let response = reply.await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(OpenBody::new(body, open))))
        }
    }));
    let builder = builder(streams_max);
    let served = watcher.watch(builder.serve_connection(io, service).into_owned()).await;
    if let Err(error) = served {
        tracing::debug!(%address, error = chain(&*error), "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests;
