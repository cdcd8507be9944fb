//! Decides which samples of each track a file holds and which part of them is shown.
//!
//! Every decision is a scan over the sample tables in decode order that keeps a handful of numbers, and passes
//! over spans whose summary tells that they cannot matter.

use std::ops::Range;

use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::Ticks;
use mediahooks_model::CutMode;

use super::table::{Row, Span, Tables, TrackTable};
use super::{MOVIE_TIMESCALE, Shown, Stretch, video_track};
use crate::segmenter::RUN_ORIGIN_US;

/// A picture that is on screen at the start of a range for no longer than this, in microseconds, is not shown: it would
/// be a flash, and at no usual frame rate is one. The file begins with the next one. Likewise a file ends with its last
/// picture where that ends no further from the end of the range.
pub(super) const BRIEF_US: i64 = 50_000;

/// Where nothing hides a part of a frame of sound, a file does not begin with one that begins longer before its first
/// picture than this, in microseconds, but with the next one.
const EARLY_US: i64 = 10_000;

/// Place of a sample: position of its segment, position in its track there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: usize,
    pub sample: usize,
}

/// Where a stretch is in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFile {
    /// Whether the file begins with it.
    pub opens: bool,
    /// Whether the file ends with it.
    pub closes: bool,
}

/// What a file holds of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrackCut {
    /// Position in the run's tracks.
    pub track: usize,
    /// First sample held; decoding can begin there.
    pub first: Place,
    /// Last sample held, in decode order.
    pub last: Place,
    /// Decode time of the first sample held, in ticks of the track.
    pub first_dts: i64,
    /// Decode time of the last one, likewise.
    pub last_dts: i64,
    /// Presentation time of the first frame shown, in ticks of the track.
    pub shown_start_pts: i64,
    /// Presentation time at which the last frame shown ends, in ticks of the track.
    pub shown_end_pts: i64,
    /// How long the last sample held lasts, in ticks.
    pub lasts: u32,
}

impl TrackCut {
    /// Which of the `count` samples that the track has in the segment at `position` are held.
    pub(super) fn kept(&self, position: usize, count: usize) -> Option<Range<usize>> {
        if position < self.first.segment || position > self.last.segment {
            return None;
        }
        let from = if position == self.first.segment { self.first.sample } else { 0 };
        let to = if position == self.last.segment { self.last.sample + 1 } else { count };
        (from < to && to <= count).then_some(from..to)
    }
}

