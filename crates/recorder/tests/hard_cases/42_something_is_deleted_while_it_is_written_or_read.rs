//! A recording is deleted while it is being made, and a clip while it is being read.
//!
//! The first is refused. The second is gone for everybody else at once, and read to its end by who reads it;
//! its room comes back after that.

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_recorder::DownloadError;
use mediahooks_testkit::synthetic::Source;
use tokio_util::sync::CancellationToken;

use crate::common::eventually;
use crate::stage::Stage;
use mediahooks_model::AssetType;

#[tokio::test]
async fn the_current_one_is_refused_and_the_reader_finishes() {
    let stage = Stage::new().await;
    let sweeper = CancellationToken::new();
    tokio::spawn(stage.bench.recorder.clone().run_sweeper(sweeper.clone()));
    let mut source = Source { picture_bytes: 5000, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    stage.push(&mut publisher, &tags).await;
    let clip = stage.clips(2_000, 6_000).await.remove(0);
    for asset_type in [AssetType::Recording, AssetType::Timeline] {
        let (deleted, refused) = stage.bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
        assert_eq!((deleted, refused.len()), (0, 1));
    }
    let download = stage.bench.recorder.open_download(clip.asset.id).await.unwrap();
    stage.bench.recorder.delete_assets(&[clip.asset.id]).await.unwrap();
    assert!(matches!(stage.bench.recorder.open_download(clip.asset.id).await, Err(DownloadError::Gone)));
    stage.end(publisher).await;
    for asset_type in [AssetType::Recording, AssetType::Timeline] {
        assert_eq!(stage.bench.recorder.delete_assets_of_type(asset_type).await.unwrap().0, 1);
    }
    // The others' removal shows that the sweeper has been here.
    eventually(async || {
        (stage.bench.database.deleting_assets(None, 9).await.unwrap() == [clip.asset.id]).then_some(())
    })
    .await;
    let body = download.read(0..download.len);
    drop(download);
    let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), clip.file);
    eventually(async || stage.bench.storage.chunk_files().await.unwrap().is_empty().then_some(())).await;
    sweeper.cancel();
}
