//! Files and their tracks in words, and bars for their transfer.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use mediahooks_receiver::{Metadata, Progress, Track};
use serde_json::Value;

use super::table::cell;

/// What is said of a file that was fetched in place of the playlist that an asset is.
pub const MEDIA_OF_PLAYLIST: &str = ", the media of the playlist as one fragmented MP4";

/// `H264 640x360 30 fps 153 kbit/s`
pub fn track_words(track: &Track) -> String {
    let mut words = vec![track.codec.clone().unwrap_or_else(|| "unknown".to_owned())];
    if let (Some(width), Some(height)) = (track.width, track.height) {
        words.push(format!("{width}x{height}"));
    }
    words.extend(track.framerate.map(|rate| format!("{rate} fps")));
    words.extend(track.samplerate.map(|rate| format!("{:.1} kHz", rate as f64 / 1000.0)));
    words.extend(track.channels.map(|channels| match channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more} channels"),
    }));
    words.extend(track.bitrate.filter(|rate| *rate > 0).map(|rate| format!("{} kbit/s", rate / 1000)));
    words.join(" ")
}

/// How long a file plays: in milliseconds where the server says so, else in whole seconds.
pub fn played(metadata: &Metadata) -> Option<Duration> {
    let millis = metadata.other.get("durationMs").and_then(Value::as_u64).map(Duration::from_millis);
    millis.or_else(|| Duration::try_from_secs_f64(metadata.duration?).ok())
}

/// A bar on standard error, if that is a terminal.
pub fn progress_bar(target: &Path) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
    );
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // The setters would draw it at once, before it has joined the bars beside it.
    let bar = ProgressBar::no_length().with_message(cell(&name));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Shows how far a transfer is.
pub fn show_progress(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total_bytes {
        bar.set_length(total);
    }
    bar.set_position(progress.received_bytes);
}
