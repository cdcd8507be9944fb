//! Decode times are not monotonic: now and then a picture is stamped some frames before its predecessor.
//!
//! Kept: every picture, in the order of sending, a tick after its predecessor. Counted: `restamped`. The
//! recording neither stops nor splits.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn every_picture_is_kept_in_one_recording() {
    let stage = Stage::new().await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    // Headers are one tag: pictures 37 to 39 and 118 fall back, 39 to where there is
    // room for it.
    for (place, back_ms) in [(38, 200), (39, 300), (40, 100), (119, 500)] {
        tags[place] = tags[place].clone().stamped_later(-back_ms);
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..200).collect::<Vec<_>>());
    assert_eq!(numbers(&recording.shown()).len(), 200);
    assert_eq!(recording.duration_ms(), 8000);
    assert_eq!(stage.count("restamped", &[("kind", "video")]), 3);
    assert_eq!(stage.count("jump", &[]), 0);
}
