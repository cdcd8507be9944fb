//! Repairs what a crash left, at start; takes up what failed half-way, while running.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Asset, Change, DatabaseError, Feed, Recipe};
use mediahooks_model::{AssetType, FeedId, Timestamp};

use crate::clip;
use crate::error::RecorderError;
use crate::finish;
use crate::state::Shared;
use crate::tidy::tidy_chunks;

/// Brings storage and database into agreement and finishes what was live.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    let extents = shared.database.chunk_extents().await?;
    tidy_chunks(shared, extents).await?;
    take_up(shared).await
}

/// Finishes assets and feeds whose feed is not live here: those of a crashed process, and those whose
/// finishing failed. One that cannot be finished does not keep the others from it.
pub(crate) async fn take_up(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    let mut stopped: HashMap<FeedId, Timestamp> = HashMap::new();
    // A feed is entered before its first row and left after its last, so who is live is asked after
    // each row was read: a feed that begins meanwhile is not taken for one that was left.
    for asset in shared.database.unfinished_assets().await? {
        if is_attended(shared, &asset) {
            continue;
        }
        match finish_left(shared, &asset).await {
            Ok(None) => {}
            Ok(Some(stop)) => {
                stopped.entry(asset.feed).and_modify(|latest| *latest = stop.max(*latest)).or_insert(stop);
            }
            Err(error) => {
                tracing::error!(asset = %asset.id, error = &error as &dyn std::error::Error, "an asset cannot be finished; trying again later");
            }
        }
    }
    for feed in shared.database.live_feeds().await? {
        if shared.live.received(feed.id).is_some() {
            continue;
        }
        if let Err(error) = end(shared, &feed, stopped.get(&feed.id).copied()).await {
            tracing::error!(feed = %feed.id, error = &error as &dyn std::error::Error, "a feed cannot be ended; trying again later");
        }
    }
    Ok(())
}

/// For how long after its range was received a clip is left to the task that waits for it.
const OVERDUE: Duration = Duration::from_secs(30);

/// Whether a task is at work on an unfinished asset: that of its feed, or one that waits for the rest
/// of a clip.
fn is_attended(shared: &Shared, asset: &Asset) -> bool {
    let Some(received) = shared.live.received(asset.feed) else { return false };
    let until = *received.borrow();
    match (asset.asset_type, asset.stop_time, until) {
        (AssetType::Clip, Some(stop), Some(until)) => until < stop.plus(OVERDUE),
        _ => true,
    }
}

/// Finishes an asset with what is stored; returns when its media ends.
async fn finish_left(shared: &Shared, asset: &Asset) -> Result<Option<Timestamp>, RecorderError> {
    let Some(recipe) = closed(shared, asset).await? else {
        tracing::error!(asset = %asset.id, "an unfinished asset has no recipe");
        return Ok(None);
    };
    let change = finish::finish(shared, asset, recipe).await?;
    let stop = match &change {
        Change::StepAsset(step) => step.stop_time,
        _ => None,
    };
    match shared.database.commit(vec![change], shared.now()).await {
        // Refused: the one that was at it finished it after all.
        Ok(_) | Err(DatabaseError::Refused(_)) => Ok(stop),
        Err(error) => Err(error.into()),
    }
}

/// The recipe of an unfinished asset with its end filled in.
async fn closed(shared: &Shared, asset: &Asset) -> Result<Option<Recipe>, RecorderError> {
    let Some(recipe) = asset.recipe.clone() else { return Ok(None) };
    if recipe.last.is_some() {
        return Ok(Some(recipe));
    }
    if let (AssetType::Clip, Some(stop)) = (asset.asset_type, asset.stop_time) {
        return clip::close(shared, asset, stop).await;
    }
    let spans = shared.database.segment_spans(recipe.timeline, recipe.first, None).await?;
    let last = spans.iter().take_while(|span| span.run == recipe.run).last().map(|span| span.sequence);
    Ok(Some(Recipe { last: Some(last.unwrap_or(recipe.first)), ..recipe }))
}

async fn end(shared: &Shared, feed: &Feed, media_end: Option<Timestamp>) -> Result<(), RecorderError> {
    tracing::info!(feed = %feed.id, stream = %feed.stream_name, "ending a feed that was live when the server stopped");
    let at = media_end.unwrap_or_else(|| shared.now()).max(feed.started);
    shared.database.commit(vec![Change::EndFeed { feed: feed.id, at }], shared.now()).await?;
    Ok(())
}
