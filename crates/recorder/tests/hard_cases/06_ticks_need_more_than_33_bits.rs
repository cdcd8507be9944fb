//! Ticks of 90 kHz come to where the 33 bits of MPEG-TS are full, after 26.5 hours, in the middle of a broadcast, or shortly
//! after it began.
//!
//! Kept: every picture and sound at its time, in the recording and in clips over that moment, whatever the format.

use crate::stage::{Stage, numbers};
use crate::ticks::{Broadcast, PICTURE, SECOND, SOUND, is_exact_beyond};

#[tokio::test]
async fn a_day_and_more_is_exact() {
    is_exact_beyond(33).await;
}

#[tokio::test]
async fn a_broadcast_that_begins_just_before_is_exact() {
    for limit in [1i64 << 32, 1 << 33, 1 << 40] {
        let stage = Stage::new().await;
        let mut broadcast = Broadcast::default();
        broadcast.add(0, 10 * SECOND, (PICTURE, SOUND));
        broadcast.send(&stage, limit - 5 * SECOND - 1, |_, _| true).await;
        let recording = stage.recording().await;
        assert_eq!(numbers(&recording.shown()), (0..250).collect::<Vec<_>>());
        broadcast.assert_in_time(&recording);
        let clip = stage.clips(3_000, 8_000).await.remove(0);
        assert_eq!(numbers(&clip.shown()), (75..200).collect::<Vec<_>>());
    }
}
