//! The end of an asset.

use crate::{Database, DatabaseError, FreedRange, Result};
use mediahooks_model::{MediaAssetId, Timestamp};

impl Database {
    /// Removes an asset that is marked for removal, with every segment that no other asset uses.
    /// Returns where their bytes were, adjacent ones joined; free them after this returns.
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`DatabaseError::Refused`] unless it is `deleting`.
    pub async fn remove_asset(&self, id: MediaAssetId, now: Timestamp) -> Result<Vec<FreedRange>> {
        unimplemented!()
    }
}
