//! Forgetting what is too old to matter.

use crate::{Database, Result};
use mediahooks_model::Timestamp;
use std::time::Duration;

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Replies to requests with an idempotency key; default 24 h.
    pub kept_replies: Duration,
    /// Events, settled deliveries with their attempts, and what is left of deleted assets, ended
    /// feeds; default 30 days.
    pub history: Duration,
    /// Rows removed in one transaction, so that other writers hardly notice; default 500.
    pub batch: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            kept_replies: Duration::from_secs(24 * 3600),
            history: Duration::from_secs(30 * 24 * 3600),
            batch: 500,
        }
    }
}

/// How many rows were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Kept replies.
    pub kept_replies: u64,
    /// Deliveries, without their attempts.
    pub deliveries: u64,
    /// Events.
    pub events: u64,
    /// Ended feeds that nothing refers to.
    pub feeds: u64,
    /// Deleted assets.
    pub assets: u64,
}

impl Database {
    /// Removes what is older than `retention` says, in small transactions.
    pub async fn prune(&self, now: Timestamp, retention: Retention) -> Result<Pruned> {
        unimplemented!()
    }
}
