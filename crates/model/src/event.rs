//! Events and the JSON bodies that tell of them (`type`, `event`, `timestamp`, `data`).
//!
//! A body is made once, when the event happens, and every attempt sends the same bytes.

mod kind;

use serde::{Deserialize, Serialize};

use crate::asset::AssetType;
use crate::ids::{AccountId, ClipRequestId, EventId, FeedId, MediaAssetId, StreamName, TokenId};
use crate::metadata::Metadata;
use crate::time::Timestamp;

pub use self::kind::{EventKind, FeedEvent, MediaEvent, StorageEvent};

/// Something that happened, as it is told to webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Stable over all attempts and all webhooks.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// Whom it happened to: the asset's or the feed's id, or `storage`. Events of one subject are delivered in
    /// order.
    pub subject: String,
    /// The stream concerned, if any; webhook filters look at it.
    pub stream_name: Option<StreamName>,
    /// The token it was published with, if any; webhooks can be limited to some.
    pub token: Option<TokenId>,
    /// When it happened, in whole milliseconds; strictly rising per subject.
    pub timestamp: Timestamp,
    /// The JSON to send.
    pub body: String,
}

/// The time of a subject's next event: `now` in whole milliseconds, and never at or before `last`.
pub fn event_time(now: Timestamp, last: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::from_millis(now.as_millis());
    match last {
        Some(last) if last >= now => Timestamp::from_millis(last.as_millis() + 1),
        _ => now,
    }
}

/// The facts of a media event.
#[derive(Debug, Clone)]
pub struct MediaFacts<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The asset.
    pub asset: MediaAssetId,
    /// Recording or clip.
    pub asset_type: AssetType,
    /// The request that a clip came of.
    pub request: Option<ClipRequestId>,
    /// The token that published the source.
    pub token: Option<TokenId>,
    /// The stream it comes from.
    pub stream_name: &'a StreamName,
    /// Clip: when it was requested; recording: when it began.
    pub start_time: Timestamp,
    /// When it will be removed.
    pub expiration: Option<Timestamp>,
    /// What the file is, once there is one.
    pub metadata: Option<&'a Metadata>,
    /// Why it could not be made, once that is known.
    pub error: Option<&'a str>,
    /// Which of the asset's events this is; 1 is the first.
    pub seq: u64,
}

#[derive(Serialize)]
struct Body<T> {
    r#type: &'static str,
    event: &'static str,
    timestamp: i64,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MediaData<'a> {
    media_asset_id: MediaAssetId,
    r#type: AssetType,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<ClipRequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    stream_name: &'a StreamName,
    stream_id: String,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MetadataMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    seq: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MetadataMember<'a> {
    Empty {},
    Filled(&'a Metadata),
}

/// The event of a change of an asset, with its body.
pub fn media_event(id: EventId, event: MediaEvent, timestamp: Timestamp, facts: &MediaFacts<'_>) -> Event {
    let metadata = match event {
        MediaEvent::Processing => Some(MetadataMember::Empty {}),
        MediaEvent::Completed => {
            Some(facts.metadata.map_or(MetadataMember::Empty {}, MetadataMember::Filled))
        }
        MediaEvent::Errored | MediaEvent::Deleted => None,
    };
    let data = MediaData {
        media_asset_id: facts.asset,
        r#type: facts.asset_type,
        request_id: facts.request,
        token_id: facts.token,
        stream_name: facts.stream_name,
        stream_id: facts.account.stream_id(facts.stream_name),
        start_time: facts.start_time.as_millis(),
        expiration: facts.expiration.map(Timestamp::as_millis),
        metadata,
        error: facts.error.filter(|_| event == MediaEvent::Errored),
        seq: facts.seq,
    };
    let subject =
        Subject { id: facts.asset.to_string(), stream_name: Some(facts.stream_name), token: facts.token };
    build(id, EventKind::Media(event), subject, timestamp, data)
}

/// The facts of a feed event.
#[derive(Debug, Clone)]
pub struct FeedFacts<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The feed.
    pub feed: FeedId,
    /// The token it is published with; not in the body.
    pub token: Option<TokenId>,
    /// The stream it contributes to.
    pub stream_name: &'a StreamName,
    /// When the publisher was accepted.
    pub started: Timestamp,
    /// Its rank among feeds of the same source; absent ranks lowest.
    pub priority: Option<i32>,
    /// Which source of the stream; absent is the main source.
    pub source_id: Option<&'a str>,
    /// Which quality layer; the empty string differs from absent.
    pub simulcast_id: Option<&'a str>,
    /// Which of the feed's events this is; 1 is the first.
    pub seq: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FeedData<'a> {
    feed_id: FeedId,
    account_id: &'a AccountId,
    name: &'a StreamName,
    stream_id: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulcast_id: Option<&'a str>,
    seq: u64,
}

