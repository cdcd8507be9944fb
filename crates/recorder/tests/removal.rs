//! Deleting and expiring: hooks at once, bytes when nothing needs them any more.

mod common;

use bytes::Bytes;
use common::{Bench, eventually, now, pictures_in};
use futures::TryStreamExt;
use mediahooks_database::{Database, Options};
use mediahooks_ingest::gate::FeedInput;
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::TrackConfig;
use mediahooks_model::{AssetStatus, AssetType};
use mediahooks_recorder::{ClipRequest, DeleteRefused, DownloadError, Recorder, RecorderError};
use tokio_util::sync::CancellationToken;

async fn broadcast(bench: &Bench) {
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    publisher.finish().await;
}

async fn gone(bench: &Bench) {
    eventually(async || bench.database.deleting_assets(None, 10).await.unwrap().is_empty().then_some(()))
        .await;
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
    let timeline = clip.recipe[0].timeline;

    for asset_type in [AssetType::Recording, AssetType::Timeline] {
        let (deleted, refused) = bench.recorder.delete_assets_of_type(asset_type).await.unwrap();
        assert_eq!((deleted, refused.len()), (1, 0));
    }
    gone(&bench).await;
    let kept = bench.database.segments(timeline, 0, None).await.unwrap();
    let recipe = bench.asset(clip.id).await.recipe.remove(0);
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
    eventually(async || (bench.database.deleting_assets(None, 10).await.unwrap().len() == 1).then_some(()))
        .await;
    let body = download.read(0..download.len);
    drop(download);
    let pieces: Vec<bytes::Bytes> = body.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), whole);
    gone(&bench).await;
    sweeper.cancel();
}

#[tokio::test]
async fn a_file_is_forgotten_when_who_deleted_it_has_hung_up() {
    let bench = Bench::new().await;
    broadcast(&bench).await;
    let recording = bench.assets(AssetType::Recording).await.remove(0);
    // So that it is known.
    bench.file(recording.id).await;
    bench.file(recording.id).await;
    // A client that leaves takes its request along, here before that learns what became of it.
    let ids = [recording.id];
    let mut deleting = Box::pin(bench.recorder.delete_assets(&ids));
    eventually(async || {
        let is_marked = bench.asset(recording.id).await.state.status() == AssetStatus::Deleting;
        if !is_marked {
            let _ = futures::poll!(&mut deleting);
        }
        is_marked.then_some(())
    })
    .await;
    drop(deleting);
    bench.recorder.delete_assets_of_type(AssetType::Timeline).await.unwrap();
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    gone(&bench).await;
    assert!(matches!(bench.recorder.open_download(recording.id).await, Err(DownloadError::Gone)));
    sweeper.cancel();
}

#[tokio::test]
async fn what_expires_is_removed_and_what_cannot_be_is_refused() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    let request = bench.clip_request("stage", 100, 2000).await;
    let soon = ClipRequest { expiration: Some(bench.now().plus_micros(300_000)), ..request };
    let clip = bench.recorder.create_clips(soon).await.unwrap().remove(0);
    bench.pass_ms(300);
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    eventually(async || (bench.asset(clip.id).await.state.status() == AssetStatus::Deleted).then_some(()))
        .await;

    let recording = bench.assets(AssetType::Recording).await.remove(0);
    let unknown = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    let outcomes = bench.recorder.delete_assets(&[recording.id, clip.id, unknown]).await.unwrap();
    assert_eq!(
        outcomes[0].1.clone().unwrap_err().to_string(),
        "it is still being received: stop its stream first, or delete it once it is complete"
    );
    assert_eq!(outcomes[1].1, Err(DeleteRefused::NotFound));
    assert_eq!(outcomes[2].1, Err(DeleteRefused::NotFound));
    publisher.finish().await;
    sweeper.cancel();
}

#[tokio::test]
async fn a_clip_that_waits_for_the_rest_of_its_range_can_be_deleted() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    let request = bench.clip_request("stage", 100, 2000).await;
    let stop = Some(bench.now().plus_micros(3_600_000_000));
    let clip = bench.recorder.create_clips(ClipRequest { stop, ..request }).await.unwrap().remove(0);
    assert_eq!(clip.state.status(), AssetStatus::Processing);
    assert_eq!(bench.recorder.delete_assets(&[clip.id]).await.unwrap()[0].1, Ok(()));
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    eventually(async || (bench.asset(clip.id).await.state.status() == AssetStatus::Deleted).then_some(()))
        .await;
    // The end of its feed, when it would have been completed, finds nothing to do.
    publisher.finish().await;
    let recording = bench.assets(AssetType::Recording).await.remove(0);
    assert_eq!(recording.state.status(), AssetStatus::Complete);
    assert_eq!(bench.asset(clip.id).await.state.status(), AssetStatus::Deleted);
    sweeper.cancel();
}

