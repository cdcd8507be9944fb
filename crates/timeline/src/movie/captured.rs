//! When what a file shows was captured.
//!
//! By two measures. What is *told* of a file goes by all that is known now ([`StoredSegment::late_us`]). What is *written*
//! into it goes by what its own segments show of each other, so that it stays the same when more becomes known.

use std::ops::RangeInclusive;

use mediahooks_media::sample::Ticks;

use super::join::PlacedPiece;
use super::{MovieSource, StoredSegment, Stretch, cut};
use crate::hindsight::Hindsight;
use crate::plan::{self, Span};

/// How many segments of a piece tell when it began: those of five minutes and more.
const FOLLOWING_MAX: usize = 512;

/// Wall clock at which a piece begins or ends as it is known by now, in microseconds.
pub(super) fn told_us(source: &MovieSource, piece: &PlacedPiece, end: bool) -> i64 {
    let position = if end { piece.segments.1 } else { shown_first(source, piece) };
    let segment = segments_of(source, piece).get(position);
    stored_us(source, piece, end).saturating_sub(segment.map_or(0, |segment| segment.late_us))
}

/// Wall clock at which a piece begins, as it is written into the file.
pub(super) fn written_start_us(source: &MovieSource, piece: &PlacedPiece) -> i64 {
    let first = shown_first(source, piece);
    let last = piece.segments.1.min(first.saturating_add(FOLLOWING_MAX));
    let late_us = source.stretches.get(piece.stretch).map(|stretch| late_us(stretch, first..=last));
    let late_us = late_us.and_then(|late_us| late_us.first().copied()).unwrap_or(0);
    stored_us(source, piece, false).saturating_sub(late_us)
}

/// The segment that a piece is shown from: decoding may begin in an earlier one.
fn shown_first(source: &MovieSource, piece: &PlacedPiece) -> usize {
    let start_us = cut::to_us(piece.shown.start);
    let Some(stretch) = source.stretches.get(piece.stretch) else { return piece.segments.0 };
    let later = stretch.segments.iter().enumerate().take(piece.segments.1 + 1).skip(piece.segments.0 + 1);
    let begun = later.take_while(|(_, segment)| span(stretch, 0, segment).media_start_us <= start_us);
    begun.last().map_or(piece.segments.0, |(position, _)| position)
}

/// How long after the end of one piece the next one began, as it is written into the file, in microseconds; not negative.
pub(super) fn gap_us(source: &MovieSource, a: &PlacedPiece, b: &PlacedPiece) -> i64 {
    written_start_us(source, b).saturating_sub(stored_us(source, a, true)).max(0)
}

/// By how much the times of segments of a stretch are late as these show of each other, in microseconds, in their order.
pub(super) fn late_us(stretch: &Stretch, segments: RangeInclusive<usize>) -> Vec<i64> {
    let mut hindsight = Hindsight::default();
    let spans = (0..).zip(stretch.segments.get(segments).unwrap_or(&[]));
    let spans: Vec<Span> = spans.map(|(sequence, segment)| span(stretch, sequence, segment)).collect();
    let mut late_us: Vec<i64> = spans.iter().rev().map(|span| hindsight.late_us(span)).collect();
    late_us.reverse();
    late_us
}

/// Wall clock at which a piece begins or ends as it was stored, in microseconds.
fn stored_us(source: &MovieSource, piece: &PlacedPiece, end: bool) -> i64 {
    let first = shown_first(source, piece);
    let (position, ticks) =
        if end { (piece.segments.1, piece.shown.end) } else { (first, piece.shown.start) };
    let segments = segments_of(source, piece);
    let offset_us = segments.get(position).map_or(0, |segment| segment.wall_offset_us);
    let set_back_us = if end { set_back_us(segments.get(first..=position).unwrap_or(&[])) } else { 0 };
    cut::to_us(ticks).saturating_add(offset_us).saturating_add(set_back_us)
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
