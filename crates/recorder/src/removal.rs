//! Marks assets for removal, by request or when their time is over, and frees what nothing refers
//! to any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{AssetChange, AssetQuery, Change, DatabaseError, FreedRange, Retention};
use mediahooks_model::{AssetInput, AssetStatus, AssetType, MediaAssetId, TimelineId};
use tokio_util::sync::CancellationToken;

use crate::error::{DeleteRefused, RecorderError};
use crate::recovery;
use crate::state::{Shared, now};

/// How often the sweeper looks without being told.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often, in sweeps, it looks for what failed half-way, and prunes.
const HOUSEKEEPING_EVERY: u64 = 30;

/// Assets that one sweep takes at a time.
const BATCH: u32 = 256;

/// See [`crate::Recorder::delete_assets`].
pub(crate) async fn delete(
    shared: &Shared,
    ids: &[MediaAssetId],
) -> Result<Vec<(MediaAssetId, Result<(), DeleteRefused>)>, RecorderError> {
    let mut outcomes = Vec::with_capacity(ids.len());
    for &id in ids {
        outcomes.push((id, mark(shared, id).await?));
    }
    shared.sweep.notify_one();
    Ok(outcomes)
}

async fn mark(shared: &Shared, id: MediaAssetId) -> Result<Result<(), DeleteRefused>, RecorderError> {
    let change =
        AssetChange { id, input: AssetInput::Delete, recipe: None, stop_time: None, expiration: None };
    match shared.database.commit(vec![Change::StepAsset(Box::new(change))], now()).await {
        Ok(_) => {
            shared.files.forget(id);
            Ok(Ok(()))
        }
        Err(DatabaseError::NotFound) => Ok(Err(DeleteRefused::NotFound)),
        Err(DatabaseError::Refused(refused)) => Ok(Err(match refused.from {
            AssetStatus::Deleted => DeleteRefused::NotFound,
            _ => DeleteRefused::Refused(refused),
        })),
        Err(error) => Err(error.into()),
    }
}

/// See [`crate::Recorder::delete_assets_of_type`].
pub(crate) async fn delete_type(
    shared: &Shared,
    asset_type: AssetType,
) -> Result<(u64, Vec<(MediaAssetId, DeleteRefused)>), RecorderError> {
    let (mut deleted, mut refused) = (0, Vec::new());
    loop {
        let query = AssetQuery {
            types: vec![asset_type],
            statuses: vec![AssetStatus::Processing, AssetStatus::Complete, AssetStatus::Error],
            // What was refused stays in the list and is passed over.
            offset: refused.len() as u64,
            limit: BATCH,
            ..AssetQuery::default()
        };
        let page = shared.database.assets(query).await?;
        if page.is_empty() {
            return Ok((deleted, refused));
        }
        let ids: Vec<MediaAssetId> = page.iter().map(|asset| asset.id).collect();
        for (id, outcome) in delete(shared, &ids).await? {
            match outcome {
                Ok(()) => deleted += 1,
                Err(reason) => refused.push((id, reason)),
            }
        }
    }
}

/// See [`crate::Recorder::run_sweeper`].
pub(crate) async fn sweep(shared: &Arc<Shared>, shutdown: CancellationToken) {
    for round in 0u64.. {
        if let Err(error) = sweep_once(shared, round).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a sweep failed; it is tried again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.sweep.notified() => {}
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn sweep_once(shared: &Arc<Shared>, round: u64) -> Result<(), RecorderError> {
    for id in shared.database.expiring_assets(now(), BATCH).await? {
        if let Err(reason) = mark(shared, id).await? {
            tracing::warn!(asset = %id, %reason, "an expired asset was not removed");
        }
    }
    for id in shared.database.deleting_assets(BATCH).await? {
        // A download that is under way finishes first.
        if !shared.readers.is_read(id) {
            remove(shared, id).await?;
        }
    }
    if round % HOUSEKEEPING_EVERY == HOUSEKEEPING_EVERY - 1 {
        recovery::take_up(shared).await?;
        shared.database.prune(now(), Retention::default()).await?;
    }
    Ok(())
}

/// Removes the rows of an asset, then frees the bytes that were only its own.
async fn remove(shared: &Shared, id: MediaAssetId) -> Result<(), RecorderError> {
    let freed = shared.database.remove_asset(id, now()).await?;
    let mut chunks: BTreeSet<(TimelineId, u32)> = BTreeSet::new();
    for range in merge(freed) {
        shared.storage.free(range.timeline, range.chunk, range.offset, range.len).await?;
        chunks.insert((range.timeline, range.chunk));
    }
    for (timeline, chunk) in chunks {
        // A feed that still writes may have this file open for its next segment.
        if !shared.live.writes_to(timeline) && !shared.database.chunk_in_use(timeline, chunk).await? {
            shared.storage.remove_chunk(timeline, chunk).await?;
        }
    }
    Ok(())
}

/// Joins ranges that touch.
fn merge(mut ranges: Vec<FreedRange>) -> Vec<FreedRange> {
    ranges.sort_by_key(|range| (range.timeline, range.chunk, range.offset));
    let mut merged: Vec<FreedRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last)
                if (last.timeline, last.chunk) == (range.timeline, range.chunk)
                    && last.offset + last.len == range.offset =>
            {
                last.len += range.len;
            }
            _ => merged.push(range),
        }
    }
    merged
}
