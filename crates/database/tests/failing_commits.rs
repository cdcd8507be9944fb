//! Commits that fail while they are written, over slots of the index's tail that are filled again and again: whoever
//! tries again neither loses a segment nor stores one twice, and what a kill leaves is what was acknowledged.
//!
//! The limit on the size of files stands for the full disk: like one, it lets a write get half-way. It holds for the
//! whole process, so that there is one test in this file. `MEDIAHOOKS_FAILING_COMMITS` sets the number of rounds.

use std::path::Path;

use mediahooks_database::{Change, Database, Feed, Options, Run, Segment, Timeline};
use mediahooks_model::{FeedId, TimelineId, Timestamp, TokenId};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// `SIGXFSZ` of Linux, which ends a process that writes past the limit unless it is handled.
const FILE_TOO_LARGE: SignalKind = SignalKind::from_raw(25);

/// Feeds that are live at a time.
const LIVE: usize = 3;

fn limit(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// Numbers that repeat (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + ms as i64)
}

/// What was acknowledged of a feed.
struct Model {
    timeline: TimelineId,
    segments: Vec<Segment>,
    is_live: bool,
}

impl Model {
    fn feed(&self) -> FeedId {
        FeedId(self.timeline.0)
    }

    fn begin(number: u64) -> (Self, Vec<Change>) {
        let model = Self {
            timeline: TimelineId(Uuid::from_u64_pair(number, number)),
            segments: Vec::new(),
            is_live: true,
        };
        let feed = Feed {
            id: model.feed(),
            token: TokenId(7),
            stream_name: "stage".parse().unwrap(),
            source_id: None,
            simulcast_id: None,
            priority: None,
            target_kbps: None,
            remote: "192.0.2.1".parse().unwrap(),
            started: at(0),
            ended: None,
        };
        let timeline = Timeline { id: model.timeline, feed: feed.id, created: at(0) };
        let run = Run { timeline: model.timeline, number: 0, tracks: Vec::new(), earlier: Vec::new() };
        (model, vec![Change::StartFeed(feed), Change::OpenTimeline(timeline), Change::PutRun(run)])
    }

    /// The segments that follow, with sample tables of so many bytes.
    fn next(&self, count: u64, table: u64) -> Vec<Segment> {
        let first = self.segments.len() as u64;
        let segments = (first..first + count).map(|sequence| Segment {
            timeline: self.timeline,
            sequence,
            run: 0,
            chunk: (sequence / 50) as u32,
            offset: sequence % 50 * 100,
            len: 100,
            media_start_us: sequence as i64 * 800_000,
            media_end_us: (sequence as i64 + 1) * 800_000,
            wall_offset_us: at(0).as_micros(),
            starts_with_sync: sequence % 3 == 0,
            index: vec![sequence as u8; table as usize].into(),
        });
        segments.collect()
    }
}

/// Whether everything that was acknowledged is stored once, and nothing else.
async fn agrees(db: &Database, models: &[Model]) {
    let mut count = 0;
    for model in models {
        let stored = db.segments(model.timeline, 0, None).await.unwrap();
        let numbers: Vec<u64> = stored.iter().map(|segment| segment.sequence).collect();
        let acknowledged = model.segments.len();
        assert!(stored == model.segments, "{}: {numbers:?} of {acknowledged} are stored", model.timeline);
        count += stored.len() as u64;
    }
    assert_eq!(db.segment_count().await.unwrap(), count);
    assert_eq!(db.check_index().await.unwrap(), Vec::<String>::new());
}

/// What a process that is killed now leaves.
async fn killed(directory: &Path, models: &[Model]) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["test.db", "test.db-wal"] {
        std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    let db = Database::open(&copy.path().join("test.db"), Options::default()).unwrap();
    agrees(&db, models).await;
}

fn slots(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM segment_tail", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_a_failed_commit_again_loses_no_segment_and_doubles_none() {
    let rounds = std::env::var("MEDIAHOOKS_FAILING_COMMITS").map_or(600, |rounds| rounds.parse().unwrap());
    let _handled = signal(FILE_TOO_LARGE).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let mut db = Database::open(&path, Options::default()).unwrap();
    db.account_or_create("dkxfvY".parse().unwrap(), at(0)).await.unwrap();
    let (mut dice, mut models, mut failed) = (Dice(1), Vec::<Model>::new(), 0);
    for round in 0..rounds {
        while models.iter().filter(|model| model.is_live).count() < LIVE {
            let (model, begin) = Model::begin(models.len() as u64 + 1);
            db.commit(begin, at(round)).await.unwrap();
            models.push(model);
        }
        // One or a few feeds at a time, which may or may not share a transaction.
        let mut writing = Vec::new();
        for (number, model) in models.iter().enumerate().filter(|(_, model)| model.is_live) {
            if dice.below(3) == 0 {
                continue;
            }
            let added = model.next(1 + dice.below(3), 200 + dice.below(1200));
            let mut changes: Vec<Change> = added.iter().cloned().map(Change::AddSegment).collect();
            let ends = model.segments.len() > 300 || dice.below(150) == 0;
            if ends {
                changes.push(Change::EndFeed { feed: model.feed(), at: at(round) });
            }
            writing.push((number, added, ends, changes));
        }
        let log = std::fs::metadata(directory.path().join("test.db-wal")).unwrap().len();
        limit((dice.below(2) == 0).then(|| dice.below(log + 20_000)));
        let commits = writing.iter().map(|(_, _, _, changes)| {
            let (db, changes) = (db.clone(), changes.clone());
            tokio::spawn(async move { db.commit(changes, at(round)).await.map(drop) })
        });
        let commits: Vec<_> = commits.collect();
        let mut again = Vec::new();
        for ((number, added, ends, changes), commit) in writing.into_iter().zip(commits) {
            match commit.await.unwrap() {
                Ok(()) => {
                    models[number].segments.extend(added);
                    models[number].is_live = !ends;
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error:?}");
                    again.push((number, added, ends, changes));
                }
            }
        }
        limit(None);
        failed += again.len();
        if !again.is_empty() && dice.below(8) == 0 {
            agrees(&db, &models).await;
            killed(directory.path(), &models).await;
        }
        for (number, added, ends, changes) in again {
            db.commit(changes, at(round)).await.unwrap();
            models[number].segments.extend(added);
            models[number].is_live = !ends;
        }
        if dice.below(40) == 0 {
            drop(db);
            db = Database::open(&path, Options::default()).unwrap();
            agrees(&db, &models).await;
        }
    }
    agrees(&db, &models).await;
    killed(directory.path(), &models).await;
    let stored: usize = models.iter().map(|model| model.segments.len()).sum();
    let slots = slots(&path);
    println!("{failed} commits failed; {stored} segments of {} feeds in {slots} slots", models.len());
    assert!(failed > rounds as usize / 20, "{failed} of {rounds} commits failed");
    // Three segments to a slot: they were filled several times.
    assert!(slots < stored as i64 / 9, "{stored} segments in {slots} slots");
}
