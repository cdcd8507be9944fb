//! The map from media clock to wall clock.
//!
//! A sample cannot arrive before it was captured, so the smallest difference seen between arrival
//! and timestamp is the best estimate of where the encoder's clock stands; every larger one is
//! delay on the way. The map follows larger ones slowly, as a drift of the encoder's clock, so that a clip cut by
//! wall clock never sees time jump by a frame. Smaller ones it follows soon: they show that it was wrong, which
//! [`crate::hindsight`] tells of what came before.

use mediahooks_model::Timestamp;

/// How fast the map may follow the encoder's clock, in microseconds per second of media: ten times
/// the drift of a poor quartz, and a thirtieth of a frame per second.
const SLEW_US_PER_S: i64 = 1000;

/// How fast it may follow samples that arrive before what it takes for their capture, likewise: what was captured later
/// stays later.
const CORRECTION_US_PER_S: i64 = 500_000;

/// By how much it is corrected from one segment to the next at most, in microseconds: by more, it would look like a clock
/// that was set ([`crate::plan::set_back_us`]).
const CORRECTION_MOST_US: i64 = 400_000;

/// How many segments in a row have to show a smaller difference: a single stray timestamp does not.
const WITNESSES: usize = 2;

/// How many segments an estimate looks back over: a delay shorter than these does not move the map.
const WINDOW: usize = 16;

/// By how much the map may follow the encoder's clock within so much media; both in microseconds.
pub(crate) fn slew_us(media_us: i64) -> i64 {
    reach_us(media_us, SLEW_US_PER_S)
}

fn reach_us(media_us: i64, us_per_s: i64) -> i64 {
    media_us.max(0).saturating_mul(us_per_s) / 1_000_000
}

/// The wall clock of one run.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    offset_us: Option<i64>,
    smallest_in_segment: Option<i64>,
    /// Length of the segment before, in microseconds of media.
    before_us: i64,
    recent: std::collections::VecDeque<i64>,
}

impl WallClock {
    /// Notes that a sample with presentation time `media_us` arrived at `arrival`.
    pub fn observe(&mut self, media_us: i64, arrival: Timestamp) {
        let seen = arrival.as_micros().saturating_sub(media_us);
        self.smallest_in_segment = Some(self.smallest_in_segment.map_or(seen, |least| least.min(seen)));
    }

    /// The difference, wall clock minus media clock, as it is known by now.
    pub fn current(&self) -> Option<i64> {
        self.offset_us.or(self.smallest_in_segment)
    }

    /// Whether no difference was told yet.
    pub fn is_unset(&self) -> bool {
        self.offset_us.is_none()
    }

    /// Takes note that the wall clock was set by `by_us`, between two segments.
    pub fn set(&mut self, by_us: i64) {
        let set = |offset: &mut i64| *offset = offset.saturating_add(by_us);
        self.offset_us.iter_mut().for_each(set);
        self.recent.iter_mut().for_each(set);
    }

    /// Ends a segment that holds `media_us` of media, or several at once of which that is the last one, and tells the
    /// difference, wall clock minus media clock, that holds for all of it.
    pub fn close_segment(&mut self, media_us: i64) -> i64 {
        if let Some(seen) = self.smallest_in_segment.take() {
            self.recent.push_back(seen);
            if self.recent.len() > WINDOW {
                self.recent.pop_front();
            }
        }
        let estimate = self.recent.iter().copied().min();
        let before_us = std::mem::replace(&mut self.before_us, media_us);
        let offset = match (self.offset_us, estimate) {
            (None, estimate) => estimate.unwrap_or_default(),
            (Some(offset), None) => offset,
            (Some(offset), Some(estimate)) => {
                let slew = slew_us(media_us);
                // Of the shorter one: the segment begins after the one before, and ends after it.
                let correction =
                    reach_us(media_us.min(before_us), CORRECTION_US_PER_S).min(CORRECTION_MOST_US);
                let offset =
                    self.proven_us().map_or(offset, |proven| offset.min(proven.max(offset - correction)));
                offset + (estimate - offset).clamp(-slew, slew)
            }
        };
        self.offset_us = Some(offset);
        offset
    }

