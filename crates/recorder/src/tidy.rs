//! Brings the chunk files on disk into agreement with the rows about them.

use std::collections::HashMap;

use mediahooks_database::ChunkExtent;
use mediahooks_model::TimelineId;

use crate::error::RecorderError;
use crate::state::Shared;

/// Cuts every chunk file back to its last row, and removes files that no row knows.
pub(crate) async fn tidy_chunks(shared: &Shared, extents: Vec<ChunkExtent>) -> Result<(), RecorderError> {
    let mut known: HashMap<(TimelineId, u32), u64> =
        extents.into_iter().map(|extent| ((extent.timeline, extent.chunk), extent.end)).collect();
    for file in shared.storage.chunk_files().await? {
        match known.remove(&(file.timeline, file.chunk)) {
            None => {
                tracing::info!(timeline = %file.timeline, chunk = file.chunk, bytes = file.len, "removing a chunk file that nothing refers to");
                shared.storage.remove_chunk(file.timeline, file.chunk).await?;
            }
            Some(end) if file.len > end => {
                tracing::info!(timeline = %file.timeline, chunk = file.chunk, bytes = file.len - end, "cutting off an unfinished segment");
                shared.storage.cut_back(file.timeline, file.chunk, end).await?;
            }
            Some(end) if file.len < end => {
                tracing::error!(timeline = %file.timeline, chunk = file.chunk, have = file.len, want = end, "a chunk file is too short: it was changed from outside; run `mediahooks check`");
            }
            Some(_) => {}
        }
    }
    for ((timeline, chunk), _) in known {
        tracing::error!(%timeline, chunk, "a chunk file is missing: it was removed from outside; run `mediahooks check`");
    }
    Ok(())
}
