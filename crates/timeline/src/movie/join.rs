//! Puts the pieces of a file one behind the other: when each is shown, and how the decode times of its
//! tracks go on.
//!
//! A track has one edit, whatever it is made of: between two pieces the last sample of the first, in decode
//! order, lasts until the second begins. What always holds: decode times rise, and a frame is shown as long
//! after the beginning of its piece as it was captured.

use mediahooks_media::mp4::Edit;
use mediahooks_media::sample::{TrackConfig, TrackKind};
use mediahooks_model::{CutMode, GapReason};

use super::cut::{self, TrackCut};
use super::{MovieSource, Piece, Shown, captured};

/// No frame of AAC, MP3 or Opus that begins in time lasts longer than this, in microseconds: 1,152 samples at 32 kHz do.
const FRAME_OF_SOUND_US: i64 = 36_000;

/// Every piece and every track of a file.
#[derive(Debug)]
pub(super) struct Joined {
    /// In the order in which they are shown; never empty.
    pub pieces: Vec<PlacedPiece>,
    /// Pictures first.
    pub tracks: Vec<JoinedTrack>,
}

/// When a piece is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedPiece {
    pub stretch: usize,
    pub shown: Shown,
    /// When the player shows its beginning, in ticks of the movie.
    pub at: i64,
    /// First and last segment that it needs, by position in its stretch.
    pub segments: (usize, usize),
}

/// A track of the file.
#[derive(Debug)]
pub(super) struct JoinedTrack {
    pub configs: Vec<TrackConfig>,
    pub edit: Edit,
    /// What it is made of; never empty.
    pub parts: Vec<TrackPart>,
}

/// What a track has of one piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackPart {
    pub stretch: usize,
    pub cut: TrackCut,
    /// Position in [`JoinedTrack::configs`].
    pub config: usize,
    /// Added to all composition offsets, in ticks of the track.
    pub shift: i64,
    /// By how much its first sample lasts longer than it was sent, in ticks of the track.
    pub first_longer: u32,
    /// How long its last sample lasts, likewise; that of an only one without what it is longer by.
    pub last_duration: u32,
    /// When the player shows its first frame, in ticks of the movie.
    pub at: i64,
    /// When the last one ends, likewise.
    end: i64,
}

/// What places the tracks of a file, and hides what comes before the asked range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Edit lists. With [`CutMode::Keyframe`] there are none for pictures, whose composition offsets are changed
    /// instead (but for one that hides nothing, where a later part has to be decoded early and the first one with it), and
    /// none for sound that begins less than a frame after the pictures: its first frame begins with them and lasts longer,
    /// so that all others are in time.
    Edited,
    /// Decode times alone: nothing is hidden, and no sample is changed.
    Plain,
}

/// Whether what was published as `a` and as `b` can be one file: a player decodes pictures of changing size
/// and records, but not of another codec, and sound only in one form.
pub fn can_join(a: &[TrackConfig], b: &[TrackConfig]) -> bool {
    let of = |tracks: &'_ [TrackConfig], kind| tracks.iter().find(|track| track.kind == kind).cloned();
    [TrackKind::Video, TrackKind::Audio].into_iter().all(|kind| match (of(a, kind), of(b, kind)) {
        (Some(a), Some(b)) => {
            a.timescale == b.timescale
                && a.codec.name() == b.codec.name()
                && a.codec.nal_length_size() == b.codec.nal_length_size()
                && a.codec.channels() == b.codec.channels()
                && a.codec.audio_sample_rate() == b.codec.audio_sample_rate()
        }
        _ => true,
    })
}

/// What interrupted the stream between two stretches of it.
pub fn break_between(
    (a, of_a): (mediahooks_model::TimelineId, &[TrackConfig]),
    (b, of_b): (mediahooks_model::TimelineId, &[TrackConfig]),
) -> GapReason {
    if a != b {
        return GapReason::Reconnect;
    }
    let changed =
        of_a.iter().any(|ours| of_b.iter().any(|theirs| ours.kind == theirs.kind && ours != theirs));
    if changed { GapReason::Configuration } else { GapReason::TimestampJump }
}

