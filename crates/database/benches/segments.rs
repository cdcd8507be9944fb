//! What the index of segments costs: bytes written to the disk per segment while many feeds are live, and the time
//! to read the 28,800 segments of an 8 h clip.
//!
//! Run with `cargo bench -p mediahooks-database -- [FEEDS [SECONDS]]` (300 and 60), on a disk: `TMPDIR` says where.
//! The sample tables are as large as those of 30 pictures and 47 sounds a second; there are no media bytes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mediahooks_database::{
    Asset, AssetChange, Change, Database, Feed, NewAsset, Options, RecipePart, Run, Segment, Timeline,
};
use mediahooks_model::{AssetInput, AssetType, FeedId, MediaAssetId, TimelineId, Timestamp, TokenId};
use uuid::Uuid;

/// Bytes of media per segment, to tell what part of it the index is: a second of 2.5 Mbit/s.
const MEDIA: f64 = 312_500.0;
const TABLE: usize = 380;
const CLIP: u64 = 8 * 3600;
const TIMELINE: u64 = 12 * 3600;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (feeds, seconds) = (numbers.next().unwrap_or(300), numbers.next().unwrap_or(60));
    let directory = tempfile::tempdir().expect("a directory");
    let open = |name| Database::open(&directory.path().join(name), Options::default()).expect("a database");
    let database = open("live.db");
    database.account_or_create("dkxfvY".parse().expect("an id"), now(0)).await.expect("an account");
    record(&database, feeds, seconds).await;
    database.close().await.expect("to close");
    read(&open("long.db")).await;
}

/// Feeds that store a segment every second, each at a moment of its own; one begins every 10 ms.
async fn record(database: &Database, feeds: u64, seconds: u64) {
    let before = (written(), database.stats().transactions);
    let tasks: Vec<_> = (0..feeds)
        .map(|feed| {
            let database = database.clone();
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                tokio::time::sleep(Duration::from_micros(feed * 10_000)).await;
                let mut second = tokio::time::interval(Duration::from_secs(1));
                for sequence in 0..seconds {
                    second.tick().await;
                    let mut changes = vec![Change::AddSegment(segment(feed, sequence))];
                    if sequence == 0 {
                        changes.splice(0..0, opening(feed));
                        changes.extend(
                            [AssetType::Recording, AssetType::Timeline].map(|kind| begun(feed, kind)),
                        );
                    }
                    let asked = Instant::now();
                    database.commit_patiently(changes, now(sequence)).await.expect("rows");
                    slowest = slowest.max(asked.elapsed());
                }
                let kinds = [AssetType::Recording, AssetType::Timeline];
                let mut changes: Vec<Change> = kinds.map(|kind| finished(feed, kind, seconds)).into();
                changes
                    .push(Change::EndFeed { feed: FeedId(Uuid::from_u128(feed.into())), at: now(seconds) });
                database.commit_patiently(changes, now(seconds)).await.expect("rows");
                slowest
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await.expect("a task"));
    }
    let segments = (feeds * seconds) as f64;
    let bytes = (written() - before.0) as f64 / segments;
    println!(
        "{feeds} feeds, {seconds} s: {bytes:.0} bytes written per segment ({:.2} % of 2.5 Mbit/s), {:.1} segments per \
         transaction, slowest commit {:.0} ms",
        100.0 * bytes / MEDIA,
        segments / (database.stats().transactions - before.1) as f64,
        slowest.as_secs_f64() * 1000.0
    );
}

