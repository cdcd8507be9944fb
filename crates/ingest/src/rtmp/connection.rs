//! Carries one connection: socket to [`Session`], events to gate and feed, clock to deadlines.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_media::dropped::DropReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use super::RtmpSettings;
use super::feed::Feed;
use super::session::{Session, SessionError, SessionEvent};
use super::transport::Transport;
use crate::gate::{FeedEnded, Protocol, PublishEnd, PublishGate, PublishRefused, PublishRequest, Room};
use crate::target::PublishTarget;

/// How long a peer has to take an error before the connection is closed on it.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Shared {
    /// Decides and takes the media.
    pub gate: Arc<dyn PublishGate>,
    /// The bounds.
    pub settings: RtmpSettings,
    /// Where sinks are finished; wait for it before the process ends.
    pub tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
}

/// Serves one connection until it ends.
pub async fn handle<S: Transport>(stream: S, remote: SocketAddr, shared: Shared) {
    let session = Session::new(&shared.settings, rand::random());
    let start = Instant::now();
    let timer = Timer { at: session.deadline(), sleep: Box::pin(sleep_until(start + session.deadline())) };
    let shutdown = Box::pin(shared.shutdown.clone().cancelled_owned());
    let mut connection =
        Connection { stream, remote, shared, session, start, timer, shutdown, publishing: None };
    let end = connection.run().await;
    connection.close(end).await;
}

struct Connection<S> {
    stream: S,
    remote: SocketAddr,
    shared: Shared,
    session: Session,
    start: Instant,
    timer: Timer,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    publishing: Option<Publishing>,
}

/// Wakes the connection at or before the session's deadline, which moves with every byte: setting it anew each
/// time would cost more than a needless awakening every idle timeout.
struct Timer {
    at: Duration,
    sleep: Pin<Box<Sleep>>,
}

struct Publishing {
    stream_name: String,
    feed: Feed,
}

/// Why a connection is closed.
enum ConnectionEnd {
    Disconnected,
    Broken(io::Error),
    Session(SessionError),
    Refused,
    Stopped(FeedEnded),
    ShuttingDown,
}

impl From<SessionError> for ConnectionEnd {
    fn from(error: SessionError) -> ConnectionEnd {
        ConnectionEnd::Session(error)
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(error: io::Error) -> ConnectionEnd {
        ConnectionEnd::Broken(error)
    }
}

impl<S: Transport> Connection<S> {
    async fn run(&mut self) -> ConnectionEnd {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Reads once and deals with all that follows from it.
    async fn step(&mut self) -> Result<(), ConnectionEnd> {
        let length = self.read().await?;
        self.session.received(length, self.start.elapsed());
        if let Some(publishing) = &mut self.publishing {
            publishing.feed.received(length);
        }
        while let Some(event) = self.session.poll(self.start.elapsed())? {
            self.on_event(event).await?;
            if self.publishing.as_ref().is_some_and(|publishing| publishing.feed.is_full()) {
                self.deliver().await?;
                // There may be thousands more in what was read, and others have their turn.
                tokio::task::consume_budget().await;
            }
        }
        self.deliver().await?;
        self.send_output().await
    }

    /// Hands over what was read, and waits while the feed has no room for more.
    async fn deliver(&mut self) -> Result<(), ConnectionEnd> {
        let Some(publishing) = &mut self.publishing else { return Ok(()) };
        if publishing.feed.deliver().map_err(ConnectionEnd::Stopped)? == Room::Left {
            return Ok(());
        }
        tokio::select! {
            () = publishing.feed.ready() => Ok(()),
            () = &mut self.shutdown => Err(ConnectionEnd::ShuttingDown),
        }
    }

    /// Reads into the session; answers with how many bytes, none when a deadline was not due.
    async fn read(&mut self) -> Result<usize, ConnectionEnd> {
        let deadline = self.session.deadline();
        if deadline < self.timer.at {
            self.timer.set(self.start, deadline);
        }
        // A publisher that has always sent something is still told that the server stops.
        if self.shared.shutdown.is_cancelled() {
            return Err(ConnectionEnd::ShuttingDown);
        }
        let stopped = async {
            match &mut self.publishing {
                Some(publishing) => publishing.feed.stopped().await,
                None => pending().await,
            }
        };
        let input = self.session.input();
        tokio::select! {
            // The clock comes last: after a wait for the disk the publisher has sent, but was not heard.
            biased;
            read = self.stream.read(input) => match read? {
                0 => Err(ConnectionEnd::Disconnected),
                length => Ok(length),
            },
            () = &mut self.shutdown => Err(ConnectionEnd::ShuttingDown),
            ended = stopped => Err(ConnectionEnd::Stopped(ended)),
            () = &mut self.timer.sleep => {
                self.session.check_deadline(self.start.elapsed())?;
                self.timer.set(self.start, self.session.deadline());
                Ok(0)
            }
        }
    }

    async fn on_event(&mut self, event: SessionEvent) -> Result<(), ConnectionEnd> {
        match event {
            SessionEvent::PublishRequested { target, encoder } => self.open(target, encoder).await,
            SessionEvent::Tag { tag_type, timestamp_ms, body } => {
                if let Some(publishing) = &mut self.publishing {
                    publishing.feed.push_tag(tag_type, timestamp_ms, body);
                }
                Ok(())
            }
            SessionEvent::CutOff => {
                if let Some(publishing) = &mut self.publishing {
                    publishing.feed.ignore(DropReason::AggregateCutOff);
                }
                Ok(())
            }
            SessionEvent::Unpublished => {
                self.finish(PublishEnd::Unpublished).await;
                Ok(())
            }
        }
    }

    async fn open(&mut self, target: PublishTarget, encoder: Option<String>) -> Result<(), ConnectionEnd> {
        // The gate may take its time; what was answered so far should not wait for it.
        self.send_output().await?;
        let stream_name = target.stream_name.clone();
        let request = PublishRequest {
            protocol: Protocol::Rtmp,
            target,
            remote: self.remote,
            encoder: encoder.clone(),
        };
        let deadline = self.start + self.session.deadline();
        let decision = tokio::select! {
            decision = self.shared.gate.open(request) => decision,
            () = sleep_until(deadline) => Err(PublishRefused {
                code: "publish_timeout",
                message: "the server took too long to decide; try again".to_owned(),
            }),
            () = self.shared.shutdown.cancelled() => return Err(ConnectionEnd::ShuttingDown),
        };
        match decision {
            Ok(sink) => {
                let feed = Feed::new(sink, self.shared.tasks.clone());
                tracing::info!(remote = %self.remote, stream = %stream_name, encoder, "publish started");
                self.publishing = Some(Publishing { stream_name, feed });
                self.session.grant();
                self.send_output().await?;
                Ok(self.stream.pace()?)
            }
            Err(refused) => {
                tracing::warn!(
                    remote = %self.remote, stream = %stream_name, code = refused.code, reason = %refused.message,
                    "publish refused"
                );
                self.session.refuse(refused.code, &refused.message);
                Err(ConnectionEnd::Refused)
            }
        }
    }

    async fn send_output(&mut self) -> Result<(), ConnectionEnd> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        // A peer that does not read what it is told is as gone as one that does not write.
        match timeout(self.shared.settings.idle_timeout, write_all(&mut self.stream, &output)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(SessionError::IdleTimeout.into()),
        }
    }

