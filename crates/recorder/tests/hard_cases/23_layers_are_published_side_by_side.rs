//! Two qualities of one source are published side by side, one of them a little later.
//!
//! Kept: both. A clip of a range makes one asset per layer, of the same frames. What comes over another way, with more
//! delay, counts as captured when it came: less than a frame of delay is a frame at most.

use mediahooks_recorder::ClipRequest;
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

async fn check(delay_us: i64, first_of_low: u32) {
    let stage = Stage::new().await;
    let mut high = stage.publish("stage", &[("simulcastId", "high")]).await;
    let mut low = stage.publish("stage", &[("simulcastId", "low")]).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    for tag in tags {
        stage.push(&mut high, std::slice::from_ref(&tag)).await;
        stage.push(&mut low, &[tag.sent_later(delay_us)]).await;
    }
    stage.end(high).await;
    stage.end(low).await;
    let clips = stage.clips(3_000, 6_000).await;
    assert_eq!(clips.len(), 2);
    for clip in &clips {
        let first = match clip.asset.simulcast_id.as_deref() {
            Some("high") => 75,
            Some("low") => first_of_low,
            other => panic!("{other:?}"),
        };
        assert_eq!(numbers(&clip.shown()), (first..first + 75).collect::<Vec<_>>());
        // In step: a sound frame begins with the range, or is cut by its edges.
        let heard = clip.heard();
        for sample in &heard[1..] {
            let wanted = i64::from(sample.number) * 1024 * 1000 / 48_000 - i64::from(first) * 40;
            assert!((sample.at_ms - wanted).abs() <= 22, "{sample:?} belongs at {wanted}");
        }
        assert!((140..=142).contains(&heard.len()), "{}", heard.len());
    }
    assert_ne!(clips[0].asset.simulcast_id, clips[1].asset.simulcast_id);
}

#[tokio::test]
async fn a_clip_has_the_same_frames_in_each() {
    check(0, 75).await;
    check(10_000, 75).await;
}

#[tokio::test]
async fn a_way_with_more_delay_moves_them_by_it() {
    check(30_000, 74).await;
}

/// A backup of a layer comes, with seconds that it has kept back. The better one stays the one that is clipped.
#[tokio::test]
async fn a_backup_that_comes_later_takes_no_place() {
    let stage = Stage::new().await;
    let layer = ("simulcastId", "high");
    let mut best = stage.publish("stage", &[layer, ("sourceId", "a"), ("priority", "10")]).await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(8));
    stage.push(&mut best, &tags).await;
    let mut backup = stage.publish("stage", &[layer, ("sourceId", "b"), ("priority", "1")]).await;
    let mut kept = Source::default();
    let mut of_backup = kept.headers();
    of_backup.extend(kept.seconds(20));
    for tag in &mut of_backup {
        // It has four seconds, and sends them at three times the speed.
        tag.sent_us = (tag.sent_us / 3).max(tag.sent_us - 4_000_000);
    }
    let mut next = source.seconds(12).into_iter().peekable();
    let mut is_asked = false;
    for tag in of_backup {
        if tag.sent_us > 1_500_000 && !is_asked {
            is_asked = true;
            let up_to_now = ClipRequest { stop: None, ..stage.clip_request(5_000, 9_000) };
            let clips = stage.bench.recorder.create_clips(up_to_now).await.unwrap();
            let sources: Vec<_> = clips.iter().map(|clip| clip.source_id.as_deref()).collect();
            assert_eq!(sources, [Some("a")]);
        }
        while let Some(other) = next.next_if(|other| other.sent_us <= tag.sent_us + 8_000_000) {
            stage.push(&mut best, &[other]).await;
        }
        stage.push(&mut backup, &[tag]).await;
    }
    for (from, to) in [(125, 200), (50, 200), (125, 230), (100, 400)] {
        let [clip] = &stage.clips(from * 40, to * 40).await[..] else { panic!("{from}..{to}") };
        assert_eq!(clip.asset.source_id.as_deref(), Some("a"), "{from}..{to}");
        assert_eq!(numbers(&clip.shown()), (from as u32..to as u32).collect::<Vec<_>>());
    }
    stage.end(best).await;
    stage.end(backup).await;
}
