//! Webhooks of type `feeds`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::words;
use super::{Millis, adopt};

words! {
    /// What happened to a feed.
    FeedEventKind {
        /// A publisher was accepted.
        Started = "started",
        /// It left, was stopped or fell silent.
        Ended = "ended",
    }
}

/// A feed came or went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FeedEvent {
    /// What happened: the body's `event`.
    #[serde(skip, default = "no_feed_kind")]
    pub kind: FeedEventKind,
    /// The ingest connection: a UUID.
    pub feed_id: String,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The stream's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `account/stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Whether it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// When it began; absent in `ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Millis>,
    /// When it ended; only in `ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Millis>,
    /// Its rank among feeds of the same source; absent ranks lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Which source of the stream; absent is the main source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Which quality layer; the empty text differs from absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulcast_id: Option<String>,
    /// Its number among the events of the feed: 1, 2. Hosted Millicast has none.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl FeedEvent {
    /// An event with nothing but what every event has.
    pub fn new(kind: FeedEventKind, feed_id: impl Into<String>) -> Self {
        Self {
            kind,
            feed_id: feed_id.into(),
            account_id: None,
            name: None,
            stream_id: None,
            active: None,
            started: None,
            ended: None,
            priority: None,
            source_id: None,
            simulcast_id: None,
            seq: None,
            other: Map::new(),
        }
    }

    pub(super) fn complete(mut self) -> Self {
        self.seq = adopt(&mut self.other, "seq");
        self
    }
}

fn no_feed_kind() -> FeedEventKind {
    FeedEventKind::Other(String::new())
}