    /// Tells the peer and the feed, and lets go of the socket.
    async fn close(mut self, end: ConnectionEnd) {
        self.log_end(&end);
        if let ConnectionEnd::Stopped(ended) = &end {
            self.session.stop(ended.code, &ended.message);
        } else if matches!(end, ConnectionEnd::ShuttingDown) {
            self.session.stop("server_stopping", "the server is stopping; connect again in a moment");
        }
        self.finish(publish_end(end)).await;
        let farewell = self.session.take_output();
        let _ = timeout(FAREWELL_TIMEOUT, say_goodbye(&mut self.stream, &farewell)).await;
    }

    async fn finish(&mut self, end: PublishEnd) {
        if let Some(Publishing { stream_name, feed }) = self.publishing.take() {
            tracing::info!(remote = %self.remote, stream = %stream_name, reason = %end, "publish ended");
            feed.finish(end).await;
        }
    }

    /// Connections that never published; the others are logged where their feed is finished.
    fn log_end(&self, end: &ConnectionEnd) {
        if self.publishing.is_some() {
            return;
        }
        match end {
            ConnectionEnd::Session(error @ SessionError::Target(_)) => {
                tracing::warn!(remote = %self.remote, reason = %error, "publish refused");
            }
            // Mostly scanners, which are no concern of the operator.
            ConnectionEnd::Session(error) => {
                tracing::info!(remote = %self.remote, reason = %error, "connection ended by the server");
            }
            ConnectionEnd::Broken(error) => {
                tracing::debug!(remote = %self.remote, %error, "connection broken")
            }
            _ => tracing::debug!(remote = %self.remote, "connection closed"),
        }
    }
}

impl Timer {
    fn set(&mut self, start: Instant, at: Duration) {
        self.at = at;
        self.sleep.as_mut().reset(start + at);
    }
}

fn publish_end(end: ConnectionEnd) -> PublishEnd {
    match end {
        ConnectionEnd::Session(SessionError::IdleTimeout) => PublishEnd::TimedOut,
        ConnectionEnd::Session(error) => PublishEnd::ProtocolError(error.to_string()),
        ConnectionEnd::Stopped(ended) => PublishEnd::Stopped(ended),
        ConnectionEnd::ShuttingDown => PublishEnd::ShuttingDown,
        ConnectionEnd::Disconnected | ConnectionEnd::Broken(_) | ConnectionEnd::Refused => {
            PublishEnd::Disconnected
        }
    }
}

async fn write_all<S: Transport>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Sends the last bytes and reads until the peer closes: closing a socket with unread bytes resets
/// it, and the peer would lose the explanation that it was just sent.
async fn say_goodbye<S: Transport>(stream: &mut S, farewell: &[u8]) -> io::Result<()> {
    write_all(stream, farewell).await?;
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
