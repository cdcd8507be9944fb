//! The server is stopped while twenty encoders publish and clips wait for their ends.
//!
//! Kept: everything received. Recordings are complete, told, and nothing is live when the stop is done. So is the
//! clip of each stretch; one that may be gone on with in its range, over the stop, waits for the next start.

use mediahooks_model::{AssetState, AssetStatus, GapMode, GapReason};
use mediahooks_recorder::{ClipRequest, StopScope};
use mediahooks_testkit::synthetic::Source;

use crate::common::{events, eventually, webhook};
use crate::stage::{Stage, numbers};

#[tokio::test]
async fn all_of_it_is_finished_and_told() {
    let stage = Stage::new().await;
    let hook = webhook(&stage.bench).await;
    let mut tags = Source::default().headers();
    let mut source = Source::default();
    tags.extend(source.seconds(3));
    let mut publishers = Vec::new();
    for number in 0..20 {
        let name = if number == 0 { "stage".to_owned() } else { format!("stage{number}") };
        let mut publisher = stage.publish(&name, &[]).await;
        let started_us = tags[0].sent_us;
        assert_eq!(started_us, 0);
        stage.push(&mut publisher, &tags).await;
        publishers.push(publisher);
    }
    let clip = stage.bench.recorder.create_clips(stage.clip_request(1_000, 20_000)).await.unwrap().remove(0);
    assert_eq!(clip.state.status(), AssetStatus::Processing);
    assert_eq!(stage.bench.recorder.stop_feeds(&StopScope::All, "the server is stopping"), 20);
    for publisher in publishers {
        assert_eq!(publisher.sink.stopped().await.code, "stopped");
        stage.end(publisher).await;
    }
    stage.bench.recorder.drain().await;
    for recording in stage.recordings().await {
        assert_eq!(recording.pictures().len(), 75);
        let told = events(&stage.bench.database, hook, &recording.asset.id.to_string()).await;
        assert_eq!(told, ["media.processing", "media.completed"]);
    }
    assert_eq!(stage.bench.asset(clip.id).await.state.status(), AssetStatus::Complete);
}

#[tokio::test]
async fn a_clip_over_the_stop_becomes_what_was_asked_for() {
    let mut stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(3));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    let mut clips = Vec::new();
    for gaps in GapMode::ALL {
        let request = ClipRequest { gaps, ..stage.clip_request(1_000, 8_000) };
        clips.push(stage.bench.recorder.create_clips(request).await.unwrap().remove(0).id);
    }
    stage.bench.recorder.stop_feeds(&StopScope::All, "the server is stopping");
    stage.end(publisher).await;
    stage.bench.recorder.drain().await;
    for (id, gaps) in clips.iter().zip(GapMode::ALL) {
        let status = stage.bench.asset(*id).await.state.status();
        let expected = if gaps == GapMode::Split { AssetStatus::Complete } else { AssetStatus::Processing };
        assert_eq!(status, expected, "{gaps:?}");
    }

    stage.clock.0.pass_until(5_000_000);
    stage.bench = stage.bench.crash_and_restart().await;
    let mut publisher = stage.publish("stage", &[]).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    stage.push(&mut publisher, &tags).await;
    for (id, gaps) in clips.into_iter().zip(GapMode::ALL) {
        let clip = eventually(async || {
            let clip = stage.bench.asset(id).await;
            (clip.state.status() != AssetStatus::Processing).then_some(clip)
        })
        .await;
        if let AssetState::Error { reason } = &clip.state {
            assert!(gaps == GapMode::Refuse && reason.contains("reconnect"), "{gaps:?}: {reason}");
            continue;
        }
        let done = stage.finished(clip).await;
        let (before, after) = (25..75, 0..75);
        let reasons: Vec<GapReason> = done.metadata.gaps.iter().map(|gap| gap.reason).collect();
        match gaps {
            GapMode::Split => {
                assert_eq!(numbers(&done.shown()), before.collect::<Vec<_>>());
                assert_eq!(reasons, []);
            }
            GapMode::Collapse | GapMode::Hold => {
                assert_eq!(numbers(&done.shown()), before.chain(after).collect::<Vec<_>>(), "{gaps:?}");
                assert_eq!(reasons, [GapReason::Reconnect]);
                let expected_ms = if gaps == GapMode::Hold { 7_000 } else { 5_000 };
                assert!((done.duration_ms() - expected_ms).abs() <= 40, "{gaps:?}: {}", done.duration_ms());
            }
            GapMode::Refuse => panic!("a gap was not refused"),
        }
    }
    stage.end(publisher).await;
}
