//! When what a file shows was captured.
//!
//! By two measures. What is *told* of a file goes by all that is known now ([`StoredSegment::late_us`]). What is *written*
//! into it goes by what was known when it was laid out first ([`Stretch::late_us`]), so that it stays the same.

use mediahooks_media::sample::Ticks;

use super::join::PlacedPiece;
use super::{MovieSource, StoredSegment, Stretch, cut};
use crate::hindsight::Hindsight;
use crate::plan::{self, Span};

/// Wall clock at which a piece begins or ends as it is known by now, in microseconds.
pub(super) fn told_us(source: &MovieSource, piece: &PlacedPiece, end: bool) -> i64 {
    let position = if end { piece.segments.1 } else { first_of(source, piece) };
    let segment = segments_of(source, piece).get(position);
    stored_us(source, piece, end).saturating_sub(segment.map_or(0, |segment| segment.late_us))
}

/// Wall clock at which a piece begins, as it is written into the file.
pub(super) fn written_start_us(source: &MovieSource, piece: &PlacedPiece) -> i64 {
    let late_us = source.stretches.get(piece.stretch).map_or(0, |stretch| stretch.late_us);
    stored_us(source, piece, false).saturating_sub(late_us)
}

/// By how much the time is late, as far as is known now, of what is shown first of a piece: from `start` on, of these
/// segments.
pub(super) fn known_late_us(stretch: &Stretch, segments: (usize, usize), start: i64) -> i64 {
    stretch.segments.get(first_shown(stretch, segments, start)).map_or(0, |segment| segment.late_us)
}

/// The segment that is shown first of a piece that begins at `start` and needs these segments: decoding may begin in an
/// earlier one.
fn first_shown(stretch: &Stretch, (first, last): (usize, usize), start: i64) -> usize {
    let start_us = cut::to_us(start);
    let later = stretch.segments.iter().enumerate().take(last + 1).skip(first + 1);
    let begun = later.take_while(|(_, segment)| span(stretch, 0, segment).media_start_us <= start_us);
    begun.last().map_or(first, |(position, _)| position)
}

/// How long after the end of one piece the next one began, as it is written into the file, in microseconds; not negative.
pub(super) fn gap_us(source: &MovieSource, a: &PlacedPiece, b: &PlacedPiece) -> i64 {
    written_start_us(source, b).saturating_sub(stored_us(source, a, true)).max(0)
}

/// By how much the times of the segments of a stretch are late, as it is written into the file, in microseconds: as they
/// show of each other, and all by as much more as is known of the first.
pub(super) fn written_late_us(stretch: &Stretch) -> Vec<i64> {
    let mut hindsight = Hindsight::default();
    let spans = (0..).zip(&stretch.segments);
    let spans: Vec<Span> = spans.map(|(sequence, segment)| span(stretch, sequence, segment)).collect();
    let mut late_us: Vec<i64> = spans.iter().rev().map(|span| hindsight.late_us(span)).collect();
    late_us.reverse();
    let more_us = late_us.first().map_or(0, |first| stretch.late_us.saturating_sub(*first).max(0));
    late_us.iter_mut().for_each(|late_us| *late_us = late_us.saturating_add(more_us));
    late_us
}

/// Wall clock at which a piece begins or ends as it was stored, in microseconds.
fn stored_us(source: &MovieSource, piece: &PlacedPiece, end: bool) -> i64 {
    let first = first_of(source, piece);
    let (position, ticks) =
        if end { (piece.segments.1, piece.shown.end) } else { (first, piece.shown.start) };
    let segments = segments_of(source, piece);
    let offset_us = segments.get(position).map_or(0, |segment| segment.wall_offset_us);
    let set_back_us = if end { set_back_us(segments.get(first..=position).unwrap_or(&[])) } else { 0 };
    cut::to_us(ticks).saturating_add(offset_us).saturating_add(set_back_us)
}

fn first_of(source: &MovieSource, piece: &PlacedPiece) -> usize {
    let stretch = source.stretches.get(piece.stretch);
    stretch.map_or(piece.segments.0, |stretch| first_shown(stretch, piece.segments, piece.shown.start))
}

fn segments_of<'a>(source: &'a MovieSource, piece: &PlacedPiece) -> &'a [StoredSegment] {
    source.stretches.get(piece.stretch).map_or(&[], |stretch| &stretch.segments)
}

/// By how much the wall clock was set back within a piece, in microseconds. Its times are told as if it
/// had not been: they never run backwards.
fn set_back_us(segments: &[StoredSegment]) -> i64 {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    pairs.filter_map(|(before, after)| plan::set_back_us(before.wall_offset_us, after.wall_offset_us)).sum()
}

/// When a segment happened. What cannot be read of it is told by who needs it.
fn span(stretch: &Stretch, sequence: u64, segment: &StoredSegment) -> Span {
    let (mut start_us, mut end_us) = (i64::MAX, i64::MIN);
    let _ = segment.index.summaries(|track| {
        let config = usize::try_from(track.track).ok().and_then(|track| stretch.tracks.get(track));
        let us = |ticks: i64| config.map(|config| Ticks(ticks).to_micros(config.timescale));
        start_us = us(track.pts_min()).unwrap_or(i64::MAX).min(start_us);
        end_us = us(track.end()).unwrap_or(i64::MIN).max(end_us);
    });
    Span {
        sequence,
        run: 0,
        media_start_us: start_us,
        media_end_us: end_us,
        wall_offset_us: segment.wall_offset_us,
    }
}