    /// A difference that is certainly not too small: each of the latest segments has seen one like it, or a smaller one.
    fn proven_us(&self) -> Option<i64> {
        let latest = self.recent.iter().rev().take(WITNESSES);
        latest.copied().max().filter(|_| self.recent.len() >= WITNESSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    /// Feeds one segment of 1 s at 25 fps whose samples arrive `delay_us` after their capture.
    fn segment(
        clock: &mut WallClock,
        number: i64,
        capture_zero_us: i64,
        drift_ppm: i64,
        delay_us: i64,
    ) -> i64 {
        for frame in 0..25 {
            let media = number * SECOND + frame * 40_000;
            let captured = capture_zero_us + media + media / SECOND * drift_ppm;
            clock.observe(media, at(captured + delay_us));
        }
        clock.close_segment(SECOND)
    }

    #[test]
    fn delay_on_the_way_does_not_move_the_map() {
        let mut clock = WallClock::default();
        let first = segment(&mut clock, 0, 5 * SECOND, 0, 2000);
        for number in 1..10 {
            assert_eq!(segment(&mut clock, number, 5 * SECOND, 0, 900_000), first);
        }
    }

    #[test]
    fn a_drifting_encoder_is_followed_to_within_a_few_milliseconds() {
        for drift_ppm in [-200, 200] {
            let mut clock = WallClock::default();
            let mut offset = 0;
            for number in 0..3600 {
                offset = segment(&mut clock, number, 0, drift_ppm, 0);
            }
            assert!((offset - 3600 * drift_ppm).abs() < 20_000, "{offset} after an hour at {drift_ppm} ppm");
        }
    }

    #[test]
    fn a_wall_clock_that_was_set_is_followed_at_once_and_exactly() {
        for step_us in [-3600 * SECOND, 3600 * SECOND] {
            let mut clock = WallClock::default();
            let before = segment(&mut clock, 0, 5 * SECOND, 0, 2000);
            clock.set(step_us);
            assert_eq!(clock.current(), Some(before + step_us));
            assert_eq!(segment(&mut clock, 1, 5 * SECOND + step_us, 0, 2000), before + step_us);
        }
    }

    #[test]
    fn delay_that_comes_and_stays_moves_the_map_slowly() {
        let mut clock = WallClock::default();
        let mut last = segment(&mut clock, 0, 0, 0, 0);
        for number in 1..200 {
            let offset = segment(&mut clock, number, 0, 0, 80_000);
            assert!((0..=1000).contains(&(offset - last)), "{offset} after {last}");
            last = offset;
        }
        assert_eq!(last, 80_000);
    }

    #[test]
    fn samples_that_arrive_before_their_capture_correct_the_map_soon_and_never_by_more_than_half() {
        let mut clock = WallClock::default();
        let mut last = segment(&mut clock, 0, 0, 0, 4 * SECOND);
        for number in 1..14 {
            let offset = segment(&mut clock, number, 0, 0, 0);
            assert!((0..=SECOND / 2).contains(&(last - offset)), "{offset} after {last}");
            last = offset;
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn a_correction_puts_no_segment_before_the_one_before_it() {
        let mut clock = WallClock::default();
        let (mut media_us, mut last) = (0, (i64::MIN, i64::MIN));
        for length_us in [700_000, 700_000, 100_000, SECOND, 40_000, 2 * SECOND, 700_000] {
            let delay_us = if media_us == 0 { 4 * SECOND } else { 0 };
            clock.observe(media_us, at(media_us + delay_us));
            let start = media_us + clock.close_segment(length_us);
            media_us += length_us;
            let end = start + length_us;
            assert!(start > last.0 && end > last.1, "{start} to {end} after {last:?}");
            last = (start, end);
        }
    }

    #[test]
    fn a_single_stray_timestamp_does_not_move_the_map() {
        let mut clock = WallClock::default();
        segment(&mut clock, 0, 0, 0, 0);
        clock.observe(9 * SECOND, at(SECOND));
        for number in 1..10 {
            let offset = segment(&mut clock, number, 0, 0, 0);
            assert!(offset.abs() <= 1000 * number, "{offset} at {number}");
        }
    }
}
