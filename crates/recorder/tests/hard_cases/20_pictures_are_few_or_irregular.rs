//! A picture a minute, or pictures at irregular times.
//!
//! Kept: every picture for exactly as long as it was on screen; half an hour is half an hour. The last one stays until
//! its publisher left, or was known to be there last. A clip shows at each of its moments what was on screen then, also
//! where no picture came, with all of its sound.

use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetState, AssetType};
use mediahooks_testkit::synthetic::{Simulated, Source, Tag};

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

/// Slides up to one at 60 s, of which the publisher is still there 7 s later.
async fn live_slides(stage: &Stage, audio: bool) -> Simulated {
    let mut source = Source { picture_us: 10_000_000, group: 1, audio, ..Source::default() };
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = slides(&mut source);
    tags.retain(|tag| tag.sent_us <= 67_000_000);
    stage.push(&mut publisher, &tags).await;
    stage.clock.0.pass_until(67_000_000);
    publisher
}

/// The last slide is shown until some moment, in the recording and in clips, and no clip shows it later.
async fn is_shown_until(stage: &Stage, until_ms: i64) {
    let is_near = |told: i64, wanted: i64| (told - wanted).abs() <= 25;
    let recording = stage.recording().await;
    let shown = recording.shown();
    let last = shown.last().unwrap();
    assert_eq!((shown.len(), last.number), (7, 6));
    assert!(is_near(last.until_ms, until_ms), "{last:?}, not until {until_ms}");
    assert!(is_near(recording.duration_ms(), until_ms), "{}", recording.duration_ms());
    let clip = stage.clips(61_000, 64_000).await.remove(0);
    assert_eq!((screen(&clip), clip.duration_ms()), (vec![(0, 6)], 3_000));
    let clip = stage.clips(62_000, until_ms + 5_000).await.remove(0);
    assert_eq!(screen(&clip), [(0, 6)]);
    // Ranges of a stage begin 20 ms early.
    assert!(is_near(clip.duration_ms(), until_ms - 61_980), "{}", clip.duration_ms());
    let later = stage.clip_request(until_ms + 1_100, until_ms + 3_000);
    assert!(stage.bench.recorder.create_clips(later).await.is_err());
    let timeline = stage.bench.assets(AssetType::Timeline).await.remove(0);
    let AssetState::Complete { metadata } = timeline.state else { panic!("{timeline:?}") };
    assert!(is_near(metadata.duration_ms.unwrap() as i64, until_ms), "{metadata:?}");
}

#[tokio::test]
async fn the_last_slide_lasts_until_its_publisher_left() {
    for (audio, end) in [(false, PublishEnd::Unpublished), (true, PublishEnd::Disconnected)] {
        let stage = Stage::new().await;
        let publisher = live_slides(&stage, audio).await;
        publisher.sink.finish(end).await;
        is_shown_until(&stage, 67_000).await;
    }
}

#[tokio::test]
async fn a_publisher_that_fell_silent_is_taken_to_have_shown_a_slide_until_the_next_one_was_due() {
    let stage = Stage::new().await;
    let publisher = live_slides(&stage, false).await;
    stage.clock.0.pass_until(90_000_000);
    publisher.sink.finish(PublishEnd::TimedOut).await;
    is_shown_until(&stage, 70_000).await;
}

#[tokio::test]
async fn a_steady_publisher_that_fell_silent_may_be_gone() {
    for end in [PublishEnd::Disconnected, PublishEnd::TimedOut] {
        let stage = Stage::new().await;
        let mut source = Source { audio: false, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(3));
        let mut publisher = stage.publish("stage", &[]).await;
        stage.push(&mut publisher, &tags).await;
        stage.clock.0.pass_until(10_000_000);
        publisher.sink.finish(end).await;
        assert!((stage.recording().await.duration_ms() - 3_000).abs() <= 25);
    }
}

#[tokio::test]
async fn a_camera_that_stalled_is_shown_for_as_long_as_its_sound_goes_on() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    tags.retain(|tag| tag.tag_type != mediahooks_media::flv::TAG_VIDEO || tag.sent_us < 3_000_000);
    stage.broadcast(&tags).await;
    let recording = stage.recording().await;
    let last = recording.shown().pop().unwrap();
    assert_eq!((last.number, last.at_ms), (74, 2_960));
    assert!((last.until_ms - 8_000).abs() <= 25, "{last:?}");
}

#[tokio::test]
async fn a_crash_costs_no_more_than_a_second_of_the_last_slide() {
    for audio in [false, true] {
        let mut stage = Stage::new().await;
        let publisher = live_slides(&stage, audio).await;
        // Time stands still: it is noted until when the slide was on screen.
        eventually(async || {
            let recording = stage.bench.assets(AssetType::Recording).await.pop()?;
            let part = recording.recipe.into_iter().next()?;
            let span = stage.bench.database.segment_spans(part.timeline, 0, None).await.unwrap().pop()?;
            let until_us = part.stop_us?.max(span.media_start_us) + span.wall_offset_us;
            (until_us >= stage.clock.0.wall_us()).then_some(())
        })
        .await;
        stage.bench = stage.bench.crash_and_restart().await;
        is_shown_until(&stage, 67_000).await;
        drop(publisher);
    }
}

#[tokio::test]
async fn a_steady_publisher_needs_a_moment_to_leave() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    stage.clock.0.pass_until(3_700_000);
    stage.end(publisher).await;
    let recording = stage.recording().await;
    assert!((recording.duration_ms() - 3_000).abs() <= 25, "{}", recording.duration_ms());
}
