//! The process dies while a segment is being written: its file ends anywhere in it.
//!
//! Kept: every whole segment. The torn one is cut off at the start; the recording is complete and plays. The
//! simulation of crashes at every system call is in `crates/server/tests/power_cut.rs`.

use mediahooks_model::AssetType;
use mediahooks_recorder::check::check;
use mediahooks_testkit::synthetic::Source;

use crate::common::eventually;
use crate::stage::Stage;

#[tokio::test]
async fn whatever_is_left_of_it_is_cut_off() {
    for torn in [0, 1, 7, 8, 100, 5_000] {
        let mut stage = Stage::new().await;
        let mut source = Source::default();
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
        let path = stage.bench.storage.chunk_path(timeline, 0);
        let bytes = std::fs::read(&path).unwrap();
        let segment = bytes[bytes.len() / 2..].iter().chain(&bytes).cycle().take(torn);
        let torn_file: Vec<u8> = bytes.iter().chain(segment).copied().collect();
        std::fs::write(&path, torn_file).unwrap();
        stage.bench = stage.bench.crash_and_restart().await;
        drop(publisher);
        let recording = stage.recording().await;
        let pictures = recording.pictures();
        assert!(pictures.len() >= 100, "{torn}: {} pictures", pictures.len());
        assert_eq!(pictures, (0..pictures.len() as u32).collect::<Vec<_>>());
        let report = check(&stage.bench.database, &stage.bench.storage, |_, _| {}).await.unwrap();
        assert_eq!((report.problems, report.notes), (vec![], vec![]));
    }
}
