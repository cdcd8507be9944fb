//! Webhooks of type `storage`: Media Hooks only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::words;

words! {
    /// What became of the room for media.
    StorageEventKind {
        /// There is little: old timelines are freed before their time.
        Low = "low",
        /// There is less than the reserve: new publishers are refused.
        Refusing = "refusing",
        /// There is next to none: live publishers are ended.
        Full = "full",
        /// There is enough again.
        Recovered = "recovered",
    }
}

/// The room for media on the server's disk has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StorageEvent {
    /// What happened: the body's `event`.
    #[serde(skip, default = "no_storage_kind")]
    pub kind: StorageEventKind,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// What the server does about it: `freeingTimelines`, `refusingPublishers`, `endingPublishers` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What is free, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The whole disk, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// With less than this, timelines are freed before their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<u64>,
    /// With less than this, new publishers are refused; with less than a quarter of it, all are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Its number among these events, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl StorageEvent {
    /// An event with nothing but what every event has.
    pub fn new(kind: StorageEventKind) -> Self {
        Self {
            kind,
            account_id: None,
            action: None,
            free_bytes: None,
            total_bytes: None,
            low_bytes: None,
            reserve_bytes: None,
            seq: None,
            other: Map::new(),
        }
    }
}

fn no_storage_kind() -> StorageEventKind {
    StorageEventKind::Other(String::new())
}
