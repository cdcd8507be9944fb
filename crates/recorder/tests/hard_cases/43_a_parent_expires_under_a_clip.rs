//! The timeline that a clip was cut from expires, while the clip is made, read, or later.
//!
//! Kept: the clip, byte for byte. Only what no clip or recording holds is given back.

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_model::{AssetStatus, AssetType, PublishToken};
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
