//! The power goes, or the process dies, at any system call of a server that records, clips and deletes.
//!
//! `strace` records what the real program does to its files, the database's included. Then a thousand
//! crashes are made of it: what was synced is there, of the rest some writes are missing, torn or applied.
//! From whatever is left the server starts, and: every row has its bytes, every recording and clip plays,
//! everything that was acknowledged is there, and at most a second of media is lost: of all that was sent before the
//! last call that was done. The publishers' time stands still while the server is more than three pictures behind
//! ([`Pace`]), so that a machine with other things to do costs nothing. All of this holds as well where syncs of the
//! database's log fail, and what was written before them never comes to the disk.
//!
//! `MEDIAHOOKS_POWER_CUTS` sets the number of crashes of each test (default 60), `MEDIAHOOKS_POWER_SEED` their moments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_database::{AssetQuery, Database, Options};
use mediahooks_ingest::rtmp::publisher::Publisher;
use mediahooks_model::{AssetState, AssetType, Limits, MediaAssetId};
use mediahooks_recorder::Recorder;
use mediahooks_recorder::check::check;
use mediahooks_storage::DiskStorage;
use mediahooks_testkit::pace::Pace;
use mediahooks_testkit::power::{self, Calls, Crash, Dice};
use mediahooks_testkit::synthetic::{self, Source, Tag};
use mediahooks_testkit::{Rest, ServerOptions, eventually};
use serde_json::json;

/// From one picture to the next.
const PICTURE: Duration = Duration::from_millis(40);

/// What each stream sends before it ends.
const PICTURES: usize = 150;

/// What a crash may cost: the open segment, and what comes while one is stored.
const LOST_MS_MAX: i64 = 1000;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seconds() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64()
}

/// Per stream, when each picture was sent.
type Sent = Arc<Mutex<BTreeMap<String, Vec<f64>>>>;

/// Publishes all streams together at the server's pace and notes when each picture went out.
async fn publish(streams: Vec<(&'static str, String, Source)>, pid: u32, sent: Sent) {
    let mut publishers = Vec::new();
    for (name, url, source) in streams {
        let mut publisher = Publisher::connect(&url).await.expect("the server takes it");
        send(&mut publisher, source.headers()).await;
        publishers.push((name, publisher, source));
    }
    let mut pace = Pace::new(PICTURE, Dice(7));
    for _ in 0..PICTURES {
        for (name, publisher, source) in &mut publishers {
            sent.lock().unwrap().entry((*name).to_owned()).or_default().push(seconds());
            send(publisher, source.millis(PICTURE.as_millis() as i64)).await;
        }
        pace.step(pid).await;
    }
    for (_, publisher, _) in publishers {
        publisher.finish().await.expect("the server takes it");
    }
}

async fn send(publisher: &mut Publisher, tags: Vec<Tag>) {
    for tag in tags {
        publisher.send_tag(tag.tag_type, tag.timestamp_ms, &tag.body).await.expect("the server takes it");
    }
}

/// Asks for clips of the last second and deletes every third; returns when each was acknowledged.
async fn clip(rest: Rest, count: usize) -> Vec<(f64, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..count {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let start = mediahooks_model::Timestamp::from_micros(((seconds() - 1.2) * 1e6) as i64);
        let body = json!({"streamName": "stage", "startTime": start.to_string()});
        let Ok((status, answer)) =
            rest.send(reqwest::Method::POST, "/api/v3/media/assets", Some(&body)).await
        else {
            continue;
        };
        if !status.is_success() {
            continue;
        }
        for asset in answer["data"].as_array().expect("an array") {
            let id = asset["id"].as_str().expect("an id").to_owned();
            if number % 3 == 2 {
                let path = format!("/api/v3/media/assets/{id}");
                let _ = rest.send(reqwest::Method::DELETE, &path, None).await;
            } else {
                acknowledged.push((seconds(), id));
            }
        }
    }
    acknowledged
}

/// What was recorded of a server's life.
struct Life {
    calls: Calls,
    sent: BTreeMap<String, Vec<f64>>,
    acknowledged: Vec<(f64, String)>,
}

/// Records a server's life; `failing` is added to the recorder's arguments.
async fn live(failing: Vec<String>) -> Life {
    let work = tempfile::tempdir().expect("a temporary directory");
    let log = work.path().join("calls");
    let is_failing = !failing.is_empty();
    let options =
        ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks")).under([power::record(&log), failing].concat());
    let mut server = options.start().await;
    let rest = server.rest();
    let tokens = [rest.create_token("stage").await, rest.create_token("other").await];
    let sent = Sent::default();
    // Its segments are large enough to be padded.
    let long_groups = Source { group: 75, picture_bytes: 8000, ..Source::default() };
    let sources = [("stage", Source::default()), ("other", long_groups)].into_iter().zip(&tokens);
    let streams = sources.map(|((name, source), token)| (name, server.publish_url(name, token), source));
    let published = publish(streams.collect(), server.pid(), Arc::clone(&sent));
    let ((), acknowledged) = tokio::join!(published, clip(rest, 12));
    let pid = server.pid();
    let stopped = server.stop().await;
    // The sync that fails may be one of the end, which is told.
    assert!(stopped.code().is_some_and(|code| code == 0 || is_failing), "{stopped}: {:#?}", server.log());
    let text = eventually("strace has written everything", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.lines()
            .any(|line| line.contains("+++ exited") && line.starts_with(&pid.to_string()))
            .then_some(text)
    })
    .await;
    let calls = Calls::read(&text, server.data());
    let sent = sent.lock().unwrap().clone();
    Life { calls, sent, acknowledged }
}

