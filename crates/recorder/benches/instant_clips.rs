//! How soon a clip is there: from its request to `completed`, and on to the first byte of its file, for 10 s and
//! for 8 h, anywhere in a timeline of 12 h, one after the other and eight at once. Prints what it cost and by how much
//! the memory of the process was more at the peak than before.
//!
//! Run with `cargo bench -p mediahooks-recorder`. The index is that of a broadcast at 60 frames per second with
//! B-frames and AAC; there are no media bytes, as none are read.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use mediahooks_database::{
    Asset, AssetChange, Change, Database, Feed, NewAsset, Options, RecipePart, Run, Segment, Timeline,
};
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig};
use mediahooks_model::{
    AssetInput, AssetState, AssetType, FeedId, Limits, MediaAssetId, Metadata, TimelineId, Timestamp, TokenId,
};
use mediahooks_recorder::{ClipRequest, Download, Recorder, RecorderSettings};
use mediahooks_storage::DiskStorage;
use mediahooks_timeline::index::{SegmentIndex, TrackSpan};
use uuid::Uuid;

const SECONDS: u64 = 12 * 3600;
const RATE: u32 = 60;

/// They are of the header; there are no stored bytes here.
const FIRST_BYTES: u64 = 1024;

/// Clips that are made and read together.
const AT_ONCE: u64 = 8;

const AVCC: &str =
    "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";

fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970"))
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let database =
        Database::open(&directory.path().join("bench.db"), Options::default()).expect("a database");
    database.account_or_create("dkxfvY".parse().expect("an id"), now()).await.expect("an account");
    let begun = now().minus(Duration::from_secs(SECONDS));
    fill(&database, begun).await;
    let storage = DiskStorage::open(directory.path().join("media")).expect("a directory");
    let recorder = Recorder::open(database, storage, RecorderSettings::from(Limits::default()))
        .await
        .expect("a recorder");
    for (length_s, places) in [(10, 200), (8 * 3600, 12)] {
        let memory = Memory::now();
        let (mut completed, mut first_bytes) = (Vec::new(), Vec::new());
        for place in 0..places {
            let from_s = (SECONDS - length_s) * place / places;
            let (_, [complete, first_byte]) = clip(&recorder, begun, from_s, length_s).await;
            completed.push(complete);
            first_bytes.push(first_byte);
        }
        println!("{length_s} s: completed {}", words(completed));
        println!("{length_s} s: first byte {}; {memory}", words(first_bytes));
    }
    let length_s = 8 * 3600;
    let (memory, asked) = (Memory::now(), Instant::now());
    let clips = (0..AT_ONCE).map(|place| {
        let recorder = recorder.clone();
        let from_s = (SECONDS - length_s) * place / AT_ONCE + 1;
        tokio::spawn(async move { clip(&recorder, begun, from_s, length_s).await })
    });
    let clips = futures::future::join_all(clips).await;
    println!(
        "{AT_ONCE} at once of {length_s} s, all open: {:.0} ms; {memory}",
        asked.elapsed().as_secs_f64() * 1e3
    );
    drop(clips);
}

/// Makes a clip and opens its file: that, and how long it took until it was complete and until the first bytes.
async fn clip(
    recorder: &Recorder,
    begun: Timestamp,
    from_s: u64,
    length_s: u64,
) -> (Download, [Duration; 2]) {
    let asked = Instant::now();
    let request = request(begun.plus_micros(from_s as i64 * 1_000_000 + 20_000), length_s);
    let clip = recorder.create_clips(request).await.expect("a clip").remove(0);
    assert!(matches!(clip.state, AssetState::Complete { .. }), "{clip:?}");
    let completed = asked.elapsed();
    let download = recorder.open_download(clip.id).await.expect("a file");
    let piece = Box::pin(download.read(0..FIRST_BYTES)).next().await.expect("a piece").expect("bytes");
    assert!(!piece.is_empty());
    (download, [completed, asked.elapsed()])
}

