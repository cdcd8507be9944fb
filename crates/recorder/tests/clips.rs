//! Clips: exact, at once, of what is live and of what is over.

mod common;

use common::{Bench, eventually, pictures_in};
use mediahooks_model::{AssetState, AssetType, Metadata};
use mediahooks_recorder::check::check;
use mediahooks_recorder::{ClipError, ClipRequest, Idempotency};

fn metadata(state: &AssetState) -> &Metadata {
    match state {
        AssetState::Complete { metadata } => metadata,
        state => panic!("{state:?}"),
    }
}

#[tokio::test]
async fn a_clip_of_a_live_stream_is_complete_on_return() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    let request = bench.clip_request("stage", 2500, 5490).await;
    let clips = bench.recorder.create_clips(request).await.unwrap();
    let [clip] = clips.as_slice() else { panic!("{clips:?}") };
    let clip = eventually(async || {
        let clip = bench.asset(clip.id).await;
        (clip.state != AssetState::Processing).then_some(clip)
    })
    .await;
    let about = metadata(&clip.state);
    // Wall clock and media clock of a publisher that sends faster than real time differ by what
    // the map may follow: a frame or so. The exact frames are checked in real time, end to end.
    assert!((2900..=3080).contains(&about.duration_ms.unwrap()), "{about:?}");
    let pictures = pictures_in(&bench.file(clip.id).await);
    assert_eq!(pictures[0], 50, "decoding begins with the sync sample before");
    publisher.finish().await;
}

#[tokio::test]
async fn up_to_now_is_what_was_received_by_now() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(60).await;
    let request = bench.clip_request("stage", -2000, 0).await;
    let clips = bench.recorder.create_clips(ClipRequest { stop: None, ..request }).await.unwrap();
    assert!(matches!(clips[0].state, AssetState::Complete { .. }), "{clips:?}");
    publisher.finish().await;
}

#[tokio::test]
async fn a_range_that_is_still_coming_is_waited_for() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 500, 4500).await;
    let clips = bench.recorder.create_clips(request).await.unwrap();
    assert_eq!(clips[0].state, AssetState::Processing);
    publisher.send(70).await;
    let clip = eventually(async || {
        let clip = bench.asset(clips[0].id).await;
        (clip.state != AssetState::Processing).then_some(clip)
    })
    .await;
    assert!((3900..=4100).contains(&metadata(&clip.state).duration_ms.unwrap()));
    publisher.finish().await;
}

#[tokio::test]
async fn a_range_that_never_comes_ends_with_the_feed() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 500, 9500).await;
    let clips = bench.recorder.create_clips(request).await.unwrap();
    publisher.finish().await;
    let clip = eventually(async || {
        let clip = bench.asset(clips[0].id).await;
        (clip.state != AssetState::Processing).then_some(clip)
    })
    .await;
    assert!((1400..=1600).contains(&metadata(&clip.state).duration_ms.unwrap()));
}

#[tokio::test]
async fn a_repeated_key_makes_no_second_clip() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    publisher.finish().await;
    let key = |fingerprint| Some(Idempotency { key: "goal-7".into(), fingerprint: [fingerprint; 32] });
    let request = ClipRequest { idempotency: key(1), ..bench.clip_request("stage", 0, 2000).await };
    let both = tokio::join!(
        bench.recorder.create_clips(request.clone()),
        bench.recorder.create_clips(ClipRequest { received: bench.now(), ..request.clone() }),
    );
    let (first, second) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(first[0].id, second[0].id);
    assert_eq!(bench.assets(AssetType::Clip).await.len(), 1);
    let misuse = bench.recorder.create_clips(ClipRequest { idempotency: key(2), ..request }).await;
    assert!(matches!(misuse, Err(ClipError::KeyReused)));
}

