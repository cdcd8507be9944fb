//! What the writer takes from its queue for one transaction, and how many who can wait come.

use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::Message;
use super::job::Job;
use crate::error::Result;

/// Operations of one transaction at most, so that the first one does not wait for a whole queue.
pub(super) const BATCH_MAX: usize = 256;

/// With fewer patient operations per second nobody waits: not enough would come to make a difference.
const PATIENT_MIN: f64 = 80.0;

/// What the writer thread takes from its queue.
pub(super) struct Inbox {
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) batch: Vec<Box<dyn Job>>,
    pub(super) closing: Vec<oneshot::Sender<Result<()>>>,
}

impl Inbox {
    /// Takes a message in; tells whether it can wait.
    pub(super) fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Work(job) => self.batch.push(job),
            Message::PatientWork(job) => {
                self.batch.push(job);
                return true;
            }
            Message::Close(reply) => {
                // Senders fail from here on; what is queued already is still carried out.
                self.queue.close();
                self.closing.push(reply);
            }
        }
        false
    }

    /// Takes in what has queued up, as far as there is room; tells whether all of it can wait.
    pub(super) fn take_waiting(&mut self) -> bool {
        let mut can_wait = true;
        while self.has_room()
            && let Ok(message) = self.queue.try_recv()
        {
            can_wait &= self.take(message);
        }
        can_wait
    }

    pub(super) fn has_room(&self) -> bool {
        self.batch.len() < BATCH_MAX
    }
}

/// How many patient operations come.
#[derive(Debug, Default)]
pub(crate) struct PatientRate {
    since: Option<Instant>,
    counted: usize,
    per_second: f64,
}

impl PatientRate {
    /// As if just enough came.
    #[cfg(test)]
    pub(super) fn high() -> Self {
        Self { per_second: PATIENT_MIN, ..Self::default() }
    }

    pub(super) fn is_high(&self) -> bool {
        self.per_second >= PATIENT_MIN
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// So many more came. Each second is told from the one before.
    pub(super) fn note(&mut self, count: usize, now: Instant) {
        self.counted += count;
        let elapsed = now.duration_since(*self.since.get_or_insert(now)).as_secs_f64();
        if elapsed >= 1.0 {
            self.per_second = self.counted as f64 / elapsed;
            (self.since, self.counted) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_second_tells_how_many_come_in_the_next() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut rate = PatientRate::default();
        for ms in 0..1000 {
            rate.note(1, at(ms));
        }
        assert!(!rate.is_high());
        rate.note(1, at(1000));
        assert!(rate.is_high());
        rate.note(10, at(1500));
        rate.note(10, at(2000));
        assert!(!rate.is_high());
    }
}
