//! A picture a minute, or pictures at irregular times.
//!
//! Kept: every picture for exactly as long as it was on screen; half an hour is half an hour. A clip shows at each of
//! its moments what was on screen then, also where no picture came, with all of its sound.

use mediahooks_model::AssetType;
use mediahooks_testkit::synthetic::{Source, Tag};

use crate::common::eventually;
use crate::stage::{Finished, Stage};

#[tokio::test]
async fn half_an_hour_of_slides_is_half_an_hour() {
    let stage = Stage::new().await;
    let mut source = Source { picture_us: 60_000_000, group: 1, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(31 * 60));
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    assert_eq!(recording.shown().len(), 31);
    assert!((1_800_000..1_861_000).contains(&recording.duration_ms()), "{}", recording.duration_ms());
    assert_eq!(recording.shown()[30].at_ms, 1_800_000);
}

#[tokio::test]
async fn irregular_pictures_keep_their_times() {
    let stage = Stage::new().await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    let mut wanted = Vec::new();
    // 16 to 300 ms, the same each time.
    for picture in 0i64..120 {
        let step_us = (16 + (picture * picture * 37) % 285) * 1000;
        source.picture_us = step_us;
        let tag = source.millis(step_us / 1000).remove(0);
        wanted.push(i64::from(tag.timestamp_ms));
        tags.push(tag);
    }
    stage.broadcast(&tags).await;
    let shown = stage.recording().await.shown();
    assert_eq!(shown.iter().map(|sample| sample.at_ms).collect::<Vec<_>>(), wanted);
    for (this, next) in shown.iter().zip(&shown[1..]) {
        assert_eq!(this.until_ms, next.at_ms);
    }
}

/// Slides 10 s apart, for a minute, and none in the 7 s after the last one.
fn slides(source: &mut Source) -> Vec<Tag> {
    let mut tags = source.headers();
    tags.extend(source.seconds(67));
    tags
}

/// What is on screen when, in pairs of a moment after the clip's start in ms and a number.
fn screen(clip: &Finished) -> Vec<(i64, u32)> {
    clip.shown().iter().map(|sample| (sample.at_ms, sample.number)).collect()
}

/// Wherever it begins and ends. Ranges of a stage begin 20 ms early.
async fn shows_what_was_on_screen(stage: &Stage, audio: bool) {
    for from_ms in (1_000..56_000).step_by(1_700) {
        for length_ms in [3_370, 7_000, 19_000] {
            let to_ms = (from_ms + length_ms).min(60_000);
            let clip = stage.clips(from_ms, to_ms).await.remove(0);
            let first = (from_ms - 20) / 10_000;
            let later = (first + 1)..=(to_ms - 21) / 10_000;
            let later = later.map(|slide| (slide * 10_000 - from_ms + 20, slide as u32));
            let wanted: Vec<(i64, u32)> = std::iter::once((0, first as u32)).chain(later).collect();
            let seen = screen(&clip);
            let is_near = |((seen, slide), (at, wanted)): (&(i64, u32), &(i64, u32))| {
                slide == wanted && (seen - at).abs() <= 1
            };
            let are_near = seen.len() == wanted.len() && seen.iter().zip(&wanted).all(is_near);
            assert!(are_near, "{from_ms}..{to_ms}: {seen:?}, not {wanted:?}");
            // Where the next one follows at once, up to that one.
            let late_ms = clip.duration_ms() - (to_ms - from_ms);
            assert!((0..=20).contains(&late_ms), "{from_ms}..{to_ms}: {late_ms}");
            if audio {
                let heard = clip.heard();
                let (begin, end) = (heard[0].at_ms, heard[heard.len() - 1].until_ms);
                assert!(begin == 0 && end >= clip.duration_ms() - 1, "{from_ms}..{to_ms}: {begin}..{end}");
            }
        }
    }
}

#[tokio::test]
async fn a_clip_shows_the_slide_that_was_on_screen() {
    for audio in [false, true] {
        let stage = Stage::new().await;
        let mut source = Source { picture_us: 10_000_000, group: 4, audio, ..Source::default() };
        let tags = slides(&mut source);
        let mut publisher = stage.publish("stage", &[]).await;
        stage.push(&mut publisher, &tags).await;
        eventually(async || stage.bench.assets(AssetType::Timeline).await.pop()).await;
        shows_what_was_on_screen(&stage, audio).await;
        stage.end(publisher).await;
        shows_what_was_on_screen(&stage, audio).await;
    }
}
