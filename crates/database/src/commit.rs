//! The one write path of the domain.

use crate::{Asset, Change, Database, DatabaseError, Result};
use mediahooks_model::Timestamp;

impl Database {
    /// Applies `changes` in order at `now`, all of them or none, together with the events they
    /// cause and one delivery per webhook that wants them. Returns the assets that were created or
    /// stepped, in the order of the changes.
    ///
    /// Errors: [`DatabaseError::Refused`] when an asset does not take a step;
    /// [`DatabaseError::NotFound`] when a change is about something that does not exist;
    /// [`DatabaseError::KeyUsed`]; [`Conflict`](crate::Conflict) when an id or a custom path is
    /// taken, or a recipe asks for segments that are not stored (any more).
    pub async fn commit(&self, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Asset>> {
        unimplemented!()
    }
}
