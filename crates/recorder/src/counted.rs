//! What is counted of the media that is received; whoever installs a recorder of `metrics` shows it.
//!
//! Names and labels are part of the interface: docs/media.md lists them.

use mediahooks_media::dropped::DropReason;
use mediahooks_media::sample::TrackKind;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

fn name(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video => "video",
        TrackKind::Audio => "audio",
    }
}

/// Says what this crate's metrics mean; call it once, after the recorder is installed.
pub fn describe_metrics() {
    let counters = [
        ("mediahooks_media_dropped_total", "Samples that were not kept, by kind and reason."),
        ("mediahooks_media_jump_total", "Breaks in a broadcast's clock or codecs, by reason."),
        ("mediahooks_media_gap_total", "Times that nothing came of a track for more than a second, by kind."),
        ("mediahooks_media_gap_ms_total", "Milliseconds of these gaps, by kind."),
        (
            "mediahooks_media_restamped_total",
            "Samples whose decode time did not rise and was replaced, by kind.",
        ),
        ("mediahooks_media_segments_total", "Segments made durable."),
        ("mediahooks_media_bytes_total", "Bytes of these segments."),
        ("mediahooks_media_write_failures_total", "Chunk files that failed and take no more."),
        ("mediahooks_media_refused_total", "Publishers that were refused for want of room, by reason."),
        ("mediahooks_media_timelines_freed_total", "Timelines freed before their time for want of room."),
        ("mediahooks_media_timelines_freed_bytes_total", "Bytes of these timelines."),
    ];
    for (name, what) in counters {
        describe_counter!(name, Unit::Count, what);
    }
    describe_gauge!("mediahooks_disk_free_bytes", Unit::Bytes, "Room on the disk of the media.");
    begin_at_zero();
}

/// Shows every counter before its first event: what has not been there has no rate.
fn begin_at_zero() {
    for kind in [TrackKind::Video, TrackKind::Audio].map(name) {
        for reason in DropReason::ALL {
            counter!("mediahooks_media_dropped_total", "kind" => kind, "reason" => reason.as_str())
                .increment(0);
        }
        for counted in ["gap", "gap_ms", "restamped"] {
            counter!(format!("mediahooks_media_{counted}_total"), "kind" => kind).increment(0);
        }
    }
    for reason in ["timestamp_jump", "configuration", "clock_set"] {
        counter!("mediahooks_media_jump_total", "reason" => reason).increment(0);
    }
    counter!("mediahooks_media_refused_total", "reason" => "disk_full").increment(0);
    for counted in ["segments", "bytes", "write_failures", "timelines_freed", "timelines_freed_bytes"] {
        counter!(format!("mediahooks_media_{counted}_total")).increment(0);
    }
}

/// A publisher was refused.
pub(crate) fn refused(reason: &'static str) {
    counter!("mediahooks_media_refused_total", "reason" => reason).increment(1);
}

/// A timeline was marked for removal before its time.
pub(crate) fn timeline_freed(bytes: u64) {
    counter!("mediahooks_media_timelines_freed_total").increment(1);
    counter!("mediahooks_media_timelines_freed_bytes_total").increment(bytes);
}

/// The disk of the media has so much room.
pub(crate) fn free_bytes(bytes: u64) {
    gauge!("mediahooks_disk_free_bytes").set(bytes as f64);
}

/// A sample was not kept.
pub(crate) fn dropped(kind: TrackKind, reason: DropReason) {
    counter!("mediahooks_media_dropped_total", "kind" => name(kind), "reason" => reason.as_str())
        .increment(1);
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
