//! Decides which samples of each track a file holds and which part of them is shown.
//!
//! Every decision is a scan over the sample tables in decode order that keeps a handful of numbers,
//! so that hours of media need no memory of their own.

use std::ops::Range;

use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{SampleInfo, Ticks};

use super::{MOVIE_TIMESCALE, MovieSource, Shown, video_track};
use crate::index::TrackSpan;

/// A track whose first frame in the range comes later than this after its start, in microseconds,
/// does not decide where the file begins (and likewise at its end): it was silent there.
const NEAR_US: i64 = 1_000_000;

/// Place of a sample: position of its segment, position in its track there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: usize,
    pub sample: usize,
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
    /// Presentation time of the first frame shown, in ticks of the track.
    pub shown_start_pts: i64,
    /// Presentation time at which the last frame shown ends, in ticks of the track.
    pub shown_end_pts: i64,
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

/// The samples of one track over all segments.
#[derive(Clone, Copy)]
pub(super) struct TrackTable<'a> {
    pub source: &'a MovieSource,
    pub track: usize,
}

/// One line of a [`TrackTable`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub place: Place,
    pub dts: i64,
    pub pts: i64,
    pub info: &'a SampleInfo,
}

impl Row<'_> {
    pub(super) fn end(&self) -> i64 {
        self.pts.saturating_add(i64::from(self.info.duration))
    }
}

