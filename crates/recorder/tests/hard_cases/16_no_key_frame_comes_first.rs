//! The encoder starts in the middle of a group of pictures, or never sends a key frame at all.
//!
//! Kept: from the first key frame on; sound from its start, so that nothing of it is lost. Counted: `dropped`
//! by `before_first_key_frame`. Without any key frame the recording is of sound only.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn pictures_begin_with_the_first_key_frame() {
    let stage = Stage::new().await;
    let mut source = Source { group: 50, ..Source::default() };
    let headers = source.headers();
    source.seconds(1);
    let mut tags = source.seconds(5);
    tags.splice(0..0, headers);
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (50..150).collect::<Vec<_>>());
    assert!(recording.shown()[0].is_sync);
    assert_eq!(stage.count("dropped", &[("kind", "video"), ("reason", "before_first_key_frame")]), 25);
    // Sound and pictures are in step: picture 50 belongs to 2 s after the source's start.
    let sound = recording.heard().into_iter().find(|sound| sound.number == 94).unwrap();
    let wanted = recording.shown()[0].at_ms + (94 * 1024 * 1000 / 48_000 - 2000);
    assert!((sound.at_ms - wanted).abs() <= 2, "{sound:?}, wanted {wanted}");
}

#[tokio::test]
async fn without_one_there_is_sound() {
    let stage = Stage::new().await;
    let mut source = Source { group: i64::MAX, ..Source::default() };
    let headers = source.headers();
    source.millis(40);
    let mut tags = source.seconds(4);
    tags.splice(0..0, headers);
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!((recording.pictures().len(), recording.metadata.tracks.len()), (0, 1));
    assert!((3900..4100).contains(&recording.duration_ms()));
    assert_eq!(stage.count("dropped", &[("reason", "before_first_key_frame")]), 100);
}
