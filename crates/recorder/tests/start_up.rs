//! A start after a kill with many feeds live and a large index: it is open at once, and what was live is finished
//! behind it.
//!
//! `MEDIAHOOKS_START_FEEDS` sets how many feeds were live (default 20), `MEDIAHOOKS_START_SEGMENTS` how many
//! segments are indexed beside theirs (default 2,000; 1 TB at 6 Mbit/s are 1,400,000). Prints how long each took.

mod common;

use std::time::Instant;

use common::{Bench, now};
use mediahooks_database::{
    Asset, Change, Database, Feed, NewAsset, Options, RecipePart, Run, Segment, Timeline,
};
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_model::{AssetState, AssetType, FeedId, MediaAssetId, TimelineId, TokenId};
use mediahooks_recorder::Recorder;
use mediahooks_storage::DiskStorage;
use mediahooks_timeline::index::{SegmentIndex, TrackSpan};
use uuid::Uuid;

/// Segments of a feed that was live.
const LIVE_SEGMENTS: u64 = 10;

/// Segments of a timeline that is over, and of a chunk file.
const OVER_SEGMENTS: u64 = 40_000;
const PER_CHUNK: u64 = 85;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn segment(timeline: TimelineId, sequence: u64, index: &[u8], len: u64) -> Segment {
    let start_us = 10_000_000 + i64::try_from(sequence).unwrap() * 1_000_000;
    Segment {
        timeline,
        sequence,
        run: 0,
        chunk: u32::try_from(sequence / PER_CHUNK).unwrap(),
        offset: 100 + (sequence % PER_CHUNK) * len,
        len,
        media_start_us: start_us,
        media_end_us: start_us + 1_000_000,
        wall_offset_us: 1_700_000_000_000_000,
        starts_with_sync: true,
        index: index.to_vec().into(),
    }
}

/// A second of 25 pictures of 30 kB.
fn index(sequence: u64) -> Vec<u8> {
    let sample = |number: u32| SampleInfo {
        duration: 3600,
        size: 30_000 + number * 17,
        cts_offset: 0,
        is_sync: number == 0,
    };
    let base = 900_000 + i64::try_from(sequence).unwrap() * 90_000;
    let samples = (0..25).map(sample).collect();
    SegmentIndex { tracks: vec![TrackSpan { track: 0, base_dts: Ticks(base), data_offset: 600, samples }] }
        .encode()
}

fn opening(number: u128, state: AssetType, is_live: bool) -> Vec<Change> {
    let (id, timeline) = (FeedId(Uuid::from_u128(number)), TimelineId(Uuid::from_u128(number)));
    let feed = Feed {
        id,
        token: TokenId(1),
        stream_name: format!("stream{number}").parse().unwrap(),
        source_id: None,
        simulcast_id: None,
        priority: None,
        remote: "127.0.0.1".parse().unwrap(),
        started: now(),
        ended: None,
        target_kbps: None,
    };
    let track = r#"{"kind":"video","timescale":90000,"codec":{"codec":"H264","avcc":"014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20"}}"#;
    let track: TrackConfig = serde_json::from_str(track).unwrap();
    let asset = Asset {
        token: Some(feed.token),
        recipe: vec![RecipePart {
            timeline,
            run: 0,
            first: 0,
            last: None,
            start_us: None,
            stop_us: None,
            late_us: 0,
        }],
        ..Asset::new(MediaAssetId(Uuid::from_u128(number)), state, id, feed.stream_name.clone(), now())
    };
    let mut changes = vec![
        Change::StartFeed(feed),
        Change::OpenTimeline(Timeline { id: timeline, feed: id, created: now() }),
        Change::PutRun(Run { timeline, number: 0, tracks: vec![track], earlier: Vec::new() }),
        Change::CreateAsset(Box::new(NewAsset { asset })),
    ];
    if !is_live {
        changes.push(Change::EndFeed { feed: id, at: now() });
    }
    changes
}

/// Chunk files of the right length that hold nothing.
fn files(storage: &DiskStorage, timeline: TimelineId, segments: u64, len: u64) {
    for chunk in 0..segments.div_ceil(PER_CHUNK) {
        let held = (segments - chunk * PER_CHUNK).min(PER_CHUNK);
        let path = storage.chunk_path(timeline, u32::try_from(chunk).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(100 + held * len).unwrap();
    }
}

async fn fill(database: &Database, storage: &DiskStorage, number: u128, segments: u64, is_live: bool) {
    const LEN: u64 = 760_000;
    let timeline = TimelineId(Uuid::from_u128(number));
    files(storage, timeline, segments, LEN);
    let mut changes = opening(number, AssetType::Recording, is_live);
    for sequence in 0..segments {
        changes.push(Change::AddSegment(segment(timeline, sequence, &index(sequence), LEN)));
        if changes.len() == 5000 {
            database.commit(std::mem::take(&mut changes), now()).await.unwrap();
        }
    }
    database.commit(changes, now()).await.unwrap();
}

#[tokio::test]
async fn it_is_open_at_once_and_finished_behind() {
    let feeds = setting("MEDIAHOOKS_START_FEEDS", 20);
    let segments = setting("MEDIAHOOKS_START_SEGMENTS", 2_000);
    let bench = Bench::new().await;
    let mut left = segments;
    let mut number = 1_000_000u128;
    while left > 0 {
        let these = left.min(OVER_SEGMENTS);
        fill(&bench.database, &bench.storage, number, these, false).await;
        (left, number) = (left - these, number + 1);
    }
    for feed in 0..feeds {
        fill(&bench.database, &bench.storage, u128::from(feed) + 1, LIVE_SEGMENTS, true).await;
    }
    let Bench { directory, database, storage, recorder, settings, .. } = bench;
    database.close().await.unwrap();
    drop((database, storage, recorder));

    let begun = Instant::now();
    let database = Database::open(&directory.path().join("mediahooks.db"), Options::default()).unwrap();
    let storage = DiskStorage::open(directory.path().join("media")).unwrap();
    let recorder = Recorder::open_unrepaired(database.clone(), storage, settings).await.unwrap();
    let open = begun.elapsed();
    recorder.repair().await.unwrap();
    let repaired = begun.elapsed();
    println!("{feeds} live feeds, {segments} segments: open after {open:?}, repaired after {repaired:?}");
    assert!(database.live_feeds().await.unwrap().is_empty());
    for feed in 0..feeds {
        let asset =
            database.asset(MediaAssetId(Uuid::from_u128(u128::from(feed) + 1))).await.unwrap().unwrap();
        let AssetState::Complete { metadata } = &asset.state else { panic!("{asset:?}") };
        assert_eq!(metadata.duration, LIVE_SEGMENTS);
    }
}
