//! The connection breaks in the middle of a group; the encoder is back a second later.
//!
//! Kept: everything that arrived, in two recordings, both whole. A clip over both is two clips, with the gap
//! between `stopTime` of one and `startTime` of the other. Of an encoder that has kept what it could not send, and sends it
//! then, nothing is missing: clips over both show all of it when it was captured, and one that holds gaps has none to hold.

use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::GapMode;
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn both_sides_are_whole() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut publisher = stage.publish("stage", &[]).await;
    let mut tags = source.headers();
    tags.extend(source.millis(5_480));
    stage.push(&mut publisher, &tags).await;
    publisher.sink.finish(PublishEnd::Disconnected).await;
    stage.clock.0.pass_until(7_000_000);
    let mut again = Source::default();
    let mut tags = again.headers();
    tags.extend(again.seconds(5));
    stage.broadcast(&tags).await;

    let lengths: Vec<usize> =
        stage.recordings().await.iter().map(|recording| recording.pictures().len()).collect();
    assert_eq!(lengths, [137, 125]);
    let clips = stage.clips(4_000, 9_000).await;
    let shown: Vec<Vec<u32>> = clips.iter().map(|clip| numbers(&clip.shown())).collect();
    assert_eq!(shown, [(100..137).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>()]);
    let gap = clips[1].metadata.start_time.unwrap().since(clips[0].metadata.stop_time.unwrap());
    assert!((1_480..1_540).contains(&gap.as_millis()), "{gap:?}");
}

#[tokio::test]
async fn what_was_kept_meanwhile_is_shown_when_it_was() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.millis(5_480));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    publisher.sink.finish(PublishEnd::Disconnected).await;
    stage.clock.0.pass_until(7_000_000);
    let mut again = Source::default();
    let mut tags = again.headers();
    tags.extend(again.seconds(20));
    for tag in &mut tags {
        // What is 1.52 s old when the first of it is sent comes at twice the speed.
        tag.sent_us = (tag.sent_us / 2).max(tag.sent_us - 1_520_000);
    }
    stage.broadcast(&tags).await;

    for gaps in [GapMode::Collapse, GapMode::Hold] {
        let clip = stage.clip_over_breaks(4_000, 12_000, gaps).await;
        let (before, after) = (100..137, 0..163);
        assert_eq!(numbers(&clip.shown()), before.chain(after).collect::<Vec<_>>(), "{gaps:?}");
        assert!((clip.duration_ms() - 8_000).abs() <= 40, "{gaps:?}: {} ms", clip.duration_ms());
        let [gap] = &clip.metadata.gaps[..] else { panic!("{:?}", clip.metadata.gaps) };
        assert!(gap.duration_ms <= 40, "{gap:?}");
    }
    // Also of one that has too little of what came then to tell, and when the server has forgotten it.
    let held = stage.clip_over_breaks(4_000, 6_000, GapMode::Hold).await;
    assert_eq!(numbers(&held.shown()), (100..137).chain(0..13).collect::<Vec<_>>());
    assert!((held.duration_ms() - 2_000).abs() <= 40, "{} ms", held.duration_ms());
    let bench = stage.bench.crash_and_restart().await;
    assert!(bench.file(held.asset.id).await == held.file, "it is another file");
}

/// Of the range the first publisher had sent something, which the second, who had it too, sent again.
#[tokio::test]
async fn what_the_second_sent_again_counts_and_is_no_gap() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    let mut publisher = stage.publish("stage", &[]).await;
    stage.push(&mut publisher, &tags).await;
    publisher.sink.finish(PublishEnd::Disconnected).await;
    // It begins with what was captured from 5 s on.
    let mut again = Source::default();
    let mut tags = again.headers();
    tags.extend(again.seconds(40));
    for tag in &mut tags {
        tag.sent_us = (tag.sent_us / 3).max(tag.sent_us - 3_000_000);
    }
    stage.broadcast(&tags).await;
    for gaps in [GapMode::Refuse, GapMode::Collapse, GapMode::Hold, GapMode::Split] {
        let clip = stage.clip_over_breaks(6_000, 8_000, gaps).await;
        assert_eq!(numbers(&clip.shown()), (25..75).collect::<Vec<_>>(), "{gaps:?}");
        assert_eq!(clip.metadata.gaps, [], "{gaps:?}");
    }
}
