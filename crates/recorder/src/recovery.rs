//! Repairs what a crash left, at start; takes up what failed half-way, while running.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mediahooks_database::{Asset, Change, DatabaseError, Feed, Recipe};
use mediahooks_model::{AssetType, FeedId, Timestamp};

use crate::clip;
use crate::error::RecorderError;
use crate::finish;
use crate::state::{Shared, now};
use crate::tidy::tidy_chunks;

/// Brings storage and database into agreement and finishes what was live.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    let extents = shared.database.chunk_extents().await?;
    tidy_chunks(shared, extents).await?;
    take_up(shared).await
}

/// Finishes assets and feeds whose feed is not live here: those of a crashed process, and those whose
/// finishing failed.
pub(crate) async fn take_up(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    let live: HashSet<FeedId> = shared.live.feeds().into_iter().map(|feed| feed.id).collect();
    let mut stopped: HashMap<FeedId, Timestamp> = HashMap::new();
    for asset in shared.database.unfinished_assets().await? {
        if live.contains(&asset.feed) {
            continue;
        }
        if let Some(stop) = finish_left(shared, &asset).await? {
            stopped.entry(asset.feed).and_modify(|latest| *latest = stop.max(*latest)).or_insert(stop);
        }
    }
    for feed in shared.database.live_feeds().await? {
        if !live.contains(&feed.id) {
            end(shared, &feed, stopped.get(&feed.id).copied()).await?;
        }
    }
    Ok(())
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
    match shared.database.commit(vec![change], now()).await {
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
    let at = media_end.unwrap_or_else(now).max(feed.started);
    shared.database.commit(vec![Change::EndFeed { feed: feed.id, at }], now()).await?;
    Ok(())
}
