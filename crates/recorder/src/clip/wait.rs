//! Completes a clip whose range ends later than what has been received.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Asset, Recipe};
use mediahooks_model::{FeedId, Timestamp};
use mediahooks_timeline::plan::set_back_us;

use super::complete;
use crate::error::RecorderError;
use crate::state::Shared;

/// For how long a publisher may be silent, after the range has ended, before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The wall clock was set back when what was received goes back by more than this, in microseconds.
const SET_BACK_US: i64 = 500_000;

/// Completes `asset` on a task of its own once everything captured before `stop` is stored, the feed
/// has ended, or the publisher has fallen silent. A restart takes it up again.
pub(super) fn complete_later(shared: &Arc<Shared>, asset: Asset, stop: Timestamp) {
    let shared_by_task = Arc::clone(shared);
    shared.clips.spawn(async move {
        let id = asset.id;
        if let Err(error) = await_and_complete(&shared_by_task, asset, stop).await {
            // The sweeper takes it up.
            tracing::error!(asset = %id, error = &error as &dyn std::error::Error, "a clip could not be completed");
        }
    });
}

async fn await_and_complete(shared: &Shared, asset: Asset, stop: Timestamp) -> Result<(), RecorderError> {
    let stop_now = await_range(shared, asset.feed, stop).await;
    shared.live.flush(asset.feed, stop_now).await;
    let recipe = close(shared, &asset, stop).await?;
    complete(shared, Asset { recipe, ..asset }).await.map(drop)
}

/// Resolves when the feed has sent what was captured before `stop`, or will not. One that lags behind
/// is waited for as long as it moves. Returns when that is on the wall clock as it is then: when that
/// is set back meanwhile, the clip is of the media that was meant.
async fn await_range(shared: &Shared, feed: FeedId, mut stop: Timestamp) -> Timestamp {
    let Some(mut received) = shared.live.received(feed) else { return stop };
    loop {
        let before = *received.borrow();
        let patience = stop.since(shared.now()) + SILENCE_MAX;
        let mut latest = before;
        let all = received.wait_for(|until| {
            let back_us = latest.zip(*until).map_or(0, |(latest, until)| latest.micros_since(until));
            if back_us > SET_BACK_US {
                stop = stop.plus_micros(-back_us);
            }
            latest = until.or(latest);
            until.is_some_and(|until| until >= stop)
        });
        // All of it is there, or the feed is over and what it sent is stored.
        if tokio::time::timeout(patience, all).await.is_ok() {
            return stop;
        }
        if *received.borrow() == before {
            tracing::warn!(%feed, "the publisher fell silent; a clip ends with what was received");
            return stop;
        }
    }
}

/// The recipe with its last segment filled in, as far as the range has been received. Where that
/// segment ends the range, its clock decides where, as it does for a range that is all there.
pub(crate) async fn close(
    shared: &Shared,
    asset: &Asset,
    stop: Timestamp,
) -> Result<Option<Recipe>, RecorderError> {
    let Some(recipe) = asset.recipe.clone() else { return Ok(None) };
    let spans = shared.database.segment_spans(recipe.timeline, recipe.first, None).await?;
    let mut closed = Recipe { last: Some(recipe.first), ..recipe };
    let mut offset_us = None;
    for span in spans.iter().take_while(|span| span.run == recipe.run) {
        let first_us = *offset_us.get_or_insert(span.wall_offset_us);
        let stop_us = match set_back_us(first_us, span.wall_offset_us) {
            None => stop.as_micros().saturating_sub(span.wall_offset_us),
            // The clip is of the media that was meant when it was asked for.
            Some(_) => recipe.stop_us.unwrap_or(i64::MAX),
        };
        if span.media_start_us >= stop_us {
            break;
        }
        (closed.last, closed.stop_us) = (Some(span.sequence), Some(stop_us));
    }
    Ok(Some(closed))
}
