//! A real AAC encoder sends its priming first; what an edit list is for.
//!
//! Kept: bit for bit. Sound and picture start together within one audio frame, and clips stay in step.

use mediahooks_testkit::ffmpeg::{Broadcast, ffmpeg, probe};
use mediahooks_testkit::synthetic::recorded;

use crate::stage::Stage;

#[tokio::test]
async fn sound_and_picture_start_together() {
    let stage = Stage::new().await;
    stage.broadcast(&recorded("h264-aac", &ffmpeg(), &Broadcast::fast(8))).await;
    let mut files = vec![stage.recording().await.file];
    files.extend(stage.clips(2_500, 6_500).await.into_iter().map(|clip| clip.file));
    assert_eq!(files.len(), 2);
    for file in files {
        let path = stage.bench.directory.path().join("got.mp4");
        std::fs::write(&path, file).unwrap();
        let streams = probe(&path)["streams"].as_array().unwrap().clone();
        let seconds = |stream: usize, member: &str| -> f64 {
            streams[stream][member].as_str().unwrap().parse().unwrap()
        };
        assert!((seconds(0, "start_time") - seconds(1, "start_time")).abs() < 0.0214);
        assert!((seconds(0, "duration") - seconds(1, "duration")).abs() < 0.043);
    }
}
