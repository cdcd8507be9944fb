//! The disk fills up while two broadcasts are live.
//!
//! First the oldest timelines that nothing else needs go; then new publishers are refused with `disk_full`;
//! those that are live go on while the reserve lasts, and are ended while their recordings can still be
//! written. Webhooks are told of each step. With room again everything goes on without a restart. Counted: `timelines_freed`, `refused`.

use std::sync::Arc;

use mediahooks_database::{EventFilter, EventStart};
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetStatus, AssetType, Limits, PublishToken};
use mediahooks_recorder::check::check;
use mediahooks_recorder::{DiskLevel, DiskLimits, Room};
use mediahooks_storage::Space;
use mediahooks_testkit::faulty::FaultyFiles;
use mediahooks_testkit::synthetic::Source;
use tokio_util::sync::CancellationToken;

use crate::common::{eventually, token};
use crate::stage::Stage;

const LIMITS: DiskLimits = DiskLimits { low: Room::Bytes(1000 << 20), reserve: Room::Bytes(400 << 20) };

fn room(files: &FaultyFiles, mib: u64) {
    files.show_space(Space { total_bytes: 10_000 << 20, free_bytes: mib << 20 });
}

async fn level(stage: &Stage, level: DiskLevel) {
    eventually(async || (stage.bench.recorder.disk_level() == level).then_some(())).await;
}

#[tokio::test]
async fn step_by_step_and_back() {
    // No recordings, so that nothing pins the timelines.
    let clips_only = PublishToken { record: false, ..token() };
    let files = Arc::new(FaultyFiles::default());
    room(&files, 5000);
    let stage = Stage::on_disk(clips_only, Limits::default(), LIMITS, files.clone()).await;
    let sweeper = CancellationToken::new();
    tokio::spawn(stage.bench.recorder.clone().run_sweeper(sweeper.clone()));
    let broadcast = || {
        let mut source = Source { picture_bytes: 2000, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(4));
        tags
    };
    for _ in 0..3 {
        stage.broadcast(&broadcast()).await;
        stage.clock.0.pass_until(i64::try_from(stage.clock.0.steady().as_micros()).unwrap() + 5_000_000);
    }
    let clip = stage.clips(500, 3_000).await.remove(0);
    let mut live = stage.publish("stage", &[]).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    stage.push(&mut live, &tags).await;

    // Little room: timelines go, the oldest first, but not what the clip holds, nor the one that is live.
    room(&files, 999);
    level(&stage, DiskLevel::Low).await;
    let left = eventually(async || {
        let timelines = stage.bench.assets(AssetType::Timeline).await;
        (timelines.iter().filter(|asset| asset.state.status() == AssetStatus::Complete).count() < 3)
            .then_some(timelines)
    })
    .await;
    assert_eq!(left.last().unwrap().state.status(), AssetStatus::Processing);
    room(&files, 800);
    eventually(async || {
        let timelines = stage.bench.assets(AssetType::Timeline).await;
        (timelines.len() == 1).then_some(())
    })
    .await;
    assert_eq!(stage.count("timelines_freed", &[]), 3);
    assert_eq!(stage.finished(stage.bench.asset(clip.asset.id).await).await.file, clip.file);

    // Less: nobody new; who is live goes on.
    room(&files, 399);
    level(&stage, DiskLevel::Refusing).await;
    let refused = stage.bench.open_feed("other", &[]).await.err().unwrap();
    assert_eq!(refused.code, "disk_full");
    assert_eq!(stage.count("refused", &[("reason", "disk_full")]), 1);
    stage.push(&mut live, &source.seconds(3)).await;

    // Next to nothing: all are ended, in order.
    room(&files, 99);
    assert_eq!(live.sink.stopped().await.code, "disk_full");
    live.sink.finish(PublishEnd::Disconnected).await;

    // Room again, and no restart.
    room(&files, 5000);
    level(&stage, DiskLevel::Ample).await;
    stage.broadcast(&broadcast()).await;

    // Webhooks were told of each step, once, and that it is over once that has lasted for a minute.
    let told = async || {
        let all = EventFilter::default();
        let page = stage.bench.database.events(EventStart::Oldest, &all, 100).await.unwrap().unwrap();
        let kinds = page.events.iter().map(|event| event.kind.to_string());
        kinds.filter(|kind| kind.starts_with("storage.")).collect::<Vec<_>>()
    };
    assert_eq!(told().await, ["storage.low", "storage.refusing", "storage.full"]);
    let steady_us = i64::try_from(stage.clock.0.steady().as_micros()).unwrap();
    stage.clock.0.pass_until(steady_us + 61_000_000);
    eventually(async || (told().await.last().unwrap() == "storage.recovered").then_some(())).await;
    assert_eq!(told().await.len(), 4);
    sweeper.cancel();
    let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_that_fails_half_way_ends_the_feed_and_harms_nothing() {
    // Every number of bytes from which the disk takes no more.
    for room in [0, 100, 700, 5_000, 9_000, 20_011, 60_000] {
        let files = Arc::new(FaultyFiles::default());
        let stage = Stage::on_disk(token(), Limits::default(), DiskLimits::default(), files.clone()).await;
        files.leave_room(Some(room));
        let mut source = Source { picture_bytes: 300, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(20));
        let mut publisher = stage.publish("stage", &[]).await;
        let ended = publisher.push(&stage.clock.0, &tags).await;
        if let Err(ended) = ended {
            assert_eq!(ended.code, "storage_failed");
        }
        stage.end(publisher).await;
        files.leave_room(None);
        let recordings = stage.recordings().await;
        if let [recording] = recordings.as_slice() {
            let pictures = recording.pictures();
            assert_eq!(pictures, (0..pictures.len() as u32).collect::<Vec<_>>(), "no hole");
        }
        assert_eq!(recordings.is_empty(), room < 8_000, "{room}");
        let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
        assert_eq!((report.problems, report.notes), (vec![], vec![]), "{room}");
        // The encoder comes back, and there is room.
        stage.broadcast(&tags).await;
        assert_eq!(stage.recordings().await.last().unwrap().pictures().len(), 500);
    }
}
