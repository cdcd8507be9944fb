//! A broadcast of twelve hours at 60 frames per second with B-frames and AAC, as the index knows it: there are no media
//! bytes.

use std::time::SystemTime;

use bytes::Bytes;
use mediahooks_database::{
    Asset, AssetChange, Change, Database, Feed, NewAsset, RecipePart, Run, Segment, Timeline,
};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_model::{
    AssetInput, AssetType, FeedId, MediaAssetId, Metadata, TimelineId, Timestamp, TokenId,
};
use mediahooks_timeline::index::{SegmentIndex, TrackSpan};
use uuid::Uuid;

/// Segments of a broadcast, a second each.
pub const SECONDS: u64 = 12 * 3600;

/// Segments of one chunk file, and bytes of each.
pub const PER_CHUNK: u64 = 60;
pub const SEGMENT_BYTES: u64 = 700_000;

const RATE: u32 = 60;

const AVCC: &str =
    "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";

/// The broadcast of this number; its timeline is an asset.
#[derive(Debug, Clone, Copy)]
pub struct Broadcast {
    pub number: u128,
    pub stream: &'static str,
    pub begun: Timestamp,
}

pub fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970"))
}

impl Broadcast {
    pub fn feed(&self) -> FeedId {
        FeedId(Uuid::from_u128(self.number))
    }

    pub fn timeline(&self) -> TimelineId {
        TimelineId(Uuid::from_u128(self.number))
    }

    pub fn timeline_asset(&self) -> MediaAssetId {
        MediaAssetId(Uuid::from_u128(self.number))
    }

    pub fn part(&self, first: u64, last: u64) -> RecipePart {
        RecipePart {
            timeline: self.timeline(),
            run: 0,
            first,
            last: Some(last),
            start_us: None,
            stop_us: None,
            late_us: 0,
        }
    }

    /// What begins it.
    pub fn opening(&self) -> Vec<Change> {
        let avcc = Bytes::from(hex::decode(AVCC).expect("hexadecimal"));
        let tracks = vec![
            TrackConfig::new(90_000, CodecConfig::h264(avcc).expect("a record")),
            TrackConfig::new(48_000, CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record")),
        ];
        let (feed, timeline) = (self.feed(), self.timeline());
        let started = Feed {
            id: feed,
            token: TokenId(1),
            stream_name: self.stream.parse().expect("a name"),
            source_id: None,
            simulcast_id: None,
            priority: None,
            target_kbps: None,
            remote: "127.0.0.1".parse().expect("an address"),
            started: self.begun,
            ended: None,
        };
        vec![
            Change::StartFeed(started),
            Change::OpenTimeline(Timeline { id: timeline, feed, created: self.begun }),
            Change::PutRun(Run { timeline, number: 0, tracks, earlier: Vec::new() }),
        ]
    }

    /// An asset of it.
    pub fn asset(&self, id: MediaAssetId, asset_type: AssetType, part: RecipePart) -> Asset {
        let stream = self.stream.parse().expect("a name");
        Asset {
            token: Some(TokenId(1)),
            recipe: vec![part],
            ..Asset::new(id, asset_type, self.feed(), stream, self.begun)
        }
    }

    /// Stores all of it; it is over.
    pub async fn store(&self, database: &Database) {
        let mut changes = self.opening();
        for sequence in 0..SECONDS {
            changes.push(Change::AddSegment(self.segment(sequence)));
            if changes.len() >= 2000 {
                database.commit(std::mem::take(&mut changes), self.begun).await.expect("rows");
            }
        }
        let id = self.timeline_asset();
        let asset = self.asset(id, AssetType::Timeline, self.part(0, SECONDS - 1));
        changes.push(Change::CreateAsset(Box::new(NewAsset { asset })));
        changes.push(finished(id, now()));
        changes.push(Change::EndFeed { feed: self.feed(), at: now() });
        database.commit(changes, now()).await.expect("rows");
    }

    /// A second: 60 frames, the first a sync sample, and 46 or 47 sounds.
    pub fn segment(&self, sequence: u64) -> Segment {
        let second = sequence as i64;
        let frame = |n: u32| SampleInfo {
            duration: 1500,
            size: 9000 + (n * 7919 + sequence as u32 * 31) % 4000,
            cts_offset: [1500, 6000, 1500, 0][n as usize % 4],
            is_sync: n == 0,
        };
        let (first, next) = (second * 48_000 / 1024, (second + 1) * 48_000 / 1024);
        let sound =
            |n: i64| SampleInfo { duration: 1024, size: 330 + (n % 17) as u32, cts_offset: 0, is_sync: true };
        let pictures = TrackSpan {
            track: 0,
            base_dts: Ticks(900_000 + second * 90_000),
            data_offset: 2000,
            samples: (0..RATE).map(frame).collect(),
        };
        let picture_bytes: u64 = pictures.samples.iter().map(|sample| u64::from(sample.size)).sum();
        let sounds = TrackSpan {
            track: 1,
            base_dts: Ticks(480_000 + first * 1024),
            data_offset: 2000 + picture_bytes as u32,
            samples: (first..next).map(sound).collect(),
        };
        let media_start_us = 10_000_000 + second * 1_000_000;
        Segment {
            timeline: self.timeline(),
            sequence,
            run: 0,
            chunk: (sequence / PER_CHUNK) as u32,
            offset: sequence % PER_CHUNK * SEGMENT_BYTES,
            len: SEGMENT_BYTES,
            media_start_us,
            media_end_us: media_start_us + 1_000_000,
            wall_offset_us: self.begun.as_micros() - 10_000_000,
            starts_with_sync: true,
            index: SegmentIndex { tracks: vec![pictures, sounds] }.encode().into(),
        }
    }
}

/// An asset is complete.
pub fn finished(id: MediaAssetId, stop: Timestamp) -> Change {
    Change::StepAsset(Box::new(AssetChange {
        id,
        input: AssetInput::Finish { metadata: Box::<Metadata>::default() },
        recipe: None,
        stop_time: Some(stop),
        expiration: None,
    }))
}
