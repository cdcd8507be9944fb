//! Twenty seconds are missing in the middle of the range of a clip.
//!
//! The encoder paused: one clip, whose last picture before the gap lasts through it. Begun within the gap, the
//! clip begins with the first picture after it; wholly within it, it shows the picture that was on screen.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn the_last_picture_lasts() {
    let stage = Stage::new().await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(5));
    source.pause_ms(20_000);
    tags.extend(source.seconds(5));
    stage.broadcast(&tags).await;
    let over = stage.clips(4_000, 27_000).await.remove(0);
    assert_eq!(numbers(&over.shown()), (100..175).collect::<Vec<_>>());
    assert!((over.duration_ms() - 23_000).abs() <= 40, "{}", over.duration_ms());
    assert_eq!((over.shown()[24].number, over.shown()[24].until_ms), (124, 21_000));
    let from_within = stage.clips(20_000, 27_000).await.remove(0);
    assert_eq!(numbers(&from_within.shown())[0], 125);
    assert_eq!((stage.count("gap", &[("kind", "video")]), stage.count("gap_ms", &[])), (1, 20_040));
}
