//! Pictures are to be shown before they are decoded: composition offsets are negative, some of them, and not alike.
//!
//! Kept: every picture at its time, in step with the sound. The file's own offsets are moved so that no player has to
//! know negative ones at its start.

use bytes::Bytes;
use mediahooks_model::Timestamp;
use mediahooks_testkit::synthetic::{SimulatedClock, Source, Tag};

use crate::stage::Stage;

/// Makes the composition offset of a picture `ms` smaller, in 24 bits with a sign (FLV 10.1 §E.4.3.1).
fn shown_earlier(mut tag: Tag, ms: i32) -> (Tag, i32) {
    let mut body = tag.body.to_vec();
    let offset = i32::from_be_bytes([0, body[2], body[3], body[4]]) - ms;
    body[2..5].copy_from_slice(&offset.to_be_bytes()[1..]);
    tag.body = Bytes::from(body);
    (tag, offset)
}

#[tokio::test]
async fn every_picture_is_shown_at_its_time() {
    // Without B-frames all offsets are -80; with them they are -120, -80 and 0.
    for (reordered, earlier_ms) in [(0, 80), (2, 120)] {
        let stage = Stage::new().await;
        let mut source = Source { reordered, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(4));
        // When each is shown, after the first sample was sent.
        let mut wanted = Vec::new();
        for tag in tags.iter_mut().filter(|tag| tag.tag_type == 9 && !tag.is_header()) {
            let (moved, offset) = shown_earlier(tag.clone(), earlier_ms);
            wanted.push(i64::from(moved.timestamp_ms) + i64::from(offset));
            *tag = moved;
        }
        let first = *wanted.iter().min().unwrap();
        assert!(first <= -80);
        stage.broadcast(&tags).await;
        let recording = stage.recording().await;
        let shown = recording.shown();
        assert_eq!(shown.len(), 100);
        for sample in &shown {
            let at_ms = wanted[sample.number as usize] - first;
            assert!((sample.at_ms - at_ms).abs() <= 1, "{reordered}: {sample:?} belongs at {at_ms}");
        }
        for sample in recording.heard() {
            let at_ms = i64::from(sample.number) * 1024 * 1000 / 48_000 - first;
            assert!((sample.at_ms - at_ms).abs() <= 2, "{reordered}: {sample:?} belongs at {at_ms}");
        }
        // Nothing can arrive before it is captured: the sound, and the picture with the offset 0, came as it was.
        let begun = Timestamp::from_micros(SimulatedClock::new().wall_us()).plus_micros(first * 1000);
        for told in [recording.asset.start_time, recording.metadata.start_time.unwrap()] {
            assert!(told.micros_since(begun).abs() <= 1_000, "{reordered}: {told} is not {begun}");
        }
    }
}
