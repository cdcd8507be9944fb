//! Reading everything, in pages: for start-up and for the offline verifier.

use crate::{ChunkExtent, Database, Recipe, Result, Segment};
use mediahooks_model::{MediaAssetId, TimelineId};

impl Database {
    /// What every chunk file has to hold. A file that is not listed holds nothing that is needed.
    pub async fn chunk_extents(&self) -> Result<Vec<ChunkExtent>> {
        unimplemented!()
    }

    /// How many segments are stored.
    pub async fn segment_count(&self) -> Result<u64> {
        unimplemented!()
    }

    /// A page of all segments, ordered by timeline and sequence, after the one given.
    pub async fn segments_after(&self, after: Option<(TimelineId, u64)>, limit: u32) -> Result<Vec<Segment>> {
        unimplemented!()
    }

    /// A page of all recipes, ordered by asset, after the one given.
    pub async fn recipes_after(
        &self,
        after: Option<MediaAssetId>,
        limit: u32,
    ) -> Result<Vec<(MediaAssetId, Recipe)>> {
        unimplemented!()
    }
}
