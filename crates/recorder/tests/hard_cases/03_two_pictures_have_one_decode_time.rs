//! Pictures come in pairs of one decode time.
//!
//! Kept: all of them. Counted: `restamped`, one a pair. 30 s play for 30 s.

use mediahooks_testkit::synthetic::Source;

use crate::stage::Stage;

#[tokio::test]
async fn the_recording_is_as_long_as_the_broadcast() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(30));
    for tag in tags.iter_mut().filter(|tag| tag.tag_type == 9 && !tag.is_header()) {
        tag.timestamp_ms -= tag.timestamp_ms % 80;
    }
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.pictures(), (0..750).collect::<Vec<_>>());
    assert!((29_950..30_100).contains(&recording.duration_ms()), "{}", recording.duration_ms());
    assert_eq!(stage.count("restamped", &[("kind", "video")]), 375);
}
