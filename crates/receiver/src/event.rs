//! What a webhook tells, in types.
//!
//! [`Event::read`] takes the headers and the body of a request that [`crate::verify::Verifier`] has
//! accepted. A sender may add members, events and types at any time: members not known here are kept in
//! `other`, words not known in an `Other` variant, and a type not known becomes [`Payload::Unknown`]. Only
//! what contradicts the documented shape (a text where a number belongs) is an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The body's `type`, as sent: `media`, `feeds`, `thumbnail`, …
    pub type_name: String,
    /// The body's `event`, as sent: `completed`, `started`, … A thumbnail has none, so it is empty then.
    pub event_name: String,
    /// When it happened (Media Hooks) or was sent (hosted Millicast). Events may arrive out of
    /// order: compare with [`crate::order::Newest`].
    pub timestamp: Option<Millis>,
    /// What it tells.
    pub payload: Payload,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// A recording or a clip changed.
    Media(MediaEvent),
    /// A feed came or went.
    Feeds(FeedEvent),
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

/// Defines an enum of the words of a wire member, which keeps words it does not know.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $variant,)+
            /// A word that this version does not know.
            Other(String),
        }

        impl $name {
            /// The word as sent.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }
    };
}

words! {
    /// What happened to an asset.
    MediaEventKind {
        /// A recording began, or a clip was requested.
        Processing = "processing",
        /// The file can be downloaded.
        Completed = "completed",
        /// It could not be made.
        Errored = "errored",
        /// It was marked for removal.
        Deleted = "deleted",
    }
}

words! {
    /// What an asset is.
    AssetType {
        /// All that a feed sent, from its first to its last sample.
        Recording = "recording",
        /// A chosen range.
        Clip = "clip",
        /// What clips are cut from; never in a webhook, but readable through REST.
        Timeline = "timeline",
    }
}

words! {
    /// What happened to a feed.
    FeedEventKind {
        /// A publisher was accepted.
        Started = "started",
        /// It left, was stopped or fell silent.
        Ended = "ended",
    }
}

/// A recording or a clip changed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaEvent {
    /// What happened: the body's `event`.
    #[serde(skip, default = "no_media_kind")]
    pub kind: MediaEventKind,
    /// The asset: an opaque text.
    pub media_asset_id: String,
    /// Recording or clip.
    #[serde(rename = "type")]
    pub asset_type: AssetType,
    /// The publish token of the source, when there was one.
    pub token_id: Option<i64>,
    /// The stream it comes from.
    pub stream_name: Option<String>,
    /// `account/stream`.
    pub stream_id: Option<String>,
    /// A channel of a sibling product of hosted Millicast; excludes the three members above.
    pub channel_id: Option<String>,
    /// Clip: when it was requested; recording: when it began.
    pub start_time: Option<Millis>,
    /// When it will be removed; absent: it is kept.
    pub expiration: Option<Millis>,
    /// What the file is. Empty while processing; hosted Millicast may leave it empty always.
    pub metadata: Option<Metadata>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn no_media_kind() -> MediaEventKind {
    MediaEventKind::Other(String::new())
}

