//! The encoder changes the resolution in the middle of a broadcast.
//!
//! Kept: every picture, in two recordings without a second lost between them. Counted: a `jump` by
//! `configuration`. The metadata of each tells its size.

use mediahooks_model::{GapMode, GapReason};
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn each_size_has_a_recording() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    tags.push(source.small_video_header());
    tags.extend(source.seconds(4));
    stage.broadcast(&tags).await;
    let recordings = stage.recordings().await;
    let sizes: Vec<_> = recordings
        .iter()
        .map(|recording| recording.metadata.tracks.iter().find(|track| track.kind == "video").unwrap())
        .map(|track| (track.width.unwrap(), track.height.unwrap()))
        .collect();
    assert_eq!(sizes, [(320, 180), (176, 144)]);
    let pictures: Vec<u32> = recordings.iter().flat_map(|recording| recording.pictures()).collect();
    assert_eq!(pictures, (0..200).collect::<Vec<_>>());
    let sounds: Vec<u32> = recordings.iter().flat_map(|recording| recording.sounds()).collect();
    assert_eq!(sounds.len(), 375);
    assert_eq!(stage.count("jump", &[("reason", "configuration")]), 1);
    let between =
        recordings[1].metadata.start_time.unwrap().micros_since(recordings[0].metadata.stop_time.unwrap());
    assert!(between.abs() < 40_000, "{between}");

    // One clip over it has both sizes, and says where they change.
    let clip = stage.clip_over_breaks(2_000, 6_000, GapMode::Collapse).await;
    assert_eq!(numbers(&clip.shown()), (50..150).collect::<Vec<_>>());
    stage.assert_gap(&clip, GapReason::Configuration, 4_000..4_000);
}

/// An encoder that could not send for a while lowers its resolution, and sends what it has kept.
#[tokio::test]
async fn within_what_was_kept_back_each_size_has_its_time() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    tags.push(source.small_video_header());
    tags.extend(source.seconds(38));
    for tag in &mut tags {
        // Four seconds, at twice the speed.
        tag.sent_us = tag.sent_us.max(4_000_000 + tag.sent_us / 2);
    }
    stage.broadcast(&tags).await;
    for (from, to) in [(0, 25), (10, 40), (60, 200)] {
        let clip = stage.clips(from * 40, to * 40).await.remove(0);
        assert_eq!(numbers(&clip.shown()), (from as u32..to as u32).collect::<Vec<_>>());
    }
    let over = stage.clip_over_breaks(1_000, 4_000, GapMode::Collapse).await;
    assert_eq!(numbers(&over.shown()), (25..100).collect::<Vec<_>>());
    assert!((over.duration_ms() - 3_000).abs() <= 40, "{} ms", over.duration_ms());
}
