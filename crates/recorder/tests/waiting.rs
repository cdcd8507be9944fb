//! Clips that wait for their media: when they are complete, and when they fail.

mod common;
#[path = "hard_cases/stage.rs"]
mod stage;

use common::eventually;
use mediahooks_database::Asset;
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetState, AssetStatus, AssetType, CutMode, GapMode, TargetFormat};
use mediahooks_recorder::ClipRequest;
use mediahooks_testkit::synthetic::{Simulated, Source, Tag};
use stage::{Finished, Stage, numbers};

/// Publishes from now on for some seconds.
async fn live_for(stage: &Stage, seconds: i64) -> (Simulated, Source) {
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(seconds));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    (publisher, source)
}

/// Asks for a clip that is not there yet.
async fn wait_for(stage: &Stage, from_ms: i64, to_ms: i64, gaps: GapMode) -> Asset {
    let request = ClipRequest { gaps, ..stage.clip_request(from_ms, to_ms) };
    let clips = stage.bench.recorder.create_clips(request).await.unwrap();
    let [clip] = clips.as_slice() else { panic!("{clips:?}") };
    assert_eq!(clip.state.status(), AssetStatus::Processing);
    clip.clone()
}

/// The clip once it is not waited for any more.
async fn settled(stage: &Stage, clip: &Asset) -> Asset {
    eventually(async || {
        let clip = stage.bench.asset(clip.id).await;
        (clip.state.status() != AssetStatus::Processing).then_some(clip)
    })
    .await
}

async fn completed(stage: &Stage, clip: &Asset) -> Finished {
    stage.finished(settled(stage, clip).await).await
}

/// Lets the publisher go, alone or with the server, which is started again.
async fn leave(mut stage: Stage, publisher: Simulated, is_killed: bool) -> Stage {
    if is_killed {
        stage.bench = stage.bench.crash_and_restart().await;
        return stage;
    }
    publisher.sink.finish(PublishEnd::Disconnected).await;
    stage
}

#[tokio::test]
async fn a_clip_that_must_have_no_gap_fails_when_its_publisher_is_back() {
    for is_killed in [false, true] {
        let stage = Stage::new().await;
        let (publisher, _) = live_for(&stage, 10).await;
        let clip = wait_for(&stage, 5_000, 20_000, GapMode::Refuse).await;
        let stage = leave(stage, publisher, is_killed).await;
        stage.clock.0.pass_until(12_000_000);
        let (publisher, _) = live_for(&stage, 1).await;
        let AssetState::Error { reason } = settled(&stage, &clip).await.state else {
            panic!("killed {is_killed}: a gap was not refused")
        };
        assert!(reason.contains("reconnect"), "{reason}");
        stage.end(publisher).await;
    }
}

#[tokio::test]
async fn a_clip_that_must_have_no_gap_has_none_when_nobody_comes_back() {
    for is_killed in [false, true] {
        let stage = Stage::new().await;
        let (publisher, _) = live_for(&stage, 10).await;
        let clip = wait_for(&stage, 5_000, 20_000, GapMode::Refuse).await;
        let stage = leave(stage, publisher, is_killed).await;
        // Asked for now it is the same.
        let later = wait_for(&stage, 5_000, 20_000, GapMode::Refuse).await;
        stage.clock.0.pass_until(20_000_000);
        for clip in [clip, later] {
            let shown = numbers(&completed(&stage, &clip).await.shown());
            assert_eq!(shown, (125..250).collect::<Vec<_>>(), "killed: {is_killed}");
        }
    }
}

#[tokio::test]
async fn a_stop_leaves_a_clip_that_must_have_no_gap_to_the_next_start() {
    let stage = Stage::new().await;
    let (publisher, _) = live_for(&stage, 10).await;
    let clip = wait_for(&stage, 5_000, 20_000, GapMode::Refuse).await;
    stage.end(publisher).await;
    stage.bench.recorder.drain().await;
    assert_eq!(stage.bench.asset(clip.id).await.state.status(), AssetStatus::Processing);
}

