//! What later segments tell of the times of earlier ones.
//!
//! The map between the clocks ([`crate::clock`]) is never too early, for nothing arrives before it was captured. Where it
//! turns out lower, what came before was late, too: a publisher had sent what it had kept back, or was slow to begin. Who
//! reads segments that are stored knows that. What always holds: no time becomes later; the corrected map falls by no more
//! from one segment to the next than an encoder's clock can drift, so that a second of wall clock is a second of media.

use crate::clock;
use crate::plan;

/// How far behind what is read, in microseconds of wall clock, segments are looked at for what they tell of it. What shows
/// later is of little weight: it may be drift.
pub const REACH_US: i64 = 60_000_000;

/// Corrects the times of the segments of a timeline, from the latest one to the earliest.
#[derive(Debug, Clone, Default)]
pub struct Hindsight {
    after: Option<After>,
}

/// The segment behind, as it is stored.
#[derive(Debug, Clone, Copy)]
struct After {
    run: u32,
    start_us: i64,
    offset_us: i64,
    late_us: i64,
}

impl Hindsight {
    /// By how much the times of the next earlier segment are too late, in microseconds; not negative. It is of `run` and
    /// begins at `start_us` of its media clock; `offset_us` is what is stored as wall clock minus media clock.
    pub fn late_us(&mut self, run: u32, start_us: i64, offset_us: i64) -> i64 {
        let late_us = match self.after.filter(|after| after.run == run) {
            Some(after) => {
                let is_set = plan::is_clock_set(offset_us, after.offset_us);
                let fell_us = if is_set { 0 } else { offset_us.saturating_sub(after.offset_us) };
                let drift_us = clock::slew_us(after.start_us.saturating_sub(start_us));
                after.late_us.saturating_add(fell_us).saturating_sub(drift_us).max(0)
            }
            None => 0,
        };
        self.after = Some(After { run, start_us, offset_us, late_us });
        late_us
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Planner, Span};

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
            span.wall_offset_us -= hindsight.late_us(span.run, span.media_start_us, span.wall_offset_us);
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
    fn another_run_tells_nothing() {
        let mut two = spans(&[400, 0]);
        two[1].run = 1;
        assert_eq!(corrected(two.clone()), two);
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
