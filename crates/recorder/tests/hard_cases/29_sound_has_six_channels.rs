//! Surround sound in 5.1, of a real encoder.
//!
//! Kept: all six channels; the metadata, the file and a decoder say so, of the recording and of a clip.

use mediahooks_testkit::ffmpeg::{Broadcast, probe};
use mediahooks_testkit::synthetic::recorded;

use crate::common::ffmpeg;
use crate::stage::Stage;

#[tokio::test]
async fn all_of_them_are_kept() {
    let stage = Stage::new().await;
    let mut broadcast = Broadcast::fast(4);
    broadcast.codecs.extend(
        ["-af", "pan=5.1|FL=c0|FR=0.5*c0|FC=0.4*c0|LFE=0.3*c0|BL=0.2*c0|BR=0.1*c0"].map(String::from),
    );
    stage.broadcast(&recorded("h264-aac-5.1", &mediahooks_testkit::ffmpeg::ffmpeg(), &broadcast)).await;
    let mut files = vec![stage.recording().await];
    files.extend(stage.clips(1_500, 3_500).await);
    for finished in &files {
        let sound = finished.metadata.tracks.iter().find(|track| track.kind == "audio").unwrap();
        assert_eq!((sound.codec.as_str(), sound.channels), ("AAC", Some(6)));
        let path = stage.bench.directory.path().join("got.mp4");
        std::fs::write(&path, &finished.file).unwrap();
        let streams = probe(&path)["streams"].as_array().unwrap().clone();
        let sound = streams.iter().find(|stream| stream["codec_type"] == "audio").unwrap();
        assert_eq!((&sound["channels"], &sound["channel_layout"]), (&6.into(), &"5.1".into()));
        ffmpeg::decodes_without_a_word(ffmpeg::ffmpeg(), &path);
        // Each is as loud as it was sent: the last one a tenth of the first.
        let levels = ffmpeg::loudness(ffmpeg::ffmpeg(), &path);
        assert_eq!(levels.len(), 6);
        for (channel, below_db) in [(0, 0.0), (1, 6.02), (2, 7.96), (4, 13.98), (5, 20.0)] {
            assert!((levels[0] - levels[channel] - below_db).abs() < 1.0, "{levels:?}");
        }
        assert!(levels[3] < -60.0, "the effects have no room for a tone of 440 Hz: {levels:?}");
    }
}