#[tokio::test]
async fn the_clip_of_a_stretch_is_complete_when_it_is_known_that_its_publisher_is_gone() {
    for is_killed in [false, true] {
        let stage = Stage::new().await;
        let (publisher, _) = live_for(&stage, 10).await;
        let clip = wait_for(&stage, 5_000, 20_000, GapMode::Split).await;
        // In case of a kill the crash takes what was not stored yet.
        let _ = stage.bench.recorder.create_clips(stage.clip_request(8_000, 9_900)).await.unwrap();
        let stage = leave(stage, publisher, is_killed).await;
        // Long before the range is over.
        let shown = numbers(&completed(&stage, &clip).await.shown());
        assert_eq!(shown, (125..250).collect::<Vec<_>>(), "killed: {is_killed}");
        // Who comes back within the range makes another one.
        stage.clock.0.pass_until(12_000_000);
        let (publisher, _) = live_for(&stage, 9).await;
        let clips = eventually(async || {
            let clips = stage.bench.assets(AssetType::Clip).await;
            let of_request: Vec<Asset> =
                clips.into_iter().filter(|other| other.request == clip.request).collect();
            (of_request.len() == 2).then_some(of_request)
        })
        .await;
        let second = clips.iter().find(|other| other.id != clip.id).unwrap();
        assert_eq!(numbers(&completed(&stage, second).await.shown()), (0..200).collect::<Vec<_>>());
        stage.end(publisher).await;
    }
}

/// On a slow disk that takes a while; the clip must not wait for the rest of its range then.
#[tokio::test]
async fn the_clip_of_a_stretch_is_complete_when_its_publisher_leaves_while_it_is_asked_for() {
    for patience in 0..40 {
        let stage = Stage::new().await;
        let (publisher, _) = live_for(&stage, 3).await;
        let request = stage.clip_request(1_000, 600_000);
        let recorder = stage.bench.recorder.clone();
        let asking = tokio::spawn(async move { recorder.create_clips(request).await });
        for _ in 0..patience {
            tokio::task::yield_now().await;
        }
        stage.end(publisher).await;
        let clip = asking.await.unwrap().unwrap().remove(0);
        let shown = numbers(&completed(&stage, &clip).await.shown());
        assert_eq!(shown, (25..75).collect::<Vec<_>>(), "after {patience}");
    }
}

#[tokio::test]
async fn a_joined_clip_waits_for_its_publisher_to_the_end_of_its_range() {
    for (is_killed, gaps) in
        [(false, GapMode::Collapse), (true, GapMode::Collapse), (false, GapMode::Hold), (true, GapMode::Hold)]
    {
        let stage = Stage::new().await;
        let (publisher, _) = live_for(&stage, 10).await;
        let clip = wait_for(&stage, 5_000, 20_000, gaps).await;
        let stage = leave(stage, publisher, is_killed).await;
        stage.clock.0.pass_until(20_000_000);
        let done = completed(&stage, &clip).await;
        assert_eq!(numbers(&done.shown()), (125..250).collect::<Vec<_>>(), "killed: {is_killed}");
        assert_eq!(done.metadata.gaps, []);
    }
}

/// A picture every ten seconds, from the start, up to some moment.
fn slides(audio: bool, until_ms: i64) -> (Vec<Tag>, Vec<Tag>) {
    let mut source = Source { picture_us: 10_000_000, group: 1, audio, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(40));
    tags.into_iter().partition(|tag| tag.sent_us <= until_ms * 1000)
}

#[tokio::test]
async fn the_sound_tells_when_a_clip_of_slides_is_complete() {
    let stage = Stage::new().await;
    let (tags, rest) = slides(true, 12_000);
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    let clip = wait_for(&stage, 5_000, 15_000, GapMode::Split).await;
    let rest: Vec<Tag> = rest.into_iter().filter(|tag| tag.sent_us <= 15_600_000).collect();
    stage.push(&mut publisher, &rest).await;
    let done = completed(&stage, &clip).await;
    assert_eq!(numbers(&done.shown()), [0, 1]);
    assert!((done.duration_ms() - 10_000).abs() <= 40, "{}", done.duration_ms());
    stage.end(publisher).await;
}

