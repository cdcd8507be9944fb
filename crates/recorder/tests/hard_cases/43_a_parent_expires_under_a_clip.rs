//! The timeline that a clip was cut from expires or is deleted, while the clip is read or later, and while it waits for
//! more.
//!
//! Kept: the clip, byte for byte. Only what no clip or recording holds is given back.

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_model::{AssetStatus, AssetType, GapMode, PublishToken};
use mediahooks_recorder::ClipRequest;
use mediahooks_testkit::synthetic::Source;
use tokio_util::sync::CancellationToken;

use crate::common::{eventually, token};
use crate::stage::Stage;

#[tokio::test]
async fn the_clip_stays() {
    let stage = Stage::with(PublishToken { record: false, ..token() }, Default::default()).await;
    let sweeper = CancellationToken::new();
    tokio::spawn(stage.bench.recorder.clone().run_sweeper(sweeper.clone()));
    let mut source = Source { picture_bytes: 5000, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    stage.push(&mut publisher, &tags).await;
    let waiting =
        stage.bench.recorder.create_clips(stage.clip_request(7_000, 12_000)).await.unwrap().remove(0);
    let clip = stage.clips(2_000, 4_000).await.remove(0);
    stage.push(&mut publisher, &source.seconds(5)).await;
    stage.end(publisher).await;
    let waited = eventually(async || {
        let asset = stage.bench.asset(waiting.id).await;
        (asset.state.status() == AssetStatus::Complete).then_some(asset)
    })
    .await;
    let waited = stage.finished(waited).await;
    assert_eq!(waited.shown().len(), 125);
    // Somebody has half of it when the timeline goes.
    let download = stage.bench.recorder.open_download(clip.asset.id).await.unwrap();
    let read = async |range: std::ops::Range<u64>| -> Vec<u8> {
        let pieces: Vec<Bytes> = download.read(range).try_collect().await.unwrap();
        pieces.concat()
    };
    let half = download.len / 2;
    let first = read(0..half).await;
    let before = stage.bench.storage.chunk_files().await.unwrap()[0].allocated;
    // Two days pass.
    stage.clock.0.pass_until(2 * 86_400_000_000);
    eventually(async || stage.bench.assets(AssetType::Timeline).await.is_empty().then_some(())).await;
    eventually(async || {
        (stage.bench.storage.chunk_files().await.unwrap()[0].allocated < before).then_some(())
    })
    .await;
    assert_eq!([first, read(half..download.len).await].concat(), clip.file);
    for kept in [&clip, &waited] {
        assert_eq!(stage.bench.file(kept.asset.id).await, kept.file);
    }
    sweeper.cancel();
}

#[tokio::test]
async fn a_clip_that_waits_stays() {
    let stage = Stage::with(PublishToken { record: false, ..token() }, Default::default()).await;
    let sweeper = CancellationToken::new();
    tokio::spawn(stage.bench.recorder.clone().run_sweeper(sweeper.clone()));
    let mut source = Source { picture_bytes: 5000, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    stage.push(&mut publisher, &tags).await;
    // One that goes on over a reconnect, if there is one within its range, waits until the end of that.
    let request = ClipRequest { gaps: GapMode::Collapse, ..stage.clip_request(4_000, 60_000) };
    let waiting = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
    stage.end(publisher).await;
    let timelines = eventually(async || {
        let timelines = stage.bench.assets(AssetType::Timeline).await;
        timelines.iter().all(|asset| asset.state.status() == AssetStatus::Complete).then_some(timelines)
    })
    .await;
    let before = stage.bench.storage.chunk_files().await.unwrap()[0].allocated;
    assert_eq!(stage.bench.asset(waiting.id).await.state.status(), AssetStatus::Processing);
    let deleted = stage.bench.recorder.delete_assets(&[timelines[0].id]).await.unwrap();
    assert_eq!(deleted, [(timelines[0].id, Ok(()))]);
    // What lies before the clip goes.
    eventually(async || {
        (stage.bench.storage.chunk_files().await.unwrap()[0].allocated < before).then_some(())
    })
    .await;
    assert_eq!(stage.bench.asset(waiting.id).await.state.status(), AssetStatus::Processing);
    stage.clock.0.pass_until(61_000_000);
    let waited = eventually(async || {
        let asset = stage.bench.asset(waiting.id).await;
        (asset.state.status() != AssetStatus::Processing).then_some(asset)
    })
    .await;
    assert_eq!(stage.finished(waited).await.shown().len(), 150);
    sweeper.cancel();
}
