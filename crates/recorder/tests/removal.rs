//! Deleting and expiring: hooks at once, bytes when nothing needs them any more.

mod common;

use common::{Bench, eventually, now, pictures_in};
use futures::TryStreamExt;
use mediahooks_model::{AssetStatus, AssetType};
use mediahooks_recorder::{ClipRequest, DeleteRefused, DownloadError};
use tokio_util::sync::CancellationToken;

async fn broadcast(bench: &Bench) {
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    publisher.finish().await;
}

async fn gone(bench: &Bench) {
    eventually(async || bench.database.deleting_assets(10).await.unwrap().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_clip_outlives_the_recording_and_the_timeline_it_was_cut_from() {
    let bench = Bench::new().await;
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    broadcast(&bench).await;
    let request = bench.clip_request("stage", 2100, 3900).await;
    let clip = bench.recorder.create_clips(request).await.unwrap().remove(0);
    let before = pictures_in(&bench.file(clip.id).await);
    let timeline = clip.recipe.as_ref().unwrap().timeline;

    for asset_type in [AssetType::Recording, AssetType::Timeline] {
        let (deleted, refused) = bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
        assert_eq!((deleted, refused.len()), (1, 0));
    }
    gone(&bench).await;
    let kept = bench.database.segments(timeline, 0, None).await.unwrap();
    let recipe = bench.asset(clip.id).await.recipe.unwrap();
    let sequences: Vec<u64> = kept.iter().map(|segment| segment.sequence).collect();
    assert_eq!(sequences, (recipe.first..=recipe.last.unwrap()).collect::<Vec<_>>());
    assert_eq!(pictures_in(&bench.file(clip.id).await), before);

    bench.recorder.delete_assets(&[clip.id]).await.unwrap();
    gone(&bench).await;
    eventually(async || bench.storage.chunk_files().await.unwrap().is_empty().then_some(())).await;
    assert!(matches!(bench.recorder.open_download(clip.id).await, Err(DownloadError::Gone)));
    sweeper.cancel();
}

#[tokio::test]
async fn a_download_that_is_under_way_finishes_before_its_bytes_go() {
    let bench = Bench::new().await;
    broadcast(&bench).await;
    let recording = bench.assets(AssetType::Recording).await.remove(0);
    let whole = bench.file(recording.id).await;
    let download = bench.recorder.open_download(recording.id).await.unwrap();
    bench.recorder.delete_assets(&[recording.id]).await.unwrap();
    bench.recorder.delete_assets_of_type(AssetType::Timeline).await.unwrap();
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    // The timeline's removal shows that the sweeper has been here.
    eventually(async || (bench.database.deleting_assets(10).await.unwrap().len() == 1).then_some(())).await;
    let body = download.read(0..download.len);
    drop(download);
    let pieces: Vec<bytes::Bytes> = body.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), whole);
    gone(&bench).await;
    sweeper.cancel();
}

#[tokio::test]
async fn what_expires_is_removed_and_what_cannot_be_is_refused() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    let request = bench.clip_request("stage", 100, 2000).await;
    let soon = ClipRequest { expiration: Some(now().plus_micros(300_000)), ..request };
    let clip = bench.recorder.create_clips(soon).await.unwrap().remove(0);
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    eventually(async || (bench.asset(clip.id).await.state.status() == AssetStatus::Deleted).then_some(()))
        .await;

    let recording = bench.assets(AssetType::Recording).await.remove(0);
    let unknown = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    let outcomes = bench.recorder.delete_assets(&[recording.id, clip.id, unknown]).await.unwrap();
    assert_eq!(
        outcomes[0].1.clone().unwrap_err().to_string(),
        "an asset that is `processing` cannot be deleted"
    );
    assert_eq!(outcomes[1].1, Err(DeleteRefused::NotFound));
    assert_eq!(outcomes[2].1, Err(DeleteRefused::NotFound));
    publisher.finish().await;
    sweeper.cancel();
}
