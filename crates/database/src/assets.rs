//! Assets as they are read, and the one change to them that is not a step of their life.

use crate::{Asset, AssetQuery, Database, DatabaseError, KeptReply, Result};
use mediahooks_model::{MediaAssetId, Timestamp};

impl Database {
    /// The asset of this id, whatever its state.
    pub async fn asset(&self, id: MediaAssetId) -> Result<Option<Asset>> {
        unimplemented!()
    }

    /// A page of assets; never deleted ones.
    pub async fn assets(&self, query: AssetQuery) -> Result<Vec<Asset>> {
        unimplemented!()
    }

    /// Changes where an asset is published; an absent argument leaves its member as it is.
    ///
    /// Errors: [`DatabaseError::NotFound`], also for one that is deleted;
    /// [`Conflict::CustomPath`](crate::Conflict::CustomPath).
    pub async fn update_asset_publication(
        &self,
        id: MediaAssetId,
        media_distribution_id: Option<String>,
        custom_path: Option<String>,
    ) -> Result<Asset> {
        unimplemented!()
    }

    /// The reply that was kept for an idempotency key.
    pub async fn kept_reply(&self, key: &str) -> Result<Option<KeptReply>> {
        unimplemented!()
    }

    /// Every asset in `processing`, oldest first: what a start after a crash has to take up again.
    pub async fn unfinished_assets(&self) -> Result<Vec<Asset>> {
        unimplemented!()
    }

    /// Assets whose time is over and that nobody has marked for removal yet, longest overdue first.
    pub async fn expiring_assets(&self, now: Timestamp, limit: u32) -> Result<Vec<MediaAssetId>> {
        unimplemented!()
    }

    /// Assets that are marked for removal, longest marked first.
    pub async fn deleting_assets(&self, limit: u32) -> Result<Vec<MediaAssetId>> {
        unimplemented!()
    }
}
