//! A clip is asked for of a range with no media in it, before it, behind it, or partly so.
//!
//! Nothing there, and nothing to come: an error that says what there is instead. Partly there: what is there, with
//! its true start and stop. What is still to come, of a publisher that is on time or behind, is waited for.

use mediahooks_database::Asset;
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{AssetStatus, Timestamp};
use mediahooks_recorder::{Absence, ClipError, ClipRequest};
use mediahooks_testkit::synthetic::{Simulated, Source, Tag};

use crate::common::{eventually, token};
use crate::stage::{Finished, Stage, numbers};

impl Stage {
    async fn ask(&self, from_ms: i64, to_ms: i64) -> Result<Vec<Asset>, ClipError> {
        self.bench.recorder.create_clips(self.clip_request(from_ms, to_ms)).await
    }

    /// Asks for a clip that is not there yet.
    async fn wait_for(&self, from_ms: i64, to_ms: i64) -> Asset {
        let clips = self.ask(from_ms, to_ms).await.unwrap();
        let [clip] = clips.as_slice() else { panic!("{clips:?}") };
        assert_eq!(clip.state.status(), AssetStatus::Processing);
        clip.clone()
    }

    async fn absence(&self, from_ms: i64, to_ms: i64) -> Absence {
        absence(self.ask(from_ms, to_ms).await)
    }

    async fn completed(&self, clip: &Asset) -> Finished {
        let done = eventually(async || {
            let clip = self.bench.asset(clip.id).await;
            (clip.state.status() != AssetStatus::Processing).then_some(clip)
        });
        self.finished(done.await).await
    }

    /// Whether a clip waits, now that there is nothing left to do for who waits.
    async fn still_waits(&self, clip: &Asset) -> bool {
        self.bench.recorder.drain().await;
        self.bench.asset(clip.id).await.state.status() == AssetStatus::Processing
    }
}

fn absence(outcome: Result<Vec<Asset>, ClipError>) -> Absence {
    match outcome {
        Err(ClipError::NoTimelines(absence)) => absence,
        outcome => panic!("{outcome:?}"),
    }
}

/// Tags of `seconds` from the tenth second on.
fn ten_seconds() -> (Source, Vec<Tag>) {
    let mut source = Source::default();
    source.pause_ms(10_000);
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    (source, tags)
}

async fn live_for_ten_seconds(stage: &Stage) -> (Simulated, Source) {
    let (source, tags) = ten_seconds();
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    (publisher, source)
}

/// Whether a moment is within two pictures of so many milliseconds after the simulation's start.
fn is_about(moment: Timestamp, ms: i64) -> bool {
    moment.micros_since(Timestamp::from_micros(1_700_000_000_000_000 + ms * 1000)).abs() <= 80_000
}

#[tokio::test]
async fn what_is_there_is_given_and_the_rest_is_said() {
    let stage = Stage::new().await;
    let unknown = stage.absence(1_000, 9_000).await;
    assert!(matches!(unknown, Absence::UnknownStream { .. }), "{unknown:?}");
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    let before = stage.absence(1_000, 9_000).await;
    assert!(matches!(before, Absence::Before { oldest } if is_about(oldest, 10_000)), "{before:?}");
    let far = stage.ask(80_000, 85_000).await.unwrap_err();
    assert!(far.to_string().starts_with("startTime must be in the past"), "{far}");
    let elsewhere = ClipRequest { source_id: Some("side".into()), ..stage.clip_request(11_000, 12_000) };
    let elsewhere = absence(stage.bench.recorder.create_clips(elsewhere).await);
    assert!(matches!(elsewhere, Absence::NoSuchSource { .. }), "{elsewhere:?}");

    let early = stage.clips(5_000, 13_000).await.remove(0);
    assert_eq!(numbers(&early.shown()), (0..75).collect::<Vec<_>>());
    let ahead = stage.wait_for(18_000, 30_000).await;
    stage.end(publisher).await;
    stage.bench.recorder.drain().await;
    let ended = stage.finished(stage.bench.asset(ahead.id).await).await;
    assert_eq!(numbers(&ended.shown()), (200..250).collect::<Vec<_>>());
    let none = stage.absence(21_000, 24_000).await;
    assert!(matches!(none, Absence::After { end, is_live: false } if is_about(end, 20_000)), "{none:?}");
}

#[tokio::test]
async fn between_two_broadcasts_is_a_gap() {
    let stage = Stage::new().await;
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    stage.end(publisher).await;
    stage.clock.0.pass_until(30_000_000);
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    stage.broadcast(&tags).await;
    let gap = stage.absence(24_000, 28_000).await;
    assert!(
        matches!(gap, Absence::Between { end, begin } if is_about(end, 20_000) && is_about(begin, 30_000)),
        "{gap:?}"
    );
    assert!(gap.to_string().contains("ends at 2023-11-14T22:13:40"), "{gap}");
}