/// What a finished file is.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The container, such as `MPEG-4`.
    pub format: Option<String>,
    /// Bytes per stored form.
    pub sizes: Option<std::collections::BTreeMap<String, u64>>,
    /// Whole seconds by the schema; fractions are accepted.
    pub duration: Option<f64>,
    /// What it holds.
    pub tracks: Option<Vec<Track>>,
    /// Names of pictures.
    pub thumbnails: Option<Vec<String>>,
    /// How many files make it up.
    pub file_count: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One elementary sequence of a file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Track {
    /// `video` or `audio`.
    #[serde(rename = "type")]
    pub track_type: Option<String>,
    /// Such as `H264` or `AAC`.
    pub codec: Option<String>,
    /// Bits per second.
    pub bitrate: Option<u64>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Frames per second; may be fractional, such as 29.97.
    pub framerate: Option<f64>,
    /// Audio channels.
    pub channels: Option<u32>,
    /// Audio samples per second.
    pub samplerate: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A feed came or went.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedEvent {
    /// What happened: the body's `event`.
    #[serde(skip, default = "no_feed_kind")]
    pub kind: FeedEventKind,
    /// The ingest connection: a UUID.
    pub feed_id: String,
    /// The account.
    pub account_id: Option<String>,
    /// The stream's name.
    pub name: Option<String>,
    /// `account/stream`.
    pub stream_id: Option<String>,
    /// Whether it is live.
    pub active: Option<bool>,
    /// When it began; absent in `ended`.
    pub started: Option<Millis>,
    /// When it ended; only in `ended`.
    pub ended: Option<Millis>,
    /// Its rank among feeds of the same source; absent ranks lowest.
    pub priority: Option<i64>,
    /// Which source of the stream; absent is the main source.
    pub source_id: Option<String>,
    /// Which quality layer; the empty text differs from absent.
    pub simulcast_id: Option<String>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn no_feed_kind() -> FeedEventKind {
    FeedEventKind::Other(String::new())
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

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    type_name: String,
    #[serde(rename = "event")]
    event_name: String,
    timestamp: Option<Millis>,
    #[serde(default)]
    data: Value,
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
        let Envelope { type_name, event_name, timestamp, data } =
            serde_json::from_slice(body).map_err(EventError::NotAnEvent)?;
        let payload = match type_name.as_str() {
            "media" => {
                let read: MediaEvent = read_data(&type_name, data)?;
                Payload::Media(MediaEvent { kind: event_name.clone().into(), ..read })
            }
            "feeds" => {
                let read: FeedEvent = read_data(&type_name, data)?;
                Payload::Feeds(FeedEvent { kind: event_name.clone().into(), ..read })
            }
            _ => Payload::Unknown(data),
        };
        Ok(Self { type_name, event_name, timestamp, payload })
    }

    /// Whom it happened to: the asset's or the feed's id. Events of one subject have an order.
    pub fn subject(&self) -> Option<&str> {
        match &self.payload {
            Payload::Media(media) => Some(&media.media_asset_id),
            Payload::Feeds(feed) => Some(&feed.feed_id),
            Payload::Thumbnail(thumbnail) => thumbnail.feed_id.as_deref(),
            Payload::Unknown(_) => None,
        }
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

fn read_thumbnail(headers: &HeaderMap, jpeg: Bytes) -> Event {
    let owned = |name| text(headers, name).map(str::to_owned);
    let number = |name| text(headers, name)?.trim().parse().ok();
    Event {
        type_name: "thumbnail".to_owned(),
        event_name: String::new(),
        timestamp: number("x-millicast-timestamp").map(Millis),
        payload: Payload::Thumbnail(Thumbnail {
            jpeg,
            feed_id: owned("x-millicast-feed-id"),
            stream_id: owned("x-millicast-stream-id"),
            token_id: number("x-millicast-token-id"),
        }),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn media(body: &str) -> MediaEvent {
        match Event::from_json(body.as_bytes()).unwrap().payload {
            Payload::Media(media) => media,
            other => panic!("{other:?}"),
        }
    }

    fn feed(body: &str) -> FeedEvent {
        match Event::from_json(body.as_bytes()).unwrap().payload {
            Payload::Feeds(feed) => feed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clip_in_processing_has_empty_metadata() {
        let body = r#"{"type":"media","event":"processing","timestamp":1721240000110,"data":{
            "mediaAssetId":"0f1e2d3c4b5a69788796a5b4c3d2e1f0","type":"clip","tokenId":42,
            "streamName":"hall","streamId":"ab12Cd/hall","startTime":1721240000000,
            "expiration":1723832000000,"metadata":{}}}"#;
        let event = Event::from_json(body.as_bytes()).unwrap();
        assert_eq!((event.type_name.as_str(), event.timestamp), ("media", Some(Millis(1_721_240_000_110))));
        assert_eq!(event.subject(), Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0"));
        let clip = media(body);
        assert_eq!((clip.kind, clip.asset_type), (MediaEventKind::Processing, AssetType::Clip));
        assert_eq!((clip.token_id, clip.expiration), (Some(42), Some(Millis(1_723_832_000_000))));
        assert_eq!(clip.metadata, Some(Metadata::default()));
    }

    #[test]
    fn a_completed_recording_tells_what_the_file_is() {
        let completed = media(
            r#"{"event":"completed","timestamp":2,"type":"media","data":{"type":"recording",
            "mediaAssetId":"a","tokenId":1,"streamName":"s","streamId":"x/s","startTime":1,"metadata":{
            "format":"MPEG-4","sizes":{"mp4":734003},"duration":12,"fileCount":1,"thumbnails":[],"tracks":[
            {"type":"video","codec":"H264","bitrate":480000,"width":640,"height":360,"framerate":29.97},
            {"type":"audio","codec":"AAC","bitrate":96000,"channels":2,"samplerate":48000,"language":"de"}]}}}"#,
        );
        let metadata = completed.metadata.unwrap();
        assert_eq!(metadata.sizes.unwrap()["mp4"], 734_003);
        let tracks = metadata.tracks.unwrap();
        assert_eq!((tracks[0].framerate, tracks[0].height), (Some(29.97), Some(360)));
        assert_eq!(tracks[1].other["language"], "de");
    }

    #[test]
    fn absent_and_null_members_are_the_same() {
        let errored = media(
            r#"{"type":"media","event":"errored","timestamp":5,"data":{"mediaAssetId":"a","type":"recording",
            "channelId":"ch1","tokenId":null,"startTime":4}}"#,
        );
        assert_eq!(errored.kind, MediaEventKind::Errored);
        assert_eq!((errored.token_id, errored.expiration, errored.metadata), (None, None, None));
        assert_eq!(errored.channel_id.as_deref(), Some("ch1"));
    }

    #[test]
    fn feeds_start_and_end() {
        let started = feed(
            r#"{"type":"feeds","event":"started","timestamp":9,"data":{"feedId":"f","accountId":"ab12Cd",
            "name":"stage/left","streamId":"ab12Cd/stage/left","active":true,"started":8,"priority":-2,
            "sourceId":"cam1","simulcastId":""}}"#,
        );
        assert_eq!((started.kind, started.active), (FeedEventKind::Started, Some(true)));
        assert_eq!((started.priority, started.simulcast_id.as_deref()), (Some(-2), Some("")));
        let ended = feed(
            r#"{"type":"feeds","event":"ended","timestamp":11,"data":{"feedId":"f","accountId":"ab12Cd",
            "name":"stage/left","streamId":"ab12Cd/stage/left","active":false,"ended":11}}"#,
        );
        assert_eq!((ended.kind, ended.started, ended.ended), (FeedEventKind::Ended, None, Some(Millis(11))));
    }

    #[test]
    fn what_is_not_known_yet_survives() {
        let media = media(
            r#"{"type":"media","event":"archived","timestamp":1,"extra":1,"data":{"mediaAssetId":"a",
            "type":"vod","tier":{"name":"cold"}}}"#,
        );
        assert_eq!(media.kind, MediaEventKind::Other("archived".into()));
        assert_eq!(media.asset_type.as_str(), "vod");
        assert_eq!(media.other["tier"]["name"], "cold");

        let event = Event::from_json(
            br#"{"type":"transcoder","event":"ACTIVE","timestamp":1,"data":{"transcoderId":"t"}}"#,
        );
        let Payload::Unknown(data) = event.unwrap().payload else { panic!("known") };
        assert_eq!(data["transcoderId"], "t");
    }

    #[test]
    fn a_thumbnail_is_a_picture_with_headers() {
        let headers: HeaderMap = [
            ("content-type", "Image/JPEG"),
            ("x-millicast-timestamp", "1721240000000"),
            ("x-millicast-feed-id", "f"),
            ("x-millicast-stream-id", "ab12Cd/hall"),
            ("x-millicast-token-id", "42"),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
        let event = Event::read(&headers, Bytes::from_static(b"\xff\xd8\xff")).unwrap();
        assert_eq!(event.timestamp, Some(Millis(1_721_240_000_000)));
        let Payload::Thumbnail(thumbnail) = event.payload else { panic!("no picture") };
        assert_eq!((thumbnail.jpeg.len(), thumbnail.token_id), (3, Some(42)));
        assert_eq!(thumbnail.stream_id.as_deref(), Some("ab12Cd/hall"));
    }

    #[test]
    fn what_contradicts_the_documented_shape_is_an_error_with_the_member() {
        let refused = |body: &str| Event::from_json(body.as_bytes()).unwrap_err();
        assert!(matches!(refused(""), EventError::NotAnEvent(_)));
        assert!(matches!(refused("[]"), EventError::NotAnEvent(_)));
        assert!(matches!(refused(r#"{"type":"media"}"#), EventError::NotAnEvent(_)));
        assert!(matches!(refused(&"[".repeat(100_000)), EventError::NotAnEvent(_)));
        let EventError::Data { type_name, source } =
            refused(r#"{"type":"media","event":"deleted","data":{}}"#)
        else {
            panic!("another error")
        };
        assert_eq!(type_name, "media");
        assert!(source.to_string().contains("mediaAssetId"));
    }

    #[test]
    fn moments_reach_the_standard_library() {
        assert_eq!(Millis(1500).system_time(), Some(UNIX_EPOCH + Duration::from_millis(1500)));
        assert_eq!(Millis(-1).system_time(), Some(UNIX_EPOCH - Duration::from_millis(1)));
        let _ = (Millis(i64::MIN).system_time(), Millis(i64::MAX).system_time());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in any::<Vec<u8>>(), data in "\\PC{0,80}") {
            let _ = Event::from_json(&body);
            let _ = Event::from_json(format!("{{\"type\":\"media\",\"event\":\"x\",\"data\":{data}}}").as_bytes());
        }
    }
}
