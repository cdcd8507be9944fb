//! Builds a fragmented file: a fragment per stored segment, most of them as they are.
//!
//! What always holds: the samples and their times are those of the file that [`super::build`] makes of the same
//! source, but for the length of the last sound of a fragment, which may be off by less than [`SLACK_US`].
//!
//! Where an edit list hides something, the samples up to the first shown one are described by the `moov` itself
//! ([`head`]), because FFmpeg and Chromium do not cut fragments.

mod head;

use std::sync::Arc;

use mediahooks_media::cmaf::{
    FragmentLayout, FragmentSpan, FragmentedBuilder, FragmentedMp4, FragmentedTrack, StoredAs,
    fragment_layout,
};
use mediahooks_media::mp4::{Edit, MOVIE_TIMESCALE};
use mediahooks_media::sample::{SampleInfo, Ticks, TrackKind};
use mediahooks_media::virtual_file::VirtualFile;
use mediahooks_model::Timestamp;

use self::head::Head;
use super::cut;
use super::join::{self, Joined, JoinedTrack, Times};
use super::table::{Tables, TrackTable};
use super::{BuiltMovie, MovieError, MovieSource, Stretch, cut_all, describe, read};
use crate::index::SegmentIndex;

/// By how much the stored length of the last sound of a fragment may differ from the real one.
const SLACK_US: i64 = 50_000;

/// Up to how long short groups of pictures are put together for players, in microseconds: as long as they expect
/// segments to be, and few enough for a playlist of many hours.
const GROUP_US: i64 = 6_000_000;

/// What a fragmented file shows of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edits {
    /// From the first frame that was asked for on; edit lists hide what comes before.
    Hiding,
    /// All of it; edit lists only take away the delay of composition.
    Whole,
    /// All of it, without edit lists: decode times place the tracks. What is led through by a playlist is so, as
    /// many players do not look for edit lists there.
    Absent,
}

/// A fragmented file that was built.
#[derive(Debug, Clone)]
pub struct BuiltFragments {
    /// The file and what it is.
    pub movie: BuiltMovie,
    /// How players may be led through it.
    pub guide: Arc<Guide>,
}

/// The parts of a fragmented file that can be played on their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// Bytes of `ftyp` and `moov`.
    pub init_len: u64,
    /// In file order, one behind the other; never empty.
    pub groups: Vec<GuideGroup>,
    /// When the last one ends, in microseconds of the file.
    pub end_us: i64,
    /// When the first picture is shown that was asked for, in microseconds after the first group begins.
    pub start_offset_us: i64,
}

/// Fragments that begin with a sync sample: a group of pictures, or several short ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuideGroup {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// When it is shown, in microseconds of the file.
    pub start_us: i64,
    /// Wall clock at which its first picture was captured.
    pub wall: Timestamp,
    /// Whether the stream was interrupted before it.
    pub follows_break: bool,
}

