//! Builds a fragmented file: a fragment per stored segment, most of them as they are.
//!
//! What always holds: the samples and their times are those of the file that [`super::build`] makes of the same
//! source, but for the length of the last sound of a fragment, which may be off by less than [`SLACK_US`].
//!
//! Where an edit list hides something, the samples up to the first shown one are described by the `moov` itself
//! ([`head`]), because FFmpeg and Chromium do not cut fragments; those after the last shown one, which it is decoded
//! with, are hidden by their decode times ([`tail`]).

mod head;
mod remade;
mod tail;

use std::sync::Arc;

use mediahooks_media::cmaf::{
    Access, FragmentLayout, FragmentSpan, FragmentedBuilder, FragmentedMp4, FragmentedTrack, StoredAs,
    fragment_layout,
};
use mediahooks_media::mp4::Edit;
use mediahooks_media::sample::{SampleInfo, Ticks, TrackKind};
use mediahooks_media::virtual_file::VirtualFile;
use mediahooks_model::Timestamp;

use self::head::Head;
use self::remade::RemadeSamples;
use self::tail::{Tail, TailSample};
use super::cut::{self, Place};
use super::join::{self, Joined, JoinedTrack, Times};
use super::table::{Tables, TrackTable};
use super::{BuiltMovie, MovieError, MovieSource, Stretch, cut_all, describe, read};
use crate::index::{SegmentIndex, TrackSpan};

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
    /// What the file is encoded with, as in RFC 6381.
    pub codecs: Vec<String>,
    /// Whether every picture of every group can be decoded without the groups before it. Not with open groups, whose
    /// first pictures are shown before their sync sample.
    pub is_independent: bool,
}

impl Guide {
    /// Bytes of memory that it holds.
    pub fn weight(&self) -> usize {
        let codecs: usize = self.codecs.iter().map(|codec| size_of_val(codec) + codec.len()).sum();
        size_of::<Self>() + self.groups.capacity() * size_of::<GuideGroup>() + codecs
    }
}

/// Fragments that begin with a sync sample: a group of pictures, or several short ones, or sound where there are no
/// pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuideGroup {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// When it is shown, in microseconds of the file.
    pub start_us: i64,
    /// Wall clock at which that was captured.
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
    let (head, tail) = if edits == Edits::Hiding {
        let tail = Tail::of(source, &tables, &joined);
        (Head::of(source, &tables, &joined, &tail), tail)
    } else {
        Default::default()
    };
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
        tail,
        remade: RemadeSamples::new(source, &joined),
        marks: Vec::new(),
        fragments: 0,
        is_indexed: false,
        begins_piece: true,
    };
    let mut before = 0;
    for (number, (stretch, tables)) in source.stretches.iter().zip(&tables).enumerate() {
        writer.begins_piece = true;
        for position in 0..stretch.segments.len() {
            writer.push(At { number, stretch, tables, position, source: before + position })?;
        }
        before += stretch.segments.len();
    }
    let (duration, ends) =
        (duration(&joined, &placed, edits), shown_ends(&joined, &placed, &writer.next_dts));
    let marks = std::mem::take(&mut writer.marks);
    writer.remade.shrink();
    let file = writer.builder.finish(writer.remade, duration, ends.first().copied().unwrap_or_default())?;
    let metadata = describe::describe(source, &tables, &joined, file.len());
    tables.iter().try_for_each(Tables::check)?;
    let asked_us = source.stretches.first().and_then(|stretch| stretch.start_us);
    let ends_us = ends.iter().zip(&placed).map(|(end, placed)| end.to_micros(placed.timescale));
    let guide = guide(&file, &joined, &marks, ends_us.max().unwrap_or(0), asked_us);
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

/// A segment that the file has something of.
struct AsStored<'a> {
    index: &'a SegmentIndex,
    /// As it is encoded.
    bytes: &'a [u8],
    shape: Option<Shape>,
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

