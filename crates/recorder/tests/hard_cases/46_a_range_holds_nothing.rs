//! A clip is asked for of a range with no media in it, before it, behind it, or partly so.
//!
//! Nothing there: an error that says so. Partly there: what is there, with its true start and stop. What is
//! still to come is waited for.

use mediahooks_model::AssetStatus;
use mediahooks_recorder::ClipError;
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn what_is_there_is_given_and_the_rest_is_said() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    source.pause_ms(10_000);
    let mut tags = source.headers();
    tags.extend(source.seconds(10));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    for (from_ms, to_ms) in [(1_000, 9_000), (22_000, 25_000), (24_000, 25_000)] {
        let outcome = stage.bench.recorder.create_clips(stage.clip_request(from_ms, to_ms)).await;
        // Behind what is live: it may come.
        match outcome {
            Err(error) => assert!(matches!(error, ClipError::NoTimelines), "{error}"),
            Ok(clips) => panic!("{from_ms}..{to_ms}: {clips:?}"),
        }
    }
    let early = stage.clips(5_000, 13_000).await.remove(0);
    assert_eq!(numbers(&early.shown()), (0..75).collect::<Vec<_>>());
    let ahead =
        stage.bench.recorder.create_clips(stage.clip_request(18_000, 30_000)).await.unwrap().remove(0);
    assert_eq!(ahead.state.status(), AssetStatus::Processing);
    stage.end(publisher).await;
    stage.bench.recorder.drain().await;
    let ended = stage.finished(stage.bench.asset(ahead.id).await).await;
    assert_eq!(numbers(&ended.shown()), (200..250).collect::<Vec<_>>());
    let none = stage.bench.recorder.create_clips(stage.clip_request(21_000, 24_000)).await;
    assert!(matches!(none, Err(ClipError::NoTimelines)));
}