/// Builds the file.
///
/// Errors: [`MovieError::Empty`] when the range shows nothing; [`MovieError::Mux`]; [`MovieError::Index`].
pub fn build_fragments(source: &MovieSource, edits: Edits) -> Result<BuiltFragments, MovieError> {
    let mut tables = read(source)?;
    let pieces = cut_all(source, &mut tables)?;
    let times = if edits == Edits::Hiding { Times::Edited } else { Times::Plain };
    let joined = join::join(source, pieces, times).ok_or(MovieError::Empty)?;
    let head = if edits == Edits::Hiding { Head::of(source, &tables, &joined) } else { Head::default() };
    let placed = place(&joined, &head, edits);
    let tracks: Vec<FragmentedTrack<'_>> = joined
        .tracks
        .iter()
        .zip(&placed)
        .map(|(track, placed)| FragmentedTrack {
            track_id: placed.track_id,
            configs: &track.configs,
            edit: (edits != Edits::Absent).then_some(Edit { media_time: placed.media_time, ..track.edit }),
        })
        .collect();
    let created = u64::try_from(source.created.as_seconds()).unwrap_or(0);
    let mut writer = Writer {
        builder: FragmentedBuilder::new(&tracks, created)?,
        joined: &joined,
        next_dts: placed.iter().map(|placed| placed.base_dts).collect(),
        placed: &placed,
        head,
        marks: Vec::new(),
        fragments: 0,
        begins_piece: false,
    };
    let mut before = 0;
    for (number, (stretch, tables)) in source.stretches.iter().zip(&tables).enumerate() {
        writer.begins_piece = writer.fragments > 0;
        for position in 0..stretch.segments.len() {
            writer.push(At { number, stretch, tables, position, source: before + position })?;
        }
        before += stretch.segments.len();
    }
    let (duration, end) = (duration(&joined, &placed, edits), writer.next_dts.clone());
    let (marks, shown_end) = (std::mem::take(&mut writer.marks), shown_end(&joined, &placed, &end));
    let file = writer.builder.finish(duration, Ticks(shown_end))?;
    let metadata = describe::describe(source, &tables, &joined, file.len());
    tables.iter().try_for_each(Tables::check)?;
    let asked_us = source.stretches.first().and_then(|stretch| stretch.start_us);
    let guide = guide(&file, &joined, &marks, shown_end, asked_us);
    let movie = BuiltMovie { file: Arc::new(file), metadata };
    Ok(BuiltFragments { movie, guide: Arc::new(guide) })
}

/// A segment as it was stored, as far as it has to be compared with what the file wants of it.
struct Shape {
    layout: FragmentLayout,
    len: u64,
    /// Of each track that it has, in its order: position in the run, number of samples, and the last one.
    spans: Vec<(u32, usize, SampleInfo)>,
}

impl Shape {
    /// `None` for one that is not laid out as segments are today.
    fn of(index: &SegmentIndex) -> Option<Self> {
        let layout = fragment_layout(index.tracks.iter().map(|span| span.samples.as_slice()))?;
        let mut len = layout.head_len;
        let mut spans = Vec::with_capacity(index.tracks.len());
        for span in &index.tracks {
            if u64::from(span.data_offset) != len {
                return None;
            }
            len += span.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
            spans.push((span.track, span.samples.len(), *span.samples.last()?));
        }
        Some(Self { layout, len, spans })
    }
}

/// A track's place in the file.
struct PlacedTrack {
    track_id: u32,
    /// Decode time of its first sample, in ticks of the track.
    base_dts: i64,
    timescale: u32,
    /// When its edit begins, in ticks of the track on the file's clock.
    media_time: i64,
    /// Presentation time minus composition time, likewise.
    shift: i64,
}

fn place(joined: &Joined, head: &Head, edits: Edits) -> Vec<PlacedTrack> {
    let timescale = |track: &JoinedTrack| track.configs.first().map_or(1, |config| config.timescale);
    let empty = |track: &JoinedTrack| i64::try_from(track.edit.empty).unwrap_or(i64::MAX);
    // Where a track's clock begins on the movie's, without an edit list.
    let begins = |track: &JoinedTrack| {
        empty(track).saturating_sub(cut::to_movie(track.edit.media_time, timescale(track)))
    };
    let earliest = joined.tracks.iter().map(begins).min().unwrap_or(0);
    let mut ids: Vec<u32> = Vec::new();
    let tracks = joined.tracks.iter().enumerate().map(|(number, track)| {
        let stored = track.parts.first().map_or(0, |part| part.cut.track);
        let mut track_id = u32::try_from(stored).unwrap_or(0).saturating_add(1);
        while ids.contains(&track_id) {
            track_id += 1;
        }
        ids.push(track_id);
        let timescale = timescale(track);
        match edits {
            Edits::Hiding | Edits::Whole => {
                let media_time = head.media_time(number).unwrap_or(track.edit.media_time);
                let shift = cut::from_movie(empty(track), timescale).saturating_sub(media_time);
                PlacedTrack { track_id, base_dts: 0, timescale, media_time, shift }
            }
            Edits::Absent => {
                let at = cut::from_movie(empty(track).saturating_sub(earliest), timescale);
                let base_dts = at.saturating_sub(track.edit.media_time).max(0);
                let media_time = base_dts.saturating_add(track.edit.media_time);
                PlacedTrack { track_id, base_dts, timescale, media_time, shift: 0 }
            }
        }
    });
    tracks.collect()
}