fn words(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(0.5), at(0.99), at(1.0))
}

fn request(start: Timestamp, length_s: u64) -> ClipRequest {
    ClipRequest {
        stop: Some(start.plus(Duration::from_secs(length_s))),
        ..ClipRequest::new("stage".parse().expect("a name"), start, now())
    }
}

/// Stores a timeline that is over, with the sample tables of twelve hours.
async fn fill(database: &Database, begun: Timestamp) {
    let (feed, timeline) = (FeedId(Uuid::from_u128(1)), TimelineId(Uuid::from_u128(2)));
    let avcc = Bytes::from(hex::decode(AVCC).expect("hexadecimal"));
    let tracks = vec![
        TrackConfig::new(90_000, CodecConfig::h264(avcc).expect("a record")),
        TrackConfig::new(48_000, CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).expect("a record")),
    ];
    let part =
        RecipePart { timeline, run: 0, first: 0, last: Some(SECONDS - 1), start_us: None, stop_us: None };
    let started = Feed {
        id: feed,
        token: TokenId(1),
        stream_name: "stage".parse().expect("a name"),
        source_id: None,
        simulcast_id: None,
        priority: None,
        target_kbps: None,
        remote: "127.0.0.1".parse().expect("an address"),
        started: begun,
        ended: None,
    };
    let mut changes = vec![
        Change::StartFeed(started),
        Change::OpenTimeline(Timeline { id: timeline, feed, created: begun }),
        Change::PutRun(Run { timeline, number: 0, tracks, earlier: Vec::new() }),
    ];
    for sequence in 0..SECONDS {
        changes.push(Change::AddSegment(segment(timeline, sequence, begun)));
        if changes.len() >= 2000 {
            database.commit(std::mem::take(&mut changes), begun).await.expect("rows");
        }
    }
    let id = MediaAssetId(Uuid::from_u128(3));
    let asset = Asset {
        token: Some(TokenId(1)),
        recipe: vec![part],
        ..Asset::new(id, AssetType::Timeline, feed, "stage".parse().expect("a name"), begun)
    };
    changes.push(Change::CreateAsset(Box::new(NewAsset { asset })));
    changes.push(Change::StepAsset(Box::new(AssetChange {
        id,
        input: AssetInput::Finish { metadata: Box::<Metadata>::default() },
        recipe: None,
        stop_time: Some(now()),
        expiration: None,
    })));
    changes.push(Change::EndFeed { feed, at: now() });
    database.commit(changes, now()).await.expect("rows");
}

/// A second: 60 frames, the first a sync sample, and 46 or 47 sounds.
fn segment(timeline: TimelineId, sequence: u64, begun: Timestamp) -> Segment {
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
        timeline,
        sequence,
        run: 0,
        chunk: (sequence / 60) as u32,
        offset: sequence % 60 * 700_000,
        len: 700_000,
        media_start_us,
        media_end_us: media_start_us + 1_000_000,
        wall_offset_us: begun.as_micros() - 10_000_000,
        starts_with_sync: true,
        index: SegmentIndex { tracks: vec![pictures, sounds] }.encode().into(),
    }
}

/// The memory that this process had at some moment; from Linux, elsewhere nothing.
struct Memory {
    resident_kib: u64,
}

impl Memory {
    /// What it has now. What is the most of it is counted from here.
    fn now() -> Self {
        // Tells the kernel to forget the peak up to now.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { resident_kib: of_status("VmRSS:") }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |now: u64| now.saturating_sub(self.resident_kib) / 1024;
        let (peak, now) = (more(of_status("VmHWM:")), more(of_status("VmRSS:")));
        write!(f, "{} MiB, {peak} more at the peak, {now} after", self.resident_kib / 1024)
    }
}

/// A figure of this process, in KiB.
fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let figure = status.lines().find_map(|line| line.strip_prefix(name));
    figure.and_then(|figure| figure.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
