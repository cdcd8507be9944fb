//! What a webhook tells, in types.
//!
//! [`Event::read`] takes the headers and the body of a request that [`crate::verify::Verifier`] has
//! accepted. A sender may add members, events and types at any time: members not known here are kept in
//! `other`, words not known in an `Other` variant, and a type not known becomes [`Payload::Unknown`]. Only
//! what contradicts the documented shape (a text where a number belongs) is an error.
//! [`Event::to_json`] writes an event again, with all that was kept.

mod feed;
mod media;
mod storage;
#[cfg(test)]
mod tests;
mod words;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use feed::{FeedEvent, FeedEventKind};
pub use media::{AssetType, MediaEvent, MediaEventKind, Metadata, Track};
pub use storage::{StorageEvent, StorageEventKind};

/// Wall-clock time as webhooks carry it: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// The same moment for the standard library; `None` when it lies outside what that can hold.
    pub fn system_time(self) -> Option<SystemTime> {
        let span = Duration::from_millis(self.0.unsigned_abs());
        if self.0 < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
    }
}

/// One event. Made by [`Event::read`], or of what happened with `Event::from`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The body's `type`, as sent: `media`, `feeds`, `thumbnail`, …
    pub type_name: String,
    /// The body's `event`, as sent: `completed`, `started`, … A thumbnail has none, so it is empty then.
    pub event_name: String,
    /// When it happened (Media Hooks) or was sent (hosted Millicast).
    pub timestamp: Option<Millis>,
    /// What it tells.
    pub payload: Payload,
    /// Members beside `type`, `event`, `timestamp` and `data` that this version does not know.
    pub other: Map<String, Value>,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one is handled at a time, and users match on what is in it")]
pub enum Payload {
    /// A recording or a clip changed.
    Media(MediaEvent),
    /// A feed came or went.
    Feeds(FeedEvent),
    /// The room for media has changed.
    Storage(StorageEvent),
    /// A picture of a live stream.
    Thumbnail(Thumbnail),
    /// A type that this version does not know: the body's `data`.
    Unknown(Value),
}

/// Why a verified body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not JSON, or without `type` and `event`.
    #[error("the webhook body is not an event: a JSON object with `type`, `event` and `data` is expected")]
    NotAnEvent(#[source] serde_json::Error),
    /// A member of `data` contradicts the documented shape.
    #[error("the `data` of a `{type_name}` webhook is not as documented")]
    Data {
        /// The body's `type`.
        type_name: String,
        /// Which member, and what is wrong with it.
        source: serde_json::Error,
    },
}

