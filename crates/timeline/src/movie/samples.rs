//! The chunks of a file, and their samples while it is read.
//!
//! What always holds: what is read of a chunk is what the file was planned with, however often it is read.

use std::collections::BTreeMap;

use mediahooks_media::error::MuxError;
use mediahooks_media::mp4::{Chunk, ChunkRef, ChunkSummary, Column, MovieBuilder, SampleSource};
use mediahooks_media::sample::SampleInfo;
use mediahooks_media::virtual_file::PieceError;

use super::join::Joined;
use super::table::{self, Tables, TrackTable};
use super::{MovieError, MovieSource};
use crate::index::{StoredIndex, TrackSummary};

/// The samples of a file, read from the indexes of its segments.
#[derive(Debug)]
pub(super) struct MovieSamples {
    /// Of all segments, in order.
    indexes: Vec<StoredIndex>,
    stretches: Vec<StretchSamples>,
    /// By chunk: how long the last sample lasts, in ticks.
    last_durations: Vec<u32>,
    /// Chunks that are not all of what a segment has of a track, as they are in the file.
    own: BTreeMap<usize, Vec<SampleInfo>>,
}

/// Where the tracks of a file are found in one stretch.
#[derive(Debug)]
struct StretchSamples {
    /// Number of its first segment among those of the file.
    first: usize,
    /// By track of the file: which of the run's tracks it is, and what is added to composition offsets.
    tracks: Vec<Option<(u32, i64)>>,
}

impl MovieSamples {
    pub(super) fn new(source: &MovieSource, joined: &Joined) -> Self {
        let mut first = 0;
        let stretches = source.stretches.iter().enumerate().map(|(number, stretch)| {
            let part = |track: &super::join::JoinedTrack| {
                let part = track.parts.iter().find(|part| part.stretch == number)?;
                Some((u32::try_from(part.cut.track).ok()?, part.shift))
            };
            let begin = first;
            first += stretch.segments.len();
            StretchSamples { first: begin, tracks: joined.tracks.iter().map(part).collect() }
        });
        let stretches = stretches.collect();
        // Exactly as many: they are kept.
        let mut indexes = Vec::with_capacity(first);
        for stretch in &source.stretches {
            indexes.extend(stretch.segments.iter().map(|segment| segment.index.clone()));
        }
        Self { indexes, stretches, last_durations: Vec::new(), own: BTreeMap::new() }
    }

    /// Of which of the run's tracks a chunk is, and what is added to its composition offsets.
    fn place(&self, chunk: ChunkRef) -> Option<(&StoredIndex, u32, i64)> {
        let segment = chunk.source as usize;
        let after = self.stretches.partition_point(|stretch| stretch.first <= segment);
        let stretch = self.stretches.get(after.checked_sub(1)?)?;
        let (track, shift) = (*stretch.tracks.get(chunk.track)?)?;
        Some((self.indexes.get(segment)?, track, shift))
    }
}

