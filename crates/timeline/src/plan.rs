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

/// Finds what the range from `start` up to, not including, `stop` touches: one entry per run, in
/// order; empty when nothing was received in it.
///
/// `spans` are of one timeline, in rising sequence.
pub fn plan(spans: &[Span], start: Timestamp, stop: Timestamp) -> Vec<RunRange> {
    let (start, stop) = (start.as_micros(), stop.as_micros());
    let mut ranges: Vec<RunRange> = Vec::new();
    for span in spans.iter().filter(|span| span.wall_end() > start && span.wall_start() < stop) {
        let stop_us = stop.saturating_sub(span.wall_offset_us);
        match ranges.last_mut().filter(|range| range.run == span.run) {
            // The latest segment's clock is the one that was right when the range ended.
            Some(range) => (range.last, range.stop_us) = (span.sequence, stop_us),
            None => ranges.push(RunRange {
                run: span.run,
                first: span.sequence,
                last: span.sequence,
                start_us: start.saturating_sub(span.wall_offset_us),
                stop_us,
            }),
        }
    }
    ranges
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

    #[test]
    fn a_range_over_a_break_touches_both_runs_each_on_its_own_clock() {
        let spans = [span(0, 0, 0, 100, 1000), span(1, 0, 100, 200, 1000), span(2, 1, 0, 100, 1500)];
        let planned = plan(&spans, at(1150), at(1550));
        assert_eq!(
            planned,
            [
                RunRange { run: 0, first: 1, last: 1, start_us: 150, stop_us: 550 },
                RunRange { run: 1, first: 2, last: 2, start_us: -350, stop_us: 50 },
            ]
        );
        assert_eq!(plan(&spans, at(1200), at(1500)), []);
        assert_eq!(plan(&spans, at(0), at(1000)), []);
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