#[tokio::test]
async fn what_is_a_little_ahead_is_waited_for() {
    let stage = Stage::new().await;
    let (mut publisher, mut source) = live_for_ten_seconds(&stage).await;
    let clips = [stage.wait_for(22_000, 25_000).await, stage.wait_for(24_000, 25_000).await];
    stage.push(&mut publisher, &source.seconds(6)).await;
    assert_eq!(numbers(&stage.completed(&clips[0]).await.shown()), (300..375).collect::<Vec<_>>());
    assert_eq!(numbers(&stage.completed(&clips[1]).await.shown()), (350..375).collect::<Vec<_>>());
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_publisher_that_is_behind_is_waited_for() {
    let stage = Stage::new().await;
    let (mut publisher, mut source) = live_for_ten_seconds(&stage).await;
    // It is 20 s, and nothing comes for two and a half.
    stage.clock.0.pass_until(22_500_000);
    let up_to_now = ClipRequest { stop: None, ..stage.clip_request(21_000, 0) };
    let up_to_now = absence(stage.bench.recorder.create_clips(up_to_now).await);
    assert!(
        matches!(up_to_now, Absence::After { end, is_live: true } if is_about(end, 20_000)),
        "{up_to_now:?}"
    );
    let clips = [
        stage.wait_for(21_500, 28_500).await,
        stage.wait_for(22_500, 28_500).await,
        // All of it is over, and comes yet.
        stage.wait_for(20_500, 22_000).await,
    ];
    stage.push(&mut publisher, &source.seconds(9)).await;
    for (clip, (from, to)) in clips.iter().zip([(288, 463), (313, 463), (263, 300)]) {
        let shown = numbers(&stage.completed(clip).await.shown());
        assert_eq!((shown.first(), shown.last()), (Some(&from), Some(&(to - 1))), "{shown:?}");
        assert!(shown.is_sorted() && shown.len() == (to - from) as usize);
    }
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_camera_that_is_behind_has_its_clip_beside_the_other_one() {
    let stage = Stage::new().await;
    let (mut left, mut source) = live_for_ten_seconds(&stage).await;
    let mut other = Source::default();
    let mut right = stage.publish("stage", &[("sourceId", "right")]).await;
    let mut tags = other.headers();
    tags.extend(other.seconds(1));
    stage.push(&mut right, &tags).await;
    // The left one has come to 20 s, the right one began then and has come to 21 s; it is 22 s.
    stage.clock.0.pass_until(22_000_000);
    stage.push(&mut left, &source.seconds(2)).await;
    let clips = stage.ask(21_400, 24_000).await.unwrap();
    let sources: Vec<Option<&str>> = clips.iter().map(|clip| clip.source_id.as_deref()).collect();
    assert_eq!(sources, [None, Some("right")]);
    assert_eq!(clips[0].request, clips[1].request);
    stage.push(&mut left, &source.seconds(3)).await;
    stage.push(&mut right, &other.seconds(4)).await;
    assert_eq!(numbers(&stage.completed(&clips[0]).await.shown()), (285..350).collect::<Vec<_>>());
    assert_eq!(numbers(&stage.completed(&clips[1]).await.shown()), (35..100).collect::<Vec<_>>());
    stage.end(left).await;
    stage.end(right).await;
}

#[tokio::test]
async fn a_range_of_which_nothing_came_waits_for_who_comes_back() {
    let stage = Stage::new().await;
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    stage.clock.0.pass_until(21_500_000);
    let clip = stage.wait_for(21_000, 26_000).await;
    let other = stage.wait_for(21_000, 22_500).await;
    publisher.sink.finish(PublishEnd::Disconnected).await;
    stage.clock.0.pass_until(23_000_000);
    // The range of the other one is over.
    let failed = eventually(async || {
        let other = stage.bench.asset(other.id).await;
        (other.state.status() != AssetStatus::Processing).then_some(other)
    })
    .await;
    assert_eq!(failed.state.status(), AssetStatus::Error);
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    stage.push(&mut publisher, &tags).await;
    assert_eq!(numbers(&stage.completed(&clip).await.shown()), (0..75).collect::<Vec<_>>());
    assert_eq!(stage.bench.assets(mediahooks_model::AssetType::Clip).await.len(), 2);
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_publisher_without_clips_is_not_waited_for() {
    let mut token = token();
    token.clip = false;
    let stage = Stage::with(token, mediahooks_model::Limits::default()).await;
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    let none = stage.absence(18_000, 25_000).await;
    assert!(matches!(none, Absence::NoTimeline { .. }), "{none:?}");
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_restart_goes_on_with_a_clip_of_which_nothing_has_come() {
    let mut stage = Stage::new().await;
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    stage.clock.0.pass_until(21_520_000);
    let clip = stage.wait_for(21_000, 26_000).await;
    stage.bench = stage.bench.crash_and_restart().await;
    drop(publisher);
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.seconds(1));
    stage.push(&mut publisher, &tags).await;
    assert_eq!(stage.bench.asset(clip.id).await.state.status(), AssetStatus::Processing);
    stage.push(&mut publisher, &source.seconds(5)).await;
    let shown = numbers(&stage.completed(&clip).await.shown());
    assert_eq!(shown, (0..112).collect::<Vec<_>>());
    stage.end(publisher).await;
}

#[tokio::test]
async fn a_stop_leaves_a_clip_of_which_nothing_has_come_to_the_next_start() {
    let stage = Stage::new().await;
    let (publisher, _) = live_for_ten_seconds(&stage).await;
    stage.clock.0.pass_until(21_500_000);
    let clip = stage.wait_for(21_000, 26_000).await;
    stage.end(publisher).await;
    assert!(stage.still_waits(&clip).await);
}