/// Joins the pieces; `None` without any.
pub(super) fn join(source: &MovieSource, pieces: Vec<Piece>, times: Times) -> Option<Joined> {
    let mut placed: Vec<PlacedPiece> = Vec::new();
    for piece in &pieces {
        let mut next =
            PlacedPiece { stretch: piece.stretch, shown: piece.shown, at: 0, segments: piece.segments()? };
        if let Some(last) = placed.last() {
            next.at = last.at.saturating_add(last.shown.end.saturating_sub(last.shown.start));
            if source.hold_gaps {
                next.at =
                    next.at.saturating_add(cut::to_movie(captured::gap_us(source, last, &next), 1_000_000));
            }
        }
        placed.push(next);
    }
    let mut tracks = Vec::new();
    for kind in [TrackKind::Video, TrackKind::Audio] {
        tracks.extend(join_track(source, &pieces, &placed, kind, times));
    }
    (!tracks.is_empty()).then_some(Joined { pieces: placed, tracks })
}

fn join_track(
    source: &MovieSource,
    pieces: &[Piece],
    placed: &[PlacedPiece],
    kind: TrackKind,
    times: Times,
) -> Option<JoinedTrack> {
    let mut configs: Vec<TrackConfig> = Vec::new();
    let mut parts: Vec<TrackPart> = Vec::new();
    for (piece, place) in pieces.iter().zip(placed) {
        let tracks = &source.stretches.get(piece.stretch)?.tracks;
        let is_of_kind = |cut: &&TrackCut| tracks.get(cut.track).is_some_and(|config| config.kind == kind);
        let Some(&cut) = piece.cuts.iter().find(is_of_kind) else { continue };
        let config = tracks.get(cut.track)?;
        let known = configs.iter().position(|known| known == config);
        let number = known.unwrap_or(configs.len());
        if known.is_none() {
            configs.push(config.clone());
        }
        let to_movie = |ticks: i64| cut::to_movie(ticks, config.timescale);
        let start = to_movie(cut.shown_start_pts).max(piece.shown.start);
        let end = to_movie(cut.shown_end_pts).min(piece.shown.end);
        let on_movie = |ticks: i64| place.at.saturating_add(ticks.saturating_sub(piece.shown.start));
        parts.push(TrackPart {
            stretch: piece.stretch,
            cut,
            config: number,
            shift: 0,
            first_longer: 0,
            last_duration: cut.lasts,
            at: on_movie(start),
            end: on_movie(end),
        });
    }
    let (first, last) = (*parts.first()?, *parts.last()?);
    let timescale = configs.get(first.config)?.timescale;
    let is_whole = source.cut() == CutMode::Keyframe && times == Times::Edited;
    let without_edit = is_whole && kind == TrackKind::Video;
    let near = cut::to_movie(FRAME_OF_SOUND_US, 1_000_000);
    let is_early = is_whole && kind == TrackKind::Audio && (1..=near).contains(&first.at);
    settle_shifts(&mut parts, timescale, without_edit);
    bridge(&mut parts, timescale);
    let shift = parts.first()?.shift;
    // Where the track is shown from its own first tick on, its clock is exact and the movie's may be
    // rounded.
    let start = first.at.saturating_sub(placed_at(pieces, placed, first.stretch));
    let media_start = if start == cut::to_movie(first.cut.shown_start_pts, timescale) {
        first.cut.shown_start_pts
    } else {
        cut::from_movie(start, timescale)
    };
    let media_time = media_start.saturating_sub(first.cut.first_dts).saturating_add(shift);
    // Without an edit list the first frame is delayed by its composition offset.
    let empty = if without_edit || is_early { 0 } else { first.at };
    let duration = last.end.saturating_sub(empty);
    let early = cut::from_movie(first.at - empty, timescale);
    let media_time = if is_early { media_time } else { media_time.saturating_sub(early) };
    if is_early && let Some(first) = parts.first_mut() {
        first.first_longer = u32::try_from(early).unwrap_or(0);
    } else if times == Times::Edited && (!without_edit || media_time != 0) {
        cover(&mut parts, duration, timescale);
    }
    Some(JoinedTrack {
        configs,
        edit: Edit {
            empty: u64::try_from(empty).unwrap_or(0),
            media_time,
            duration: u64::try_from(duration).unwrap_or(0),
        },
        parts,
    })
}

