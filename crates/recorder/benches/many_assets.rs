//! What it costs that a timeline has very many clips: to make and list others, to mark all for removal, by request or
//! because their time is over, and to remove them, down to the bytes. Tells also how long others wait meanwhile: a
//! feed that commits a segment every 10 ms, and who clips another timeline.
//!
//! Run with `cargo bench -p mediahooks-recorder --bench many_assets -- [CLIPS]` (10,000), on a disk: `TMPDIR` says where.

mod broadcast;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broadcast::{Broadcast, PER_CHUNK, SECONDS, SEGMENT_BYTES, finished, now};
use mediahooks_database::{AssetQuery, Change, Database, NewAsset, Options, Retention};
use mediahooks_model::{AssetType, Limits, MediaAssetId};
use mediahooks_recorder::{ClipRequest, Recorder, RecorderSettings};
use mediahooks_storage::DiskStorage;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let clips = numbers.next().unwrap_or(10_000);
    let directory = tempfile::tempdir().expect("a directory");
    let database =
        Database::open(&directory.path().join("bench.db"), Options::default()).expect("a database");
    database.account_or_create("dkxfvY".parse().expect("an id"), now()).await.expect("an account");
    let begun = now().minus(Duration::from_secs(SECONDS));
    let [stage, side] =
        [(1, "stage"), (2, "side")].map(|(number, stream)| Broadcast { number, stream, begun });
    stage.store(&database).await;
    side.store(&database).await;
    let ids = store_clips(&database, &stage, clips).await;
    store_files(&directory.path().join("media"), &[stage, side]).await;
    let storage = DiskStorage::open(directory.path().join("media")).expect("a directory");
    let recorder =
        Recorder::open(database.clone(), storage.clone(), RecorderSettings::from(Limits::default()))
            .await
            .expect("a recorder");
    println!("a timeline of {SECONDS} segments with {clips} clips");

    requests(&recorder, &stage, "clips of it").await;
    requests(&recorder, &side, "clips of one without").await;
    listings(&database, &stage, clips).await;

    let others = Others::start(&recorder, &database, side).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    others.tell("nothing else happens");

    let asked = Instant::now();
    recorder.delete_assets(&ids[..ids.len() / 2]).await.expect("marked");
    println!("{} clips marked by one request: {:.1} s", ids.len() / 2, asked.elapsed().as_secs_f64());
    others.tell("meanwhile");
    let asked = Instant::now();
    recorder.delete_assets(&[stage.timeline_asset()]).await.expect("marked");
    database.remove_asset(stage.timeline_asset(), now()).await.expect("removed");
    println!("the timeline, of which its clips stay: removed in {:.1} s", asked.elapsed().as_secs_f64());
    others.tell("meanwhile");

    let sweeper = CancellationToken::new();
    let sweeping = tokio::spawn(recorder.clone().run_sweeper(sweeper.clone()));
    let asked = Instant::now();
    while database
        .deleting_assets(None, 1)
        .await
        .expect("ids")
        .iter()
        .chain(&database.expiring_assets(now(), None, 1).await.expect("ids"))
        .next()
        .is_some()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("those, and the rest, which is expired: removed in {:.1} s", asked.elapsed().as_secs_f64());
    others.tell("meanwhile");
    while !database.freed_ranges(0, 1).await.expect("ranges").is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("their bytes were given back after {:.1} s", asked.elapsed().as_secs_f64());
    sweeper.cancel();
    sweeping.await.expect("the sweeper");

    let asked = Instant::now();
    let retention = Retention { history: Duration::ZERO, ..Retention::default() };
    let pruned = database.prune(now().plus(Duration::from_secs(3600)), retention).await.expect("pruned");
    println!(
        "pruned {} events, {} assets: {:.1} s",
        pruned.events,
        pruned.assets,
        asked.elapsed().as_secs_f64()
    );
    others.tell("meanwhile");
    others.stop().await;
}

/// Clips without gaps between them but one segment, all expired.
async fn store_clips(database: &Database, of: &Broadcast, clips: u64) -> Vec<MediaAssetId> {
    let ids: Vec<MediaAssetId> = (0..clips).map(|n| MediaAssetId(Uuid::from_u64_pair(n + 1, n))).collect();
    for (some, numbers) in ids.chunks(200).zip((0u64..).step_by(200)) {
        let changes = some.iter().zip(numbers..).flat_map(|(id, number)| {
            let first = number * SECONDS / clips;
            let last = ((number + 1) * SECONDS / clips).saturating_sub(2).max(first);
            let mut asset = of.asset(*id, AssetType::Clip, of.part(first, last));
            asset.start_time = of.begun.plus(Duration::from_secs(first));
            asset.expiration = Some(now());
            [Change::CreateAsset(Box::new(NewAsset { asset })), finished(*id, now())]
        });
        database.commit(changes.collect(), now()).await.expect("rows");
    }
    ids
}