/// How long the file is shown, in ticks of [`MOVIE_TIMESCALE`].
fn duration(joined: &Joined, placed: &[PlacedTrack], edits: Edits) -> u64 {
    let ends = joined.tracks.iter().zip(placed).map(|(track, placed)| {
        let end = track.edit.empty.saturating_add(track.edit.duration);
        let begins = match edits {
            Edits::Hiding | Edits::Whole => 0,
            Edits::Absent => cut::to_movie(placed.media_time, placed.timescale)
                .saturating_sub(i64::try_from(track.edit.empty).unwrap_or(i64::MAX)),
        };
        end.saturating_add(u64::try_from(begins).unwrap_or(0))
    });
    ends.max().unwrap_or(0)
}

/// When the last picture, or without one the last sound, ends, in ticks of the first track as players show it.
fn shown_end(joined: &Joined, placed: &[PlacedTrack], next_dts: &[i64]) -> i64 {
    let (Some(track), Some(placed)) = (joined.tracks.first(), placed.first()) else { return 0 };
    let decoded = next_dts.first().copied().unwrap_or(0).saturating_add(placed.shift);
    let media = placed.shift.saturating_add(placed.media_time);
    let duration = i64::try_from(track.edit.duration).unwrap_or(i64::MAX);
    media.saturating_add(cut::from_movie(duration, placed.timescale)).max(decoded)
}

/// A segment of a source.
#[derive(Clone, Copy)]
struct At<'a> {
    /// Of the stretch.
    number: usize,
    stretch: &'a Stretch,
    tables: &'a Tables,
    /// In the stretch.
    position: usize,
    /// Among the segments of all stretches.
    source: usize,
}

/// Where a group of fragments begins.
struct Mark {
    /// Number of its first fragment.
    fragment: usize,
    /// In ticks of the first track, as players show it.
    start: i64,
    wall_us: i64,
    follows_break: bool,
}

/// Feeds a builder with segments.
struct Writer<'a> {
    builder: FragmentedBuilder<'a>,
    joined: &'a Joined,
    placed: &'a [PlacedTrack],
    head: Head,
    /// Of each track, when its next sample is decoded.
    next_dts: Vec<i64>,
    marks: Vec<Mark>,
    fragments: usize,
    /// Whether the next fragment is the first one of a stretch that follows another one.
    begins_piece: bool,
}

/// What a file has of one track of a segment.
struct Kept {
    track: usize,
    config: usize,
    base_dts: i64,
    offset: u64,
    samples: Vec<SampleInfo>,
    /// Whether that is all of it, and as it was stored.
    is_whole: bool,
    first_pts: i64,
    /// The same moment on the run's media clock.
    first_run_pts: i64,
}

