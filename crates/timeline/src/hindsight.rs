//! What later segments tell of the times of earlier ones.
//!
//! The map between the clocks ([`crate::clock`]) is never too early, for nothing arrives before it was captured. Where it
//! turns out lower, what came before was late, too: a publisher had sent what it had kept back, or was slow to begin. Who
//! reads segments that are stored knows that. What always holds: no time becomes later; the corrected map falls by no more
//! from one segment to the next than an encoder's clock can drift, so that a second of wall clock is a second of media.

use crate::clock;
use crate::plan::{self, Span};

/// How far behind what is read, in microseconds, segments are looked at for what they tell of it. What shows later is of
/// little weight: it may be drift.
pub const REACH_US: i64 = 300_000_000;

/// Between two segments nothing was captured for so long, in microseconds, or the encoder's clock leaped: what is behind
/// that tells nothing of what is before it, unless it shows more.
const LEAP_US: i64 = 100_000;

/// A run that seems to end so long after the next one began, in microseconds, ended before the clock was set.
const OVERLAP_MAX_US: i64 = 60_000_000;

/// Corrects the times of the segments of a timeline, from the latest one to the earliest.
#[derive(Debug, Clone, Default)]
pub struct Hindsight {
    /// The segment behind, as it is stored, and by how much it is late.
    after: Option<(Span, i64)>,
}

impl Hindsight {
    /// By how much the times of the next earlier segment are too late, in microseconds; not negative.
    pub fn late_us(&mut self, span: &Span) -> i64 {
        let late_us = self.after.map_or(0, |(after, late_us)| {
            let follows = span.sequence.checked_add(1) == Some(after.sequence);
            if after.run == span.run {
                fell_us(span, &after, follows).saturating_add(late_us)
            } else if follows {
                overlap_us(span, &after, late_us)
            } else {
                0
            }
        });
        let late_us = late_us.max(0);
        self.after = Some((*span, late_us));
        late_us
    }
}

/// By how much the map fell between two segments of a run, more than a clock can drift and a leap explains.
fn fell_us(span: &Span, after: &Span, follows: bool) -> i64 {
    let is_set = plan::is_clock_set(span.wall_offset_us, after.wall_offset_us);
    let fell_us = if is_set { 0 } else { span.wall_offset_us.saturating_sub(after.wall_offset_us) };
    let gap_us = after.media_start_us.saturating_sub(span.media_end_us);
    let leap_us = if follows && gap_us > LEAP_US { gap_us } else { 0 };
    let drift_us = clock::slew_us(after.media_start_us.saturating_sub(span.media_start_us));
    fell_us.saturating_sub(leap_us).saturating_sub(drift_us)
}

