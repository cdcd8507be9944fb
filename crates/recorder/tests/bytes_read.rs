//! What a clip of ten seconds reads: of the disk its media and one group of pictures at most; of the database no more rows
//! in a timeline of twelve hours than in one of an hour, wherever in it the clip lies.
//!
//! Counted are the bytes that the process reads, by calls, from whatever file, with nothing of the database in memory.

mod common;

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use common::{Bench, now, token};
use futures::TryStreamExt;
use mediahooks_database::{
    Asset, Change, Database, Feed, NewAsset, Options, RecipePart, Run, Segment, Timeline,
};
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_model::{
    AssetState, AssetType, CutMode, FeedId, GapMode, Limits, MediaAssetId, TargetFormat, TimelineId,
    Timestamp, TokenId,
};
use mediahooks_recorder::{ClipRequest, Recorder, RecorderSettings};
use mediahooks_storage::DiskStorage;
use mediahooks_timeline::index::{SegmentIndex, TrackSpan};
use uuid::Uuid;

/// When the timelines begin.
const BEGUN_US: i64 = 1_700_000_000_000_000;

/// From one picture of 30 kB to the next, in ticks of 90 kHz.
const PICTURE: u32 = 3600;
const PICTURE_BYTES: u32 = 30_000;

/// A segment has a second, every other one begins with a sync sample.
const PICTURES: u32 = 25;
const SEGMENT_BYTES: u64 = 760_000;
const GROUP_S: u64 = 2;
const PER_CHUNK: u64 = 85;

/// What is read of the database's file at a time.
const BLOCK: u64 = 4096;

/// Media before the range and behind it that comes with it: a group of pictures, and what the blocks of the disk and the
/// edges of segments add.
const PAYLOAD: u64 = (10 + GROUP_S) * (PICTURES * PICTURE_BYTES) as u64;

/// Of every later page of 128 segments an entry of an index is read, by two statements, from leaves that may be half full.
const LATER: u64 = 160;
const PER_PAGE: u64 = 128;

