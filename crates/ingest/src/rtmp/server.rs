//! Accepts connections, within their number, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Shared, handle};
use super::settings::RtmpSettings;
use super::transport::PacedTcp;
use crate::gate::PublishGate;

/// After a failed accept, which is mostly a lack of file descriptors that others may free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves RTMP on `listener` until `shutdown` is cancelled; returns when every connection has ended
/// and every sink is finished.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<dyn PublishGate>,
    settings: RtmpSettings,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
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
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%remote, "connection refused: `connections_max` RTMP connections are open");
            continue;
        };
        prepare(&stream);
        let shared = shared.clone();
        tasks.spawn(async move {
            handle(PacedTcp::new(stream), remote, shared).await;
            drop(slot);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Answers are small and awaited; a peer that vanished without a word is found by the kernel too.
fn prepare(stream: &TcpStream) {
    let prepared = stream.set_nodelay(true);
    let kept_alive = rustix::net::sockopt::set_socket_keepalive(stream, true);
    if prepared.is_err() || kept_alive.is_err() {
        tracing::debug!("cannot set options of an RTMP socket; its peer is probably gone");
    }
}
