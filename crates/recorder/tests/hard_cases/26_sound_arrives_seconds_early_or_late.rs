//! Sound arrives three seconds before or after the pictures it belongs to; or it is muted for a while; or the
//! whole encoder pauses.
//!
//! Kept: everything, in step, as the stamps say. Counted: `gap` for what is missing.

use mediahooks_testkit::synthetic::{Source, in_order};

use crate::stage::{Finished, Stage};

fn in_step(recording: &Finished) {
    for sample in recording.shown() {
        assert!((sample.at_ms - i64::from(sample.number) * 40).abs() <= 1, "{sample:?}");
    }
    for sample in recording.heard() {
        let wanted = i64::from(sample.number) * 1024 * 1000 / 48_000;
        assert!((sample.at_ms - wanted).abs() <= 2, "{sample:?} belongs at {wanted}");
    }
}

#[tokio::test]
async fn three_seconds_early_or_late() {
    for late_type in [8, 9] {
        let stage = Stage::new().await;
        let mut source = Source::default();
        let mut tags = source.headers();
        tags.extend(source.seconds(12));
        let late = |tag: mediahooks_testkit::synthetic::Tag| {
            if tag.tag_type == late_type && !tag.is_header() { tag.sent_later(3_000_000) } else { tag }
        };
        stage.broadcast(&in_order(tags.into_iter().map(late).collect())).await;
        let recording = stage.recording().await;
        assert_eq!((recording.pictures().len(), recording.sounds().len()), (300, 563));
        in_step(&recording);
        for name in ["gap", "jump", "dropped", "restamped"] {
            assert_eq!(stage.count(name, &[]), 0, "{name}");
        }
        // A clip is in step, too.
        let clip = &stage.clips(6_000, 8_000).await[0];
        let (shown, heard) = (clip.shown(), clip.heard());
        let offset = shown[0].at_ms - i64::from(shown[0].number) * 40;
        for sample in &heard[1..] {
            let wanted = i64::from(sample.number) * 1024 * 1000 / 48_000 + offset;
            assert!((sample.at_ms - wanted).abs() <= 2, "{sample:?} belongs at {wanted}");
        }
        assert_eq!(shown.len(), 50);
    }
}

#[tokio::test]
async fn a_mute_is_a_gap_of_the_sound() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(12));
    tags.retain(|tag| tag.tag_type == 9 || tag.is_header() || !(4_000_000..8_000_000).contains(&tag.sent_us));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    in_step(&recording);
    assert_eq!(recording.pictures().len(), 300);
    assert_eq!((stage.count("gap", &[("kind", "audio")]), stage.count("gap", &[("kind", "video")])), (1, 0));
    assert!((3_900..4_100).contains(&stage.count("gap_ms", &[("kind", "audio")])));
}

#[tokio::test]
async fn a_pause_is_as_long_in_the_file() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    source.pause_ms(20_000);
    tags.extend(source.seconds(4));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert!((27_950..28_050).contains(&recording.duration_ms()), "{}", recording.duration_ms());
    let shown = recording.shown();
    assert_eq!((shown[99].until_ms, shown[100].at_ms), (24_000, 24_000));
    assert_eq!((stage.count("jump", &[]), stage.count("gap", &[])), (0, 2));
}