/// The event of a feed's start or end, with its body. `ended` carries no `started`, as the hosted
/// service's samples have it.
pub fn feed_event(id: EventId, event: FeedEvent, timestamp: Timestamp, facts: &FeedFacts<'_>) -> Event {
    let active = event == FeedEvent::Started;
    let data = FeedData {
        feed_id: facts.feed,
        account_id: facts.account,
        name: facts.stream_name,
        stream_id: facts.account.stream_id(facts.stream_name),
        active,
        started: active.then(|| facts.started.as_millis()),
        ended: (!active).then(|| timestamp.as_millis()),
        priority: facts.priority,
        source_id: facts.source_id,
        simulcast_id: facts.simulcast_id,
        seq: facts.seq,
    };
    let subject =
        Subject { id: facts.feed.to_string(), stream_name: Some(facts.stream_name), token: facts.token };
    build(id, EventKind::Feeds(event), subject, timestamp, data)
}

/// The facts of a storage event.
#[derive(Debug, Clone)]
pub struct StorageFacts<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The room that it is about.
    pub room: StorageRoom,
    /// Which of these events this is; 1 is the first.
    pub seq: u64,
}

/// The room for media on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageRoom {
    /// What is free.
    pub free_bytes: u64,
    /// The whole disk.
    pub total_bytes: u64,
    /// With less than this, timelines are freed before their time.
    pub low_bytes: u64,
    /// With less than this, new publishers are refused; with less than a quarter of it, all are ended.
    pub reserve_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageData<'a> {
    account_id: &'a AccountId,
    action: &'static str,
    #[serde(flatten)]
    room: StorageRoom,
    seq: u64,
}

/// The event of a change of the room for media, with its body. It is of no stream.
pub fn storage_event(
    id: EventId,
    event: StorageEvent,
    timestamp: Timestamp,
    facts: &StorageFacts<'_>,
) -> Event {
    let data =
        StorageData { account_id: facts.account, action: event.action(), room: facts.room, seq: facts.seq };
    let subject = Subject { id: "storage".into(), stream_name: None, token: None };
    build(id, EventKind::Storage(event), subject, timestamp, data)
}

/// An event of any kind with the `data` given: for test calls. Its subject is the event itself, so
/// it waits for nothing and nothing waits for it.
pub fn test_event(
    id: EventId,
    kind: EventKind,
    stream_name: &StreamName,
    timestamp: Timestamp,
    data: serde_json::Value,
) -> Event {
    build(
        id,
        kind,
        Subject { id: id.to_string(), stream_name: Some(stream_name), token: None },
        timestamp,
        data,
    )
}

/// Whom an event happened to.
struct Subject<'a> {
    id: String,
    stream_name: Option<&'a StreamName>,
    token: Option<TokenId>,
}

/// The asset that a `media.completed` body tells of.
pub fn completed_asset(body: &str) -> Option<MediaAssetId> {
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        data: Asset<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asset<'a> {
        media_asset_id: &'a str,
    }
    serde_json::from_str::<Told>(body).ok()?.data.media_asset_id.parse().ok()
}