impl Writer<'_> {
    fn push(&mut self, at: At<'_>) -> Result<(), MovieError> {
        let Some(segment) = at.stretch.segments.get(at.position) else { return Ok(()) };
        let index = SegmentIndex::decode(&segment.index.0)?;
        let shape = Shape::of(&index);
        let mut kept = self.kept(at, &index, shape.as_ref());
        let is_head = self.head.holds(at.number, at.position);
        if is_head {
            self.retime(&mut kept);
        }
        if kept.is_empty() {
            return Ok(());
        }
        let source = u32::try_from(at.source).unwrap_or(u32::MAX);
        let spans: Vec<FragmentSpan<'_>> = kept
            .iter()
            .map(|kept| FragmentSpan {
                track: kept.track,
                config: kept.config,
                base_dts: Ticks(kept.base_dts),
                offset: kept.offset,
                samples: &kept.samples,
            })
            .collect();
        if is_head {
            return Ok(self.builder.push_head(source, &spans)?);
        }
        self.mark(at, &kept);
        self.fragments += 1;
        if let Some(shape) = shape.as_ref().filter(|shape| self.is_as_stored(shape, &kept)) {
            // In the order in which the segment has them.
            let times: Vec<Ticks> =
                shape.spans.iter().zip(&kept).map(|(_, kept)| Ticks(kept.base_dts)).collect();
            let stored = StoredAs { len: shape.len, layout: &shape.layout, base_dts: &times };
            if self.builder.push_stored(source, stored)? {
                return Ok(());
            }
        }
        Ok(self.builder.push_made(source, &spans)?)
    }

    /// What the file has of a segment, in the order of its bytes.
    fn kept(&mut self, at: At<'_>, index: &SegmentIndex, shape: Option<&Shape>) -> Vec<Kept> {
        let mut all = Vec::new();
        for stored in &index.tracks {
            let of_track = |track: &JoinedTrack| {
                let is_part = |part: &&join::TrackPart| {
                    part.stretch == at.number && part.cut.track == stored.track as usize
                };
                track.parts.iter().find(is_part).copied()
            };
            let mut tracks = self.joined.tracks.iter().enumerate();
            let Some((track, part)) = tracks.find_map(|(track, of)| Some((track, of_track(of)?))) else {
                continue;
            };
            let table = TrackTable { stretch: at.stretch, tables: at.tables, track: part.cut.track };
            let span = table.spans_from(at.position).first().filter(|span| span.segment == at.position);
            let Some(mut samples) = span.map(|span| table.samples(span)) else { continue };
            let Some(range) = part.cut.kept(at.position, samples.len()) else { continue };
            let is_last = (at.position, range.end) == (part.cut.last.segment, part.cut.last.sample + 1);
            if let (Some(lasts), Some(last)) =
                (part.last_duration.filter(|_| is_last), samples.get_mut(range.end - 1))
            {
                last.duration = lasts;
            }
            let (Some(kept), Some(skipped)) = (samples.get(range.clone()), samples.get(..range.start)) else {
                continue;
            };
            let ticks =
                |samples: &[SampleInfo]| samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>();
            let skipped_bytes = skipped.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
            let run_dts = stored.base_dts.0.saturating_add(ticks(skipped));
            let kept: Vec<SampleInfo> = kept.iter().map(|sample| shifted(sample, part.shift)).collect();
            let (Some(next_dts), Some(first)) = (self.next_dts.get_mut(track), kept.first().copied()) else {
                continue;
            };
            let base_dts = *next_dts;
            *next_dts += ticks(&kept);
            let of_shape = shape.and_then(|shape| shape.spans.iter().find(|(of, ..)| *of == stored.track));
            let timescale = self.placed.get(track).map_or(1, |placed| placed.timescale);
            let config = at.stretch.tracks.get(part.cut.track);
            let is_sound = config.is_some_and(|config| config.kind == TrackKind::Audio);
            let slack = if is_sound { Ticks::from_micros(SLACK_US, timescale).0 } else { 0 };
            let is_whole = part.shift == 0
                && of_shape.is_some_and(|(_, count, last)| {
                    range == (0..*count) && kept.last().is_some_and(|now| is_same(now, last, slack))
                });
            all.push(Kept {
                track,
                config: part.config,
                base_dts,
                offset: u64::from(stored.data_offset) + skipped_bytes,
                is_whole,
                first_pts: base_dts.saturating_add(i64::from(first.cts_offset)),
                first_run_pts: run_dts.saturating_add(i64::from(first.cts_offset)).saturating_sub(part.shift),
                samples: kept,
            });
        }
        all
    }

    /// Gives the samples of the head the times that they have there.
    fn retime(&mut self, kept: &mut [Kept]) {
        for kept in kept {
            let Some(samples) = self.head.take(kept.track, kept.samples.len()) else { continue };
            if let Some(next_dts) = self.next_dts.get_mut(kept.track) {
                *next_dts =
                    kept.base_dts + samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>();
            }
            kept.samples = samples;
        }
    }

    /// Whether what the file has of a segment is the fragment that was stored.
    fn is_as_stored(&self, shape: &Shape, kept: &[Kept]) -> bool {
        kept.len() == shape.spans.len()
            && kept.iter().zip(&shape.spans).all(|(kept, (stored, ..))| {
                kept.is_whole
                    && self.builder.is_plain(kept.track, kept.config)
                    && self.placed.get(kept.track).is_some_and(|placed| placed.track_id == stored + 1)
            })
    }

    /// Takes note of a group of fragments that begins with a sync sample.
    fn mark(&mut self, at: At<'_>, kept: &[Kept]) {
        // The first track is that of the pictures, if there is one.
        let Some(leading) = kept.iter().find(|kept| kept.track == 0) else { return };
        let begins_with_sync = leading.samples.first().is_some_and(|first| first.is_sync);
        let Some(placed) = self.placed.first().filter(|_| begins_with_sync || self.marks.is_empty()) else {
            return;
        };
        let start = leading.first_pts.saturating_add(placed.shift);
        self.builder.begin_subsegment(Ticks(start));
        let offset_us = at.stretch.segments.get(at.position).map_or(0, |segment| segment.wall_offset_us);
        self.marks.push(Mark {
            // Sound that came before the first picture belongs to its group.
            fragment: if self.marks.is_empty() { 0 } else { self.fragments },
            start,
            wall_us: Ticks(leading.first_run_pts).to_micros(placed.timescale).saturating_add(offset_us),
            follows_break: std::mem::take(&mut self.begins_piece),
        });
    }
}

