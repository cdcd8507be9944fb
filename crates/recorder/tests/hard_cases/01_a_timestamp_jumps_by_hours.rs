//! The encoder's timestamps jump by 149 hours, forward or back.
//!
//! Kept: everything from the next key frame on, in a recording of its own. Counted: a `jump` by
//! `timestamp_jump`, and what could not be decoded without the key frame before it as `dropped`. No sample
//! becomes hours long. A leap by less than ten seconds makes no recording of its own, and what was sent before it stays when
//! it was.

use mediahooks_model::{GapMode, GapReason};
use mediahooks_testkit::synthetic::{Source, Tag};

use crate::stage::{Stage, numbers};

const JUMP_MS: i64 = 149 * 3_600_000;

async fn check(jump_ms: i64, at_ms: i64, lost: u64) {
    let stage = Stage::new().await;
    let mut source = Source { first_stamp_ms: 200 * 3_600_000, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.millis(at_ms));
    tags.extend(source.millis(12_000 - at_ms).into_iter().map(|tag: Tag| tag.stamped_later(jump_ms)));
    stage.broadcast(&tags).await;

    let recordings = stage.recordings().await;
    let [before, after] = recordings.as_slice() else { panic!("{} recordings", recordings.len()) };
    assert_eq!(before.pictures(), (0..(at_ms / 40) as u32).collect::<Vec<_>>());
    let first_kept = (at_ms / 40) as u32 + lost as u32;
    assert_eq!(after.pictures(), (first_kept..300).collect::<Vec<_>>());
    for recording in &recordings {
        assert!(recording.shown().iter().all(|sample| sample.until_ms - sample.at_ms <= 80));
        assert!(recording.heard().iter().all(|sample| sample.until_ms - sample.at_ms <= 60));
        assert!(recording.duration_ms() < 8000);
    }
    assert_eq!(stage.count("jump", &[("reason", "timestamp_jump")]), 1);
    assert_eq!(stage.count("dropped", &[("reason", "before_first_key_frame")]), lost);

    // One clip over it says what is missing where.
    let clip = stage.clip_over_breaks(4_000, 9_000, GapMode::Collapse).await;
    assert_eq!(
        numbers(&clip.shown()),
        [(100..(at_ms / 40) as u32), (first_kept..225)].map(Vec::from_iter).concat()
    );
    // The sound goes on, also where pictures wait for a key frame.
    stage.assert_gap(&clip, GapReason::TimestampJump, at_ms..at_ms);
}

#[tokio::test]
async fn forward_with_a_key_frame() {
    check(JUMP_MS, 6_000, 0).await;
}

#[tokio::test]
async fn back_with_a_key_frame() {
    check(-JUMP_MS, 6_000, 0).await;
}

#[tokio::test]
async fn forward_within_a_group() {
    check(JUMP_MS, 6_200, 20).await;
}

#[tokio::test]
async fn a_leap_of_seconds_moves_nothing_that_was_sent_before() {
    for leap_ms in [300, 2_000, 9_000] {
        let stage = Stage::new().await;
        let mut source = Source::default();
        let mut tags = source.headers();
        tags.extend(source.seconds(20));
        tags.extend(source.seconds(40).into_iter().map(|tag: Tag| tag.stamped_later(leap_ms)));
        stage.broadcast(&tags).await;
        for from in [50, 250, 425] {
            let clip = stage.clips(from * 40, (from + 50) * 40).await.remove(0);
            let wanted: Vec<u32> = (from as u32..from as u32 + 50).collect();
            assert_eq!(numbers(&clip.shown()), wanted, "{leap_ms} ms");
        }
        // Behind it, too, when the map has followed.
        let clip = stage.clips(45_000, 47_000).await.remove(0);
        assert_eq!(numbers(&clip.shown()), (1125..1175).collect::<Vec<_>>(), "{leap_ms} ms");
        assert_eq!(stage.recordings().await.len(), 1);
    }
}