/// Of each track, when its last sample ends as players show it, in its ticks.
fn shown_ends(joined: &Joined, placed: &[PlacedTrack], next_dts: &[i64]) -> Vec<Ticks> {
    let tracks = joined.tracks.iter().zip(placed).zip(next_dts);
    let ends = tracks.map(|((track, placed), next_dts)| {
        let media = placed.shift.saturating_add(placed.media_time);
        let duration = i64::try_from(track.edit.duration).unwrap_or(i64::MAX);
        let end = media.saturating_add(cut::from_movie(duration, placed.timescale));
        Ticks(end.max(next_dts.saturating_add(placed.shift)))
    });
    ends.collect()
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
    /// When it is shown, in microseconds of the file.
    start_us: i64,
    wall_us: i64,
    follows_break: bool,
    is_open: bool,
}

/// Feeds a builder with segments.
struct Writer<'a> {
    builder: FragmentedBuilder<'a>,
    joined: &'a Joined,
    placed: &'a [PlacedTrack],
    head: Head,
    tail: Tail,
    remade: RemadeSamples,
    /// Of each track, when its next sample is decoded.
    next_dts: Vec<i64>,
    marks: Vec<Mark>,
    fragments: usize,
    /// Whether the index of subsegments knows when the first track begins.
    is_indexed: bool,
    /// Whether the next fragment is the first one of a stretch.
    begins_piece: bool,
}

/// What a file has of one track of a segment.
struct Kept {
    track: usize,
    config: usize,
    base_dts: i64,
    offset: u64,
    /// The first one of them.
    first: Place,
    samples: Vec<SampleInfo>,
    /// Whether they are decoded only for others.
    is_hidden: bool,
    /// Whether that is all of it, but for composition offsets and the length of the last one.
    is_all: bool,
    /// Whether it is as it was stored, too.
    is_whole: bool,
    /// When the first one of them is shown, on the file's clock.
    start_pts: i64,
    /// The same moment on the run's media clock.
    start_run_pts: i64,
}

impl Kept {
    /// What decoding can do at its beginning.
    fn access(&self) -> Access {
        match self.samples.first() {
            // What is shown after it, in decode order, may be shown before it.
            _ if self.is_hidden => Access::None,
            Some(first) if !first.is_sync => Access::None,
            Some(first) if self.start_pts < self.base_dts.saturating_add(i64::from(first.cts_offset)) => {
                Access::Open
            }
            _ => Access::Closed,
        }
    }

    /// When its last sample ends, in decode time.
    fn end_dts(&self) -> i64 {
        self.base_dts.saturating_add(ticks(&self.samples))
    }

    /// Parts it, of whose samples all but the first `before` are `tail`, where shown ones and hidden ones follow
    /// each other.
    fn parted(self, before: usize, tail: &[TailSample]) -> Vec<Self> {
        let shown = self.samples.iter().take(before);
        let shown = shown.map(|info| TailSample { info: *info, is_hidden: false });
        let samples: Vec<TailSample> = shown.chain(tail.iter().copied()).collect();
        // On the run's clock after the file's.
        let run = self.start_run_pts.saturating_sub(self.start_pts);
        let mut parts: Vec<Self> = Vec::new();
        for group in samples.chunk_by(|a, b| a.is_hidden == b.is_hidden) {
            let (base_dts, offset, first) =
                parts.last().map_or((self.base_dts, self.offset, self.first), |last| {
                    let bytes = last.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
                    let sample = last.first.sample + last.samples.len();
                    (last.end_dts(), last.offset + bytes, Place { sample, ..last.first })
                });
            let samples: Vec<SampleInfo> = group.iter().map(|sample| sample.info).collect();
            let start_pts = base_dts.saturating_add(earliest(&samples));
            parts.push(Self {
                base_dts,
                offset,
                first,
                is_hidden: group.iter().any(|sample| sample.is_hidden),
                is_all: false,
                is_whole: false,
                start_pts,
                start_run_pts: start_pts.saturating_add(run),
                samples,
                ..self
            });
        }
        parts
    }
}

/// How long samples last.
fn ticks(samples: &[SampleInfo]) -> i64 {
    samples.iter().map(|sample| i64::from(sample.duration)).sum()
}

