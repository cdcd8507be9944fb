//! Until when a run shows its last picture.
//!
//! A picture lasts until the next one of its run, and the last one until its feed was known to be live last: that is the
//! end of the recording and of the timeline that end with it, stored while the feed is live. What always holds: a run
//! shows its last picture for no longer than its feed is known to have been live, and to have sent no other.

use mediahooks_database::{DatabaseError, SegmentSpan};
use mediahooks_model::{FeedId, TimelineId};
use mediahooks_timeline::hindsight::Hindsight;
use mediahooks_timeline::plan::{self, Span};

use crate::state::Shared;

/// How far before a range the picture is looked for that is on screen when it begins, one after the other, in
/// microseconds: few send less than one in ten seconds.
pub(crate) const REACHES_US: [i64; 4] = [10_000_000, 600_000_000, 36_000_000_000, i64::MAX / 4];

/// No encoder shows a picture later than this after those that are decoded behind it, in microseconds.
pub(crate) const REORDERED_MAX_US: i64 = 2_000_000;

/// When a segment was on screen.
pub(crate) fn span_of(segment: &SegmentSpan) -> Span {
    let SegmentSpan { sequence, run, media_start_us, media_end_us, wall_offset_us, .. } = *segment;
    Span { sequence, run, media_start_us, media_end_us, wall_offset_us }
}

/// Corrects the times of segments of a timeline, in their order, by what those behind tell of them.
pub(crate) fn correct(segments: &mut [SegmentSpan]) {
    let mut hindsight = Hindsight::default();
    for segment in segments.iter_mut().rev() {
        let late_us = hindsight.late_us(&span_of(segment));
        segment.wall_offset_us = segment.wall_offset_us.saturating_sub(late_us);
    }
}

/// The end of an asset that is known to have shown its last picture until `until_us`: no sound is cut off by it, whose end
/// is known to the microsecond only. Both are in microseconds of the media clock.
pub(crate) fn held_until_us(until_us: i64, media_end_us: i64) -> i64 {
    until_us.max(media_end_us.saturating_add(1_000))
}

/// Until when the last picture of a run was on screen, in microseconds of its media clock. `last` is the last segment of
/// the run, and `after` the first one of the next run.
pub(crate) async fn run_end_us(
    shared: &Shared,
    (feed, timeline): (FeedId, TimelineId),
    last: &SegmentSpan,
    after: Option<&SegmentSpan>,
) -> Result<i64, DatabaseError> {
    if let Some(after) = after {
        return Ok(plan::run_end_us(&span_of(last), after.wall_start()));
    }
    let until_us = match shared.live.received(feed) {
        Some(received) => {
            let until = received.borrow().map(|received| received.until);
            until.map(|until| until.as_micros().saturating_sub(last.wall_offset_us))
        }
        None => shared.database.shown_until_us(timeline, last.run).await?,
    };
    Ok(until_us.map_or(last.media_end_us, |until_us| until_us.max(last.media_end_us)))
}
