//! What one connection does: counted where requests come, bodies are read and bytes leave; asked by [`super::idle`], and
//! by [`super::places`] when places run out.
//!
//! What always holds: only what costs the client something moves a connection on. The PINGs and single bytes
//! of HTTP/2 do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::places::Standing;
use super::stand_in::StandIns;

/// So many bytes that left count as something that moved on. A client that takes them in a minute takes a kilobyte a
/// second.
const STEP_BYTES: u64 = 64 << 10;

/// What one connection does. Times are of its runtime's clock.
pub(crate) struct Activity {
    /// When it was accepted.
    began: Instant,
    /// Milliseconds from then until something moved on last.
    moved_ms: AtomicU64,
    requests_begun: AtomicUsize,
    requests_ended: AtomicUsize,
    /// Replies of which we have not got the next bytes ourselves.
    waiting_for_us: AtomicUsize,
    /// Bytes that left.
    written: AtomicU64,
    /// The last write has to wait for room.
    is_blocked: AtomicBool,
    stand_ins: StandIns,
    leave: CancellationToken,
    cut_off: AtomicBool,
}

impl Activity {
    /// Of a connection that was just accepted, and sends what is made with `stand_ins`.
    pub(crate) fn new(stand_ins: StandIns) -> Self {
        Self {
            began: Instant::now(),
            moved_ms: AtomicU64::new(0),
            requests_begun: AtomicUsize::new(0),
            requests_ended: AtomicUsize::new(0),
            waiting_for_us: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            stand_ins,
            leave: CancellationToken::new(),
            cut_off: AtomicBool::new(false),
        }
    }

    /// The stand-ins that the connection sends.
    pub(crate) fn stand_ins(&self) -> &StandIns {
        &self.stand_ins
    }

    /// Counts one more request in flight.
    pub(crate) fn open(self: &Arc<Self>) -> OpenRequest {
        self.requests_begun.fetch_add(1, Relaxed);
        self.moved_on();
        OpenRequest(Arc::clone(self))
    }

    /// How many requests began and how many ended.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (self.requests_begun.load(Relaxed), self.requests_ended.load(Relaxed))
    }

    /// Counts bytes that left, and takes note of whether more have to wait for room.
    pub(crate) fn wrote(&self, bytes: usize, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Relaxed);
        let before = self.written.fetch_add(bytes as u64, Relaxed);
        if before / STEP_BYTES != (before + bytes as u64) / STEP_BYTES {
            self.moved_on();
        }
    }

    fn moved_on(&self) {
        self.moved_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    /// What it uses its place for.
    pub(crate) fn standing(&self) -> Standing {
        let since = self.began.elapsed().saturating_sub(Duration::from_millis(self.moved_ms.load(Relaxed)));
        let (begun, ended) = self.requests();
        if begun == ended && !self.stand_ins.holds() {
            Standing::Idle(since)
        } else if self.waiting_for_us.load(Relaxed) > 0 && !self.is_blocked.load(Relaxed) {
            Standing::Served
        } else {
            Standing::Awaited(since)
        }
    }

    /// Has the connection end: one that was `idle` so that what is still under way arrives.
    pub(crate) fn give_up(&self, idle: bool) {
        self.cut_off.store(!idle, Relaxed);
        self.leave.cancel();
    }

    /// Resolves when it has to end.
    pub(crate) async fn given_up(&self) {
        self.leave.cancelled().await;
    }

    /// Whether it is to end without what is still under way: the kernel would keep that, megabytes, for a client that does
    /// not take it.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Relaxed)
    }
}

/// One request in flight, until dropped.
pub(crate) struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.requests_ended.fetch_add(1, Relaxed);
        self.0.moved_on();
    }
}

impl OpenRequest {
    /// The reply's next bytes are awaited from us, until dropped.
    pub(crate) fn wait_for_us(&self) -> WaitingForUs {
        self.0.waiting_for_us.fetch_add(1, Relaxed);
        WaitingForUs(Arc::clone(&self.0))
    }
}

/// A reply whose next bytes we have not got yet.
pub(crate) struct WaitingForUs(Arc<Activity>);

impl Drop for WaitingForUs {
    fn drop(&mut self) {
        self.0.waiting_for_us.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_change_moves_nothing_on() {
        let activity = Arc::new(Activity::new(StandIns::default()));
        let pass = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        pass(3).await;
        assert_eq!(activity.standing(), Standing::Idle(Duration::from_secs(3)));
        let request = activity.open();
        assert_eq!(activity.standing(), Standing::Awaited(Duration::ZERO));
        for _ in 0..100 {
            pass(1).await;
            activity.wrote(17, false);
        }
        assert_eq!(activity.standing(), Standing::Awaited(Duration::from_secs(100)));
        activity.wrote(STEP_BYTES as usize, true);
        assert_eq!(activity.standing(), Standing::Awaited(Duration::ZERO));
        let waiting = request.wait_for_us();
        assert_eq!(activity.standing(), Standing::Awaited(Duration::ZERO), "what there was is not taken");
        pass(60).await;
        activity.wrote(1, false);
        assert_eq!(activity.standing(), Standing::Served);
        drop(waiting);
        assert_eq!(activity.standing(), Standing::Awaited(Duration::from_secs(60)));
        drop(request);
        assert_eq!(activity.standing(), Standing::Idle(Duration::ZERO));
    }
}
