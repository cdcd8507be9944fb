//! NTP sets the server's clock an hour forward or back in the middle of a broadcast.
//!
//! Kept: everything; the recording goes on as one file. Counted: one `jump` by `clock_set`. Clips by wall
//! clock are right within a frame on either side; what the clock showed twice gives two clips; times in an
//! asset never run backwards.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

const HOUR_MS: i64 = 3_600_000;

/// Ten seconds, the clock set, ten more seconds; the step comes in the middle of a group of pictures.
async fn broadcast(stage: &Stage, step_ms: i64) {
    let mut source = Source { group: 50, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.millis(10_480));
    stage.push(&mut publisher, &tags).await;
    stage.clock.0.set_wall(step_ms * 1000);
    stage.push(&mut publisher, &source.millis(9_520)).await;
    stage.end(publisher).await;
}

async fn check(stage: &Stage, from_ms: i64, to_ms: i64, expected: &[(u32, u32)]) {
    let clips = stage.clips(from_ms, to_ms).await;
    let shown: Vec<Vec<u32>> = clips.iter().map(|clip| numbers(&clip.shown())).collect();
    let expected: Vec<Vec<u32>> = expected.iter().map(|&(from, to)| (from..to).collect()).collect();
    assert_eq!(shown, expected, "{from_ms}..{to_ms}");
    for clip in clips {
        let (start, stop) = (clip.metadata.start_time.unwrap(), clip.metadata.stop_time.unwrap());
        assert!(start < stop, "{:?}", clip.metadata);
    }
}

#[tokio::test]
async fn forward() {
    let stage = Stage::new().await;
    broadcast(&stage, HOUR_MS).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..500).collect::<Vec<_>>());
    assert_eq!(stage.count("jump", &[("reason", "clock_set")]), 1);
    let length = recording.metadata.stop_time.unwrap().since(recording.metadata.start_time.unwrap());
    assert_eq!(length.as_secs(), 3600 + 20);

    check(&stage, 5_000, 8_000, &[(125, 200)]).await;
    // Up to the step, and from it on.
    check(&stage, 9_000, 40_000, &[(225, 262)]).await;
    check(&stage, HOUR_MS - 30_000, HOUR_MS + 12_000, &[(262, 300)]).await;
    check(&stage, HOUR_MS + 12_000, HOUR_MS + 15_000, &[(300, 375)]).await;
    // Over the step nothing is missing.
    check(&stage, 9_000, HOUR_MS + 12_000, &[(225, 300)]).await;
}

#[tokio::test]
async fn back() {
    let stage = Stage::new().await;
    broadcast(&stage, -HOUR_MS).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..500).collect::<Vec<_>>());
    let length = recording.metadata.stop_time.unwrap().since(recording.metadata.start_time.unwrap());
    assert_eq!(length.as_secs(), 20);

    check(&stage, 5_000, 8_000, &[(125, 200)]).await;
    check(&stage, 9_000, 40_000, &[(225, 262)]).await;
    check(&stage, -HOUR_MS + 12_000, -HOUR_MS + 15_000, &[(300, 375)]).await;
    check(&stage, -HOUR_MS - 30_000, -HOUR_MS + 12_000, &[(262, 300)]).await;
}

#[tokio::test]
async fn back_by_less_than_the_broadcast_is_long() {
    let stage = Stage::new().await;
    broadcast(&stage, -5_000).await;
    // The clock showed 6 s to 10 s after the start twice.
    check(&stage, 6_000, 8_000, &[(150, 200), (275, 325)]).await;
    check(&stage, 1_000, 4_000, &[(25, 100)]).await;
    check(&stage, 12_000, 14_000, &[(425, 475)]).await;
}

#[tokio::test]
async fn back_while_a_clip_waits_for_its_end() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    stage.push(&mut publisher, &tags).await;
    let clip = stage.bench.recorder.create_clips(stage.clip_request(8_000, 12_000)).await.unwrap().remove(0);
    stage.clock.0.set_wall(-HOUR_MS * 1000);
    stage.push(&mut publisher, &source.seconds(5)).await;
    let asset = crate::common::eventually(async || {
        let asset = stage.bench.asset(clip.id).await;
        (asset.state != mediahooks_model::AssetState::Processing).then_some(asset)
    })
    .await;
    assert_eq!(numbers(&stage.finished(asset).await.shown()), (200..300).collect::<Vec<_>>());
    stage.end(publisher).await;
}

#[tokio::test]
async fn back_and_clips_up_to_now_have_all_that_was_received() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    stage.push(&mut publisher, &tags).await;
    // A clip that has it stored, by the clock that is set then.
    check(&stage, 5_000, 9_500, &[(125, 238)]).await;
    stage.clock.0.set_wall(-HOUR_MS * 1000);
    stage.push(&mut publisher, &source.millis(5_400)).await;
    check(&stage, -HOUR_MS + 12_000, -HOUR_MS + 15_300, &[(300, 383)]).await;
    stage.end(publisher).await;
}
