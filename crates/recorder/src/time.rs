//! Where the recorder's time comes from.
//!
//! What always holds: within a feed, arrivals are stamped with a clock that never goes back, except
//! where somebody set the wall clock; then the feed is told by how much.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mediahooks_model::Timestamp;

/// A source of time. [`SystemClock`] is the real one; tests bring their own.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock, which may be set at any time.
    fn wall(&self) -> Timestamp;

    /// Time since some moment, which passes steadily whatever is done to the wall clock.
    fn steady(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }

    fn steady(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A wall clock that differs from a feed's by this much was set, in microseconds.
const STEP_US: i64 = 1_000_000;

/// How fast a feed's clock follows smaller differences, in microseconds per second: as fast as
/// `timeline::clock` follows an encoder.
const SLEW_US_PER_S: i64 = 1000;

/// The clock of one feed: set to the wall clock at its start and steady from there on, so that the
/// wall clock cannot tear the feed's media apart.
#[derive(Debug, Clone)]
pub(crate) struct FeedClock {
    clock: Arc<dyn Clock>,
    started: Timestamp,
    since: Duration,
    /// What the wall clock was changed by since then.
    shift_us: i64,
    followed: Duration,
}

impl FeedClock {
    /// Starts now.
    pub(crate) fn start(clock: &Arc<dyn Clock>) -> Self {
        let since = clock.steady();
        Self { started: clock.wall(), clock: Arc::clone(clock), since, shift_us: 0, followed: since }
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.at(self.clock.steady())
    }

    fn at(&self, steady: Duration) -> Timestamp {
        self.started.plus(steady.saturating_sub(self.since)).plus_micros(self.shift_us)
    }

    /// Follows the wall clock. Returns by how many microseconds that was set, if it was: what
    /// [`FeedClock::step`] has to be told wherever else this feed's clock is kept.
    pub(crate) fn follow(&mut self) -> Option<i64> {
        let steady = self.clock.steady();
        let ahead_us = self.clock.wall().micros_since(self.at(steady));
        if ahead_us.abs() >= STEP_US {
            self.step(ahead_us);
            return Some(ahead_us);
        }
        let passed = steady.saturating_sub(self.followed);
        let reach =
            i64::try_from(passed.as_micros()).unwrap_or(i64::MAX).saturating_mul(SLEW_US_PER_S) / 1_000_000;
        if reach > 0 {
            self.followed = steady;
            self.shift_us = self.shift_us.saturating_add(ahead_us.clamp(-reach, reach));
        }
        None
    }

    /// Moves it by `us`.
    pub(crate) fn step(&mut self, us: i64) {
        self.shift_us = self.shift_us.saturating_add(us);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that shows what it is told to.
    #[derive(Debug, Default)]
    struct Told(Mutex<(i64, u64)>);

    impl Told {
        fn pass(&self, ms: u64, wall_ms: i64) {
            let mut told = self.0.lock().unwrap();
            *told = (told.0 + wall_ms, told.1 + ms);
        }
    }

    impl Clock for Told {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().0)
        }

        fn steady(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_once_and_a_small_error_is_followed_slowly() {
        let told = Arc::new(Told::default());
        let clock: Arc<dyn Clock> = told.clone();
        let mut feed = FeedClock::start(&clock);
        told.pass(1000, 1000 - 3_600_000);
        assert_eq!(feed.follow(), Some(-3_600_000_000));
        assert_eq!(feed.follow(), None);
        assert_eq!(feed.now(), clock.wall());
        told.pass(1000, 1300);
        assert_eq!(feed.follow(), None);
        assert_eq!(clock.wall().micros_since(feed.now()), 299_000);
        for _ in 0..300 {
            told.pass(1000, 1000);
            assert_eq!(feed.follow(), None);
        }
        assert_eq!(feed.now(), clock.wall());
    }
}