/// Chunk files without content.
async fn store_files(media: &Path, broadcasts: &[Broadcast]) {
    let storage = DiskStorage::open(media).expect("a directory");
    for broadcast in broadcasts {
        for chunk in 0..SECONDS.div_ceil(PER_CHUNK) {
            let path = storage.chunk_path(broadcast.timeline(), chunk as u32);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            let file = std::fs::File::create(path).expect("a file");
            file.set_len(PER_CHUNK * SEGMENT_BYTES).expect("to grow");
        }
    }
}

/// Asks for clips, and in vain.
async fn requests(recorder: &Recorder, of: &Broadcast, what: &str) {
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for n in 0..50u64 {
        let asked = Instant::now();
        recorder.create_clips(request(of, n * SECONDS / 50)).await.expect("a clip");
        made.push(asked.elapsed());
        let asked = Instant::now();
        let before = of.begun.minus(Duration::from_secs(1000));
        recorder
            .create_clips(ClipRequest {
                start: before,
                stop: Some(before.plus(Duration::from_secs(5))),
                ..request(of, 0)
            })
            .await
            .expect_err("nothing");
        refused.push(asked.elapsed());
    }
    println!("{what}: {}; refused: {}", words(&mut made), words(&mut refused));
}

fn request(of: &Broadcast, from_s: u64) -> ClipRequest {
    let start = of.begun.plus(Duration::from_secs(from_s));
    ClipRequest {
        stop: Some(start.plus(Duration::from_secs(5))),
        ..ClipRequest::new(of.stream.parse().expect("a name"), start, now())
    }
}

async fn listings(database: &Database, of: &Broadcast, clips: u64) {
    let pages: [(&str, AssetQuery); 4] = [
        ("the first", AssetQuery::default()),
        ("the last", AssetQuery { offset: clips - 20, ..AssetQuery::default() }),
        ("clips", AssetQuery { types: vec![AssetType::Clip], ..AssetQuery::default() }),
        (
            "timelines of the stream",
            AssetQuery {
                types: vec![AssetType::Timeline],
                stream_name: Some(of.stream.to_owned()),
                ..AssetQuery::default()
            },
        ),
    ];
    for (what, query) in pages {
        let mut times = Vec::new();
        for _ in 0..20 {
            let asked = Instant::now();
            database.assets(AssetQuery { limit: 20, ..query.clone() }).await.expect("assets");
            times.push(asked.elapsed());
        }
        println!("a page of assets, {what}: {}", words(&mut times));
    }
}

/// Who goes on meanwhile.
struct Others {
    stopped: CancellationToken,
    commits: Arc<Mutex<Vec<Duration>>>,
    clips: Arc<Mutex<Vec<Duration>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Others {
    async fn start(recorder: &Recorder, database: &Database, clipped: Broadcast) -> Self {
        let others = Self {
            stopped: CancellationToken::new(),
            commits: Arc::default(),
            clips: Arc::default(),
            tasks: Vec::new(),
        };
        let live = Broadcast { number: 3, stream: "live", begun: now() };
        database.commit(live.opening(), now()).await.expect("rows");
        let part = mediahooks_database::RecipePart { last: None, ..live.part(0, 0) };
        let asset = live.asset(live.timeline_asset(), AssetType::Timeline, part);
        database.commit(vec![Change::CreateAsset(Box::new(NewAsset { asset }))], now()).await.expect("rows");
        let (database, stopped, commits) =
            (database.clone(), others.stopped.clone(), Arc::clone(&others.commits));
        let feed = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            for sequence in 0.. {
                if stopped.is_cancelled() {
                    return;
                }
                beat.tick().await;
                let asked = Instant::now();
                database.commit(vec![Change::AddSegment(live.segment(sequence))], now()).await.expect("rows");
                commits.lock().expect("times").push(asked.elapsed());
            }
        });
        let (recorder, stopped, clips) =
            (recorder.clone(), others.stopped.clone(), Arc::clone(&others.clips));
        let clipping = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(50));
            for n in 0.. {
                if stopped.is_cancelled() {
                    return;
                }
                beat.tick().await;
                let asked = Instant::now();
                recorder.create_clips(request(&clipped, n * 7 % (SECONDS - 10))).await.expect("a clip");
                clips.lock().expect("times").push(asked.elapsed());
            }
        });
        Self { tasks: vec![feed, clipping], ..others }
    }

    /// What they waited for since this was told last.
    fn tell(&self, when: &str) {
        let take = |times: &Mutex<Vec<Duration>>| std::mem::take(&mut *times.lock().expect("times"));
        println!(
            "  {when}: a commit of a feed takes {}; a clip {}",
            words(&mut take(&self.commits)),
            words(&mut take(&self.clips))
        );
    }

    async fn stop(self) {
        self.stopped.cancel();
        for task in self.tasks {
            task.await.expect("a task");
        }
    }
}

fn words(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1) as f64;
        times.get((last * share) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!("p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(0.5), at(0.99), at(1.0))
}