#[tokio::test]
async fn a_database_does_not_start_on_the_media_of_another_one() {
    let bench = Bench::new().await;
    broadcast(&bench).await;
    let before = bench.storage.chunk_files().await.unwrap();
    assert_eq!(before.len(), 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let new = Database::open(&elsewhere.path().join("new.db"), Options::default()).unwrap();
    let open = async |database: &Database| {
        Recorder::open(database.clone(), bench.storage.clone(), bench.settings.clone()).await.map(drop)
    };

    let refused = open(&new).await.unwrap_err();
    assert!(matches!(refused, RecorderError::ForeignMedia { .. }), "{refused}");
    std::fs::remove_file(bench.storage.root().join("identity")).unwrap();
    let refused = open(&new).await.unwrap_err();
    assert!(matches!(refused, RecorderError::UnknownMedia { .. }), "{refused}");
    assert_eq!(bench.storage.chunk_files().await.unwrap(), before);

    // The one that knows the media takes the directory as its own.
    open(&bench.database).await.unwrap();
    open(&bench.database).await.unwrap();
    assert!(matches!(open(&new).await, Err(RecorderError::ForeignMedia { .. })));
    assert_eq!(bench.storage.chunk_files().await.unwrap(), before);
}

#[tokio::test]
async fn bytes_whose_rows_went_before_a_crash_are_freed_after_it() {
    let bench = Bench::new().await;
    broadcast(&bench).await;
    let request = bench.clip_request("stage", 2100, 3900).await;
    let clip = bench.recorder.create_clips(request).await.unwrap().remove(0);
    let kept = pictures_in(&bench.file(clip.id).await);
    for asset_type in [AssetType::Recording, AssetType::Timeline] {
        let id = bench.assets(asset_type).await[0].id;
        bench.recorder.delete_assets(&[id]).await.unwrap();
        bench.database.remove_asset(id, now()).await.unwrap();
    }
    let path = bench.storage.chunk_path(clip.recipe[0].timeline, 0);
    assert!(pictures_in(&std::fs::read(path).unwrap()).contains(&0));

    let bench = bench.crash_and_restart().await;
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    eventually(async || bench.database.freed_ranges(0, 9).await.unwrap().is_empty().then_some(())).await;
    let file = bench.storage.chunk_files().await.unwrap().remove(0);
    let left = std::fs::read(bench.storage.chunk_path(file.timeline, file.chunk)).unwrap();
    assert!(!pictures_in(&left).contains(&0));
    assert_eq!(pictures_in(&bench.file(clip.id).await), kept);
    sweeper.cancel();
}

#[tokio::test]
async fn a_live_feed_gives_back_the_chunk_files_it_has_left() {
    let bench = Bench::new().await;
    let sweeper = CancellationToken::new();
    tokio::spawn(bench.recorder.clone().run_sweeper(sweeper.clone()));
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    // Another codec configuration begins another run, in another chunk file.
    let codec = CodecConfig::aac(Bytes::from_static(&[0x12, 0x10])).unwrap();
    let other = TrackConfig::new(48_000, codec);
    publisher.sink.push(&mut vec![FeedInput::Config(other)]).unwrap();
    publisher.send(100).await;
    let over = eventually(async || {
        let mut assets = bench.assets(AssetType::Recording).await;
        assets.extend(bench.assets(AssetType::Timeline).await);
        assets.retain(|asset| asset.state.status() == AssetStatus::Complete);
        (assets.len() == 2).then_some(assets)
    })
    .await;
    let timeline = over[0].recipe[0].timeline;
    bench.recorder.delete_assets(&[over[0].id, over[1].id]).await.unwrap();
    eventually(async || (!bench.storage.chunk_path(timeline, 0).exists()).then_some(())).await;
    assert_eq!(bench.recorder.live_feeds().len(), 1);
    publisher.finish().await;
    sweeper.cancel();
}
