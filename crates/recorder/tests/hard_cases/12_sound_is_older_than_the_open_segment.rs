//! Sound arrives that belongs before the segment that is open: other recorders drop it as too late.
//!
//! Kept: all of it, at its own time.

use mediahooks_testkit::synthetic::{Source, Tag, in_order};

use crate::stage::Stage;

#[tokio::test]
async fn it_is_kept_at_its_own_time() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    let late = |tag: Tag| if tag.tag_type == 8 { tag.sent_later(1_400_000) } else { tag };
    let tags = in_order(tags.into_iter().map(late).collect());
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.sounds().len(), 375);
    for sound in recording.heard() {
        let wanted = i64::from(sound.number) * 1024 * 1000 / 48_000;
        assert!((sound.at_ms - wanted).abs() <= 2, "{sound:?} belongs at {wanted}");
    }
    assert_eq!(stage.count("dropped", &[]), 0);
}
