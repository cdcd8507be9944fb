//! Plans a clip: which run and which segments of a timeline a range of wall clock touches.
//!
//! Pure, and from spans alone: sample tables are only read when the file is built, by
//! [`crate::movie`], which cuts to the frame. A plan may hold a segment more than needed at either
//! end; it never holds one too few.

use mediahooks_model::Timestamp;

/// When a stored segment happened, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// 0, 1, 2 … within the timeline.
    pub sequence: u64,
    /// The run it belongs to.
    pub run: u32,
    /// Presentation time of the earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which the latest sample ends, likewise.
    pub media_end_us: i64,
    /// Wall clock minus media clock, in microseconds.
    pub wall_offset_us: i64,
}

impl Span {
    fn wall_start(&self) -> i64 {
        self.media_start_us.saturating_add(self.wall_offset_us)
    }

    fn wall_end(&self) -> i64 {
        self.media_end_us.saturating_add(self.wall_offset_us)
    }
}

/// The wall clock of a run was set where it differs by more than this from one segment to the next,
/// in microseconds.
const CLOCK_SET_US: i64 = 500_000;

/// By how much the wall clock was set back between two segments of one run, in microseconds; the
/// differences are those of wall and media clock ([`Span::wall_offset_us`]). None: it was not.
pub fn set_back_us(before_us: i64, after_us: i64) -> Option<i64> {
    Some(before_us.saturating_sub(after_us)).filter(|&back| back > CLOCK_SET_US)
}

/// What a range touches of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRange {
    /// The run.
    pub run: u32,
    /// First segment with a sample in the range. Decoding may have to begin in an earlier one.
    pub first: u64,
    /// Last segment with a sample in the range.
    pub last: u64,
    /// The range's start in microseconds of the run's media clock.
    pub start_us: i64,
    /// The range's end, likewise; not included.
    pub stop_us: i64,
}

/// Finds what a range touches, from the spans of one timeline in rising sequence.
#[derive(Debug, Clone)]
pub struct Planner {
    start: i64,
    stop: i64,
    ranges: Vec<RunRange>,
    /// [`Span::wall_offset_us`] of the latest span in the range.
    offset_us: i64,
}

impl Planner {
    /// For the range from `start` up to, not including, `stop`.
    pub fn new(start: Timestamp, stop: Timestamp) -> Self {
        Self { start: start.as_micros(), stop: stop.as_micros(), ranges: Vec::new(), offset_us: 0 }
    }

    /// Adds the next span.
    pub fn push(&mut self, span: &Span) {
        if span.wall_end() <= self.start || span.wall_start() >= self.stop {
            return;
        }
        let stop_us = self.stop.saturating_sub(span.wall_offset_us);
        let goes_on = |range: &&mut RunRange| {
            range.run == span.run && set_back_us(self.offset_us, span.wall_offset_us).is_none()
        };
        match self.ranges.last_mut().filter(goes_on) {
            // The latest segment's clock is the one that was right when the range ended.
            Some(range) => (range.last, range.stop_us) = (span.sequence, stop_us),
            None => self.ranges.push(RunRange {
                run: span.run,
                first: span.sequence,
                last: span.sequence,
                // What came before is of another time of day, however close on the media clock: the
                // wall clock may have been set in between.
                start_us: self.start.saturating_sub(span.wall_offset_us).max(span.media_start_us),
                stop_us,
            }),
        }
        self.offset_us = span.wall_offset_us;
    }

    /// What the range touches: one entry per run, in order; empty when nothing was received in it. Where the wall
    /// clock was set back, moments come twice: then a run has an entry for each side.
    pub fn finish(self) -> Vec<RunRange> {
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(sequence: u64, run: u32, start: i64, end: i64, offset: i64) -> Span {
        Span { sequence, run, media_start_us: start, media_end_us: end, wall_offset_us: offset }
    }

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    fn plan(spans: &[Span], start: Timestamp, stop: Timestamp) -> Vec<RunRange> {
        let mut planner = Planner::new(start, stop);
        spans.iter().for_each(|span| planner.push(span));
        planner.finish()
    }

    #[test]
    fn a_range_over_a_break_touches_both_runs_each_on_its_own_clock() {
        let spans = [span(0, 0, 0, 100, 1000), span(1, 0, 100, 200, 1000), span(2, 1, 0, 100, 1500)];
        let planned = plan(&spans, at(1150), at(1550));
        assert_eq!(
            planned,
            [
                RunRange { run: 0, first: 1, last: 1, start_us: 150, stop_us: 550 },
                RunRange { run: 1, first: 2, last: 2, start_us: 0, stop_us: 50 },
            ]
        );
        assert_eq!(plan(&spans, at(1200), at(1500)), []);
        assert_eq!(plan(&spans, at(0), at(1000)), []);
    }

    #[test]
    fn where_the_clock_was_set_each_side_keeps_its_own_time() {
        const HOUR: i64 = 3_600_000_000;
        const SECOND: i64 = 1_000_000;
        let run = |step: i64| -> Vec<Span> {
            let offset = |second| if second < 10 { HOUR } else { HOUR + step };
            (0..20i64).map(|s| span(s as u64, 0, s * SECOND, (s + 1) * SECOND, offset(s))).collect()
        };
        let range = |first, last, start: i64, stop: i64| RunRange {
            run: 0,
            first,
            last,
            start_us: start * SECOND,
            stop_us: stop * SECOND,
        };
        // Forward: nothing bears the times in between, and a range over them is one stretch.
        let planned = plan(&run(HOUR), at(HOUR + 8 * SECOND), at(2 * HOUR + 12 * SECOND));
        assert_eq!(planned, [range(8, 11, 8, 12)]);
        let planned = plan(&run(HOUR), at(2 * HOUR - 30 * SECOND), at(2 * HOUR + 12 * SECOND));
        assert_eq!(planned, [range(10, 11, 10, 12)]);
        // Back: the times of the last seconds come again.
        let planned = plan(&run(-5 * SECOND), at(HOUR + 4 * SECOND), at(HOUR + 9 * SECOND));
        assert_eq!(planned, [range(4, 8, 4, 9), range(10, 13, 10, 14)]);
    }

    proptest! {
        #[test]
        fn every_segment_that_overlaps_the_range_is_in_the_plan(
            lengths in prop::collection::vec(1i64..3_000_000, 1..60),
            offset in -1_000_000_000i64..1_000_000_000,
            a in 0i64..100_000_000,
            len in 1i64..50_000_000,
        ) {
            let mut end = 0;
            let spans: Vec<Span> = (0u64..).zip(&lengths).map(|(sequence, len)| {
                let start = end;
                end += len;
                span(sequence, 0, start, end, offset)
            }).collect();
            let (start, stop) = (offset + a, offset + a + len);
            let planned = plan(&spans, at(start), at(stop));
            for span in &spans {
                let overlaps = span.media_end_us > a && span.media_start_us < a + len;
                let held = planned.iter().any(|range| (range.first..=range.last).contains(&span.sequence));
                prop_assert_eq!(overlaps, held);
            }
        }
    }
}