/// Bytes that this process has read.
fn bytes_read() -> u64 {
    let told = std::fs::read_to_string("/proc/self/io").unwrap();
    told.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

fn segment(timeline: TimelineId, sequence: u64) -> Segment {
    let begins_group = sequence.is_multiple_of(GROUP_S);
    let sample = |number: u32| SampleInfo {
        duration: PICTURE,
        size: PICTURE_BYTES,
        cts_offset: 0,
        is_sync: begins_group && number == 0,
    };
    let base_dts = Ticks(i64::try_from(sequence).unwrap() * i64::from(PICTURES * PICTURE));
    let samples = (0..PICTURES).map(sample).collect();
    let span = TrackSpan { track: 0, base_dts, data_offset: 600, samples };
    let start_us = i64::try_from(sequence).unwrap() * 1_000_000;
    Segment {
        timeline,
        sequence,
        run: 0,
        chunk: u32::try_from(sequence / PER_CHUNK).unwrap(),
        offset: 100 + (sequence % PER_CHUNK) * SEGMENT_BYTES,
        len: SEGMENT_BYTES,
        media_start_us: start_us,
        media_end_us: start_us + 1_000_000,
        wall_offset_us: BEGUN_US,
        starts_with_sync: begins_group,
        index: SegmentIndex { tracks: vec![span] }.encode().into(),
    }
}

fn opening(stream: &str, timeline: TimelineId) -> Vec<Change> {
    let feed = Feed {
        id: FeedId(timeline.0),
        token: TokenId(1),
        stream_name: stream.parse().unwrap(),
        source_id: None,
        simulcast_id: None,
        priority: None,
        remote: "127.0.0.1".parse().unwrap(),
        started: Timestamp::from_micros(BEGUN_US),
        ended: None,
        target_kbps: None,
    };
    let track = r#"{"kind":"video","timescale":90000,"codec":{"codec":"H264","avcc":"014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20"}}"#;
    let track: TrackConfig = serde_json::from_str(track).unwrap();
    let asset = Asset {
        id: MediaAssetId(timeline.0),
        asset_type: AssetType::Timeline,
        state: AssetState::Processing,
        feed: feed.id,
        token: Some(feed.token),
        stream_name: feed.stream_name.clone(),
        source_id: None,
        simulcast_id: None,
        priority: None,
        start_time: feed.started,
        stop_time: None,
        name: None,
        created: feed.started,
        expiration: None,
        media_distribution_id: None,
        custom_path: None,
        request: None,
        gaps: GapMode::default(),
        cut: CutMode::default(),
        target_format: None,
        recipe: vec![RecipePart {
            timeline,
            run: 0,
            first: 0,
            last: None,
            start_us: None,
            stop_us: None,
            late_us: 0,
        }],
    };
    vec![
        Change::StartFeed(feed),
        Change::OpenTimeline(Timeline { id: timeline, feed: FeedId(timeline.0), created: now() }),
        Change::PutRun(Run { timeline, number: 0, tracks: vec![track], earlier: Vec::new() }),
        Change::CreateAsset(Box::new(NewAsset { asset })),
    ]
}

/// Stores a timeline that is over; its chunk files have their length and no bytes.
async fn broadcast(database: &Database, storage: &DiskStorage, hours: u64) {
    let timeline = TimelineId(Uuid::from_u128(hours.into()));
    let segments = hours * 3600;
    for chunk in 0..segments.div_ceil(PER_CHUNK) {
        let held = (segments - chunk * PER_CHUNK).min(PER_CHUNK);
        let path = storage.chunk_path(timeline, u32::try_from(chunk).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(100 + held * SEGMENT_BYTES).unwrap();
    }
    let mut changes = opening(&stream(hours), timeline);
    for sequence in 0..segments {
        changes.push(Change::AddSegment(segment(timeline, sequence)));
        if changes.len() == 5000 {
            database.commit(std::mem::take(&mut changes), now()).await.unwrap();
        }
    }
    changes.push(Change::EndFeed { feed: FeedId(timeline.0), at: now() });
    database.commit(changes, now()).await.unwrap();
}

fn stream(hours: u64) -> String {
    format!("of-{hours}-hours")
}

fn request(stream: &str, seconds: Range<u64>, format: TargetFormat) -> ClipRequest {
    let at =
        |second: u64| Timestamp::from_micros(BEGUN_US + i64::try_from(second).unwrap() * 1_000_000 + 500_000);
    ClipRequest {
        stream_name: stream.parse().unwrap(),
        start: at(seconds.start),
        stop: Some(at(seconds.end)),
        token: None,
        source_id: None,
        simulcast_id: None,
        priority: None,
        gaps: GapMode::default(),
        cut: CutMode::default(),
        target_format: Some(format),
        name: None,
        expiration: None,
        media_distribution_id: None,
        custom_path: None,
        received: now(),
        idempotency: None,
    }
}

/// What is read to make the clip and its header, and to read all of its file.
struct Read {
    index: u64,
    media: u64,
}

/// On a server that has just started: it has nothing of the database in memory.
async fn clip(directory: &Path, settings: &RecorderSettings, request: ClipRequest) -> Read {
    let database = Database::open(&directory.join("mediahooks.db"), Options::default()).unwrap();
    let storage = DiskStorage::open(directory.join("media")).unwrap();
    let recorder = Recorder::open(database.clone(), storage, settings.clone()).await.unwrap();
    let begun = bytes_read();
    let clip = recorder.create_clips(request).await.unwrap().remove(0);
    assert!(matches!(clip.state, AssetState::Complete { .. }), "{clip:?}");
    let download = recorder.open_download(clip.id).await.unwrap();
    let made = bytes_read();
    let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.unwrap();
    let read = bytes_read();
    assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), download.len);
    database.close().await.unwrap();
    Read { index: made - begun, media: read - made }
}

#[tokio::test]
async fn a_clip_reads_as_much_in_a_long_timeline_as_in_a_short_one() {
    let bench = Bench::with(token(), Limits::default()).await;
    for hours in [1, 12] {
        broadcast(&bench.database, &bench.storage, hours).await;
    }
    let Bench { directory, database, storage, recorder, settings, .. } = bench;
    database.close().await.unwrap();
    drop((database, storage, recorder));
    let database_bytes = std::fs::metadata(directory.path().join("mediahooks.db")).unwrap().len();
    let clip = async |hours: u64, from: u64, format| {
        clip(directory.path(), &settings, request(&stream(hours), from..from + 10, format)).await
    };
    // The tables of assets have as many levels from the first one on.
    clip(1, 0, TargetFormat::Mp4).await;
    for format in [TargetFormat::Mp4, TargetFormat::Fmp4] {
        for (short, long) in [(0, 0), (1800, 21_600), (3589, 43_189)] {
            let later = (12 * 3600 - long - (3600 - short)) / PER_PAGE * LATER;
            let (short, long) = (clip(1, short, format).await, clip(12, long, format).await);
            println!("{format:?}: {} and {} bytes of {database_bytes}", short.index, long.index);
            assert!(
                long.index <= short.index + later + 4 * BLOCK,
                "{} and {} bytes",
                short.index,
                long.index
            );
            assert!(long.index < 75 * BLOCK, "{} bytes", long.index);
            for read in [short, long] {
                assert!(read.media <= PAYLOAD, "{} of {PAYLOAD} bytes", read.media);
                assert!(read.media * 10 > PAYLOAD * 8, "the clip has its media: {} bytes", read.media);
            }
        }
    }
}
