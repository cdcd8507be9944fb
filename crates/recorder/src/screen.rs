//! Until when a run shows its last picture.
//!
//! A picture lasts until the next one of its run. What always holds: a run shows its last picture for no longer than its
//! feed is known to have been live, and to have sent no other.

use mediahooks_database::{DatabaseError, SegmentSpan};
use mediahooks_model::{FeedId, Timestamp};
use mediahooks_timeline::plan::{self, Span};

use crate::state::Shared;

/// No picture of a feed that is over is taken to have been on screen for longer than this, in microseconds.
pub(crate) const SILENCE_MAX_US: i64 = 600_000_000;

/// How far before a range the picture is looked for that is on screen when it begins, one after the other, in
/// microseconds: few send less than one in ten seconds.
pub(crate) const REACHES_US: [i64; 4] = [10_000_000, 600_000_000, 36_000_000_000, i64::MAX / 4];

/// When a segment was on screen.
pub(crate) fn span_of(segment: &SegmentSpan) -> Span {
    let SegmentSpan { sequence, run, media_start_us, media_end_us, wall_offset_us, .. } = *segment;
    Span { sequence, run, media_start_us, media_end_us, wall_offset_us }
}

/// Until when the last picture of a run was on screen, in microseconds of its media clock. `last` is the last segment of
/// the run, `before` the one before it, and `after` the first one of the next run.
pub(crate) async fn run_end_us(
    shared: &Shared,
    feed: FeedId,
    before: Option<&SegmentSpan>,
    last: &SegmentSpan,
    after: Option<&SegmentSpan>,
) -> Result<i64, DatabaseError> {
    if after.is_none()
        && let Some(received) = shared.live.received(feed)
    {
        let until = received.borrow().map(|received| received.until);
        let until_us = until.map(|until| until.as_micros().saturating_sub(last.wall_offset_us));
        return Ok(until_us.map_or(last.media_end_us, |until_us| until_us.max(last.media_end_us)));
    }
    let until = match after {
        Some(after) => Some(after.wall_start()),
        None => over_since(shared, feed, before, last).await?,
    };
    Ok(until.map_or(last.media_end_us, |until| plan::run_end_us(&span_of(last), until)))
}

/// Until when a feed that is over, whose last segment is `last`, is known to have sent nothing more.
async fn over_since(
    shared: &Shared,
    feed: FeedId,
    before: Option<&SegmentSpan>,
    last: &SegmentSpan,
) -> Result<Option<Timestamp>, DatabaseError> {
    let ended = shared.database.feed(feed).await?.and_then(|feed| feed.ended);
    // One that was silent for longer than usual may have been cut off.
    let before = before.filter(|before| before.run == last.run);
    let usual_us = before.map_or(0, |before| last.media_start_us.saturating_sub(before.media_start_us));
    Ok(ended.filter(|ended| ended.micros_since(last.wall_start()) <= usual_us.min(SILENCE_MAX_US)))
}
