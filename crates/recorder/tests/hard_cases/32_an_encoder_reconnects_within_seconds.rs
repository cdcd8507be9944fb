//! The connection breaks in the middle of a group; the encoder is back a second later.
//!
//! Kept: everything that arrived, in two recordings, both whole. A clip over both is two clips, with the gap
//! between `stopTime` of one and `startTime` of the other.

use mediahooks_ingest::gate::PublishEnd;
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
