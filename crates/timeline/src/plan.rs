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

/// Whether the wall clock was set between two segments of one run; the differences are those of wall and media clock
/// ([`Span::wall_offset_us`]).
pub fn is_clock_set(before_us: i64, after_us: i64) -> bool {
    before_us.saturating_sub(after_us).saturating_abs() > CLOCK_SET_US
}

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
    /// First segment that is on screen in the range. Decoding may have to begin in an earlier one.
    pub first: u64,
    /// Last segment that is.
    pub last: u64,
    /// The range's start in microseconds of the run's media clock.
    pub start_us: i64,
    /// The range's end, or the run's where that is earlier, likewise; not included.
    pub stop_us: i64,
    /// Where the last segment is the last one of the run: until when its last picture was on screen, likewise.
    pub run_end_us: Option<i64>,
}

/// A last picture of a run that was not followed for no longer than this, in microseconds, lasts as long as its kind
/// does.
const BRIEF_US: i64 = 1_000_000;

/// Until when the last picture of a run was on screen, in microseconds of its media clock, if it was until `until`.
pub fn run_end_us(last: &Span, until: Timestamp) -> i64 {
    let silent_us = until.as_micros().saturating_sub(last.wall_end());
    last.media_end_us.saturating_add(if silent_us > BRIEF_US { silent_us } else { 0 })
}

/// Finds what was on screen in a range, from the spans of one timeline in rising sequence: those with samples in the
/// range, the one before these and the one after them. A picture lasts until the next one of its run, and the last one
/// of a run until the next run.
#[derive(Debug, Clone)]
pub struct Planner {
    start: i64,
    stop: i64,
    ranges: Vec<RunRange>,
    /// [`Span::wall_offset_us`] of the latest span in the range.
    offset_us: i64,
    /// Until when that is on screen, on its media clock.
    until_us: i64,
    /// Waits for what follows it.
    latest: Option<Span>,
}

impl Planner {
    /// For the range from `start` up to, not including, `stop`.
    pub fn new(start: Timestamp, stop: Timestamp) -> Self {
        let (start, stop) = (start.as_micros(), stop.as_micros());
        Self { start, stop, ranges: Vec::new(), offset_us: 0, until_us: 0, latest: None }
    }

    /// Adds the next span.
    pub fn push(&mut self, span: &Span) {
        let Some(before) = self.latest.replace(*span) else { return };
        let follows = before.sequence.checked_add(1) == Some(span.sequence);
        if follows && before.run != span.run {
            let end_us = run_end_us(&before, Timestamp::from_micros(span.wall_start()));
            self.add(&before, end_us, Some(end_us));
        } else if follows {
            // No longer than until the next one by wall clock: the encoder's clock may have leaped in between.
            let next_us = span.wall_start().saturating_sub(before.wall_offset_us);
            self.add(&before, next_us.min(span.media_start_us), None);
            if set_back_us(before.wall_offset_us, span.wall_offset_us).is_some() {
                self.end_at(&before);
            }
        } else {
            self.add(&before, before.media_end_us, None);
        }
    }

    /// What comes behind a span is of another time of day.
    fn end_at(&mut self, span: &Span) {
        let until_us = self.until_us;
        if let Some(range) = self.ranges.last_mut().filter(|range| range.last == span.sequence) {
            range.stop_us = range.stop_us.min(until_us);
        }
    }

    /// Adds a span that is on screen until `until_us` of its media clock.
    fn add(&mut self, span: &Span, until_us: i64, run_end_us: Option<i64>) {
        let until_us = until_us.max(span.media_end_us);
        if until_us.saturating_add(span.wall_offset_us) <= self.start || span.wall_start() >= self.stop {
            return;
        }
        let run_end_us = run_end_us.map(|_| until_us);
        let stop_us = self.stop.saturating_sub(span.wall_offset_us);
        let stop_us = run_end_us.map_or(stop_us, |end_us| stop_us.min(end_us));
        let goes_on = |range: &&mut RunRange| {
            range.run == span.run && set_back_us(self.offset_us, span.wall_offset_us).is_none()
        };
        match self.ranges.last_mut().filter(goes_on) {
            // The latest segment's clock is the one that was right when the range ended.
            Some(range) => {
                (range.last, range.stop_us, range.run_end_us) = (span.sequence, stop_us, run_end_us);
            }
            None => self.ranges.push(RunRange {
                run: span.run,
                first: span.sequence,
                last: span.sequence,
                // What came before is of another time of day, however close on the media clock: the
                // wall clock may have been set in between.
                start_us: self.start.saturating_sub(span.wall_offset_us).max(span.media_start_us),
                stop_us,
                run_end_us,
            }),
        }
        (self.offset_us, self.until_us) = (span.wall_offset_us, until_us);
    }

