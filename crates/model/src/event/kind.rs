//! What can happen, and how it is called in bodies, subscriptions and metrics.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What happened to a recording or a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaEvent {
    /// A recording began, or a clip was requested.
    Processing,
    /// The file can be downloaded.
    Completed,
    /// It could not be made.
    Errored,
    /// It was marked for removal.
    Deleted,
}

/// What happened to a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedEvent {
    /// A publisher was accepted.
    Started,
    /// It left, was stopped or fell silent.
    Ended,
}

/// What became of the room for media. Ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageEvent {
    /// There is little: old timelines are freed before their time.
    Low,
    /// There is less than the reserve: new publishers are refused.
    Refusing,
    /// There is next to none: live publishers are ended.
    Full,
    /// There is enough again.
    Recovered,
}

impl StorageEvent {
    /// What the server does about it, as the body says it.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Low => "freeingTimelines",
            Self::Refusing => "refusingPublishers",
            Self::Full => "endingPublishers",
            Self::Recovered => "none",
        }
    }
}

/// Every kind of event, across the types that a webhook can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `media.*`
    Media(MediaEvent),
    /// `feeds.*`
    Feeds(FeedEvent),
    /// `storage.*`
    Storage(StorageEvent),
    /// Legacy `recordings.completed`; sent by the test call only.
    Recordings,
    /// `transcoder.ACTIVE`; sent by the test call only.
    Transcoder,
    /// `viewerConnection.FirstViewerConnection`; sent by the test call only.
    ViewerConnection,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 13] = [
        Self::Media(MediaEvent::Processing),
        Self::Media(MediaEvent::Completed),
        Self::Media(MediaEvent::Errored),
        Self::Media(MediaEvent::Deleted),
        Self::Feeds(FeedEvent::Started),
        Self::Feeds(FeedEvent::Ended),
        Self::Storage(StorageEvent::Low),
        Self::Storage(StorageEvent::Refusing),
        Self::Storage(StorageEvent::Full),
        Self::Storage(StorageEvent::Recovered),
        Self::Recordings,
        Self::Transcoder,
        Self::ViewerConnection,
    ];

    /// The body's `type`.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Media(_) => "media",
            Self::Feeds(_) => "feeds",
            Self::Storage(_) => "storage",
            Self::Recordings => "recordings",
            Self::Transcoder => "transcoder",
            Self::ViewerConnection => "viewerConnection",
        }
    }

    /// The body's `event`.
    pub fn event_name(self) -> &'static str {
        match self {
            Self::Media(MediaEvent::Processing) => "processing",
            Self::Media(MediaEvent::Completed) => "completed",
            Self::Media(MediaEvent::Errored) => "errored",
            Self::Media(MediaEvent::Deleted) => "deleted",
            Self::Feeds(FeedEvent::Started) => "started",
            Self::Feeds(FeedEvent::Ended) => "ended",
            Self::Storage(StorageEvent::Low) => "low",
            Self::Storage(StorageEvent::Refusing) => "refusing",
            Self::Storage(StorageEvent::Full) => "full",
            Self::Storage(StorageEvent::Recovered) => "recovered",
            Self::Recordings => "completed",
            Self::Transcoder => "ACTIVE",
            Self::ViewerConnection => "FirstViewerConnection",
        }
    }

    /// The kinds that `text` names: every one of a type, or the one that is `type.event`. None for a text
    /// that names nothing.
    pub fn named(text: &str) -> Vec<Self> {
        let is_named = |kind: &Self| kind.type_name() == text || kind.to_string() == text;
        Self::ALL.into_iter().filter(is_named).collect()
    }

    /// Reads what [`fmt::Display`] writes, `type.event`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == text)
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a kind of event"))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.type_name(), self.event_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_written() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(&kind.to_string()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<EventKind>(&json).unwrap(), kind);
        }
    }
}
