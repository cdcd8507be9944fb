//! Ticks of 90 kHz come to where the 32 bits of RTP are full, after 13.25 hours: so do those of a file, and the short
//! times of its boxes.
//!
//! Kept: every picture and sound at its time, in the recording and in clips over that moment, whatever the format.

use crate::ticks::is_exact_beyond;

#[tokio::test]
async fn half_a_day_and_more_is_exact() {
    is_exact_beyond(32).await;
}
