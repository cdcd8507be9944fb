//! Brings the chunk files on disk into agreement with the rows about them.
//!
//! What always holds: no file goes that a row knows or that a feed still writes, and none at all
//! before it is certain that directory and database belong together. None is removed or cut because no row knows it
//! while the index is damaged: a row that cannot be read may.

use std::collections::{HashMap, HashSet};

use mediahooks_model::{TimelineId, chain};
use mediahooks_storage::ChunkFile;
use uuid::Uuid;

use crate::error::RecorderError;
use crate::state::Shared;

/// Cuts every chunk file back to its last row, and removes files that no row knows and no feed writes.
/// Reads all chunk files and the index of all segments.
pub(crate) async fn tidy_chunks(shared: &Shared) -> Result<(), RecorderError> {
    // In this order, for the reason given in `chunk_use`; a feed is live before its first file is.
    let files = shared.storage.chunk_files().await?;
    let live: HashSet<TimelineId> =
        files.iter().map(|file| file.timeline).filter(|timeline| shared.live.writes_to(*timeline)).collect();
    let extents = shared.database.chunk_extents().await?;
    let mut known: HashMap<(TimelineId, u32), u64> =
        extents.into_iter().map(|extent| ((extent.timeline, extent.chunk), extent.end)).collect();
    let has_more = |file: &ChunkFile| {
        !live.contains(&file.timeline)
            && known.get(&(file.timeline, file.chunk)).is_none_or(|end| file.bytes_behind(*end) > 0)
    };
    let may_remove = !files.iter().any(has_more) || is_sound(shared).await?;
    for file in files {
        let (timeline, chunk) = (file.timeline, file.chunk);
        let end = known.remove(&(timeline, chunk));
        if live.contains(&timeline) {
            continue;
        }
        match end {
            Some(end) if file.len < end => {
                tracing::error!(%timeline, chunk, have = file.len, want = end, "a chunk file is too short: it was changed from outside; run `mediahooks check`");
            }
            _ if !may_remove => {}
            None => {
                tracing::info!(%timeline, chunk, bytes = file.len, "removing a chunk file that nothing refers to");
                shared.storage.remove_chunk(timeline, chunk).await?;
            }
            Some(end) if file.bytes_behind(end) > 0 => {
                tracing::info!(%timeline, chunk, bytes = file.bytes_behind(end), "cutting off an unfinished segment");
                shared.storage.cut_back(timeline, chunk, end).await?;
            }
            Some(_) => {}
        }
    }
    // A feed that began meanwhile has files that were not listed.
    for (timeline, chunk) in known.into_keys().filter(|(timeline, _)| !shared.live.writes_to(*timeline)) {
        if !shared.storage.chunk_path(timeline, chunk).exists()
            && shared.database.chunk_in_use(timeline, chunk).await?
        {
            tracing::error!(%timeline, chunk, "a chunk file is missing: it was removed from outside; run `mediahooks check`");
        }
    }
    Ok(())
}

/// Whether the index can be believed when it knows nothing of a file.
async fn is_sound(shared: &Shared) -> Result<bool, RecorderError> {
    let is_sound = shared.database.is_index_sound().await?;
    if !is_sound {
        tracing::error!(
            "the index of segments is damaged: chunk files that it does not know of are kept; run `mediahooks check`"
        );
    }
    Ok(is_sound)
}

/// Compares the random identity that the database keeps with the one in the directory, and writes it
/// there when there is none. To a database that knows nothing of the files, all of them are litter.
pub(crate) async fn claim_directory(shared: &Shared) -> Result<(), RecorderError> {
    let mut fresh = [0; 32];
    let (front, back) = fresh.split_at_mut(16);
    front.copy_from_slice(Uuid::new_v4().as_bytes());
    back.copy_from_slice(Uuid::new_v4().as_bytes());
    let ours = hex::encode(shared.database.server_key("storage", fresh).await?);
    let directory = || shared.storage.root().to_owned();
    match shared.storage.identity().await? {
        Some(theirs) if theirs == ours => Ok(()),
        Some(_) => Err(RecorderError::ForeignMedia { directory: directory() }),
        None if !shared.database.has_segments().await? && !shared.storage.chunk_files().await?.is_empty() => {
            Err(RecorderError::UnknownMedia { directory: directory() })
        }
        None => Ok(shared.storage.set_identity(ours).await?),
    }
}

