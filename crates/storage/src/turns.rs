//! Appends of many files by few threads.
//!
//! On every beat many feeds have a segment to append: to wake a thread for each of them, and its feed for each that is
//! done, would cost as much as the writing. So a thread does several one after the other, and answers them together.
//! What always holds: who comes waits for appends of others for no more than about [`TURN`], as long as the disk is as
//! fast as it was just now; a slow disk is given all of them at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::StorageError;

/// What a thread does before it answers, in time and in number.
const TURN: Duration = Duration::from_millis(10);
const TOGETHER_MAX: usize = 8;

/// Work that blocks.
type Work = Box<dyn FnOnce() -> Result<(), StorageError> + Send>;

/// See the module.
#[derive(Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Work, oneshot::Sender<Result<(), StorageError>>)>,
    threads: usize,
    /// What one took, lately.
    each: Duration,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Turns")
            .field("waiting", &state.waiting.len())
            .field("threads", &state.threads)
            .finish_non_exhaustive()
    }
}

impl Turns {
    /// Does `work` when its turn has come; also when this future is dropped.
    ///
    /// Errors: those of `work`, and [`StorageError::ShuttingDown`].
    pub(crate) async fn take(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<(), StorageError> + Send + 'static,
    ) -> Result<(), StorageError> {
        let (reply, done) = oneshot::channel();
        let needs_thread = {
            let mut state = self.lock();
            state.waiting.push_back((Box::new(work), reply));
            let needs_thread = state.waiting.len() > state.threads * state.together();
            state.threads += usize::from(needs_thread);
            needs_thread
        };
        if needs_thread {
            let thread = Thread { turns: Arc::clone(self), has_left: false };
            tokio::task::spawn_blocking(move || thread.run());
        }
        done.await.unwrap_or(Err(StorageError::ShuttingDown))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many make a turn.
    fn together(&self) -> usize {
        let fit = TURN.as_nanos() / self.each.as_nanos().max(1);
        usize::try_from(fit).unwrap_or(TOGETHER_MAX).clamp(1, TOGETHER_MAX)
    }
}

/// One that works; counted in [`State::threads`] until it leaves.
struct Thread {
    turns: Arc<Turns>,
    has_left: bool,
}

impl Thread {
    fn run(mut self) {
        while !self.has_left {
            let begun = Instant::now();
            let mut answers = Vec::new();
            while let Some((work, reply)) = self.next(answers.len()) {
                answers.push((reply, work()));
            }
            if let Ok(number) = u32::try_from(answers.len())
                && number > 0
            {
                self.turns.lock().each = begun.elapsed() / number;
            }
            for (reply, answer) in answers {
                // Who asked may have gone.
                let _ = reply.send(answer);
            }
        }
    }

    /// The next of a turn in which so many are `done`. Without any the thread leaves.
    fn next(&mut self, done: usize) -> Option<(Work, oneshot::Sender<Result<(), StorageError>>)> {
        let mut state = self.turns.lock();
        if done >= state.together() {
            return None;
        }
        let next = state.waiting.pop_front();
        if next.is_none() && done == 0 {
            // Under the lock: who comes after this finds one thread less.
            state.threads -= 1;
            self.has_left = true;
        }
        next
    }
}

impl Drop for Thread {
    /// Of one that never ran, as the runtime has ended, or that panicked: nobody may wait for it.
    fn drop(&mut self) {
        if !self.has_left {
            let mut state = self.turns.lock();
            state.threads -= 1;
            if state.threads == 0 {
                state.waiting.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_are_done_and_answered() {
        let (turns, done) = (Arc::new(Turns::default()), Arc::new(AtomicUsize::new(0)));
        let take = |number: usize| {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            async move {
                let work = move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    if number.is_multiple_of(7) { Err(StorageError::ShuttingDown) } else { Ok(()) }
                };
                turns.take(work).await.is_ok()
            }
        };
        for _ in 0..20 {
            let answers = futures::future::join_all((0..100).map(take)).await;
            assert_eq!(answers.iter().filter(|is_ok| **is_ok).count(), 85);
        }
        assert_eq!(done.load(Ordering::Relaxed), 2000);
        assert!(turns.lock().waiting.is_empty());
    }

    #[test]
    fn a_slow_disk_is_given_all_at_once() {
        let each = |millis| State { each: Duration::from_millis(millis), ..State::default() };
        assert_eq!(State::default().together(), TOGETHER_MAX);
        assert_eq!(each(3).together(), 3);
        assert_eq!(each(30).together(), 1);
    }

    #[tokio::test]
    async fn one_that_panics_leaves_nobody_waiting() {
        let turns = Arc::new(Turns::default());
        let (broken, waiting) = futures::join!(turns.take(|| panic!("on purpose")), turns.take(|| Ok(())));
        assert!(matches!(broken, Err(StorageError::ShuttingDown)));
        assert!(matches!(waiting, Ok(()) | Err(StorageError::ShuttingDown)));
        turns.take(|| Ok(())).await.unwrap();
    }
}
