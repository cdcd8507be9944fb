//! What a sender does not decide itself: what time it is, and the dice.
//!
//! The whole of `sender` asks here and nowhere else, and waits with tokio's timers, so that on a paused
//! runtime a [`Clock::simulated`] and [`Dice::seeded`] make every run of it repeatable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use mediahooks_model::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

/// Tells the wall-clock time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Copy, Default)]
enum Source {
    #[default]
    System,
    Simulated {
        epoch: Timestamp,
        since: Instant,
    },
}

impl Clock {
    /// It is `epoch` now, and time passes as tokio's timers say.
    pub fn simulated(epoch: Timestamp) -> Self {
        Self(Source::Simulated { epoch, since: Instant::now() })
    }

    /// The time.
    pub fn now(self) -> Timestamp {
        match self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp::EPOCH.plus(since)
            }
            Source::Simulated { epoch, since } => epoch.plus(since.elapsed()),
        }
    }
}

/// Throws the jitter. Clones share one sequence.
#[derive(Debug, Clone, Default)]
pub struct Dice(Option<Arc<Mutex<StdRng>>>);

impl Dice {
    /// The same sequence for the same `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// The next number, from 0.0 to 1.0.
    pub(crate) fn throw(&self) -> f64 {
        match &self.0 {
            None => rand::random(),
            Some(seeded) => seeded.lock().unwrap_or_else(PoisonError::into_inner).random(),
        }
    }
}
