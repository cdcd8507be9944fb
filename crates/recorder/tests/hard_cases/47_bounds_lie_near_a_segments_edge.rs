//! Clips begin and end at, just before and just behind the edges of segments, groups and frames.
//!
//! Each shows exactly the frames captured in its range.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn each_shows_exactly_its_frames() {
    let stage = Stage::new().await;
    let mut source = Source { group: 37, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(12));
    stage.broadcast(&tags).await;
    for from_frame in [24, 25, 26, 36, 37, 38, 73, 74, 75, 99, 100, 148] {
        for length in [25, 37, 38, 50] {
            let (from_ms, to_ms) = (from_frame * 40, (from_frame + length) * 40);
            let clips = stage.clips(from_ms, to_ms).await;
            assert_eq!(clips.len(), 1);
            let wanted = from_frame as u32..(from_frame + length) as u32;
            assert_eq!(numbers(&clips[0].shown()), wanted.collect::<Vec<_>>(), "{from_frame} + {length}");
            assert!((clips[0].duration_ms() - length * 40).abs() <= 1);
        }
    }
}
