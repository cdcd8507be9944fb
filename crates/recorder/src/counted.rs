//! What is counted of the media that is received; whoever installs a recorder of `metrics` shows it.
//!
//! Names and labels are part of the interface: docs/media.md lists them.

use mediahooks_media::sample::TrackKind;
use metrics::counter;

fn name(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video => "video",
        TrackKind::Audio => "audio",
    }
}

/// A sample was not kept.
pub(crate) fn dropped(kind: TrackKind, reason: &'static str) {
    counter!("mediahooks_media_dropped_total", "kind" => name(kind), "reason" => reason).increment(1);
}

/// A run ended though its feed went on.
pub(crate) fn run_ended(reason: &'static str) {
    counter!("mediahooks_media_jump_total", "reason" => reason).increment(1);
}

/// The wall clock was set while a feed was live.
pub(crate) fn clock_set() {
    counter!("mediahooks_media_jump_total", "reason" => "clock_set").increment(1);
}

/// Nothing came of a track for a while.
pub(crate) fn gap(kind: TrackKind, len_us: i64) {
    counter!("mediahooks_media_gap_total", "kind" => name(kind)).increment(1);
    let len_ms = u64::try_from(len_us / 1000).unwrap_or(0);
    counter!("mediahooks_media_gap_ms_total", "kind" => name(kind)).increment(len_ms);
}

/// A decode time that did not rise was replaced.
pub(crate) fn restamped(kind: TrackKind) {
    counter!("mediahooks_media_restamped_total", "kind" => name(kind)).increment(1);
}

/// A segment became durable.
pub(crate) fn stored(bytes: u64) {
    counter!("mediahooks_media_segments_total").increment(1);
    counter!("mediahooks_media_bytes_total").increment(bytes);
}

/// A segment was written, but its bytes could not be made durable.
pub(crate) fn write_failed() {
    counter!("mediahooks_media_write_failures_total").increment(1);
}
