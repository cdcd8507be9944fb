//! The disk fails to make bytes durable: after that the kernel may have dropped them, and says so only once.
//!
//! The chunk file takes no more; what was being written goes to another one, from memory. If that fails as
//! well, the feed ends and its encoder is told. Kept: everything that was acknowledged. Counted:
//! `write_failures`. Where it is the database's log that cannot be made durable, nothing of the commit counts, and it is
//! written anew: `crates/server/tests/power_cut.rs`.

use std::sync::Arc;

use mediahooks_model::{AssetType, Limits};
use mediahooks_recorder::DiskLimits;
use mediahooks_recorder::check::check;
use mediahooks_testkit::faulty::FaultyFiles;
use mediahooks_testkit::synthetic::Source;

use crate::common::{eventually, token};
use crate::stage::Stage;

#[tokio::test]
async fn the_file_is_left_and_nothing_is_lost() {
    let files = Arc::new(FaultyFiles::default());
    let stage = Stage::on_disk(token(), Limits::default(), DiskLimits::default(), files.clone()).await;
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    stage.push(&mut publisher, &tags).await;
    let stored = async || {
        let timelines = stage.bench.assets(AssetType::Timeline).await;
        let timeline = timelines.first()?.recipe.first()?.timeline;
        let segments = stage.bench.database.segments(timeline, 0, None).await.unwrap();
        (segments.len() >= 3).then_some(())
    };
    eventually(stored).await;
    files.fail_syncs(1);
    stage.push(&mut publisher, &source.seconds(4)).await;
    stage.end(publisher).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..200).collect::<Vec<_>>());
    assert_eq!(stage.count("write_failures", &[]), 1);
    let chunks = stage.bench.storage.chunk_files().await.unwrap();
    assert_eq!(chunks.len(), 2);
    let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
}

#[tokio::test]
async fn a_disk_that_keeps_failing_ends_the_feed() {
    let files = Arc::new(FaultyFiles::default());
    let stage = Stage::on_disk(token(), Limits::default(), DiskLimits::default(), files.clone()).await;
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    stage.push(&mut publisher, &tags).await;
    eventually(async || (!stage.bench.assets(AssetType::Timeline).await.is_empty()).then_some(())).await;
    files.fail_syncs(u32::MAX);
    let ended = loop {
        if let Err(ended) = publisher.push(&stage.clock.0, &source.seconds(1)).await {
            break ended;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ended.code, "storage_failed");
    stage.end(publisher).await;
    let pictures = stage.recording().await.pictures();
    assert_eq!(pictures, (0..pictures.len() as u32).collect::<Vec<_>>());
    files.fail_syncs(0);
    let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
}
