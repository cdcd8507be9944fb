//! Events that look like real ones.

use serde_json::json;

use crate::event::{
    AssetType, Event, FeedEvent, FeedEventKind, MediaEvent, MediaEventKind, Metadata, Millis,
};

/// Some moment of 2026.
const START: Millis = Millis(1_767_261_600_000);

/// A clip of ten seconds can be downloaded.
pub fn completed_clip(asset: &str) -> Event {
    let mut media = media(MediaEventKind::Completed, AssetType::Clip, asset, 2);
    media.metadata = Some(metadata());
    Event::from(media).at(Millis(START.0 + 40))
}

/// A recording could not be made.
pub fn errored_recording(asset: &str) -> Event {
    let mut media = media(MediaEventKind::Errored, AssetType::Recording, asset, 2);
    media.error = Some("the media could not be read".to_owned());
    Event::from(media).at(Millis(START.0 + 10_000))
}

/// A publisher was accepted.
pub fn feed_started(feed: &str) -> Event {
    let mut started = FeedEvent::new(FeedEventKind::Started, feed);
    started.account_id = Some("dkxfvY".to_owned());
    started.name = Some("stage".to_owned());
    started.stream_id = Some("dkxfvY/stage".to_owned());
    started.active = Some(true);
    started.started = Some(START);
    started.seq = Some(1);
    Event::from(started).at(START)
}

/// `processing`, `completed` and `deleted` of one recording, in order.
pub fn life_of_a_recording(asset: &str) -> [Event; 3] {
    let event = |kind, seq, metadata, after_ms| {
        let mut media = media(kind, AssetType::Recording, asset, seq);
        media.metadata = Some(metadata);
        Event::from(media).at(Millis(START.0 + after_ms))
    };
    [
        event(MediaEventKind::Processing, 1, Metadata::default(), 1000),
        event(MediaEventKind::Completed, 2, metadata(), 11_000),
        event(MediaEventKind::Deleted, 3, metadata(), 90_000),
    ]
}

fn media(kind: MediaEventKind, asset_type: AssetType, asset: &str, seq: u64) -> MediaEvent {
    let mut media = MediaEvent::new(kind, asset_type, asset);
    media.token_id = Some(1);
    media.stream_name = Some("stage".to_owned());
    media.stream_id = Some("dkxfvY/stage".to_owned());
    media.start_time = Some(START);
    media.seq = Some(seq);
    media
}

fn metadata() -> Metadata {
    let metadata = json!({
        "format": "MPEG-4", "sizes": { "mp4": 6_291_456 }, "duration": 10, "thumbnails": [],
        "tracks": [
            { "type": "video", "codec": "H264", "bitrate": 4_900_000, "width": 1920, "height": 1080, "framerate": 30 },
            { "type": "audio", "codec": "AAC", "bitrate": 128_000, "channels": 2, "samplerate": 48_000 },
        ],
    });
    serde_json::from_value(metadata).unwrap_or_default()
}
