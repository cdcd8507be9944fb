//! What there is one of: the account, its API secrets, its expiration rules and the server's keys.

use mediahooks_model::{AccountId, ExpirationRules, Timestamp};

use crate::{Database, DatabaseError, Result};

/// A secret that opens the REST API. The secret itself is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSecret {
    /// Its name; unique.
    pub name: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// When it was added.
    pub created: Timestamp,
}

impl Database {
    /// The account this server belongs to; `new` becomes it on the first start.
    pub async fn account_or_create(&self, new: AccountId, now: Timestamp) -> Result<AccountId> {
        unimplemented!()
    }

    /// Adds an API secret by its SHA-256.
    ///
    /// Errors: [`Conflict::Exists`](crate::Conflict::Exists) when the name is taken.
    pub async fn add_api_secret(&self, name: String, sha256: [u8; 32], now: Timestamp) -> Result<()> {
        unimplemented!()
    }

    /// Every API secret, oldest first.
    pub async fn api_secrets(&self) -> Result<Vec<ApiSecret>> {
        unimplemented!()
    }

    /// Removes an API secret; false when there is none of this name.
    pub async fn remove_api_secret(&self, name: String) -> Result<bool> {
        unimplemented!()
    }

    /// The server's key for a purpose; `fresh` becomes it when there is none yet.
    pub async fn server_key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        unimplemented!()
    }

    /// How long assets are kept.
    pub async fn expiration_rules(&self) -> Result<ExpirationRules> {
        unimplemented!()
    }

    /// Changes how long assets are kept. Timelines that exist get a new expiration at once, counted
    /// from their creation; recordings and clips keep theirs.
    pub async fn set_expiration_rules(&self, rules: ExpirationRules) -> Result<()> {
        unimplemented!()
    }
}
