//! Twenty seconds are missing in the middle of the range of a clip.
//!
//! The encoder paused: one clip, whose last picture before the gap lasts through it. Begun within the gap, ended within
//! it, or wholly within it, the clip shows the picture that was on screen.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Finished, Stage, numbers};

/// Five seconds, a pause of twenty, five seconds.
async fn paused(audio: bool) -> Stage {
    let stage = Stage::new().await;
    let mut source = Source { audio, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(5));
    source.pause_ms(20_000);
    tags.extend(source.seconds(5));
    stage.broadcast(&tags).await;
    stage
}

fn first(clip: &Finished) -> (i64, u32) {
    (clip.shown()[0].at_ms, clip.shown()[0].number)
}

#[tokio::test]
async fn the_last_picture_lasts() {
    for audio in [false, true] {
        let stage = paused(audio).await;
        let over = stage.clips(4_000, 27_000).await.remove(0);
        assert_eq!(numbers(&over.shown()), (100..175).collect::<Vec<_>>());
        assert!((over.duration_ms() - 23_000).abs() <= 40, "{}", over.duration_ms());
        assert_eq!((over.shown()[24].number, over.shown()[24].until_ms), (124, 21_000));
        let from_within = stage.clips(20_000, 27_000).await.remove(0);
        assert_eq!(numbers(&from_within.shown()), (124..175).collect::<Vec<_>>());
        assert_eq!(first(&from_within), (0, 124));
        assert!((from_within.duration_ms() - 7_000).abs() <= 20, "{}", from_within.duration_ms());
        assert!((from_within.shown()[1].at_ms - 5_020).abs() <= 1, "{}", from_within.shown()[1].at_ms);
        let until_within = stage.clips(4_000, 12_000).await.remove(0);
        assert_eq!(numbers(&until_within.shown()), (100..125).collect::<Vec<_>>());
        assert!((until_within.duration_ms() - 8_000).abs() <= 20, "{}", until_within.duration_ms());
        let within = stage.clips(10_000, 12_000).await.remove(0);
        assert_eq!(numbers(&within.shown()), [124]);
        assert_eq!((first(&within), within.duration_ms()), ((0, 124), 2_000));
        assert_eq!(
            (stage.count("gap", &[("kind", "video")]), stage.count("gap_ms", &[("kind", "video")])),
            (1, 20_040)
        );
    }
}