/// Starts on what a crash left and judges it. Returns the milliseconds of media lost per live stream.
async fn judge(life: &Life, line: usize, left: &Path) -> Vec<i64> {
    let database =
        Database::open(&left.join("mediahooks.db"), Options::default()).expect("the database opens");
    let storage = DiskStorage::open(left.join("media")).expect("the storage opens");
    let recorder = Recorder::open(database.clone(), storage.clone(), Limits::default()).await;
    let recorder = recorder.expect("the recorder opens");
    let report = check(&database, &storage, |_, _| {}).await.expect("it can be checked");
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
    assert!(database.live_feeds().await.expect("it reads").is_empty());
    let now = life.calls.time(line);
    for (at, id) in life.acknowledged.iter().filter(|(at, _)| *at < now) {
        let id: MediaAssetId = id.parse().expect("an id");
        let asset = database.asset(id).await.expect("it reads");
        let asset = asset.unwrap_or_else(|| panic!("clip {id}, acknowledged at {at}, is gone"));
        assert!(matches!(asset.state, AssetState::Complete { .. }), "{asset:?}");
    }
    let query = AssetQuery { types: vec![AssetType::Recording], limit: 100, ..AssetQuery::default() };
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for asset in database.assets(query).await.expect("it reads") {
        assert!(matches!(asset.state, AssetState::Complete { .. }), "{asset:?}");
        let download = recorder.open_download(asset.id).await.expect("it opens");
        let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.expect("it reads");
        let pictures = synthetic::pictures(&pieces.concat());
        assert_eq!(pictures, (0..pictures.len() as u32).collect::<Vec<_>>());
        *kept.entry(asset.stream_name.to_string()).or_default() += pictures.len();
    }
    database.close().await.expect("it closes");
    let lost = life.sent.iter().map(|(stream, sent)| {
        let sent = sent.iter().filter(|at| **at < now).count();
        (sent as i64 - kept.get(stream).copied().unwrap_or(0) as i64) * PICTURE.as_millis() as i64
    });
    lost.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_left_is_whole() {
    let life = live(Vec::new()).await;
    let boundaries = life.calls.sync_boundaries();
    assert!(boundaries.len() > 50, "{} syncs", boundaries.len() / 2);
    assert!(life.calls.failed_syncs().is_empty());
    crash(&life, &boundaries).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_left_is_whole_where_the_database_could_not_sync() {
    // Only the database calls it often enough on one thread: after the server has started, and then now and again.
    let life = live(power::fail("fsync", 20, 9)).await;
    let failed = life.calls.failed_syncs();
    assert!(failed.len() > 2, "{} syncs failed", failed.len());
    crash(&life, &[life.calls.sync_boundaries(), failed].concat()).await;
}

/// Crashes at the lines of `boundaries` and anywhere, and judges what each leaves.
async fn crash(life: &Life, boundaries: &[usize]) {
    let crashes = setting("MEDIAHOOKS_POWER_CUTS", 60);
    let seed = setting("MEDIAHOOKS_POWER_SEED", 1);
    let shared = Path::new("/dev/shm");
    let mut lost = Vec::new();
    for number in 0..crashes {
        let mut dice = Dice((seed * 1_000_003 + number) as u64);
        let line = match dice.below(2) {
            // Just before or after a sync begins or is done.
            0 => (boundaries[dice.below(boundaries.len())] + dice.below(2)).min(life.calls.len() - 1),
            _ => dice.below(life.calls.len()),
        };
        let crash = if dice.below(4) == 0 { Crash::Kill } else { Crash::PowerCut };
        let left = match shared.is_dir() {
            true => tempfile::tempdir_in(shared),
            false => tempfile::tempdir(),
        };
        let left = left.expect("a temporary directory");
        life.calls.crash(line, crash, &mut dice, left.path());
        let judged = std::panic::AssertUnwindSafe(judge(life, line, left.path()));
        match futures::FutureExt::catch_unwind(judged).await {
            Ok(found) => lost.extend(found),
            Err(_) => panic!("crash {number} of seed {seed}: {crash:?} after line {line} of the record"),
        }
    }
    lost.sort_unstable();
    let (median, most) = (lost[lost.len() / 2], lost[lost.len() - 1]);
    println!(
        "{crashes} crashes at {} syncs: {median} ms of media lost in the middle, {most} ms at most",
        boundaries.len() / 2
    );
    assert!(most <= LOST_MS_MAX, "{most} ms of media were lost");
}
