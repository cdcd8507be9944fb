//! A real H.265 encoder changes its parameter sets in the middle of a broadcast.
//!
//! Kept: everything, in two recordings, each with the parameter sets of its own; a decoder takes both without
//! a word. Counted: a `jump` by `configuration`. H.265 is cut into segments and clips as H.264 is.

use mediahooks_model::{GapMode, GapReason};
use mediahooks_testkit::ffmpeg::{Broadcast, ffmpeg9, frame_numbers};
use mediahooks_testkit::synthetic::{Tag, recorded};

use crate::common::ffmpeg;
use crate::stage::Stage;

fn encoded(name: &str, size: &str) -> Vec<Tag> {
    let codecs =
        ["-c:v", "libx265", "-preset", "ultrafast", "-g", "30", "-x265-params", "log-level=none", "-s", size];
    let codecs = [&codecs[..], &["-c:a", "aac"]].concat().into_iter().map(str::to_owned).collect();
    recorded(name, &ffmpeg9(), &Broadcast { codecs, ..Broadcast::fast(4) })
}

#[tokio::test]
async fn each_has_a_recording_that_decodes() {
    let stage = Stage::new().await;
    let mut tags = encoded("h265", "320x180");
    let second = encoded("h265-small", "256x144");
    tags.extend(second.into_iter().map(|tag| tag.stamped_later(4_100).sent_later(4_100_000)));
    stage.broadcast(&tags).await;
    let recordings = stage.recordings().await;
    assert_eq!(recordings.len(), 2);
    for (recording, width) in recordings.iter().zip([320, 256]) {
        let track = &recording.metadata.tracks[0];
        assert_eq!((track.codec.as_str(), track.width), ("H265", Some(width)));
        let path = stage.bench.directory.path().join("got.mp4");
        std::fs::write(&path, &recording.file).unwrap();
        ffmpeg::decodes_without_a_word(ffmpeg::ffmpeg9(), &path);
        assert_eq!(ffmpeg::pictures_shown(ffmpeg::ffmpeg9(), &path), 120);
    }
    assert_eq!(stage.count("jump", &[("reason", "configuration")]), 1);
    let clip = &stage.clips(1_500, 3_500).await[0];
    let path = stage.bench.directory.path().join("clip.mp4");
    std::fs::write(&path, &clip.file).unwrap();
    // Captured when they are sent: three pictures before they are shown, as deep as this encoder reorders.
    assert_eq!(frame_numbers(&ffmpeg9(), &path), (48..108).collect::<Vec<_>>());
    // One clip over the change: players decode both, and it says where they change.
    let clip = stage.clip_over_breaks(3_000, 5_100, GapMode::Collapse).await;
    std::fs::write(&path, &clip.file).unwrap();
    ffmpeg::decodes_without_a_word(ffmpeg::ffmpeg9(), &path);
    assert_eq!(ffmpeg::pictures_shown(ffmpeg::ffmpeg9(), &path), 60);
    stage.assert_gap(&clip, GapReason::Configuration, 3_900..3_990);
}
