//! The process dies while a segment is being written: its file ends anywhere in it, or its end is zeros or garbage.
//!
//! Kept: every whole segment. The torn one is cut off at the start; the recording is complete and plays. The
//! simulation of crashes at every system call is in `crates/server/tests/power_cut.rs`.

use std::path::Path;
use std::sync::Arc;

use mediahooks_model::{AssetType, Limits, TimelineId};
use mediahooks_recorder::DiskLimits;
use mediahooks_recorder::check::check;
use mediahooks_testkit::faulty::FaultyFiles;
use mediahooks_testkit::synthetic::{Simulated, Source};

use crate::common::{eventually, token};
use crate::stage::Stage;

/// A broadcast of which four seconds are stored, and a segment is written whose sync does not return; and the length of
/// its file before that.
async fn writing() -> (Stage, Simulated, Arc<FaultyFiles>, TimelineId, u64) {
    let files = Arc::new(FaultyFiles::default());
    let stage = Stage::on_disk(token(), Limits::default(), DiskLimits::default(), files.clone()).await;
    let mut source = Source { picture_bytes: 500, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.millis(4_200));
    stage.push(&mut publisher, &tags).await;
    let timeline = eventually(async || {
        let timelines = stage.bench.assets(AssetType::Timeline).await;
        let timeline = timelines.first()?.recipe.first()?.timeline;
        let stored = stage.bench.database.segments(timeline, 0, None).await.unwrap();
        let length_us = stored.last()?.media_end_us - stored.first()?.media_start_us;
        (length_us >= 4_000_000).then_some(timeline)
    })
    .await;
    let stored = std::fs::metadata(stage.bench.storage.chunk_path(timeline, 0)).unwrap().len();
    files.hold();
    stage.push(&mut publisher, &source.millis(1_000)).await;
    eventually(async || (files.waiting() > 0).then_some(())).await;
    (stage, publisher, files, timeline, stored)
}

/// Starts on what is left after `damage` was done to the file, of which so many bytes were durable.
async fn check_after(damage: impl FnOnce(&Path, u64)) {
    let (mut stage, publisher, files, timeline, stored) = writing().await;
    let path = stage.bench.storage.chunk_path(timeline, 0);
    let path = path.strip_prefix(stage.bench.directory.path()).unwrap().to_owned();
    stage.bench =
        stage.bench.crash_and_restart_after(|directory| damage(&directory.join(path), stored)).await;
    files.release();
    drop(publisher);
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..100).collect::<Vec<_>>());
    let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
}

fn open(path: &Path) -> std::fs::File {
    std::fs::File::options().write(true).open(path).unwrap()
}

#[tokio::test]
async fn whatever_is_left_of_it_is_cut_off() {
    for torn in [0, 1, 7, 8, 100, 5_000] {
        check_after(|path, stored| {
            let file = open(path);
            assert!(file.metadata().unwrap().len() > stored + 5_000, "it is being written");
            file.set_len(stored + torn).unwrap();
        })
        .await;
    }
    // All of it, but for what says that it is stored.
    check_after(|_, _| {}).await;
}

#[tokio::test]
async fn so_are_zeros_and_garbage() {
    for byte in [0, 0x5A] {
        check_after(|path, stored| {
            let file = open(path);
            let end = file.metadata().unwrap().len();
            let bytes = vec![byte; (end - stored) as usize - 64];
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, stored + 64).unwrap();
        })
        .await;
    }
}
