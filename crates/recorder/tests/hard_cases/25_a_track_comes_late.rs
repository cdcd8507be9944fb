//! A broadcast begins with pictures only, or with sound only; the other track appears after five seconds.
//!
//! Kept: all of both, in one recording, each at its own time. Counted: nothing is missing of a track before it begins.

use mediahooks_testkit::synthetic::{Source, in_order};

use crate::stage::Stage;

async fn check(late_type: u8) {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    let tags = in_order(tags)
        .into_iter()
        .filter(|tag| tag.tag_type != late_type || tag.sent_us >= 5_000_000 || tag.is_header())
        .collect::<Vec<_>>();
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.metadata.tracks.len(), 2);
    assert!((9_950..10_050).contains(&recording.duration_ms()));
    for sample in recording.shown() {
        assert!((sample.at_ms - i64::from(sample.number) * 40).abs() <= 1, "{sample:?}");
    }
    for sample in recording.heard() {
        let wanted = i64::from(sample.number) * 1024 * 1000 / 48_000;
        assert!((sample.at_ms - wanted).abs() <= 2, "{sample:?} belongs at {wanted}");
    }
    let kept = recording.pictures().len() + recording.sounds().len();
    assert_eq!(kept, tags.len() - 2);
    for name in ["gap", "jump", "dropped", "restamped"] {
        assert_eq!(stage.count(name, &[]), 0, "{name}");
    }
    // A clip from before the late track to behind its start; the range begins half a picture before the third second.
    let clip = &stage.clips(3_000, 7_000).await[0];
    let (shown, heard) = (clip.shown(), clip.heard());
    let from = |is_late: bool| if is_late { 2_020 } else { 0 };
    assert!((shown[0].at_ms - from(late_type == 9)).abs() <= 1, "{:?}", shown[0]);
    assert!((heard[0].at_ms - from(late_type == 8)).abs() <= 22, "{:?}", heard[0]);
    assert!((clip.duration_ms() - 4_000).abs() <= 22, "{}", clip.duration_ms());
}

#[tokio::test]
async fn sound_after_five_seconds() {
    check(8).await;
}

#[tokio::test]
async fn pictures_after_five_seconds() {
    check(9).await;
}
