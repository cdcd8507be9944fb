//! Serves a router on a listener: HTTP/1.1 and HTTP/2, bounded in connections and in the patience
//! with slow clients.

mod idle;
mod peers;
mod stand_in;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::util::{MapFuture, MapRequest};

use crate::events::Stopping;
use idle::{IdleTimeout, OpenBody, Requests};
use peers::Peers;
use stand_in::RangeStream;

pub(crate) use stand_in::StandIns;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Connections at a time of one client address, so that no single client takes all of them. It is
/// high because the clients behind a reverse proxy or a NAT share one address.
const CONNECTIONS_PER_PEER_MAX: usize = 512;

/// How long a connection may go without a whole head of a request, and a request without a byte in either direction.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what waits for it. TCP shows what it takes a window at a time, so the slowest
/// pace is a kilobyte a second on the same machine, whose segments have 64 KiB, and some 25 bytes a second elsewhere.
const TAKE_NOTHING_MAX: Duration = Duration::from_secs(60);

/// How long running requests may take after a shutdown began.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Bytes of the head of one request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;

/// Serves until `shutdown`, then takes no new connections and lets running requests finish for 10 s.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_while_taken(listener, router, shutdown, TAKE_NOTHING_MAX).await;
}

/// `patience`: with clients that take nothing.
async fn serve_while_taken(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    patience: Duration,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let peers = Peers::new(CONNECTIONS_PER_PEER_MAX);
    let graceful = GracefulShutdown::new();
    let router = router.layer(Extension(Stopping(shutdown.clone())));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let Some(place) = peers.admit(peer.ip()) else {
                    tracing::debug!(%peer, max = CONNECTIONS_PER_PEER_MAX, "refused one more connection of a client");
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    // Replies are written whole; waiting for more to send only delays them.
                    tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
                }
                let stand_ins = StandIns::default();
                let stream = RangeStream::new(stream, stand_ins.clone(), shutdown.clone(), patience);
                let connection = connection(stream, stand_ins, peer, router.clone(), graceful.watcher());
                connections.spawn(async move {
                    connection.await;
                    drop((place, permit));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "HTTP requests were still running at shutdown and are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

fn builder() -> auto::Builder<TokioExecutor> {
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
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

async fn connection(
    stream: RangeStream,
    stand_ins: StandIns,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let requests = Arc::new(Requests::default());
    let io = TokioIo::new(IdleTimeout::new(stream, IDLE_TIME_MAX, Arc::clone(&requests)));
    let router = MapRequest::new(router, move |mut request: Request<Incoming>| {
        if request.version() < Version::HTTP_2 {
            stand_ins.next_request();
            request.extensions_mut().insert(stand_ins.clone());
        }
        request
    });
    let service = TowerToHyperService::new(MapFuture::new(router, move |reply: RouteFuture<Infallible>| {
        let open = requests.open();
        async move {
            let response = reply.await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(OpenBody::new(body, open))))
        }
    }));
    let builder = builder();
    let served = watcher.watch(builder.serve_connection(io, service).into_owned()).await;
    if let Err(error) = served {
        tracing::debug!(%peer, error = chain(&*error), "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// The kernel cuts it off, by its own clock.
    #[tokio::test]
    async fn a_client_that_takes_nothing_is_let_go() {
        let gone = CancellationToken::new();
        let guard = std::sync::Mutex::new(Some(gone.clone().drop_guard()));
        let endless = Arc::new(move || {
            let guard = guard.lock().unwrap().take();
            let parts = std::iter::repeat_with(move || {
                let _ = &guard;
                Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 64 << 10]))
            });
            Body::from_stream(futures::stream::iter(parts))
        });
        let router = Router::new().route("/", get(move || std::future::ready(endless())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let shutdown = CancellationToken::new();
        let patience = Duration::from_millis(300);
        let serving = tokio::spawn(serve_while_taken(listener, router, shutdown.clone(), patience));
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::timeout(IDLE_TIME_MAX / 2, gone.cancelled()).await.expect("it is held");
        shutdown.cancel();
        serving.await.unwrap();
    }
}
