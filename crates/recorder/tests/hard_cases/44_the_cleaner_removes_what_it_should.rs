//! Cleaners forget files, or remove what is needed.
//!
//! After everything was deleted nothing is left but files of others; a file that nobody knows goes at the next
//! start; what any asset holds stays, whatever order things are deleted in (see `tests/lifecycle_model.rs`).

use mediahooks_model::AssetType;
use mediahooks_testkit::synthetic::Source;
use tokio_util::sync::CancellationToken;

use crate::common::eventually;
use crate::stage::Stage;

#[tokio::test]
async fn all_of_it_and_nothing_else() {
    let mut stage = Stage::new().await;
    for _ in 0..3 {
        let mut source = Source::default();
        let mut tags = source.headers();
        tags.extend(source.seconds(5));
        stage.broadcast(&tags).await;
    }
    let foreign = stage.bench.storage.root().join("notes.txt");
    std::fs::write(&foreign, "mine").unwrap();
    let stray = "0123456789abcdef0123456789abcdef".parse().unwrap();
    stage.bench.storage.create_chunk(stray, 7, b"init".to_vec()).await.unwrap();
    stage.bench = stage.bench.crash_and_restart().await;
    assert_eq!(stage.bench.storage.chunk_files().await.unwrap().len(), 3);
    let sweeper = CancellationToken::new();
    tokio::spawn(stage.bench.recorder.clone().run_sweeper(sweeper.clone()));
    stage.clips(1_000, 3_000).await;
    for asset_type in [AssetType::Timeline, AssetType::Clip, AssetType::Recording] {
        stage.bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
    }
    eventually(async || stage.bench.storage.chunk_files().await.unwrap().is_empty().then_some(())).await;
    eventually(async || stage.bench.database.freed_ranges(0, 9).await.unwrap().is_empty().then_some(()))
        .await;
    assert_eq!(stage.bench.database.segment_count().await.unwrap(), 0);
    let root = stage.bench.storage.root();
    let mut left: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["identity", "notes.txt"]);
    sweeper.cancel();
}