/// A sample `ticks` later in composition.
fn shifted(sample: &SampleInfo, ticks: i64) -> SampleInfo {
    let offset = i64::from(sample.cts_offset).saturating_add(ticks);
    let offset = offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    SampleInfo { cts_offset: i32::try_from(offset).unwrap_or(i32::MAX), ..*sample }
}

/// Whether a sample is what it was when it was stored, but for its length by `slack` ticks.
fn is_same(now: &SampleInfo, stored: &SampleInfo, slack: i64) -> bool {
    let longer = i64::from(now.duration) - i64::from(stored.duration);
    longer.abs() <= slack && SampleInfo { duration: stored.duration, ..*now } == *stored
}

fn guide(
    file: &FragmentedMp4,
    joined: &Joined,
    marks: &[Mark],
    shown_end: i64,
    asked_us: Option<i64>,
) -> Guide {
    let first = joined.tracks.first().and_then(|track| track.configs.first());
    let timescale = first.map_or(MOVIE_TIMESCALE, |config| config.timescale);
    let fragments: Vec<_> = file.fragments().collect();
    let to_us = |ticks: i64| Ticks(ticks).to_micros(timescale);
    let ends = marks
        .iter()
        .skip(1)
        .map(|mark| (mark.fragment, to_us(mark.start)))
        .chain([(fragments.len(), to_us(shown_end))]);
    let mut groups: Vec<GuideGroup> = Vec::new();
    for (mark, (end, end_us)) in marks.iter().zip(ends) {
        let place = end.checked_sub(1).and_then(|last| fragments.get(mark.fragment).zip(fragments.get(last)));
        let Some((first, last)) = place else { continue };
        let is_more = |group: &&mut GuideGroup| {
            !mark.follows_break && end_us.saturating_sub(group.start_us) <= GROUP_US
        };
        match groups.last_mut().filter(is_more) {
            Some(group) => group.len = last.end - group.offset,
            None => groups.push(GuideGroup {
                offset: first.start,
                len: last.end - first.start,
                start_us: to_us(mark.start),
                wall: Timestamp::from_micros(mark.wall_us),
                follows_break: mark.follows_break,
            }),
        }
    }
    let first_us = joined.pieces.first().map_or(0, |piece| cut::to_us(piece.shown.start));
    Guide {
        init_len: file.init_len(),
        groups,
        end_us: Ticks(shown_end).to_micros(timescale),
        start_offset_us: asked_us.map_or(0, |asked| asked.saturating_sub(first_us).max(0)),
    }
}