/// A `media.completed` body with `data.download` in it; all else stays as it was, byte for byte. `media_url` is that
/// of the media of a playlist. Absent when `body` does not end as ours do.
pub fn with_download(body: &str, url: &str, media_url: Option<&str>, expires: Timestamp) -> Option<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Download<'a> {
        download_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        media_url: Option<&'a str>,
        download_expires_on: Timestamp,
    }
    // `data` is the last member of a body and never empty.
    let begin = body.strip_suffix("}}").filter(|begin| !begin.ends_with('{'))?;
    let download = Download { download_url: url, media_url, download_expires_on: expires };
    let download = serde_json::to_string(&download).ok()?;
    Some(format!(r#"{begin},"download":{download}}}}}"#))
}

fn build<T: Serialize>(
    id: EventId,
    kind: EventKind,
    subject: Subject<'_>,
    timestamp: Timestamp,
    data: T,
) -> Event {
    let body =
        Body { r#type: kind.type_name(), event: kind.event_name(), timestamp: timestamp.as_millis(), data };
    // These structs have string keys and no failing serializer, so this cannot fail.
    let body = serde_json::to_string(&body).unwrap_or_default();
    Event {
        id,
        kind,
        subject: subject.id,
        stream_name: subject.stream_name.cloned(),
        token: subject.token,
        timestamp,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn account() -> AccountId {
        "dkxfvY".parse().unwrap()
    }

    fn asset_body(event: MediaEvent, metadata: Option<&Metadata>) -> String {
        let facts = MediaFacts {
            account: &account(),
            asset: MediaAssetId(Uuid::from_u128(7)),
            asset_type: AssetType::Clip,
            request: Some(ClipRequestId(Uuid::from_u128(5))),
            token: Some(TokenId(3)),
            stream_name: &"auction".parse().unwrap(),
            start_time: Timestamp::from_millis(1_700_000_000_000),
            expiration: Some(Timestamp::from_millis(1_700_086_400_000)),
            metadata,
            error: Some("the timeline had expired"),
            seq: 2,
        };
        media_event(EventId(Uuid::from_u128(1)), event, Timestamp::from_millis(1_700_000_000_110), &facts)
            .body
    }

    #[test]
    fn bodies_of_media_events() {
        let metadata = Metadata { format: "MPEG-4".into(), duration: 10, ..Metadata::default() };
        let bodies = [
            asset_body(MediaEvent::Processing, None),
            asset_body(MediaEvent::Completed, Some(&metadata)),
            asset_body(MediaEvent::Errored, None),
            asset_body(MediaEvent::Deleted, Some(&metadata)),
        ];
        insta::assert_snapshot!(bodies.join("\n"));
    }

    #[test]
    fn a_link_is_put_into_a_body_that_stays_as_it_was() {
        let metadata = Metadata { format: "MPEG-4".into(), duration: 10, ..Metadata::default() };
        let body = asset_body(MediaEvent::Completed, Some(&metadata));
        assert_eq!(completed_asset(&body), Some(MediaAssetId(Uuid::from_u128(7))));
        let url = r#"https://x/download/7/a"b.mp4?expires=9&signature=0"#;
        let linked = with_download(&body, url, None, Timestamp::from_millis(9000)).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&linked).unwrap();
        let download = json["data"].as_object_mut().unwrap().remove("download").unwrap();
        assert_eq!(download["downloadUrl"], url);
        assert_eq!(download["downloadExpiresOn"], "1970-01-01T00:00:09Z");
        assert!(download.get("mediaUrl").is_none());
        let of_playlist = with_download(&body, url, Some("https://x/m.mp4"), Timestamp::EPOCH).unwrap();
        let of_playlist: serde_json::Value = serde_json::from_str(&of_playlist).unwrap();
        assert_eq!(of_playlist["data"]["download"]["mediaUrl"], "https://x/m.mp4");
        assert_eq!(json, serde_json::from_str::<serde_json::Value>(&body).unwrap());
        assert!(linked.starts_with(body.strip_suffix("}}").unwrap()));
        for body in ["", "{}", r#"{"data":{}}"#, r#"{"data":{"mediaAssetId":7}} "#] {
            assert_eq!(
                (with_download(body, url, None, Timestamp::EPOCH), completed_asset(body)),
                (None, None)
            );
        }
    }

    #[test]
    fn bodies_of_feed_events() {
        let facts = FeedFacts {
            account: &account(),
            feed: FeedId(Uuid::from_u128(9)),
            token: None,
            stream_name: &"stage/left".parse().unwrap(),
            started: Timestamp::from_millis(1_700_000_000_000),
            priority: Some(-2),
            source_id: Some("cam1"),
            simulcast_id: Some(""),
            seq: 1,
        };
        let at = Timestamp::from_millis(1_700_000_009_000);
        let bodies = [FeedEvent::Started, FeedEvent::Ended]
            .map(|event| feed_event(EventId(Uuid::nil()), event, at, &facts).body);
        insta::assert_snapshot!(bodies.join("\n"));
    }

    #[test]
    fn the_time_of_a_subjects_events_strictly_rises_even_when_the_clock_steps_back() {
        let last = Timestamp::from_millis(5000);
        assert_eq!(event_time(Timestamp::from_micros(5_000_900), Some(last)), Timestamp::from_millis(5001));
        assert_eq!(event_time(Timestamp::from_millis(10), Some(last)), Timestamp::from_millis(5001));
        assert_eq!(event_time(Timestamp::from_micros(7_000_999), Some(last)), Timestamp::from_millis(7000));
    }
}