/// A timeline of twelve hours, read in parts of eight.
async fn read(database: &Database) {
    database.account_or_create("dkxfvY".parse().expect("an id"), now(0)).await.expect("an account");
    let mut changes = opening(0);
    for sequence in 0..TIMELINE {
        changes.push(Change::AddSegment(segment(0, sequence)));
        if changes.len() >= 2000 {
            database.commit(std::mem::take(&mut changes), now(0)).await.expect("rows");
        }
    }
    database.commit(changes, now(0)).await.expect("rows");
    let timeline = TimelineId(Uuid::from_u128(0));
    let (mut whole, mut spans, mut by_wall) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..12 {
        let first = round * (TIMELINE - CLIP) / 12;
        let asked = Instant::now();
        let found = database.segments(timeline, first, Some(first + CLIP - 1)).await.expect("segments");
        whole.push(asked.elapsed());
        assert_eq!(found.len() as u64, CLIP);
        let asked = Instant::now();
        let found = database.segment_spans(timeline, first, Some(first + CLIP - 1)).await.expect("segments");
        spans.push(asked.elapsed());
        assert_eq!(found.len() as u64, CLIP);
        let asked = Instant::now();
        let found =
            database.segments_in(timeline, None, now(first), now(first + 10)).await.expect("segments");
        by_wall.push(asked.elapsed());
        assert!(found.len() >= 10);
    }
    println!("28,800 of {TIMELINE} segments: {}; without sample tables: {}", words(whole), words(spans));
    println!("ten seconds by wall clock: {}", words(by_wall));
}

fn words(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    format!("p50 {:.2} ms, most {:.2} ms", ms(times.get(times.len() / 2)), ms(times.last()))
}

fn now(second: u64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000).plus(Duration::from_secs(second))
}

fn segment(feed: u64, sequence: u64) -> Segment {
    let second = i64::try_from(sequence).expect("few") * 1_000_000;
    Segment {
        timeline: TimelineId(Uuid::from_u128(feed.into())),
        sequence,
        run: 0,
        chunk: (sequence / 200) as u32,
        offset: 800 + sequence % 200 * 312_500,
        len: 312_500,
        media_start_us: second,
        media_end_us: second + 1_012_000,
        wall_offset_us: now(0).as_micros() + i64::try_from(sequence % 7).expect("few"),
        starts_with_sync: true,
        index: Bytes::from(vec![sequence as u8; TABLE]),
    }
}

fn opening(feed: u64) -> Vec<Change> {
    let (id, timeline) = (FeedId(Uuid::from_u128(feed.into())), TimelineId(Uuid::from_u128(feed.into())));
    let track = r#"{"kind":"audio","timescale":48000,"codec":{"codec":"AAC","asc":"1190"}}"#;
    let started = Feed {
        id,
        token: TokenId(1),
        stream_name: format!("stream{feed}").parse().expect("a name"),
        source_id: None,
        simulcast_id: None,
        priority: None,
        target_kbps: None,
        remote: "127.0.0.1".parse().expect("an address"),
        started: now(0),
        ended: None,
    };
    vec![
        Change::StartFeed(started),
        Change::OpenTimeline(Timeline { id: timeline, feed: id, created: now(0) }),
        Change::PutRun(Run {
            timeline,
            number: 0,
            tracks: vec![serde_json::from_str(track).expect("a track")],
            earlier: Vec::new(),
        }),
    ]
}

fn asset_id(feed: u64, kind: AssetType) -> MediaAssetId {
    MediaAssetId(Uuid::from_u64_pair(u64::from(kind == AssetType::Recording), feed))
}

fn part(feed: u64, last: Option<u64>) -> RecipePart {
    let timeline = TimelineId(Uuid::from_u128(feed.into()));
    RecipePart { timeline, run: 0, first: 0, last, start_us: None, stop_us: None, late_us: 0 }
}

fn begun(feed: u64, kind: AssetType) -> Change {
    let asset = Asset {
        token: Some(TokenId(1)),
        recipe: vec![part(feed, None)],
        ..Asset::new(
            asset_id(feed, kind),
            kind,
            FeedId(Uuid::from_u128(feed.into())),
            format!("stream{feed}").parse().expect("a name"),
            now(0),
        )
    };
    Change::CreateAsset(Box::new(NewAsset { asset }))
}

fn finished(feed: u64, kind: AssetType, segments: u64) -> Change {
    Change::StepAsset(Box::new(AssetChange {
        id: asset_id(feed, kind),
        input: AssetInput::Finish { metadata: Box::default() },
        recipe: Some(vec![part(feed, Some(segments - 1))]),
        stop_time: Some(now(segments)),
        expiration: None,
    }))
}

/// Bytes that this process had written to a disk, from Linux; 0 elsewhere.
fn written() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let bytes = counters.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    bytes.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