#[tokio::test]
async fn impossible_ranges_are_refused_with_a_reason() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    publisher.finish().await;
    let request = bench.clip_request("stage", 0, 2000).await;
    let try_it =
        async |request| bench.recorder.create_clips(request).await.err().map(|error| error.to_string());
    let start = request.start;
    let with_stop = |ms: i64| ClipRequest { stop: Some(start.plus_micros(ms * 1000)), ..request.clone() };
    assert_eq!(try_it(with_stop(999)).await.unwrap(), "a clip must be at least 1 s long");
    assert_eq!(try_it(with_stop(-1)).await.unwrap(), "stopTime must be after startTime");
    assert_eq!(try_it(with_stop(8 * 3_600_000 + 1)).await.unwrap(), "a clip must be at most 8 h long");
    let elsewhere = ClipRequest { stream_name: "other".parse().unwrap(), ..request.clone() };
    assert!(
        try_it(elsewhere).await.unwrap().starts_with("No timelines found matching clipping requirements.")
    );
    let before = ClipRequest {
        start: start.plus_micros(-5_000_000),
        stop: Some(start.plus_micros(-1_000_000)),
        ..request.clone()
    };
    assert!(try_it(before).await.unwrap().starts_with("No timelines found"));
    let ahead = ClipRequest { start: bench.now().plus_micros(3_600_000_000), stop: None, ..request };
    assert!(try_it(ahead).await.unwrap().starts_with("startTime must be in the past, and it is "));
}

#[tokio::test]
async fn the_same_file_is_built_every_time() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(150).await;
    publisher.finish().await;
    let request = bench.clip_request("stage", 1300, 3700).await;
    let clip = bench.recorder.create_clips(request).await.unwrap().remove(0);
    let (tag, file) = (bench.recorder.open_download(clip.id).await.unwrap().etag, bench.file(clip.id).await);
    assert_eq!(file.len() as u64, metadata(&clip.state).sizes["mp4"]);
    let bench = bench.crash_and_restart().await;
    assert_eq!(bench.recorder.open_download(clip.id).await.unwrap().etag, tag);
    assert_eq!(bench.file(clip.id).await, file);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_clip_unfinished() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(100).await;
    for patience in 0..60 {
        // Half of them end later than what has been received.
        let request = bench.clip_request("stage", 500, if patience % 2 == 0 { 2500 } else { 5000 }).await;
        let recorder = bench.recorder.clone();
        let asking = tokio::spawn(async move { recorder.create_clips(request).await });
        for _ in 0..patience {
            tokio::task::yield_now().await;
        }
        asking.abort();
        let _ = asking.await;
    }
    publisher.send(50).await;
    eventually(async || {
        bench
            .database
            .unfinished_assets()
            .await
            .unwrap()
            .iter()
            .all(|asset| asset.asset_type != AssetType::Clip)
            .then_some(())
    })
    .await;
    publisher.finish().await;
}

/// What a publisher tells of its colours while it is live completes its recording, but no clip that was made before.
#[tokio::test]
async fn a_clip_stays_what_it_is_when_more_becomes_known() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(200).await;
    let request = bench.clip_request("stage", 1000, 3000).await;
    let clips = bench.recorder.create_clips(request).await.unwrap();
    let id = clips[0].id;
    let clip = eventually(async || {
        let clip = bench.asset(id).await;
        (clip.state != AssetState::Processing).then_some(clip)
    })
    .await;
    let (etag, file) = (bench.recorder.open_download(id).await.unwrap().etag, bench.file(id).await);
    publisher.config_with_colours().await;
    publisher.send(200).await;
    publisher.finish().await;
    let recording = eventually(async || {
        let recording = bench.assets(AssetType::Recording).await.remove(0);
        matches!(recording.state, AssetState::Complete { .. }).then_some(recording)
    })
    .await;
    let has_colours = |file: &[u8]| file.windows(4).any(|word| word == b"clli");
    assert!(has_colours(&bench.file(recording.id).await));
    // Read from what is stored, not from what was planned when it was made.
    let bench = bench.crash_and_restart().await;
    let download = bench.recorder.open_download(id).await.unwrap();
    assert_eq!((download.etag, download.len), (etag, metadata(&clip.state).sizes["mp4"]));
    assert!(!has_colours(&file) && bench.file(id).await == file);
    let report = check(&bench.database, &bench.storage, |_, _| {}).await.unwrap();
    assert_eq!(report.problems, [] as [String; 0]);
}
