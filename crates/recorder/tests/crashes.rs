//! What a crash leaves is repaired at the next start.

mod common;

use common::{Bench, pictures_in};
use mediahooks_model::{AssetState, AssetType};
use mediahooks_recorder::check::check;

#[tokio::test]
async fn a_live_feed_is_ended_and_its_recording_completed_with_what_was_stored() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(110).await;
    common::eventually(async || {
        let timelines = bench.assets(AssetType::Timeline).await;
        let recipe = timelines.first()?.recipe.first()?.clone();
        let stored = bench.database.segments(recipe.timeline, 0, None).await.unwrap();
        (stored.len() == 8).then_some(())
    })
    .await;
    let path = {
        let timelines = bench.assets(AssetType::Timeline).await;
        bench.storage.chunk_path(timelines[0].recipe[0].timeline, 0)
    };
    let torn = [std::fs::read(&path).unwrap(), b"half a segm".to_vec()].concat();
    std::fs::write(&path, torn).unwrap();

    let crashed = bench.crash_and_restart().await;
    drop(publisher);
    let bench = crashed;
    assert!(bench.database.live_feeds().await.unwrap().is_empty());
    let recordings = bench.assets(AssetType::Recording).await;
    assert!(matches!(recordings[0].state, AssetState::Complete { .. }), "{recordings:?}");
    assert_eq!(pictures_in(&bench.file(recordings[0].id).await), (0..100).collect::<Vec<_>>());
    let report = check(&bench.database, &bench.storage, |_, _| {}).await.unwrap();
    assert_eq!((report.problems, report.notes), (Vec::<String>::new(), Vec::new()));
    assert_eq!((report.segments, report.files), (8, 1));
}

#[tokio::test]
async fn files_that_no_row_knows_are_removed_and_damage_is_named() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    publisher.finish().await;
    let stray = "0123456789abcdef0123456789abcdef".parse().unwrap();
    bench.storage.create_chunk(stray, 0, b"init".to_vec()).await.unwrap();
    let bench = bench.crash_and_restart().await;
    assert!(!bench.storage.chunk_path(stray, 0).exists());

    let timeline = bench.assets(AssetType::Timeline).await[0].recipe[0].timeline;
    let path = bench.storage.chunk_path(timeline, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let segment = &bench.database.segments(timeline, 1, Some(1)).await.unwrap()[0];
    bytes[segment.offset as usize + 4] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(&bench.database, &bench.storage, |_, _| {}).await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(report.problems[0].starts_with(&format!("segment 1 of timeline {timeline}")));
}
