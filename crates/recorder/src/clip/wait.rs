//! Completes a clip whose range ends later than what has been received.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Asset, Recipe};
use mediahooks_model::Timestamp;

use super::complete;
use crate::error::RecorderError;
use crate::state::{Shared, now};

/// For how long after its end a range is waited for when its publisher has fallen silent.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Completes `asset` on a task of its own once everything captured before `stop` is stored, the feed
/// has ended, or the publisher has been silent for too long. A restart takes it up again.
pub(super) fn complete_later(shared: Arc<Shared>, asset: Asset, stop: Timestamp) {
    tokio::spawn(async move {
        let id = asset.id;
        if let Err(error) = await_and_complete(&shared, asset, stop).await {
            // The sweeper takes it up.
            tracing::error!(asset = %id, error = &error as &dyn std::error::Error, "a clip could not be completed");
        }
    });
}

async fn await_and_complete(shared: &Shared, asset: Asset, stop: Timestamp) -> Result<(), RecorderError> {
    let patience = stop.since(now()) + SILENCE_MAX;
    let feed = asset.feed;
    if tokio::time::timeout(patience, shared.live.flush(feed, stop, true)).await.is_err() {
        tracing::warn!(asset = %asset.id, "the publisher fell silent; the clip ends with what was received");
        shared.live.flush(feed, stop, false).await;
    }
    let recipe = close(shared, &asset, stop).await?;
    complete(shared, Asset { recipe, ..asset }).await.map(drop)
}

/// The recipe with its last segment filled in, as far as the range has been received.
pub(crate) async fn close(
    shared: &Shared,
    asset: &Asset,
    stop: Timestamp,
) -> Result<Option<Recipe>, RecorderError> {
    let Some(recipe) = asset.recipe.clone() else { return Ok(None) };
    let spans =
        shared.database.segments_in(recipe.timeline, Some(recipe.run), asset.start_time, stop).await?;
    let last = spans.last().map_or(recipe.first, |span| span.sequence);
    Ok(Some(Recipe { last: Some(last), ..recipe }))
}
