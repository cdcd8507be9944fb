//! Feeds the builder of a fragmented file with segments: as they were stored where that is what the file wants, else
//! with fragments that are made of their samples.
//!
//! What always holds: the samples of a track follow each other in decode time, through the head, the fragments and
//! the tail.

use mediahooks_media::cmaf::{Access, FragmentSpan, FragmentedBuilder, FragmentedMp4, StoredAs};
use mediahooks_media::sample::{SampleInfo, Ticks, TrackKind};
use mediahooks_model::TargetFormat;

use super::super::captured;
use super::super::cut::Place;
use super::super::join::{Joined, JoinedTrack, TrackPart};
use super::super::table::{Tables, TrackTable};
use super::super::{MovieError, MovieSource, Stretch};
use super::guide::Mark;
use super::head::Head;
use super::kept::{Kept, Shape, earliest, is_same, shifted, ticks};
use super::place::{PlacedTrack, shown_ends};
use super::remade::RemadeSamples;
use super::tail::Tail;
use crate::index::{SegmentIndex, TrackSpan};

/// By how much the stored length of the last sound of a fragment may differ from the real one.
const SLACK_US: i64 = 50_000;

/// Feeds a builder with segments.
pub(super) struct Writer<'a> {
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
    /// By how much the times of the stretch's segments are late, in microseconds; of a playlist, which tells times.
    late_us: Vec<i64>,
}

/// A file that was written.
pub(super) struct Written {
    pub(super) file: FragmentedMp4<RemadeSamples>,
    /// In file order.
    pub(super) marks: Vec<Mark>,
    /// Of each track, when its last sample ends as players show it, in its ticks.
    pub(super) ends: Vec<Ticks>,
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

/// A segment that the file has something of.
struct AsStored<'a> {
    index: &'a SegmentIndex,
    /// As it is encoded.
    bytes: &'a [u8],
    shape: Option<Shape>,
}

impl<'a> Writer<'a> {
    /// Of no segment yet. `builder` has the tracks of `joined`, which lie where `placed` says.
    pub(super) fn new(
        builder: FragmentedBuilder<'a>,
        source: &MovieSource,
        joined: &'a Joined,
        placed: &'a [PlacedTrack],
        (head, tail): (Head, Tail),
    ) -> Self {
        Self {
            builder,
            joined,
            next_dts: placed.iter().map(|placed| placed.base_dts).collect(),
            placed,
            head,
            tail,
            remade: RemadeSamples::new(source, joined),
            marks: Vec::new(),
            fragments: 0,
            is_indexed: false,
            begins_piece: true,
            late_us: Vec::new(),
        }
    }

    /// Adds all segments of `source`.
    pub(super) fn push_all(&mut self, source: &MovieSource, tables: &[Tables]) -> Result<(), MovieError> {
        let mut before = 0;
        for (number, (stretch, tables)) in source.stretches.iter().zip(tables).enumerate() {
            self.begins_piece = true;
            if source.format == TargetFormat::Hls {
                self.late_us = captured::written_late_us(stretch);
            }
            for position in 0..stretch.segments.len() {
                self.push(At { number, stretch, tables, position, source: before + position })?;
            }
            before += stretch.segments.len();
        }
        Ok(())
    }

    /// Ends the file, which is shown for `duration` ticks of [`MOVIE_TIMESCALE`](mediahooks_media::mp4::MOVIE_TIMESCALE).
    pub(super) fn finish(mut self, duration: u64) -> Result<Written, MovieError> {
        let ends = shown_ends(self.joined, self.placed, &self.next_dts);
        self.remade.shrink();
        let file = self.builder.finish(self.remade, duration, ends.first().copied().unwrap_or_default())?;
        Ok(Written { file, marks: self.marks, ends })
    }

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
                let is_part =
                    |part: &&TrackPart| part.stretch == at.number && part.cut.track == stored.track as usize;
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
            if let Some(last) = samples.get_mut(range.end - 1).filter(|_| is_last) {
                last.duration = part.last_duration;
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
        let late_us = self.late_us.get(at.position).copied().unwrap_or(0);
        self.marks.push(Mark {
            fragment: self.fragments,
            start_us,
            wall_us: run_us.saturating_add(offset_us).saturating_sub(late_us),
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