#[tokio::test]
async fn the_time_tells_when_a_clip_of_slides_without_sound_is_complete() {
    let stage = Stage::new().await;
    let (tags, _) = slides(false, 12_000);
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    let clip = wait_for(&stage, 5_000, 15_000, GapMode::Split).await;
    stage.clock.0.pass_until(15_500_000);
    let done = completed(&stage, &clip).await;
    assert_eq!(numbers(&done.shown()), [0, 1]);
    assert!((done.duration_ms() - 10_000).abs() <= 40, "{}", done.duration_ms());
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_slide_that_came_just_before_the_end_of_a_clip_lasts_up_to_it() {
    for to_ms in [20_240, 20_400, 20_640, 20_800] {
        let stage = Stage::new().await;
        let (tags, _) = slides(false, 20_000);
        let mut publisher = stage.publish("stage", &[]).await;
        stage.push(&mut publisher, &tags).await;
        let clip = wait_for(&stage, 5_000, to_ms, GapMode::Split).await;
        stage.clock.0.pass_until(to_ms * 1000 + 510_000);
        let done = completed(&stage, &clip).await;
        assert_eq!(numbers(&done.shown()), [0, 1, 2]);
        assert!((done.duration_ms() - (to_ms - 5_000)).abs() <= 40, "{to_ms}: {}", done.duration_ms());
        stage.end(publisher).await;
    }
}

#[tokio::test]
async fn who_falls_silent_is_given_up_five_seconds_after_the_range() {
    let stage = Stage::new().await;
    let (publisher, _) = live_for(&stage, 10).await;
    let clip = wait_for(&stage, 5_000, 12_000, GapMode::Split).await;
    stage.clock.0.pass_until(17_000_000);
    let shown = numbers(&completed(&stage, &clip).await.shown());
    assert_eq!(shown, (125..250).collect::<Vec<_>>());
    stage.end(publisher).await;
}

#[tokio::test]
async fn who_sends_in_bursts_is_waited_for_until_the_next_one_is_due() {
    let stage = Stage::new().await;
    // A second in time, then all that there is, every ten seconds.
    let (mut publisher, mut source) = live_for(&stage, 1).await;
    for (seconds, sent_us) in [(9, 10_000_000), (10, 20_000_000)] {
        let mut tags = source.seconds(seconds);
        tags.iter_mut().for_each(|tag| tag.sent_us = sent_us);
        stage.push(&mut publisher, &tags).await;
    }
    let clip = wait_for(&stage, 15_000, 24_000, GapMode::Split).await;
    let mut steady = Source::default();
    let mut other = stage.publish("other", &[]).await;
    let tags = [steady.headers(), steady.seconds(1)].concat();
    stage.push(&mut other, &tags).await;
    let silent = ClipRequest { stream_name: "other".parse().unwrap(), ..stage.clip_request(20_100, 23_900) };
    let silent = stage.bench.recorder.create_clips(silent).await.unwrap().remove(0);
    // More than five seconds after both ranges.
    stage.clock.0.pass_until(29_800_000);
    completed(&stage, &silent).await;
    assert_eq!(stage.bench.asset(clip.id).await.state.status(), AssetStatus::Processing);
    let mut tags = source.seconds(10);
    tags.iter_mut().for_each(|tag| tag.sent_us = 30_000_000);
    stage.push(&mut publisher, &tags).await;
    let done = completed(&stage, &clip).await;
    assert!((done.duration_ms() - 9_000).abs() <= 40, "{}", done.duration_ms());
    assert_eq!(done.shown().len(), 225);
    stage.end(publisher).await;
    stage.end(other).await;
}

#[tokio::test]
async fn pictures_that_are_decoded_after_later_ones_belong_to_a_clip_wherever_segments_end() {
    let stage = Stage::new().await;
    let mut source = Source { reordered: 3, group: 48, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    let ranges = [4_010, 4_050, 4_090, 4_130];
    let mut waiting = Vec::new();
    for to_ms in ranges {
        waiting.push(wait_for(&stage, 1_000, to_ms, GapMode::Split).await);
    }
    for tag in source.seconds(3) {
        stage.push(&mut publisher, &[tag]).await;
        // Up to now: what was received is stored, as a segment of this picture alone.
        let until_now = ClipRequest { stop: None, ..stage.clip_request(1_000, 2_000) };
        stage.bench.recorder.create_clips(until_now).await.unwrap();
    }
    for (clip, to_ms) in waiting.iter().zip(ranges) {
        let waited_for = numbers(&completed(&stage, clip).await.shown());
        let asked_later = numbers(&stage.clips(1_000, to_ms).await.remove(0).shown());
        assert_eq!(waited_for, asked_later, "up to {to_ms}");
        let wanted = usize::try_from((to_ms - 1_000) / 40).unwrap();
        assert!((wanted..=wanted + 2).contains(&waited_for.len()), "up to {to_ms}: {waited_for:?}");
    }
    stage.end(publisher).await;
}

/// A live publisher whose pictures are sent up to four places before they are shown.
async fn live_reordered(stage: &Stage) -> (Simulated, Source) {
    let mut source = Source { reordered: 3, group: 49, audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    (publisher, source)
}

/// Pictures follow each other without a hole.
fn assert_even(shown: &[stage::Sample], what: &str) {
    for pair in shown.windows(2) {
        assert_eq!(pair[1].at_ms - pair[0].at_ms, 40, "{what}: {pair:?}");
    }
}

#[tokio::test]
async fn a_clip_cut_on_key_frames_waits_for_the_pictures_that_are_shown_before_its_last_one() {
    let stage = Stage::new().await;
    let (mut publisher, mut source) = live_reordered(&stage).await;
    let mut waiting = Vec::new();
    for to_ms in [4_010, 4_050, 4_090, 4_130] {
        for (cut, target_format) in [(CutMode::Keyframe, None), (CutMode::Frame, Some(TargetFormat::Hls))] {
            let request = ClipRequest { cut, target_format, ..stage.clip_request(1_000, to_ms) };
            let clip = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
            assert_eq!(clip.state.status(), AssetStatus::Processing);
            waiting.push((clip, to_ms));
        }
    }
    for tag in source.seconds(3) {
        stage.push(&mut publisher, &[tag]).await;
        // What was received is stored, as a segment of this picture alone.
        stage
            .bench
            .recorder
            .create_clips(ClipRequest { stop: None, ..stage.clip_request(1_000, 2_000) })
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    let mut before: Option<Vec<u32>> = None;
    for (clip, to_ms) in waiting {
        let done = completed(&stage, &clip).await;
        let mut pictures = done.pictures();
        if clip.target_format.is_none() {
            let shown = done.shown();
            assert_even(&shown, &format!("up to {to_ms}"));
            // The picture that is sent earliest counts as captured when it arrived.
            let wanted = (to_ms - 20 + 160 - 1) / 40;
            let more = shown.len() as i64 - wanted;
            assert!((0..=4).contains(&more), "up to {to_ms}: {more} more than {wanted}");
            before = Some(pictures);
        } else {
            pictures.dedup();
            assert_eq!(before.take(), Some(pictures), "a playlist has the same pictures");
        }
    }
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_clip_cut_on_key_frames_up_to_now_has_no_hole() {
    let stage = Stage::new().await;
    let (mut publisher, mut source) = live_reordered(&stage).await;
    for tag in source.seconds(1) {
        let until_ms = 3_000 + tag.sent_us / 1000 % 1_000;
        stage.push(&mut publisher, &[tag]).await;
        let cut = CutMode::Keyframe;
        let up_to_now = ClipRequest { cut, stop: None, ..stage.clip_request(1_000, 2_000) };
        let clip = stage.bench.recorder.create_clips(up_to_now).await.unwrap().remove(0);
        let shown = completed(&stage, &clip).await.shown();
        assert_even(&shown, &format!("at {until_ms}"));
        let lag_ms = until_ms - 20 - shown.len() as i64 * 40;
        assert!((-40..=240).contains(&lag_ms), "at {until_ms}: {lag_ms}");
    }
    stage.end(publisher).await;
}