impl TrackTable<'_> {
    /// Position of a segment from which on every sample is found that is shown shortly before `end`
    /// or later: where to begin a search for the end of a long file.
    fn segment_before(self, end: i64) -> usize {
        let from = end.saturating_sub(self.reach());
        let before = self.spans().iter().rfind(|span| span.base_dts() < from);
        before.map_or(0, |span| span.segment)
    }

    /// Further than this apart, in ticks, no encoder puts decoding and presentation.
    fn reach(self) -> i64 {
        i64::from(self.timescale()) * 20
    }

    /// A moment of the media clock in ticks of the track, rounded down.
    pub(super) fn ticks(self, us: i64) -> i64 {
        let ticks = i128::from(us) * i128::from(self.timescale());
        i64::try_from(ticks.div_euclid(1_000_000)).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Whether a span may have a sample that is shown from `start` on and before `stop`.
pub(super) fn within(start: i64, stop: i64) -> impl Fn(&Span) -> bool {
    move |span| span.pts_max() >= start && span.pts_min() < stop
}

/// Ticks of a track on the movie's clock.
pub(super) fn to_movie(ticks: i64, timescale: u32) -> i64 {
    Ticks(ticks).rescale(timescale, MOVIE_TIMESCALE).0
}

/// A moment of the movie's clock in microseconds, rounded down.
pub(super) fn to_us(movie_ticks: i64) -> i64 {
    let us = i128::from(movie_ticks) * 1_000_000 / i128::from(MOVIE_TIMESCALE);
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// A moment of the movie's clock in ticks of a track.
pub(super) fn from_movie(ticks: i64, timescale: u32) -> i64 {
    Ticks(ticks).rescale(MOVIE_TIMESCALE, timescale).0
}

/// Decides for all tracks; `None` when nothing would be shown. [`super::hold`] has moved a picture that is on screen
/// when the range begins into it.
pub(super) fn cut(
    stretch: &Stretch,
    tables: &Tables,
    place: InFile,
    mode: CutMode,
) -> Option<(Vec<TrackCut>, Shown)> {
    let video = video_track(&stretch.tracks).and_then(|track| {
        let table = TrackTable { stretch, tables, track };
        let cut = match mode {
            CutMode::Frame => cut_video(table),
            CutMode::Keyframe => cut_video_at_sync(table),
        };
        if place.closes { cut } else { end_at_stop(table, cut?) }
    });
    let audio = |shown| {
        let all = (0..stretch.tracks.len()).map(|track| TrackTable { stretch, tables, track });
        let sounds = all.filter(|table| Some(table.track) != video_track(&stretch.tracks));
        sounds.filter_map(|table| cut_audio(table, shown, place, mode)).collect::<Vec<_>>()
    };
    // Cut sound to the asked range first: it decides where the file begins only where there is no
    // picture near.
    let asked = Shown {
        start: stretch.start_us.map_or(i64::MIN, |us| to_movie(us, 1_000_000)),
        end: stretch.stop_us.map_or(i64::MAX, |us| to_movie(us, 1_000_000)),
    };
    let shown = shown(stretch, video.as_ref(), &audio(asked), asked)?;
    let mut cuts: Vec<TrackCut> = video.into_iter().collect();
    cuts.extend(audio(shown));
    let shown = match mode {
        CutMode::Frame => shown,
        // Whole samples of every track, as there is nothing that could hide a part of one.
        CutMode::Keyframe => cuts.iter().map(|cut| bounds(stretch, cut)).reduce(Shown::around)?,
    };
    (!cuts.is_empty()).then_some((cuts, shown))
}

/// What a track shows, in ticks of the movie.
fn bounds(stretch: &Stretch, cut: &TrackCut) -> Shown {
    let timescale = stretch.tracks[cut.track].timescale;
    Shown { start: to_movie(cut.shown_start_pts, timescale), end: to_movie(cut.shown_end_pts, timescale) }
}

impl Shown {
    /// The shortest span that holds both.
    fn around(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Decides what the player shows of all tracks together.
fn shown(stretch: &Stretch, video: Option<&TrackCut>, audio: &[TrackCut], asked: Shown) -> Option<Shown> {
    let brief = to_movie(BRIEF_US, 1_000_000);
    let sound = audio.iter().map(|cut| bounds(stretch, cut)).reduce(Shown::around);
    let sound =
        sound.map(|sound| Shown { start: sound.start.max(asked.start), end: sound.end.min(asked.end) });
    let picture = video.map(|cut| bounds(stretch, cut));
    let mut shown = picture.into_iter().chain(sound).reduce(Shown::around)?;
    if let Some(picture) = picture
        && asked.start != i64::MIN
        && picture.start.saturating_sub(asked.start) <= brief
    {
        shown.start = picture.start;
    }
    (shown.start < shown.end).then_some(shown)
}

/// Finds the frames whose time lies in the range and the samples needed to decode them.
fn cut_video(table: TrackTable<'_>) -> Option<TrackCut> {
    let (start, stop) = asked_ticks(table);
    let first_pts = first_pts(table, start, stop)?;
    let (last, last_decoded) = last_wanted(table, start, stop)?;
    let opening = opening(table, first_pts)?;
    let natural_end = natural_end(table, &last);
    let shown_end_pts = shown_end(table, &last, natural_end);
    // Where the last one on screen is there for longer than its sample lasts, the one that is decoded last makes up for it.
    let lasts = match last.end() < shown_end_pts {
        true => until(&last_decoded, shown_end_pts).max(last_decoded.info.duration),
        false => last_decoded.info.duration,
    };
    Some(TrackCut {
        track: table.track,
        first: opening.place,
        last: last_decoded.place,
        first_dts: opening.dts,
        last_dts: last_decoded.dts,
        shown_start_pts: first_pts,
        shown_end_pts,
        lasts,
    })
}

/// When the picture after `last` is shown, or else, as far as can be told, the time of `last` is over.
fn natural_end(table: TrackTable<'_>, last: &Row) -> i64 {
    next_pts(table, last.pts).unwrap_or_else(|| last.end()).max(last.pts.saturating_add(1))
}

/// When the last frame ends: a picture lasts until the next one, or up to the end of the range. Who asks for a range
/// vouches that no picture which is not there was sent in it.
fn shown_end(table: TrackTable<'_>, last: &Row, natural_end: i64) -> i64 {
    let (_, stop) = asked_ticks(table);
    let off = natural_end.saturating_sub(stop).saturating_abs();
    let is_whole = stop == i64::MAX || last.pts >= stop || off <= table.ticks(BRIEF_US);
    if is_whole { natural_end } else { stop }
}

/// How long a sample lasts that lasts until `end`.
fn until(row: &Row, end: i64) -> u32 {
    u32::try_from(end.saturating_sub(row.dts).max(1)).unwrap_or(u32::MAX)
}

/// Finds the frames from the sync sample at or before the range's start (without one, from the first one
/// in it) up to the range's end. Everything in the file is shown, so it ends where no frame is missing.
fn cut_video_at_sync(table: TrackTable<'_>) -> Option<TrackCut> {
    let (start, stop) = asked_ticks(table);
    let mut opening: Option<Row> = None;
    let may = move |span: &Span| span.has_sync() && span.pts_min() < stop;
    for row in table.decodable_where(0, may).filter(|row| row.info.is_sync && row.pts < stop) {
        if opening.is_some() && row.pts > start {
            break;
        }
        // Pictures that are shown before it and need what came before could not be left out.
        if opening.is_none() || !has_leading(table, &row) {
            opening = Some(row);
        }
    }
    let opening = opening?;
    let (mut last, mut last_decoded) = last_wanted(table, opening.pts, stop)?;
    let tail_segment = table.segment_before(last.pts);
    let mut shown_before = opening.place;
    while shown_before != last_decoded.place {
        shown_before = last_decoded.place;
        let held = table.rows_where(tail_segment, move |span| span.segment <= shown_before.segment);
        let held = held.filter(|row| (opening.place..=shown_before).contains(&row.place));
        let latest = held.max_by_key(|row| row.pts)?;
        let needed = table.rows_where(tail_segment, move |span| span.pts_min() < latest.pts);
        let needed = needed.filter(|row| row.place >= opening.place && row.pts < latest.pts);
        let needed = needed.max_by_key(|row| row.place);
        last_decoded = needed.filter(|row| row.place > shown_before).unwrap_or(last_decoded);
        last = latest;
    }
    let natural_end = natural_end(table, &last);
    let shown_end_pts = shown_end(table, &last, natural_end);
    Some(TrackCut {
        track: table.track,
        first: opening.place,
        last: last_decoded.place,
        first_dts: opening.dts,
        last_dts: last_decoded.dts,
        shown_start_pts: opening.pts,
        shown_end_pts,
        lasts: until(&last_decoded, last_decoded.end_dts() + shown_end_pts.saturating_sub(natural_end)),
    })
}

/// Ends what is held of a stretch that another one follows, no later than it is asked for. An edit list that hides
/// samples is only at the ends of a file: a picture that is decoded for others and shown later would be shown together
/// with those of the next stretch. So it is left out with all that are decoded after it, which may need it, and the last
/// one that is there lasts until the stretch ends.
fn end_at_stop(table: TrackTable<'_>, cut: TrackCut) -> Option<TrackCut> {
    let (_, stop) = asked_ticks(table);
    if stop == i64::MAX {
        return Some(cut);
    }
    let held = move |row: &Row| (cut.first..=cut.last).contains(&row.place);
    let mut late = table.rows_where(cut.first.segment, move |span| span.pts_max() >= stop);
    let Some(late) = late.find(|row| held(row) && row.pts >= stop) else {
        // The same whether or not what is left out is among the segments.
        return Some(TrackCut { shown_end_pts: stop, ..cut });
    };
    let left = |from: usize| {
        let rows = table.rows_where(from, move |span| span.segment <= late.place.segment);
        rows.filter(move |row| held(row) && row.place < late.place)
    };
    let last = left(table.segment_before(late.dts)).last()?;
    // What would be shown first may be one of those that are left out.
    let first = cut.shown_start_pts;
    let may = move |span: &Span| span.pts_min() <= first && span.pts_max() >= first;
    let mut same = table.rows_where(cut.first.segment, may);
    let is_left = same.any(|row| row.pts == first && held(&row) && row.place < late.place);
    let later = || left(cut.first.segment).map(|row| row.pts).filter(|&pts| pts > first).min();
    let starts = if is_left { first } else { later()? };
    Some(TrackCut {
        last: last.place,
        last_dts: last.dts,
        shown_start_pts: starts,
        shown_end_pts: stop,
        lasts: until(&last, stop),
        ..cut
    })
}

/// The asked range in ticks of the track.
fn asked_ticks(table: TrackTable<'_>) -> (i64, i64) {
    let start = table.stretch.start_us.map_or(i64::MIN, |us| ceil_ticks(table, us));
    (start, table.stretch.stop_us.map_or(i64::MAX, |us| ceil_ticks(table, us)))
}

/// Presentation time of the first frame in the range.
pub(super) fn first_pts(table: TrackTable<'_>, start: i64, stop: i64) -> Option<i64> {
    let sync = table.first_sync()?;
    let mut first: Option<i64> = None;
    for span in table.spans_from(sync.place.segment) {
        let last_dts = first.map_or(i64::MAX, |first| first.saturating_add(table.reach()));
        if span.base_dts() > last_dts {
            break;
        }
        if !within(start, first.unwrap_or(stop))(span) {
            continue;
        }
        for row in table.rows_of(span).filter(|row| row.place >= sync.place && row.pts >= sync.pts) {
            if first.is_some_and(|first| row.dts > first.saturating_add(table.reach())) {
                break;
            }
            if row.pts >= start && row.pts < stop {
                first = Some(first.map_or(row.pts, |first| first.min(row.pts)));
            }
        }
    }
    first
}

/// The last frame in the range, and the one that is decoded last.
fn last_wanted(table: TrackTable<'_>, start: i64, stop: i64) -> Option<(Row, Row)> {
    let find = |segment: usize| {
        let mut found: Option<(Row, Row)> = None;
        let wanted = |row: &Row| row.pts >= start && row.pts < stop;
        for row in table.decodable_where(segment, within(start, stop)).filter(wanted) {
            let latest = found.map(|(last, _)| last).filter(|last| last.pts >= row.pts).unwrap_or(row);
            found = Some((latest, row));
        }
        found
    };
    find(table.segment_before(stop.min(table.end_dts()))).or_else(|| find(0))
}

/// Presentation time of the frame that follows the one shown at `pts`.
fn next_pts(table: TrackTable<'_>, pts: i64) -> Option<i64> {
    let mut next: Option<i64> = None;
    for span in table.spans_from(table.segment_before(pts)) {
        if span.pts_max() > pts && next.is_none_or(|next| span.pts_min() < next) {
            let later = table.rows_of(span).map(|row| row.pts).filter(|&later| later > pts).min();
            next = next.into_iter().chain(later).min();
        }
    }
    next
}

/// Whether pictures follow a sync sample in decode order that are shown before it.
fn has_leading(table: TrackTable<'_>, sync: &Row) -> bool {
    let (place, pts) = (sync.place, sync.pts);
    let may = move |span: &Span| span.has_sync() || span.pts_min() < pts;
    let group = table.rows_where(place.segment, may).skip_while(move |row| row.place <= place);
    group.take_while(|row| !row.info.is_sync).any(move |row| row.pts < pts)
}

/// Finds the sync sample that decoding begins with for a file whose first frame is at `first_pts`.
fn opening(table: TrackTable<'_>, first_pts: i64) -> Option<Row> {
    // A picture that is shown before the sync sample it follows in decode order refers to what
    // came before that one.
    let (mut before, mut opening) = (None, None);
    let may = move |span: &Span| {
        span.has_sync() && span.pts_min() <= first_pts
            || (span.pts_min()..=span.pts_max()).contains(&first_pts)
    };
    for row in table.decodable_where(0, may) {
        if row.info.is_sync && row.pts <= first_pts {
            before = opening.replace(row);
        }
        if row.pts == first_pts {
            break;
        }
    }
    let opening = opening?;
    // Decoders complain of such pictures where their references are missing, shown or not: they get
    // one group of pictures more, and only where there is need.
    let leads = has_leading(table, &opening);
    before.filter(|_| leads).or(Some(opening))
}

/// Finds the sound that is heard in `shown`, and what a decoder needs before it to be settled, if that can
/// be hidden.
fn cut_audio(table: TrackTable<'_>, shown: Shown, place: InFile, mode: CutMode) -> Option<TrackCut> {
    let timescale = table.timescale();
    let start = if shown.start == i64::MIN { i64::MIN } else { from_movie(shown.start, timescale) };
    // What an encoder puts in front of its sound can only be hidden by an edit list, of which there is one.
    let start = if place.opens && mode == CutMode::Frame { start.max(primed_until(table)) } else { start };
    let end = if shown.end == i64::MAX { i64::MAX } else { from_movie(shown.end, timescale) };
    let heard = move |row: &Row| row.end() > start && row.pts < end;
    let may = move |span: &Span| span.end() > start && span.pts_min() < end;
    let earliest = start.saturating_sub(table.ticks(EARLY_US));
    // A frame of which too much would be heard too early is left out, but not the only one.
    let is_near = move |row: &Row| mode == CutMode::Frame || row.pts >= earliest;
    let first = table.rows_where(0, may).find(move |row| heard(row) && is_near(row));
    let first = first.or_else(|| table.rows_where(0, may).find(heard))?;
    let last_from = |segment: usize| table.rows_where(segment, may).filter(heard).last();
    let last = last_from(table.segment_before(end.min(table.end_dts()))).or_else(|| last_from(0))?;
    if mode == CutMode::Keyframe {
        return Some(TrackCut {
            track: table.track,
            first: first.place,
            last: last.place,
            first_dts: first.dts,
            last_dts: last.dts,
            shown_start_pts: first.pts,
            // Where another stretch follows, what of the last frame is too much is cut off by that.
            shown_end_pts: if place.closes { last.end() } else { last.end().min(end) },
            lasts: last.info.duration,
        });
    }
    let settled = first.pts.saturating_sub(pre_roll_ticks(table));
    let mut settling = table.rows_where(0, move |span| span.end() > settled);
    let opening = settling.find(|row| row.end() > settled).unwrap_or(first);
    Some(TrackCut {
        track: table.track,
        first: opening.place,
        last: last.place,
        first_dts: opening.dts,
        last_dts: last.dts,
        shown_start_pts: first.pts.max(start),
        shown_end_pts: last.end().min(end),
        lasts: last.info.duration,
    })
}

/// Up to when a track only has what its encoder put in front of the sound, where the record tells: the pre-skip of
/// Opus (RFC 7845 §4.2), at the beginning of a run.
fn primed_until(table: TrackTable<'_>) -> i64 {
    let tracks = &table.stretch.tracks;
    let CodecConfig::Opus(opus) = &tracks[table.track].codec else { return i64::MIN };
    // The run's own first sample is at the origin of its clock; later segments have none so early.
    let begins_run = tracks.iter().zip(&table.tables.tracks).any(|(track, spans)| {
        let first = spans.first().filter(|span| span.segment == 0);
        first.is_some_and(|span| Ticks(span.base_dts()).to_micros(track.timescale) <= RUN_ORIGIN_US)
    });
    let first = table.rows_where(0, |_| true).next().filter(|_| begins_run);
    first.map_or(i64::MIN, |row| {
        row.pts.saturating_add(Ticks(opus.pre_skip().into()).rescale(48_000, table.timescale()).0)
    })
}

/// How much sound a decoder has to be given before its output is right: one AAC or MP3 frame for
/// the overlap of its windows, 80 ms of Opus (RFC 7845 §4.6).
fn pre_roll_ticks(table: TrackTable<'_>) -> i64 {
    match &table.stretch.tracks[table.track].codec {
        CodecConfig::Opus { .. } => i64::from(table.timescale()) * 80 / 1000,
        _ => 1024,
    }
}

/// The first tick of the track at or after a moment of the media clock.
pub(super) fn ceil_ticks(table: TrackTable<'_>, us: i64) -> i64 {
    let floor = table.ticks(us);
    let exact = i128::from(floor) * 1_000_000 == i128::from(us) * i128::from(table.timescale());
    if exact { floor } else { floor.saturating_add(1) }
}