/// What has to be subtracted from a moment of the movie to get the same one of a piece's media clock.
fn placed_at(pieces: &[Piece], placed: &[PlacedPiece], stretch: usize) -> i64 {
    let both = pieces.iter().zip(placed).find(|(piece, _)| piece.stretch == stretch);
    both.map_or(0, |(piece, place)| place.at.saturating_sub(piece.shown.start))
}

/// Decode times relative to the moment at which the first part is shown, before any shift: of the first
/// and of the last sample of a part.
fn decode_span(first: &TrackPart, part: &TrackPart, timescale: u32) -> (i64, i64) {
    let shown = cut::from_movie(part.at.saturating_sub(first.at), timescale);
    let begin = shown.saturating_sub(part.cut.shown_start_pts.saturating_sub(part.cut.first_dts));
    (begin, begin.saturating_add(part.cut.last_dts.saturating_sub(part.cut.first_dts)))
}

/// Decides by how much the composition offsets of each part grow, which makes its samples be decoded so much
/// earlier: as little as lets every part begin after the one before. An edit cannot begin before the first
/// decode time (`media_time`, ISO/IEC 14496-12 §8.6.6), but with negative offsets the first frame shown can.
fn settle_shifts(parts: &mut [TrackPart], timescale: u32, without_edit: bool) {
    let Some(first) = parts.first().copied() else { return };
    let mut later: Option<(i64, i64)> = None;
    for (position, part) in parts.iter_mut().enumerate().rev() {
        let delay = part.cut.shown_start_pts.saturating_sub(part.cut.first_dts);
        let mut shift = match (without_edit, position) {
            (true, 0) => cut::from_movie(first.at, timescale).saturating_sub(delay),
            (true, _) => delay.saturating_neg(),
            (false, 0) => delay.saturating_neg().max(0),
            (false, _) => 0,
        };
        let (begin, last) = decode_span(&first, part, timescale);
        if let Some((next_begin, next_shift)) = later {
            shift = shift.max(last.saturating_sub(next_begin).saturating_add(1).saturating_add(next_shift));
        }
        part.shift = shift;
        later = Some((begin, shift));
    }
}

/// Lets the last sample of each part last until the next part begins.
fn bridge(parts: &mut [TrackPart], timescale: u32) {
    let Some(first) = parts.first().copied() else { return };
    for position in 1..parts.len() {
        let [.., part, next] = &mut parts[..=position] else { continue };
        let (_, last) = decode_span(&first, part, timescale);
        let (begin, _) = decode_span(&first, next, timescale);
        let duration = (begin - next.shift).saturating_sub(last - part.shift);
        part.last_duration = u32::try_from(duration.max(1)).unwrap_or(u32::MAX);
    }
}

/// Lets the last sample last until there is as much media as an edit of `duration`, in ticks of the movie, shows. Where
/// those are missing that are shown before the last picture, there is less.
fn cover(parts: &mut [TrackPart], duration: i64, timescale: u32) {
    let Some(first) = parts.first().copied() else { return };
    let Some(part) = parts.last_mut() else { return };
    let (begin, _) = decode_span(&first, &first, timescale);
    let (_, last) = decode_span(&first, part, timescale);
    let end = (begin - first.shift).saturating_add(cut::from_movie(duration, timescale));
    let least = u32::try_from(end.saturating_sub(last - part.shift).max(0)).unwrap_or(u32::MAX);
    part.last_duration = part.last_duration.max(least);
}