impl<'a> TrackTable<'a> {
    /// The track's entry in the segment at `position`.
    pub(super) fn span(self, position: usize) -> Option<&'a TrackSpan> {
        let segment = self.source.segments.get(position)?;
        segment.index.tracks.iter().find(|span| span.track as usize == self.track)
    }

    /// Every sample in decode order.
    pub(super) fn rows(self) -> impl Iterator<Item = Row<'a>> {
        (0..self.source.segments.len())
            .filter_map(move |segment| Some((segment, self.span(segment)?)))
            .flat_map(|(segment, span)| {
                span.timed().enumerate().map(move |(sample, (dts, info))| Row {
                    place: Place { segment, sample },
                    dts: dts.0,
                    pts: dts.0.saturating_add(i64::from(info.cts_offset)),
                    info,
                })
            })
    }

    /// The samples of a video track that can be decoded, in decode order. Pictures that follow the
    /// first sync sample but are shown before it refer to what came before the source: an open group
    /// of pictures has such, and so has every CRA picture of HEVC with RASL pictures
    /// (ITU-T H.265 §3, leading picture).
    pub(super) fn decodable(self) -> impl Iterator<Item = Row<'a>> {
        let first = self.rows().find(|row| row.info.is_sync);
        first.into_iter().flat_map(move |first| {
            self.rows().filter(move |row| row.place >= first.place && row.pts >= first.pts)
        })
    }

    pub(super) fn timescale(self) -> u32 {
        self.source.tracks[self.track].timescale
    }

    /// A moment of the media clock in ticks of the track, rounded down.
    fn ticks(self, us: i64) -> i64 {
        let ticks = i128::from(us) * i128::from(self.timescale());
        i64::try_from(ticks.div_euclid(1_000_000)).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Ticks of a track on the movie's clock.
pub(super) fn to_movie(ticks: i64, timescale: u32) -> i64 {
    Ticks(ticks).rescale(timescale, MOVIE_TIMESCALE).0
}

/// A moment of the movie's clock in ticks of a track.
pub(super) fn from_movie(ticks: i64, timescale: u32) -> i64 {
    Ticks(ticks).rescale(MOVIE_TIMESCALE, timescale).0
}

/// Decides for all tracks; `None` when nothing would be shown. `held`: whether [`super::hold`] has
/// moved the picture into the range that is on screen all through it.
pub(super) fn cut(source: &MovieSource, held: bool) -> Option<(Vec<TrackCut>, Shown)> {
    let video = video_track(&source.tracks).and_then(|track| cut_video(TrackTable { source, track }, held));
    let audio = |shown| {
        let tables = (0..source.tracks.len()).map(|track| TrackTable { source, track });
        let sounds = tables.filter(|table| Some(table.track) != video_track(&source.tracks));
        sounds.filter_map(|table| cut_audio(table, shown)).collect::<Vec<_>>()
    };
    // Cut sound to the asked range first: it decides where the file begins only where there is no
    // picture near.
    let asked = Shown {
        start: source.start_us.map_or(i64::MIN, |us| to_movie(us, 1_000_000)),
        end: source.stop_us.map_or(i64::MAX, |us| to_movie(us, 1_000_000)),
    };
    let shown = shown(source, video.as_ref(), &audio(asked), asked)?;
    let mut cuts: Vec<TrackCut> = video.into_iter().collect();
    cuts.extend(audio(shown));
    (!cuts.is_empty()).then_some((cuts, shown))
}

/// Decides what the player shows of all tracks together.
fn shown(source: &MovieSource, video: Option<&TrackCut>, audio: &[TrackCut], asked: Shown) -> Option<Shown> {
    let near = to_movie(NEAR_US, 1_000_000);
    let bounds = |cut: &TrackCut| {
        let timescale = source.tracks[cut.track].timescale;
        (to_movie(cut.shown_start_pts, timescale), to_movie(cut.shown_end_pts, timescale))
    };
    let sound = audio.iter().map(bounds).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let sound = sound.map(|(start, end)| (start.max(asked.start), end.min(asked.end)));
    let (start, end) = match (video.map(bounds), sound) {
        (Some(picture), Some(sound)) => {
            let picture_opens = asked.start != i64::MIN && picture.0.saturating_sub(asked.start) <= near;
            let picture_closes = asked.end != i64::MAX && asked.end.saturating_sub(picture.1) <= near;
            (
                if picture_opens { picture.0 } else { picture.0.min(sound.0) },
                if picture_closes { picture.1 } else { picture.1.max(sound.1) },
            )
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return None,
    };
    (start < end).then_some(Shown { start, end })
}

/// Finds the frames whose time lies in the range and the samples needed to decode them.
fn cut_video(table: TrackTable<'_>, held: bool) -> Option<TrackCut> {
    let start = table.source.start_us.map_or(i64::MIN, |us| ceil_ticks(table, us));
    let stop = table.source.stop_us.map_or(i64::MAX, |us| ceil_ticks(table, us));
    let wanted = |row: &Row<'_>| row.pts >= start && row.pts < stop;
    let first_pts = table.decodable().filter(wanted).map(|row| row.pts).min()?;
    let last = table.decodable().filter(wanted).max_by_key(|row| row.pts)?;
    let last_place = table.decodable().filter(wanted).map(|row| row.place).last()?;
    let opening = opening(table, first_pts)?;

    // A frame lasts until the next one is shown.
    let next_pts = table.rows().map(|row| row.pts).filter(|&pts| pts > last.pts).min();
    let next_pts = next_pts.filter(|_| !held);
    let mut shown_end_pts = next_pts.unwrap_or_else(|| last.end()).max(last.pts.saturating_add(1));
    if table.source.stop_us.is_some() && shown_end_pts.saturating_sub(stop) > table.ticks(NEAR_US) {
        shown_end_pts = stop;
    }
    Some(TrackCut {
        track: table.track,
        first: opening.place,
        last: last_place,
        first_dts: opening.dts,
        shown_start_pts: first_pts,
        shown_end_pts,
    })
}

/// Finds the sync sample that decoding begins with for a file whose first frame is at `first_pts`.
fn opening(table: TrackTable<'_>, first_pts: i64) -> Option<Row<'_>> {
    // A picture that is shown before the sync sample it follows in decode order refers to what
    // came before that one.
    let (mut before, mut opening) = (None, None);
    for row in table.decodable() {
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
    let group = table.rows().skip_while(|row| row.place <= opening.place);
    let leads = group.take_while(|row| !row.info.is_sync).any(|row| row.pts < opening.pts);
    before.filter(|_| leads).or(Some(opening))
}

/// Finds the sound that is heard in `shown`, and what a decoder needs before it to be settled.
fn cut_audio(table: TrackTable<'_>, shown: Shown) -> Option<TrackCut> {
    let timescale = table.timescale();
    let start = if shown.start == i64::MIN { i64::MIN } else { from_movie(shown.start, timescale) };
    let end = if shown.end == i64::MAX { i64::MAX } else { from_movie(shown.end, timescale) };
    let heard = |row: &Row<'_>| row.end() > start && row.pts < end;
    let first = table.rows().find(heard)?;
    let last = table.rows().filter(heard).last()?;
    let settled = first.pts.saturating_sub(pre_roll_ticks(table));
    let opening = table.rows().find(|row| row.end() > settled).unwrap_or(first);
    Some(TrackCut {
        track: table.track,
        first: opening.place,
        last: last.place,
        first_dts: opening.dts,
        shown_start_pts: first.pts.max(start),
        shown_end_pts: last.end().min(end),
    })
}

/// How much sound a decoder has to be given before its output is right: one AAC or MP3 frame for
/// the overlap of its windows, 80 ms of Opus (RFC 7845 §4.6).
fn pre_roll_ticks(table: TrackTable<'_>) -> i64 {
    match &table.source.tracks[table.track].codec {
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
