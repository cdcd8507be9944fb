//! Tells what a finished file is.

use mediahooks_media::sample::TrackKind;
use mediahooks_model::{Metadata, Timestamp, TrackMetadata};

use super::cut::{self, TrackCut, TrackTable};
use super::{MOVIE_TIMESCALE, MovieSource, Shown};
use crate::plan;

/// The metadata of a file of `len` bytes.
pub(super) fn describe(source: &MovieSource, cuts: &[TrackCut], shown: Shown, len: u64) -> Metadata {
    let duration_us = to_us(shown.end.saturating_sub(shown.start));
    let duration_ms = u64::try_from(duration_us.saturating_add(500) / 1000).unwrap_or(0);
    let first_segment = cuts.iter().map(|cut| cut.first.segment).min().unwrap_or(0);
    let last_segment = cuts.iter().map(|cut| cut.last.segment).max().unwrap_or(0);
    let wall = |position: usize, movie_ticks: i64| {
        let offset_us = source.segments.get(position).map_or(0, |segment| segment.wall_offset_us);
        Timestamp::from_micros(to_us(movie_ticks).saturating_add(offset_us))
    };
    Metadata {
        format: "MPEG-4".into(),
        sizes: [("mp4".to_owned(), len)].into(),
        duration: (duration_ms + 500) / 1000,
        duration_ms: Some(duration_ms),
        tracks: cuts.iter().map(|cut| describe_track(source, cut, duration_us)).collect(),
        thumbnails: Vec::new(),
        file_count: Some(1),
        start_time: Some(wall(first_segment, shown.start)),
        stop_time: Some(wall(last_segment, shown.end).plus_micros(set_back_us(source))),
        pre_roll_ms: Some(pre_roll_ms(source, cuts)),
    }
}

/// By how much the wall clock was set back within the file, in microseconds. Its times are told as if
/// it had not been: they never run backwards.
fn set_back_us(source: &MovieSource) -> i64 {
    let pairs = source.segments.iter().zip(source.segments.iter().skip(1));
    pairs.filter_map(|(before, after)| plan::set_back_us(before.wall_offset_us, after.wall_offset_us)).sum()
}

fn to_us(movie_ticks: i64) -> i64 {
    let us = i128::from(movie_ticks) * 1_000_000 / i128::from(MOVIE_TIMESCALE);
    i64::try_from(us).unwrap_or(i64::MAX)
}

fn describe_track(source: &MovieSource, cut: &TrackCut, duration_us: i64) -> TrackMetadata {
    let config = &source.tracks[cut.track];
    let table = TrackTable { source, track: cut.track };
    let (mut bytes, mut shown) = (0u64, 0u64);
    let held = table.rows().filter(|row| (cut.first..=cut.last).contains(&row.place));
    for row in held {
        bytes += u64::from(row.info.size);
        shown += u64::from((cut.shown_start_pts..cut.shown_end_pts).contains(&row.pts));
    }
    let held_us =
        cut.shown_end_pts.saturating_sub(cut.first_dts).max(1) as f64 / f64::from(config.timescale) * 1e6;
    let dimensions = config.codec.dimensions();
    let frame_rate = || {
        let ticks = cut.shown_end_pts.saturating_sub(cut.shown_start_pts);
        let track_us = ticks as f64 / f64::from(config.timescale) * 1e6;
        let span_us = if track_us > 0.0 { track_us } else { duration_us.max(1) as f64 };
        (shown as f64 * 1e9 / span_us).round() / 1000.0
    };
    TrackMetadata {
        kind: match config.kind {
            TrackKind::Video => "video".into(),
            TrackKind::Audio => "audio".into(),
        },
        codec: config.codec.name().to_owned(),
        bitrate: (bytes as f64 * 8e6 / held_us).round() as u64,
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        framerate: (config.kind == TrackKind::Video).then(frame_rate),
        channels: config.codec.channels(),
        samplerate: config.codec.audio_sample_rate(),
    }
}

/// How much picture lies before the first shown frame.
fn pre_roll_ms(source: &MovieSource, cuts: &[TrackCut]) -> u64 {
    let Some(cut) = cuts.iter().find(|cut| source.tracks[cut.track].kind == TrackKind::Video) else {
        return 0;
    };
    let table = TrackTable { source, track: cut.track };
    let opening = table.rows().find(|row| row.place == cut.first).map_or(cut.shown_start_pts, |row| row.pts);
    let us = cut::to_movie(cut.shown_start_pts.saturating_sub(opening), source.tracks[cut.track].timescale);
    u64::try_from(to_us(us) / 1000).unwrap_or(0)
}
