//! Clips begin and end at, just before and just behind the edges of segments, groups and frames.
//!
//! Each shows exactly the frames captured in its range; cut on key frames, those from the key frame before it on.

use mediahooks_model::{CutMode, TargetFormat};
use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

async fn broadcast(group: i64, reordered: i64) -> Stage {
    let stage = Stage::new().await;
    let mut source = Source { group, reordered, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(12));
    stage.broadcast(&tags).await;
    stage
}

/// Frames at edges: of segments (0.8 s), of groups, and beside them.
fn edges(group: i64) -> Vec<i64> {
    let places = [20, 40, 2 * group, 4 * group];
    let mut edges: Vec<i64> = places.into_iter().flat_map(|place| [place - 1, place, place + 1]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[tokio::test]
async fn each_shows_exactly_its_frames() {
    for (group, reordered) in [(7, 0), (25, 0), (37, 0), (49, 2)] {
        let stage = broadcast(group, reordered).await;
        // In the order in which they are shown, from the time of the first one on.
        let whole = numbers(&stage.recording().await.shown());
        // A picture is not captured later than it comes: one that is sent longest before it is shown tells when.
        let delay = if reordered > 0 { reordered } else { 0 };
        for from in edges(group) {
            for length in [25, group.max(26), group.max(26) + 1] {
                let clips = stage.clips(from * 40, (from + length) * 40).await;
                assert_eq!(clips.len(), 1);
                let first = (from + delay) as usize;
                let wanted = &whole[first..first + length as usize];
                assert_eq!(numbers(&clips[0].shown()), wanted, "{group}/{reordered}: {from} + {length}");
                assert!((clips[0].duration_ms() - length * 40).abs() <= 1);
            }
        }
    }
}

#[tokio::test]
async fn on_key_frames_each_begins_with_the_one_before() {
    for group in [7, 37] {
        let stage = broadcast(group, 0).await;
        for from in edges(group) {
            for length in [25, 37] {
                let mut request = stage.clip_request(from * 40, (from + length) * 40);
                request.cut = CutMode::Keyframe;
                let asset = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
                let clip = stage.finished(asset).await;
                // The range begins half a frame before `from`: a key frame there is not at or before its start.
                let first = (from - 1) / group * group;
                let wanted = first as u32..(from + length) as u32;
                assert_eq!(numbers(&clip.shown()), wanted.collect::<Vec<_>>(), "{group}: {from} + {length}");
                assert_eq!(clip.metadata.pre_roll_ms, Some(0), "nothing is hidden");
                let told = clip.metadata.start_time.unwrap();
                let before_us = clip.asset.start_time.micros_since(told);
                // The sound frame that lies over the key frame's moment begins before it.
                let sound_us = before_us - ((from - first) * 40 - 20) * 1000;
                assert!((0..21_400).contains(&sound_us), "{before_us}");
            }
        }
    }
}

#[tokio::test]
async fn a_fragmented_file_holds_what_is_needed_and_no_more_groups() {
    let group = 25;
    let stage = broadcast(group, 0).await;
    for from in edges(group) {
        let mut request = stage.clip_request(from * 40, (from + 30) * 40);
        request.target_format = Some(TargetFormat::Fmp4);
        let asset = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
        let clip = stage.finished(asset).await;
        let wanted = (from / group * group) as u32..(from + 30) as u32;
        assert_eq!(clip.pictures(), wanted.collect::<Vec<_>>(), "{from}");
        assert!((clip.duration_ms() - 30 * 40).abs() <= 1, "{}", clip.duration_ms());
    }
}