/// When the first one of some samples is shown, in ticks after the first one of them is decoded.
fn earliest(samples: &[SampleInfo]) -> i64 {
    let shown = samples.iter().scan(0, |dts, sample| {
        let pts = *dts + i64::from(sample.cts_offset);
        *dts += i64::from(sample.duration);
        Some(pts)
    });
    shown.min().unwrap_or(0)
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
        let (kept, after) = if is_head { (kept, Vec::new()) } else { self.parted(at, kept) };
        let stored = AsStored { index: &index, bytes: &segment.index.0, shape };
        self.push_fragment(at, &stored, &kept, is_head)?;
        after.into_iter().try_for_each(|part| self.push_fragment(at, &stored, &[part], false))
    }

    /// Adds a fragment of a segment, which has the samples of `kept`, or as much to the head.
    fn push_fragment(
        &mut self,
        at: At<'_>,
        stored: &AsStored<'_>,
        kept: &[Kept],
        is_head: bool,
    ) -> Result<(), MovieError> {
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
        self.mark(at, kept);
        self.fragments += 1;
        if let Some(shape) = stored.shape.as_ref().filter(|shape| self.is_as_stored(shape, kept)) {
            // In the order in which the segment has them.
            let times: Vec<Ticks> =
                shape.spans.iter().zip(kept).map(|(_, kept)| Ticks(kept.base_dts)).collect();
            let stored = StoredAs { len: shape.len, layout: &shape.layout, base_dts: &times };
            if self.builder.push_stored(source, stored)? {
                return Ok(());
            }
        }
        if kept.iter().all(|kept| kept.is_all) && kept.len() == self.tracks_in(at, stored.index) {
            self.remade.keep(source, stored.bytes);
            return Ok(self.builder.push_remade(source, &spans)?);
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
            let Some(span) = span else { continue };
            let mut samples = span.settle(stored.samples.clone());
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
            let skipped_bytes = skipped.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
            let run_dts = span.base_dts().saturating_add(ticks(skipped));
            let kept: Vec<SampleInfo> = kept.iter().map(|sample| shifted(sample, part.shift)).collect();
            let Some(next_dts) = self.next_dts.get_mut(track) else { continue };
            let (base_dts, earliest) = (*next_dts, earliest(&kept));
            *next_dts += ticks(&kept);
            let of_shape = shape.and_then(|shape| shape.spans.iter().find(|(of, ..)| *of == stored.track));
            let timescale = self.placed.get(track).map_or(1, |placed| placed.timescale);
            let config = at.stretch.tracks.get(part.cut.track);
            let is_sound = config.is_some_and(|config| config.kind == TrackKind::Audio);
            let slack = if is_sound { Ticks::from_micros(SLACK_US, timescale).0 } else { 0 };
            let is_whole = part.shift == 0
                && !span.is_changed()
                && of_shape.is_some_and(|(_, count, last)| {
                    range == (0..*count) && kept.last().is_some_and(|now| is_same(now, last, slack))
                });
            all.push(Kept {
                track,
                config: part.config,
                base_dts,
                offset: u64::from(stored.data_offset) + skipped_bytes,
                first: Place { segment: at.position, sample: range.start },
                is_hidden: false,
                is_all: range.len() == stored.samples.len() && !span.is_changed(),
                is_whole,
                start_pts: base_dts.saturating_add(earliest),
                start_run_pts: run_dts.saturating_add(earliest).saturating_sub(part.shift),
                samples: kept,
            });
        }
        all
    }

    /// How many tracks of a segment the file has, be it here or elsewhere.
    fn tracks_in(&self, at: At<'_>, index: &SegmentIndex) -> usize {
        let is_there = |stored: &&TrackSpan| {
            let mut parts = self.joined.tracks.iter().flat_map(|track| &track.parts);
            parts.any(|part| part.stretch == at.number && part.cut.track == stored.track as usize)
        };
        index.tracks.iter().filter(is_there).count()
    }

    /// Gives the samples of the head the times that they have there.
    fn retime(&mut self, kept: &mut [Kept]) {
        for kept in kept {
            let Some(samples) = self.head.take(kept.track, kept.samples.len()) else { continue };
            if let Some(next_dts) = self.next_dts.get_mut(kept.track) {
                *next_dts = kept.base_dts + ticks(&samples);
            }
            kept.samples = samples;
        }
    }

    /// Parts what the file has of a segment where shown samples and hidden ones follow each other: into what is in the
    /// first fragment, and what is in one of its own each.
    fn parted(&mut self, at: At<'_>, kept: Vec<Kept>) -> (Vec<Kept>, Vec<Kept>) {
        let (mut first, mut after) = (Vec::with_capacity(kept.len()), Vec::new());
        for kept in kept {
            let of = (at.number, kept.track);
            let Some((before, tail)) = self.tail.take(of, kept.first, kept.samples.len()) else {
                first.push(kept);
                continue;
            };
            let (track, mut parts) = (kept.track, kept.parted(before, &tail).into_iter());
            first.extend(parts.next());
            after.extend(parts);
            let ends = after.last().or(first.last()).map(Kept::end_dts);
            if let (Some(next_dts), Some(end)) = (self.next_dts.get_mut(track), ends) {
                *next_dts = end;
            }
        }
        (first, after)
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

    /// Takes note of where the index of subsegments and players may begin.
    fn mark(&mut self, at: At<'_>, kept: &[Kept]) {
        // The first track is that of the pictures, if there is one.
        let pictures = kept.iter().find(|kept| kept.track == 0);
        let begins_group = pictures.is_some_and(|pictures| pictures.access() != Access::None);
        if let (Some(pictures), Some(placed)) = (pictures, self.placed.first())
            && (begins_group || !self.is_indexed)
        {
            let start = pictures.start_pts.saturating_add(placed.shift);
            self.builder.begin_subsegment(Ticks(start), pictures.access());
            self.is_indexed = true;
        }
        let begins_piece = std::mem::take(&mut self.begins_piece);
        // Sound can be played from any of its samples on, but not the pictures that come after it.
        if !begins_piece && !begins_group && !self.is_beside_pictures(at) {
            return;
        }
        let shown = |kept: &Kept| {
            let placed = self.placed.get(kept.track)?;
            let us = |ticks: i64| Ticks(ticks).to_micros(placed.timescale);
            Some((us(kept.start_pts.saturating_add(placed.shift)), us(kept.start_run_pts)))
        };
        let first = match pictures.filter(|_| !begins_piece) {
            Some(pictures) => shown(pictures),
            None => kept.iter().filter_map(shown).min(),
        };
        let Some((start_us, run_us)) = first else { return };
        let offset_us = at.stretch.segments.get(at.position).map_or(0, |segment| segment.wall_offset_us);
        self.marks.push(Mark {
            fragment: self.fragments,
            start_us,
            wall_us: run_us.saturating_add(offset_us),
            follows_break: begins_piece && self.fragments > 0,
            is_open: pictures.is_some_and(|pictures| pictures.access() == Access::Open),
        });
    }

    /// Whether a segment lies before the first picture of its stretch, or after the last one.
    fn is_beside_pictures(&self, at: At<'_>) -> bool {
        let parts = self.joined.tracks.first().map_or(&[][..], |track| &track.parts);
        let cut = parts.iter().find(|part| part.stretch == at.number).map(|part| part.cut);
        cut.is_none_or(|cut| !(cut.first.segment..=cut.last.segment).contains(&at.position))
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
    file: &FragmentedMp4<RemadeSamples>,
    joined: &Joined,
    marks: &[Mark],
    end_us: i64,
    asked_us: Option<i64>,
) -> Guide {
    let fragments: Vec<_> = file.fragments().collect();
    let next = marks.iter().skip(1).map(|mark| (mark.fragment, mark.start_us));
    let ends = next.chain([(fragments.len(), end_us)]);
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
                start_us: mark.start_us,
                wall: Timestamp::from_micros(mark.wall_us),
                follows_break: mark.follows_break,
            }),
        }
    }
    let first_us = joined.pieces.first().map_or(0, |piece| cut::to_us(piece.shown.start));
    let mut codecs: Vec<String> = Vec::new();
    for config in joined.tracks.iter().flat_map(|track| &track.configs) {
        let codec = config.codec.codec_string();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    Guide {
        codecs,
        init_len: file.init_len(),
        groups,
        end_us,
        is_independent: marks.iter().all(|mark| !mark.is_open),
        start_offset_us: asked_us.map_or(0, |asked| asked.saturating_sub(first_us).max(0)),
    }
}
