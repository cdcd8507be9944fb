//! Clips begin and end at, just before and just behind the edges of segments, groups and frames.
//!
//! Each shows exactly the frames captured in its range; cut on key frames, those from the key frame before it on. A frame
//! that is captured when the range begins is in it, one that is captured when it ends is not.

use mediahooks_model::{AssetType, CutMode, TargetFormat, Timestamp};
use mediahooks_recorder::ClipRequest;
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

/// Frames with which segments begin, as they were stored, and for each whether its segment begins a group.
async fn stored_edges(stage: &Stage, begun: Timestamp) -> Vec<(i64, bool)> {
    let timeline = stage.bench.assets(AssetType::Timeline).await[0].recipe[0].timeline;
    let segments = stage.bench.database.segments(timeline, 0, None).await.unwrap();
    let edge = |segment: &mediahooks_database::Segment| {
        let starts = Timestamp::from_micros(segment.media_start_us + segment.wall_offset_us);
        // What sound there is at the edge may begin up to one of its frames earlier.
        ((starts.micros_since(begun) + 22_000).div_euclid(40_000), segment.starts_with_sync)
    };
    segments.iter().map(edge).collect()
}

#[tokio::test]
async fn a_frame_at_the_beginning_is_in_and_one_at_the_end_is_not() {
    for group in [25, 37] {
        let stage = broadcast(group, 0).await;
        let begun = stage.recording().await.metadata.start_time.unwrap();
        let captured = |frame: i64| begun.plus_micros(frame * 40_000);
        let edges = stored_edges(&stage, begun).await;
        let inner: Vec<_> = edges.into_iter().filter(|(frame, _)| (40..260).contains(frame)).collect();
        assert!(
            inner.iter().any(|(_, begins)| *begins) && inner.iter().any(|(_, begins)| !begins),
            "{inner:?}"
        );
        for (edge, _) in inner {
            // Ends where a segment does, and begins there.
            for (from, to) in [(edge - 30, edge), (edge, edge + 30)] {
                for (before_us, after_us) in [(1_000, -1_000), (0, 0), (-1_000, 1_000)] {
                    let (start, stop) =
                        (captured(from).plus_micros(-before_us), captured(to).plus_micros(after_us));
                    let request = ClipRequest { start, stop: Some(stop), ..stage.clip_request(0, 0) };
                    let asset = stage.bench.recorder.create_clips(request).await.unwrap().remove(0);
                    let clip = stage.finished(asset).await;
                    let first = if before_us < 0 { from + 1 } else { from };
                    let end = if after_us > 0 { to + 1 } else { to };
                    let wanted: Vec<u32> = (first as u32..end as u32).collect();
                    let shown = clip.shown();
                    assert_eq!(numbers(&shown), wanted, "{group}: {from} to {to}, {before_us}, {after_us}");
                    // The sound lasts as long, but for a frame of it at either end.
                    let (heard, shown_ms) = (clip.heard(), shown.last().unwrap().until_ms);
                    assert!(heard[0].at_ms <= shown[0].at_ms + 22, "{heard:?}");
                    assert!((heard.last().unwrap().until_ms - shown_ms).abs() <= 22, "{shown_ms}: {heard:?}");
                }
            }
        }
    }
}
