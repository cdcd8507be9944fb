//! Completes a clip whose range ends later than what has been received.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Asset, Recipe};
use mediahooks_model::{FeedId, Timestamp};

use super::complete;
use crate::error::RecorderError;
use crate::state::{Shared, now};

/// For how long a publisher may be silent, after the range has ended, before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

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
    await_range(shared, asset.feed, stop).await;
    shared.live.flush(asset.feed, stop).await;
    let recipe = close(shared, &asset, stop).await?;
    complete(shared, Asset { recipe, ..asset }).await.map(drop)
}

/// Resolves when the feed has sent what was captured before `stop`, or will not. One that lags behind
/// is waited for as long as it moves.
async fn await_range(shared: &Shared, feed: FeedId, stop: Timestamp) {
    let Some(mut received) = shared.live.received(feed) else { return };
    loop {
        let before = *received.borrow();
        let patience = stop.since(now()) + SILENCE_MAX;
        let all = received.wait_for(|until| until.is_some_and(|until| until >= stop));
        // All of it is there, or the feed is over and what it sent is stored.
        if tokio::time::timeout(patience, all).await.is_ok() {
            return;
        }
        if *received.borrow() == before {
            tracing::warn!(%feed, "the publisher fell silent; a clip ends with what was received");
            return;
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
    let spans =
        shared.database.segments_in(recipe.timeline, Some(recipe.run), asset.start_time, stop).await?;
    let Some(last) = spans.last() else { return Ok(Some(Recipe { last: Some(recipe.first), ..recipe })) };
    let stop_us = stop.as_micros().saturating_sub(last.wall_offset_us);
    Ok(Some(Recipe { last: Some(last.sequence), stop_us: Some(stop_us), ..recipe }))
}
