//! Tells what a finished file is.

use mediahooks_media::sample::TrackKind;
use mediahooks_model::{Gap, Metadata, Timestamp, TrackMetadata};

use super::cut::{self, TrackCut};
use super::join::{self, Joined, JoinedTrack, PlacedPiece, TrackPart};
use super::table::{Tables, TrackTable};
use super::{MovieSource, Stretch, captured};

/// The metadata of a file of `len` bytes.
pub(super) fn describe(source: &MovieSource, tables: &[Tables], joined: &Joined, len: u64) -> Metadata {
    let end = joined.pieces.last().map_or(0, |piece| piece.at + (piece.shown.end - piece.shown.start));
    let duration_us = cut::to_us(end);
    let duration_ms = u64::try_from(duration_us.saturating_add(500) / 1000).unwrap_or(0);
    let wall = |piece: &PlacedPiece, end| Timestamp::from_micros(captured::told_us(source, piece, end));
    Metadata {
        format: "MPEG-4".into(),
        sizes: [("mp4".to_owned(), len)].into(),
        duration: (duration_ms + 500) / 1000,
        duration_ms: Some(duration_ms),
        tracks: joined
            .tracks
            .iter()
            .filter_map(|track| describe_track(source, tables, track, duration_us))
            .collect(),
        thumbnails: Vec::new(),
        file_count: Some(1),
        start_time: joined.pieces.first().map(|piece| wall(piece, false)),
        stop_time: joined.pieces.last().map(|piece| wall(piece, true)),
        pre_roll_ms: Some(pre_roll_ms(source, tables, joined)),
        gaps: joined.pieces.windows(2).filter_map(|pair| gap(source, pair)).collect(),
    }
}

/// What lies between two pieces.
fn gap(source: &MovieSource, pair: &[PlacedPiece]) -> Option<Gap> {
    let [before, after] = pair else { return None };
    let of = |piece: &PlacedPiece| source.stretches.get(piece.stretch);
    let named = |stretch: &'_ Stretch| (stretch.timeline, stretch.tracks.clone());
    let (a, b) = (of(before).map(named)?, of(after).map(named)?);
    let start_us = captured::told_us(source, before, true);
    let stop_us = captured::told_us(source, after, false).max(start_us);
    let lasted_us = stop_us - start_us;
    Some(Gap {
        start_time: Timestamp::from_micros(start_us),
        stop_time: Timestamp::from_micros(stop_us),
        duration_ms: u64::try_from(lasted_us / 1000).unwrap_or(0),
        reason: join::break_between((a.0, &a.1), (b.0, &b.1)),
    })
}

/// The table that a part of a track was cut from.
fn table_of<'a>(source: &'a MovieSource, tables: &'a [Tables], part: &TrackPart) -> Option<TrackTable<'a>> {
    let (stretch, tables) = (source.stretches.get(part.stretch)?, tables.get(part.stretch)?);
    Some(TrackTable { stretch, tables, track: part.cut.track })
}

/// Bytes that a file holds of a track, and how many samples of it are shown.
fn count(table: TrackTable<'_>, cut: &TrackCut) -> (u64, u64) {
    let is_shown = |pts: i64| (cut.shown_start_pts..cut.shown_end_pts).contains(&pts);
    let (mut bytes, mut shown) = (0u64, 0u64);
    let spans = table.spans_from(cut.first.segment).iter();
    for span in spans.take_while(|span| span.segment <= cut.last.segment) {
        let is_whole = cut.first.segment < span.segment && span.segment < cut.last.segment;
        if is_whole && is_shown(span.pts_min()) && is_shown(span.pts_max()) {
            bytes += span.bytes;
            shown += u64::from(span.samples);
            continue;
        }
        for row in table.rows_of(span).filter(|row| (cut.first..=cut.last).contains(&row.place)) {
            bytes += u64::from(row.info.size);
            shown += u64::from(is_shown(row.pts));
        }
    }
    (bytes, shown)
}

fn describe_track(
    source: &MovieSource,
    tables: &[Tables],
    track: &JoinedTrack,
    duration_us: i64,
) -> Option<TrackMetadata> {
    let config = track.configs.first()?;
    let (mut bytes, mut shown, mut held_ticks, mut shown_ticks) = (0u64, 0u64, 0i64, 0i64);
    for part in &track.parts {
        let cut = &part.cut;
        let (held, seen) = count(table_of(source, tables, part)?, cut);
        (bytes, shown) = (bytes + held, shown + seen);
        held_ticks = held_ticks.saturating_add(cut.shown_end_pts.saturating_sub(cut.first_dts));
        shown_ticks = shown_ticks.saturating_add(cut.shown_end_pts.saturating_sub(cut.shown_start_pts));
    }
    let to_us = |ticks: i64| ticks as f64 / f64::from(config.timescale) * 1e6;
    let frame_rate = || {
        let span_us = if shown_ticks > 0 { to_us(shown_ticks) } else { duration_us.max(1) as f64 };
        (shown as f64 * 1e9 / span_us).round() / 1000.0
    };
    // Of pictures of several sizes the largest, as the track is.
    let sizes = track.configs.iter().filter_map(|config| config.codec.dimensions());
    let dimensions = sizes.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
    Some(TrackMetadata {
        kind: match config.kind {
            TrackKind::Video => "video".into(),
            TrackKind::Audio => "audio".into(),
        },
        codec: config.codec.name().to_owned(),
        bitrate: (bytes as f64 * 8e6 / to_us(held_ticks.max(1))).round() as u64,
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        framerate: (config.kind == TrackKind::Video).then(frame_rate),
        channels: config.codec.channels(),
        samplerate: config.codec.audio_sample_rate(),
    })
}

/// How much picture lies before the first shown frame.
fn pre_roll_ms(source: &MovieSource, tables: &[Tables], joined: &Joined) -> u64 {
    let video = joined.tracks.iter().find_map(|track| {
        let config = track.configs.first().filter(|config| config.kind == TrackKind::Video)?;
        Some((track.parts.first()?, config.timescale))
    });
    let Some((part, timescale)) = video else { return 0 };
    let opening = table_of(source, tables, part).and_then(|table| table.row_at(part.cut.first));
    let opening = opening.map_or(part.cut.shown_start_pts, |row| row.pts);
    let ticks = cut::to_movie(part.cut.shown_start_pts.saturating_sub(opening), timescale);
    u64::try_from(cut::to_us(ticks) / 1000).unwrap_or(0)
}