    /// What the range touches: one entry per run, in order; empty when nothing was on screen in it. Where the wall
    /// clock was set back, moments come twice: then a run has an entry for each side, and where the encoder's clock leaped
    /// ahead, too, so that nothing stands still for as long. `run_end_us`: until when the last
    /// picture of the last span was on screen, if that is the timeline's last one, on its media clock.
    pub fn finish(mut self, run_end_us: Option<i64>) -> Vec<RunRange> {
        if let Some(last) = self.latest.take() {
            self.add(&last, run_end_us.unwrap_or(last.media_end_us), run_end_us);
        }
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
        planner.finish(None)
    }

    #[test]
    fn a_range_over_a_break_touches_both_runs_each_on_its_own_clock() {
        let spans = [span(0, 0, 0, 100, 1000), span(1, 0, 100, 200, 1000), span(2, 1, 0, 100, 1500)];
        let planned = plan(&spans, at(1150), at(1550));
        assert_eq!(
            planned,
            [
                RunRange { run: 0, first: 1, last: 1, start_us: 150, stop_us: 200, run_end_us: Some(200) },
                RunRange { run: 1, first: 2, last: 2, start_us: 0, stop_us: 50, run_end_us: None },
            ]
        );
        assert_eq!(plan(&spans, at(1200), at(1500)), []);
        assert_eq!(plan(&spans, at(0), at(1000)), []);
    }

    #[test]
    fn a_picture_is_on_screen_until_the_next_one_or_the_end_of_its_run() {
        const S: i64 = 1_000_000;
        let spans = [span(0, 0, 0, 1, S), span(1, 0, 5 * S, 5 * S + 1, S), span(2, 1, 0, 1, 20 * S)];
        let range = |first, last, start_us, stop_us, run_end_us| RunRange {
            run: 0,
            first,
            last,
            start_us,
            stop_us,
            run_end_us,
        };
        assert_eq!(plan(&spans, at(2 * S), at(3 * S)), [range(0, 0, S, 2 * S, None)]);
        let end = Some(19 * S);
        assert_eq!(plan(&spans, at(5 * S), at(7 * S)), [range(0, 1, 4 * S, 6 * S, end)]);
        // Until the next run, and where that is not known, as it is told.
        assert_eq!(plan(&spans, at(18 * S), at(20 * S)), [range(1, 1, 17 * S, 19 * S, end)]);
        assert_eq!(plan(&spans[..2], at(8 * S), at(9 * S)), []);
        let mut planner = Planner::new(at(8 * S), at(20 * S));
        spans[..2].iter().for_each(|span| planner.push(span));
        assert_eq!(planner.finish(Some(12 * S)), [range(1, 1, 7 * S, 12 * S, Some(12 * S))]);
        // The end of what one lasts is not known to the frame.
        assert_eq!(run_end_us(&spans[1], at(6 * S + 900_000)), 5 * S + 1);
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
            run_end_us: None,
        };
        // Forward: nothing bears the times in between, and a range over them is one stretch.
        let planned = plan(&run(HOUR), at(HOUR + 8 * SECOND), at(2 * HOUR + 12 * SECOND));
        assert_eq!(planned, [range(8, 11, 8, 12)]);
        let planned = plan(&run(HOUR), at(2 * HOUR - 30 * SECOND), at(2 * HOUR + 12 * SECOND));
        assert_eq!(planned, [range(10, 11, 10, 12)]);
        // Up to where it was set.
        let planned = plan(&run(-HOUR), at(HOUR + 8 * SECOND), at(HOUR + 12 * SECOND));
        assert_eq!(planned, [range(8, 9, 8, 10)]);
        // Back: the times of the last seconds come again.
        let planned = plan(&run(-5 * SECOND), at(HOUR + 4 * SECOND), at(HOUR + 9 * SECOND));
        assert_eq!(planned, [range(4, 8, 4, 9), range(10, 13, 10, 14)]);
    }

    #[test]
    fn a_picture_stands_still_for_no_leap_of_the_encoders_clock() {
        const S: i64 = 1_000_000;
        // Two seconds ahead, after two.
        let spans: Vec<Span> = (0..4i64)
            .map(|n| if n < 2 { (n * S, 9 * S) } else { ((n + 2) * S, 7 * S) })
            .zip(0..)
            .map(|((start, offset), n)| span(n, 0, start, start + S, offset))
            .collect();
        let range = |first, last, start_us, stop_us| RunRange {
            run: 0,
            first,
            last,
            start_us: start_us * S,
            stop_us: stop_us * S,
            run_end_us: None,
        };
        let planned = plan(&spans, at(10 * S), at(12 * S));
        assert_eq!(planned, [range(1, 1, 1, 2), range(2, 2, 4, 5)]);
        assert_eq!(plan(&spans, at(11 * S), at(12 * S)), [range(2, 2, 4, 5)]);
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