/// By how much a run seems to end after the next one began, which is `late_us` late. One connection sends one after the
/// other.
fn overlap_us(span: &Span, after: &Span, late_us: i64) -> i64 {
    let begun_us = after.media_start_us.saturating_add(after.wall_offset_us).saturating_sub(late_us);
    let ended_us = span.media_end_us.saturating_add(span.wall_offset_us);
    Some(ended_us.saturating_sub(begun_us)).filter(|&overlap_us| overlap_us <= OVERLAP_MAX_US).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use mediahooks_model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Planner;

    const MS: i64 = 1000;

    /// Segments of 0.7 s with these differences between wall and media clock, in milliseconds.
    fn spans(offsets_ms: &[i64]) -> Vec<Span> {
        let of = |(number, offset_ms): (i64, &i64)| Span {
            sequence: number.unsigned_abs(),
            run: 0,
            media_start_us: number * 700 * MS,
            media_end_us: (number + 1) * 700 * MS,
            wall_offset_us: offset_ms * MS,
        };
        (0..).zip(offsets_ms).map(of).collect()
    }

    fn corrected(mut spans: Vec<Span>) -> Vec<Span> {
        let mut hindsight = Hindsight::default();
        for span in spans.iter_mut().rev() {
            span.wall_offset_us -= hindsight.late_us(span);
        }
        spans
    }

    fn offsets_us(spans: Vec<Span>) -> Vec<i64> {
        corrected(spans).iter().map(|span| span.wall_offset_us).collect()
    }

    #[test]
    fn what_was_late_is_told_when_it_was() {
        assert_eq!(offsets_us(spans(&[400, 300, 100, 0])), [2100, 1400, 700, 0]);
        // What follows the encoder's clock is not late, and delay that comes is none of what came before.
        assert_eq!(offsets_us(spans(&[0, 0, 50, 60])), [0, 0, 50_000, 60_000]);
        let drifting: Vec<Span> =
            spans(&[0; 50]).iter().map(|s| Span { wall_offset_us: -700 * s.sequence as i64, ..*s }).collect();
        assert_eq!(corrected(drifting.clone()), drifting);
    }

    #[test]
    fn a_clock_that_is_set_is_not_late_and_tells_what_is() {
        let hour = 3_600_000;
        for set in [-hour, hour] {
            assert_eq!(offsets_us(spans(&[0, 0, set, set])), [0, 0, set * MS, set * MS], "{set}");
            let late = offsets_us(spans(&[90, 90, set + 90, set + 40]));
            assert_eq!(late, [42_100, 41_400, set * MS + 40_700, set * MS + 40_000], "{set}");
        }
    }

    #[test]
    fn a_run_ended_before_the_next_one_of_its_timeline_began() {
        let mut two = spans(&[400, 0]);
        two[1].run = 1;
        assert_eq!(corrected(two.clone())[0].wall_offset_us, 0);
        // One that began later tells nothing, and one far earlier that the clock was set.
        for offset_ms in [500, -70_000] {
            two[1].wall_offset_us = offset_ms * MS;
            assert_eq!(corrected(two.clone()), two);
        }
        // What is missing in between may have ended it.
        two[1] = Span { sequence: 7, wall_offset_us: 0, ..two[1] };
        assert_eq!(corrected(two.clone()), two);
    }

    #[test]
    fn what_is_before_a_leap_of_the_encoders_clock_was_not_late() {
        // It leaps by two seconds, and the map follows within some segments.
        let mut leaped = spans(&[0, 0, -350, -700, -1050, -1400, -1750, -2000]);
        for span in &mut leaped[2..] {
            span.media_start_us += 2000 * MS;
            span.media_end_us += 2000 * MS;
        }
        let offsets = offsets_us(leaped.clone());
        assert_eq!((offsets[0], offsets[1], offsets[7]), (0, 0, -2000 * MS));
        // Those behind it are right.
        assert!((offsets[2] + 2000 * MS).abs() < 5 * MS, "{offsets:?}");
        // Where something is missing in between, there was no leap.
        leaped.iter_mut().skip(2).for_each(|span| span.sequence += 3);
        assert!(offsets_us(leaped)[0] < -1_900 * MS);
    }

    #[test]
    fn a_range_is_as_long_as_asked_for_and_where_it_was() {
        // Late by 1.4 s at first, 0.35 s less with each segment.
        let late = |sequence: i64| (1_400 - 350 * sequence).max(0);
        let spans = corrected(spans(&(0..20).map(late).collect::<Vec<_>>()));
        for (from, to) in [(0, 1_000), (700, 1_500), (1_400, 2_400), (3_000, 5_000), (0, 9_000)] {
            let at = |ms: i64| Timestamp::from_micros(ms * MS);
            let mut planner = Planner::new(at(from), at(to));
            spans.iter().for_each(|span| planner.push(span));
            let [range] = planner.finish(None)[..] else { panic!("{from}..{to}") };
            let near = |us: i64, ms: i64| (us - ms * MS).abs() <= 4 * MS;
            assert!(near(range.start_us, from) && near(range.stop_us, to), "{from}..{to}: {range:?}");
        }
    }

    proptest! {
        #[test]
        fn no_time_becomes_later_and_the_map_falls_no_faster_than_a_clock_drifts(
            steps in prop::collection::vec(-400..400i64, 1..60),
        ) {
            let mut offset = 0;
            let offsets: Vec<i64> = steps.iter().map(|step| { offset += step; offset }).collect();
            let stored = spans(&offsets);
            let told = corrected(stored.clone());
            prop_assert_eq!(told.last(), stored.last());
            for (told, stored) in told.iter().zip(&stored) {
                prop_assert!(told.wall_offset_us <= stored.wall_offset_us);
            }
            for pair in told.windows(2) {
                prop_assert!(pair[0].wall_offset_us - pair[1].wall_offset_us <= 700);
            }
            // Each is moved by no more than a later one shows.
            for (number, span) in told.iter().enumerate() {
                let shown = stored[number..].iter().map(|later| {
                    later.wall_offset_us + clock::slew_us(later.media_start_us - span.media_start_us)
                });
                prop_assert_eq!(Some(span.wall_offset_us), shown.min());
            }
        }
    }
}