/// Who needs a chunk file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkUse {
    /// Rows point into it.
    Referred,
    /// No row does, but a feed may append to it.
    Written,
    /// Nobody.
    Unused,
}

/// Finds out who needs a chunk file.
pub(crate) async fn chunk_use(
    shared: &Shared,
    timeline: TimelineId,
    chunk: u32,
) -> Result<ChunkUse, RecorderError> {
    // The order matters. A feed leaves after its last row was written, and it writes the rows of one
    // chunk file before it begins the next, to which it then keeps: who is seen here to be done with
    // this file has written all of its rows before they are looked for.
    let done = !shared.live.writes_to(timeline)
        || shared.database.last_segment(timeline).await?.is_some_and(|newest| newest.chunk > chunk);
    Ok(match shared.database.chunk_in_use(timeline, chunk).await? {
        true => ChunkUse::Referred,
        false if done => ChunkUse::Unused,
        false => ChunkUse::Written,
    })
}

/// Removes the files that no row knows and no feed writes: what a failed write left and nobody could
/// take away at the time. Reads all chunk files and the index of all segments.
pub(crate) async fn remove_unknown(shared: &Shared) -> Result<(), RecorderError> {
    // In this order, for the reason given in `chunk_use`; a feed is live before its first file is.
    let files = shared.storage.chunk_files().await?;
    let live: HashSet<TimelineId> =
        files.iter().map(|file| file.timeline).filter(|timeline| shared.live.writes_to(*timeline)).collect();
    let extents = shared.database.chunk_extents().await?;
    let known: HashSet<(TimelineId, u32)> =
        extents.iter().map(|extent| (extent.timeline, extent.chunk)).collect();
    let is_unknown =
        |file: &ChunkFile| !live.contains(&file.timeline) && !known.contains(&(file.timeline, file.chunk));
    let unknown: Vec<ChunkFile> = files.into_iter().filter(is_unknown).collect();
    if unknown.is_empty() || !is_sound(shared).await? {
        return Ok(());
    }
    for file in unknown {
        let (timeline, chunk) = (file.timeline, file.chunk);
        if shared.readers.read_chunk(timeline, chunk) {
            continue;
        }
        match shared.storage.remove_chunk(timeline, chunk).await {
            Ok(()) => {
                tracing::info!(%timeline, chunk, bytes = file.len, "removed a chunk file that nothing refers to");
            }
            Err(error) => {
                tracing::error!(%timeline, chunk, error = chain(&error), "a chunk file that nothing refers to cannot be removed");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mediahooks_model::FeedId;

    use super::*;
    use crate::removal::tests::{Bench, feed, timeline};

    #[tokio::test]
    async fn a_file_that_no_row_knows_goes_unless_its_timeline_is_live() {
        let bench = Bench::new().await;
        let shared = &bench.shared;
        let _entry = shared.live.enter(feed(1), timeline(1), true).unwrap();
        for number in [1, 2] {
            shared.storage.create_chunk(timeline(number), 0, b"init".to_vec()).await.unwrap();
        }
        remove_unknown(shared).await.unwrap();
        assert!(shared.storage.chunk_path(timeline(1), 0).exists());
        assert!(!shared.storage.chunk_path(timeline(2), 0).exists());
        shared.live.leave(FeedId(Uuid::from_u128(1)));
        remove_unknown(shared).await.unwrap();
        assert_eq!(shared.storage.chunk_files().await.unwrap(), []);
    }

    #[tokio::test]
    async fn no_file_goes_or_shrinks_that_a_damaged_row_may_know() {
        let bench = Bench::new().await;
        let shared = &bench.shared;
        bench.unfinished(1).await;
        let known = shared.storage.chunk_path(timeline(1), 0);
        std::fs::OpenOptions::new().write(true).open(&known).unwrap().set_len(5000).unwrap();
        shared.storage.create_chunk(timeline(2), 0, b"init".to_vec()).await.unwrap();
        bench.damage("segment_tail", "segments", 5);
        tidy_chunks(shared).await.unwrap();
        remove_unknown(shared).await.unwrap();
        assert_eq!(std::fs::metadata(known).unwrap().len(), 5000);
        assert!(shared.storage.chunk_path(timeline(2), 0).exists());
    }
}
