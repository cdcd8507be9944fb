//! Accepts connections, within their number, until told to stop.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Shared, handle};
use super::settings::RtmpSettings;
use super::slots::Slots;
use super::transport::PacedTcp;
use crate::gate::PublishGate;

/// After a failed accept, which is mostly a lack of file descriptors that others may free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Between two lines in the log about connections that found no room.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A connection in use.
struct Used {
    publishes: Arc<AtomicBool>,
    /// It has to leave.
    leave: CancellationToken,
}

/// Serves RTMP on `listener` until `shutdown` is cancelled; returns when every connection has ended
/// and every sink is finished.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<dyn PublishGate>,
    settings: RtmpSettings,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Mutex::new(Slots::new(settings.connections_max)));
    let mut crowd = Crowd::default();
    let tasks = TaskTracker::new();
    let shared = Shared { gate, settings, tasks: tasks.clone(), shutdown: shutdown.clone() };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an RTMP connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        prepare(&stream);
        let stream = PacedTcp::new(stream);
        let leave = CancellationToken::new();
        let used = Used { publishes: stream.publishes(), leave: leave.clone() };
        let publishes = |used: &Used| used.publishes.load(Ordering::Relaxed);
        let admitted = lock(&slots).admit(remote.ip(), used, publishes);
        let id = match admitted {
            Ok((id, None)) => id,
            Ok((id, Some(displaced))) => {
                displaced.leave.cancel();
                crowd.note(remote, true);
                id
            }
            Err(_) => {
                crowd.note(remote, false);
                continue;
            }
        };
        let (shared, slots) = (shared.clone(), Arc::clone(&slots));
        tasks.spawn(async move {
            tokio::select! {
                () = handle(stream, remote, shared) => {}
                () = leave.cancelled() => {}
            }
            lock(&slots).leave(id);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

fn lock(slots: &Mutex<Slots<Used>>) -> MutexGuard<'_, Slots<Used>> {
    // Whole after every statement that touches it.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells of connections that found no room, once in a while.
#[derive(Default)]
struct Crowd {
    told: Option<Instant>,
    displaced: usize,
    refused: usize,
}

impl Crowd {
    /// All connections were in use when `remote` came; it has the place of another one, or none.
    fn note(&mut self, remote: SocketAddr, has_place: bool) {
        if has_place {
            self.displaced += 1;
        } else {
            self.refused += 1;
        }
        if self.told.is_some_and(|told| told.elapsed() < TELL_AGAIN) {
            return;
        }
        tracing::warn!(
            %remote, displaced = self.displaced, refused = self.refused,
            "all `rtmp_connections_max` RTMP connections are in use: those that do not publish give way, and if all do, \
             newcomers are refused (so many since this was said last)"
        );
        *self = Crowd { told: Some(Instant::now()), displaced: 0, refused: 0 };
    }
}

/// Answers are small and awaited; a peer that vanished without a word is found by the kernel too.
fn prepare(stream: &TcpStream) {
    let prepared = stream.set_nodelay(true);
    let kept_alive = rustix::net::sockopt::set_socket_keepalive(stream, true);
    if prepared.is_err() || kept_alive.is_err() {
        tracing::debug!("cannot set options of an RTMP socket; its peer is probably gone");
    }
}
