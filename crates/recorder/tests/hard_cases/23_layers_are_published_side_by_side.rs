//! Two qualities of one source are published side by side, one of them a little later.
//!
//! Kept: both. A clip of a range makes one asset per layer, cut to the same frames.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn a_clip_has_the_same_frames_in_each() {
    let stage = Stage::new().await;
    let mut high = stage.publish("stage", &[("simulcastId", "high")]).await;
    let mut low = stage.publish("stage", &[("simulcastId", "low")]).await;
    let mut source = Source { audio: false, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    // The other way has 30 ms more delay.
    for tag in tags {
        stage.push(&mut high, std::slice::from_ref(&tag)).await;
        stage.push(&mut low, &[tag.sent_later(30_000)]).await;
    }
    stage.end(high).await;
    stage.end(low).await;
    let clips = stage.clips(3_000, 6_000).await;
    assert_eq!(clips.len(), 2);
    let shown: Vec<Vec<u32>> = clips.iter().map(|clip| numbers(&clip.shown())).collect();
    assert_eq!(shown[0].len(), 75);
    assert!(shown[0][0].abs_diff(shown[1][0]) <= 1, "{shown:?}");
    let mut layers: Vec<_> = clips.iter().map(|clip| clip.asset.simulcast_id.clone().unwrap()).collect();
    layers.sort();
    assert_eq!(layers, ["high", "low"]);
}