impl SampleSource for MovieSamples {
    fn read(&self, chunk: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError> {
        if let Some(own) = self.own.get(&chunk.number) {
            out.extend(own.iter().map(|sample| column.of(sample)));
            return Ok(());
        }
        let (index, track, shift) = self
            .place(chunk)
            .ok_or_else(|| PieceError { reason: format!("chunk {} belongs to no segment", chunk.number) })?;
        let begin = out.len();
        index.column(track, column, out).map_err(|error| PieceError { reason: error.to_string() })?;
        match column {
            Column::Duration => {
                if let (Some(last), Some(lasts)) = (out.last_mut(), self.last_durations.get(chunk.number)) {
                    *last = *lasts;
                }
            }
            Column::Offset if shift != 0 => {
                for bits in out.iter_mut().skip(begin) {
                    let offset = i64::from(i32::from_be_bytes(bits.to_be_bytes())).saturating_add(shift);
                    // It fits: the summary with which the file was planned vouches for all of them.
                    *bits = u32::from_be_bytes(i32::try_from(offset).unwrap_or(i32::MAX).to_be_bytes());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn weight(&self) -> usize {
        let indexes: usize = self.indexes.iter().map(|index| size_of_val(index) + index.0.len()).sum();
        let own: usize = self.own.values().map(|samples| size_of_val(samples.as_slice())).sum();
        indexes + own + self.last_durations.capacity() * size_of::<u32>()
    }
}

/// Pushes every chunk of a file, in the order of the stored bytes.
pub(super) fn push_all(
    builder: &mut MovieBuilder<'_, MovieSamples>,
    source: &MovieSource,
    tables: &[Tables],
    joined: &Joined,
) -> Result<(), MovieError> {
    let mut before = 0;
    let mut summaries: Vec<TrackSummary> = Vec::new();
    for (number, (stretch, tables)) in source.stretches.iter().zip(tables).enumerate() {
        let mut tracks = Vec::new();
        for (file_track, track) in joined.tracks.iter().enumerate() {
            let Some(part) = track.parts.iter().find(|part| part.stretch == number) else { continue };
            let table = TrackTable { stretch, tables, track: part.cut.track };
            tracks.push((
                file_track,
                part,
                table,
                table.spans_from(part.cut.first.segment).iter().peekable(),
            ));
        }
        for (position, segment) in stretch.segments.iter().enumerate() {
            summaries.clear();
            segment.index.summaries(|summary| summaries.push(summary))?;
            for (file_track, part, table, spans) in &mut tracks {
                let Some(span) = spans.next_if(|span| span.segment == position) else { continue };
                let Some(kept) = part.cut.kept(position, span.samples as usize) else { continue };
                let is_last = (position, kept.end) == (part.cut.last.segment, part.cut.last.sample + 1);
                let last_duration = is_last.then_some(part.last_duration);
                let is_first = (position, kept.start) == (part.cut.first.segment, part.cut.first.sample);
                let first_longer = if is_first { part.first_longer } else { 0 };
                let held = Held { shift: part.shift, first_longer, last_duration };
                let chunk = Chunk {
                    track: *file_track,
                    config: part.config,
                    source: u32::try_from(before + position).unwrap_or(u32::MAX),
                    offset: u64::from(span.data_offset),
                    samples: ChunkSummary::default(),
                };
                let of_track = |summary: &&TrackSummary| summary.track == table::run_track(part.cut.track);
                let is_whole = kept.len() == span.samples as usize && !span.is_changed() && first_longer == 0;
                if let Some(summary) = summaries.iter().find(of_track).filter(|_| is_whole) {
                    let last_duration = held.last_duration.unwrap_or(span.last_duration);
                    push_whole(builder, summary, last_duration, &held, chunk)?;
                } else {
                    let mut samples = table.samples(span);
                    let skipped =
                        samples.iter().take(kept.start).map(|sample| u64::from(sample.size)).sum::<u64>();
                    samples.truncate(kept.end);
                    let samples = samples.split_off(kept.start.min(samples.len()));
                    push_own(builder, samples, &held, Chunk { offset: chunk.offset + skipped, ..chunk })?;
                }
            }
        }
        before += stretch.segments.len();
    }
    Ok(())
}

/// How the samples of a chunk differ from what is stored.
struct Held {
    /// Added to composition offsets, in ticks.
    shift: i64,
    /// By how much the first sample lasts longer, in ticks.
    first_longer: u32,
    /// How long the last sample lasts, where that is not what its segment tells.
    last_duration: Option<u32>,
}

/// Pushes all samples that a summary is of.
fn push_whole(
    builder: &mut MovieBuilder<'_, MovieSamples>,
    summary: &TrackSummary,
    last_duration: u32,
    held: &Held,
    chunk: Chunk,
) -> Result<(), MuxError> {
    let samples = summary.chunk(last_duration, held.shift).ok_or_else(too_far)?;
    builder.samples().last_durations.push(last_duration);
    builder.push(&Chunk { samples, ..chunk })
}

/// Pushes samples that are kept with the file.
fn push_own(
    builder: &mut MovieBuilder<'_, MovieSamples>,
    mut samples: Vec<SampleInfo>,
    held: &Held,
    chunk: Chunk,
) -> Result<(), MuxError> {
    for sample in &mut samples {
        let shifted = i64::from(sample.cts_offset).checked_add(held.shift);
        sample.cts_offset = shifted.and_then(|offset| i32::try_from(offset).ok()).ok_or_else(too_far)?;
    }
    if let (Some(last), Some(lasts)) = (samples.last_mut(), held.last_duration) {
        last.duration = lasts;
    }
    if let Some(first) = samples.first_mut() {
        first.duration = first.duration.saturating_add(held.first_longer);
    }
    let summary = ChunkSummary::of(&samples);
    if summary.samples == 0 {
        return Ok(());
    }
    let source = builder.samples();
    source.own.insert(source.last_durations.len(), samples);
    source.last_durations.push(0);
    builder.push(&Chunk { samples: summary, ..chunk })
}

fn too_far() -> MuxError {
    MuxError::Overflow {
        field: "ctts sample_offset",
        value: u64::from(u32::MAX),
        max: u64::from(i32::MAX.unsigned_abs()),
    }
}