/// A picture of a live stream. Its facts come in headers, which no signature covers: the picture is
/// proven, where and when it was taken is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// The JPEG.
    pub jpeg: Bytes,
    /// `X-Millicast-Feed-Id`.
    pub feed_id: Option<String>,
    /// `X-Millicast-Stream-Id`, `account/stream`.
    pub stream_id: Option<String>,
    /// `X-Millicast-Token-Id`.
    pub token_id: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    type_name: String,
    #[serde(rename = "event")]
    event_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Millis>,
    #[serde(default)]
    data: Value,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Event {
    /// Reads the body of a verified request: a picture when its `Content-Type` is `image/jpeg`, JSON otherwise.
    ///
    /// # Errors
    /// The body is no event, or a known type contradicts its documented shape.
    pub fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, EventError> {
        if is_thumbnail(headers) { Ok(read_thumbnail(headers, body)) } else { Self::from_json(&body) }
    }

    /// Reads a JSON body.
    ///
    /// # Errors
    /// As [`Event::read`].
    pub fn from_json(body: &[u8]) -> Result<Self, EventError> {
        let Envelope { type_name, event_name, timestamp, data, other } =
            serde_json::from_slice(body).map_err(EventError::NotAnEvent)?;
        let payload = match type_name.as_str() {
            "media" => {
                let read: MediaEvent = read_data(&type_name, data)?;
                Payload::Media(MediaEvent { kind: event_name.clone().into(), ..read.complete() })
            }
            "feeds" => {
                let read: FeedEvent = read_data(&type_name, data)?;
                Payload::Feeds(FeedEvent { kind: event_name.clone().into(), ..read.complete() })
            }
            "storage" => {
                let read: StorageEvent = read_data(&type_name, data)?;
                Payload::Storage(StorageEvent { kind: event_name.clone().into(), ..read })
            }
            _ => Payload::Unknown(data),
        };
        Ok(Self { type_name, event_name, timestamp, payload, other })
    }

    /// Writes it as the body of a webhook. `None` for a picture, whose body is the picture.
    pub fn to_json(&self) -> Option<String> {
        let data = match &self.payload {
            Payload::Media(media) => serde_json::to_value(media),
            Payload::Feeds(feed) => serde_json::to_value(feed),
            Payload::Storage(storage) => serde_json::to_value(storage),
            Payload::Unknown(data) => Ok(data.clone()),
            Payload::Thumbnail(_) => return None,
        };
        let envelope = Envelope {
            type_name: self.type_name.clone(),
            event_name: self.event_name.clone(),
            timestamp: self.timestamp,
            data: data.ok()?,
            other: self.other.clone(),
        };
        serde_json::to_string(&envelope).ok()
    }

    /// The same, having happened at `timestamp`.
    #[must_use]
    pub fn at(mut self, timestamp: Millis) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Its number among the events of its subject, counted from 1 without holes. Hosted Millicast numbers
    /// nothing. [`crate::order::Order`] compares.
    pub fn seq(&self) -> Option<u64> {
        match &self.payload {
            Payload::Media(media) => media.seq,
            Payload::Feeds(feed) => feed.seq,
            Payload::Storage(storage) => storage.seq,
            Payload::Thumbnail(_) | Payload::Unknown(_) => None,
        }
    }

    /// Whom it happened to: the asset's or the feed's id, or `storage`. Events of one subject have an order.
    pub fn subject(&self) -> Option<&str> {
        match &self.payload {
            Payload::Media(media) => Some(&media.media_asset_id),
            Payload::Feeds(feed) => Some(&feed.feed_id),
            Payload::Storage(_) => Some("storage"),
            Payload::Thumbnail(thumbnail) => thumbnail.feed_id.as_deref(),
            Payload::Unknown(_) => None,
        }
    }
}

fn event(type_name: &str, event_name: &str, payload: Payload) -> Event {
    Event {
        type_name: type_name.to_owned(),
        event_name: event_name.to_owned(),
        timestamp: None,
        payload,
        other: Map::new(),
    }
}

impl From<MediaEvent> for Event {
    fn from(media: MediaEvent) -> Self {
        event("media", media.kind.clone().as_str(), Payload::Media(media))
    }
}

impl From<FeedEvent> for Event {
    fn from(feed: FeedEvent) -> Self {
        event("feeds", feed.kind.clone().as_str(), Payload::Feeds(feed))
    }
}

impl From<StorageEvent> for Event {
    fn from(storage: StorageEvent) -> Self {
        event("storage", storage.kind.clone().as_str(), Payload::Storage(storage))
    }
}

impl From<Thumbnail> for Event {
    fn from(thumbnail: Thumbnail) -> Self {
        event("thumbnail", "", Payload::Thumbnail(thumbnail))
    }
}

/// Whether the request carries a picture instead of JSON.
pub fn is_thumbnail(headers: &HeaderMap) -> bool {
    let content_type = text(headers, "content-type").unwrap_or_default();
    content_type.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("image/jpeg"))
}

fn read_data<T: DeserializeOwned>(type_name: &str, data: Value) -> Result<T, EventError> {
    serde_json::from_value(data)
        .map_err(|source| EventError::Data { type_name: type_name.to_owned(), source })
}

/// Takes a member out of those not known. Hosted Millicast does not have it and may add one of the same
/// name, so that another shape is no error: it stays where it is.
fn adopt<T: DeserializeOwned>(other: &mut Map<String, Value>, name: &str) -> Option<T> {
    let value = T::deserialize(other.get(name)?).ok()?;
    other.remove(name);
    Some(value)
}

fn read_thumbnail(headers: &HeaderMap, jpeg: Bytes) -> Event {
    let owned = |name| text(headers, name).map(str::to_owned);
    let number = |name| text(headers, name)?.trim().parse().ok();
    let thumbnail = Thumbnail {
        jpeg,
        feed_id: owned("x-millicast-feed-id"),
        stream_id: owned("x-millicast-stream-id"),
        token_id: number("x-millicast-token-id"),
    };
    Event { timestamp: number("x-millicast-timestamp").map(Millis), ..Event::from(thumbnail) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
