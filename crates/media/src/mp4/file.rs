//! An MP4 file whose header is written, and whose media is found, when it is read.
//!
//! Made by [`super::MovieBuilder`]. Of a header it keeps what is not a sample table, and how far each table has
//! come at some chunks ([`Step`]): any part of a table is written from there on, with the samples of just these
//! chunks.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    chunks::{Chunks, Group, Pushed, disagreement},
    summary::{Column, SampleSource},
    tables::{Runs, Table, TrackState},
};
use crate::{
    boxes::Output,
    virtual_file::{Extent, PIECE_MAX, Piece, PieceError, VirtualFile},
};

/// Chunks after which a [`Step`] is kept.
pub(super) const STEP_CHUNKS: usize = 64;

/// Samples after which one is kept although there are fewer chunks.
pub(super) const STEP_SAMPLES: u64 = 1 << 14;

/// Samples that are read for one piece: what it costs at most, but for one chunk, where many samples make few bytes.
const READS_MAX: usize = 1 << 17;

/// As many samples cost what it costs to open a chunk.
const CHUNK_COST: usize = 64;

/// How far the tables have come before a chunk.
#[derive(Debug)]
pub(super) struct Step {
    /// Chunks before it.
    pub(super) chunk: usize,
    /// Of each track.
    pub(super) states: Vec<TrackState>,
}

/// A whole MP4 file by reference.
#[derive(Debug)]
pub struct VirtualMp4<S> {
    pub(super) chunks: Chunks<S>,
    /// Before the first chunk, before some of the others, and after the last one.
    pub(super) steps: Vec<Step>,
    pub(super) header: Skeleton,
    /// Of each track, the parameter sets of each of its configurations: places in what `header` ends with.
    pub(super) sets: Vec<Vec<Range<usize>>>,
    /// Those of the chunk that was asked for last.
    pub(super) latest_parts: Mutex<Option<(usize, Arc<[Part]>)>>,
}

/// A group of a chunk that something is inserted into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Where it begins in the media of the file, with what is inserted before it.
    at: u64,
    /// Where its bytes begin in the source.
    offset: u64,
    group: Group,
}

/// A header (`ftyp`, `moov`, head of the `mdat`, parameter sets) without the entries of its tables.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// With the entries.
    len: u64,
}

/// A place of a [`Skeleton`] where the entries of a table are left out.
#[derive(Debug, Clone, Copy)]
struct Slot {
    track: usize,
    table: Table,
    /// In the header, bytes.
    at: u64,
    /// In the skeleton.
    skeleton_at: usize,
    len: u64,
}

impl Skeleton {
    /// Leaves out the entries of a table.
    pub(super) fn leave_out(&mut self, track: usize, table: Table, count: u32) {
        let len = u64::from(count) * table.width();
        if len > 0 {
            self.slots.push(Slot { track, table, at: self.len, skeleton_at: self.bytes.len(), len });
            self.len += len;
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The table that is left out at `at` or after it, and what is there before it.
    fn at(&self, at: u64) -> (&[u8], Option<&Slot>) {
        let next = self.slots.partition_point(|slot| slot.at + slot.len <= at);
        let slot = self.slots.get(next);
        let (end_at, end) = slot.map_or((self.len, self.bytes.len()), |slot| (slot.at, slot.skeleton_at));
        let before = usize::try_from(end_at.saturating_sub(at)).unwrap_or(0);
        (&self.bytes[end.saturating_sub(before)..end], slot)
    }
}

impl Output for Skeleton {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
    }

    fn total_len(&self) -> u64 {
        self.len
    }

    fn written(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// A part of a table that is being written.
struct Window<'a> {
    out: &'a mut Vec<u8>,
    /// Bytes of the table before the part.
    skip: u64,
    /// Bytes of the part that are missing.
    left: usize,
    /// Samples that may still be read.
    reads: &'a mut usize,
}

impl Window<'_> {
    fn put(&mut self, entry: &[u8]) {
        let skipped = entry.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        let taken = (entry.len() - skipped).min(self.left);
        self.out.extend_from_slice(&entry[skipped..skipped + taken]);
        self.left -= taken;
    }

    /// Passes over bytes that are before the part; tells whether all of them are.
    fn pass(&mut self, len: u64) -> bool {
        let passes = len <= self.skip;
        if passes {
            self.skip -= len;
        }
        passes
    }

    /// Counts a chunk that is read.
    fn pay_for(&mut self, chunk: &Pushed) {
        *self.reads = self.reads.saturating_sub(CHUNK_COST + chunk.samples as usize);
    }

    /// Whether there is enough for now.
    fn is_full(&self) -> bool {
        self.left == 0 || (*self.reads == 0 && !self.out.is_empty())
    }
}

impl<S: SampleSource> VirtualMp4<S> {
    /// Generates bytes of the header from `at` on.
    fn generate(&self, mut at: u64, len: usize) -> Result<Bytes, PieceError> {
        let mut out = Vec::with_capacity(len);
        let mut reads = READS_MAX;
        while out.len() < len {
            let (fixed, slot) = self.header.at(at);
            let taken = fixed.len().min(len - out.len());
            out.extend_from_slice(&fixed[..taken]);
            at += taken as u64;
            let Some(slot) = slot.filter(|_| out.len() < len) else { break };
            let skip = at - slot.at;
            let left = (len - out.len()).min(usize::try_from(slot.len - skip).unwrap_or(usize::MAX));
            let before = out.len();
            let mut window = Window { out: &mut out, skip, left, reads: &mut reads };
            self.write_table(slot, &mut window)?;
            if window.left > 0 && !window.is_full() {
                return Err(disagreement());
            }
            let is_cut_short = window.left > 0;
            at += (out.len() - before) as u64;
            if is_cut_short {
                break;
            }
        }
        Ok(Bytes::from(out))
    }

    fn write_table(&self, slot: &Slot, window: &mut Window<'_>) -> Result<(), PieceError> {
        // The last state that has come no further than to the part.
        let come = |step: &Step| step.states.get(slot.track).map_or(0, |state| state.entries(slot.table));
        let is_before = |step: &Step| u64::from(come(step)) * slot.table.width() <= window.skip;
        let step = self.steps.partition_point(is_before).saturating_sub(1);
        let state = self.state(step, slot.track).copied().unwrap_or_default();
        window.skip -= u64::from(state.entries(slot.table)) * slot.table.width();
        match slot.table {
            Table::Durations => self.write_runs(slot, step, state.durations, Column::Duration, window),
            Table::Offsets => self.write_runs(slot, step, state.offsets, Column::Offset, window),
            Table::Sizes => self.write_sizes(slot.track, step, window),
            Table::SyncSamples => self.write_sync_samples(slot, step, state, window),
            Table::ChunkRuns | Table::ChunkOffsets | Table::WideChunkOffsets => {
                self.write_chunks(slot, step, state, window)
            }
        }
    }

    /// The tables of a track at a step.
    fn state(&self, step: usize, track: usize) -> Option<&TrackState> {
        self.steps.get(step)?.states.get(track)
    }

    /// The chunks of a track from a step on.
    fn chunks_from(&self, track: usize, step: usize) -> impl Iterator<Item = (usize, &Pushed)> {
        let first = self.steps.get(step).map_or(usize::MAX, |step| step.chunk);
        let chunks = self.chunks.pushed.iter().enumerate().skip(first);
        chunks.filter(move |(_, chunk)| usize::from(chunk.track) == track)
    }

    /// The chunks of a track between a step and the next one; `None` after the last one.
    fn chunks_of_step(&self, track: usize, step: usize) -> Option<impl Iterator<Item = (usize, &Pushed)>> {
        let end = self.steps.get(step + 1)?.chunk;
        Some(self.chunks_from(track, step).take_while(move |(number, _)| *number < end))
    }

    fn write_runs(
        &self,
        slot: &Slot,
        step: usize,
        mut runs: Runs,
        column: Column,
        window: &mut Window<'_>,
    ) -> Result<(), PieceError> {
        for step in step.. {
            let Some(chunks) = self.chunks_of_step(slot.track, step) else { break };
            let next = self.state(step + 1, slot.track);
            let next =
                next.map(|state| if column == Column::Offset { state.offsets } else { state.durations });
            if let Some(next) = next.filter(|next| next.ended == runs.ended) {
                // No run ends here.
                runs = next;
                continue;
            }
            for (number, _) in chunks {
                if window.is_full() {
                    return Ok(());
                }
                for value in self.values(number, column, window)? {
                    if let Some(entry) = runs.push(value) {
                        window.put(&entry);
                    }
                }
            }
        }
        if let Some(entry) = runs.end() {
            window.put(&entry);
        }
        Ok(())
    }

    fn write_sizes(&self, track: usize, step: usize, window: &mut Window<'_>) -> Result<(), PieceError> {
        for (number, chunk) in self.chunks_from(track, step) {
            if window.is_full() {
                break;
            }
            if window.pass(u64::from(chunk.samples) * Table::Sizes.width()) {
                continue;
            }
            for size in self.values(number, Column::Size, window)? {
                window.put(&size.to_be_bytes());
            }
        }
        Ok(())
    }

    fn write_sync_samples(
        &self,
        slot: &Slot,
        step: usize,
        state: TrackState,
        window: &mut Window<'_>,
    ) -> Result<(), PieceError> {
        let mut sample = state.samples;
        for (number, _) in self.chunks_from(slot.track, step) {
            if window.is_full() {
                break;
            }
            for is_sync in self.values(number, Column::Sync, window)? {
                sample = sample.saturating_add(1);
                if is_sync == 1 {
                    window.put(&sample.to_be_bytes());
                }
            }
        }
        Ok(())
    }

    fn write_chunks(
        &self,
        slot: &Slot,
        step: usize,
        mut state: TrackState,
        window: &mut Window<'_>,
    ) -> Result<(), PieceError> {
        for (number, chunk) in self.chunks_from(slot.track, step) {
            if window.is_full() {
                break;
            }
            if chunk.inserted > 0 {
                window.pay_for(chunk);
            }
            let mut offset = self.header.len() + chunk.media_start;
            for group in self.chunks.groups(number)? {
                let run = state.push_chunk(group.samples, u32::from(chunk.config) + 1);
                match slot.table {
                    Table::ChunkRuns => run.iter().for_each(|entry| window.put(entry)),
                    // Wide ones were chosen where they do not fit.
                    Table::ChunkOffsets => {
                        window.put(&u32::try_from(offset).unwrap_or(u32::MAX).to_be_bytes())
                    }
                    _ => window.put(&offset.to_be_bytes()),
                }
                offset += u64::from(group.inserted) + group.len;
            }
        }
        Ok(())
    }

    fn values(&self, number: usize, column: Column, window: &mut Window<'_>) -> Result<Vec<u32>, PieceError> {
        if let Some(chunk) = self.chunks.pushed.get(number) {
            window.pay_for(chunk);
        }
        self.chunks.read(number, column)
    }

    /// What the media has at `at`, counted from its first byte, and up to `len` bytes of it.
    fn media(&self, at: u64, len: u64) -> Result<Piece, PieceError> {
        let number = self.chunks.pushed.partition_point(|chunk| chunk.media_start <= at).saturating_sub(1);
        let chunk = self.chunks.pushed.get(number).filter(|_| at < self.chunks.media_len && len > 0);
        let chunk =
            chunk.ok_or_else(|| PieceError { reason: "the range is not within the file".to_owned() })?;
        let source = chunk.source;
        if chunk.inserted == 0 {
            let skipped = at - chunk.media_start;
            let stored = self.chunks.end(number) - chunk.media_start + self.continued(number);
            let len = len.min(stored - skipped);
            return Ok(Piece::Extent(Extent { source, offset: chunk.offset + skipped, len }));
        }
        let parts = self.parts(number, chunk)?;
        let part =
            parts.partition_point(|part| part.at <= at).checked_sub(1).and_then(|part| parts.get(part));
        let Part { at: begins, offset, group } = part.ok_or_else(disagreement)?;
        let inserted = u64::from(group.inserted);
        if at < begins + inserted {
            return self.sets(chunk, at - begins, len.min(begins + inserted - at));
        }
        let skipped = at - begins - inserted;
        let left = group.len.checked_sub(skipped).filter(|left| *left > 0).ok_or_else(disagreement)?;
        Ok(Piece::Extent(Extent { source, offset: offset + skipped, len: len.min(left) }))
    }

    /// What a chunk is in the file that something is inserted into. Whoever reads a file asks for each of its parts,
    /// one after the other.
    fn parts(&self, number: usize, chunk: &Pushed) -> Result<Arc<[Part]>, PieceError> {
        // What is in it is whole after every statement that touches it.
        let latest = || self.latest_parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, parts)) = latest().as_ref().filter(|(of, _)| *of == number) {
            return Ok(Arc::clone(parts));
        }
        let (mut at, mut offset) = (chunk.media_start, chunk.offset);
        let place = |group: Group| {
            let part = Part { at, offset, group };
            at += u64::from(group.inserted) + group.len;
            offset += group.len;
            part
        };
        let parts: Arc<[Part]> = self.chunks.groups(number)?.into_iter().map(place).collect();
        *latest() = Some((number, Arc::clone(&parts)));
        Ok(parts)
    }

    /// How many bytes the chunks that follow have of the same source, without a hole.
    fn continued(&self, number: usize) -> u64 {
        let ends_at = |number: usize| {
            self.chunks.pushed.get(number).map(|chunk| {
                (chunk.source, chunk.offset.saturating_add(self.chunks.end(number) - chunk.media_start))
            })
        };
        let continues = |next: &usize| {
            let chunk = self.chunks.pushed.get(*next).filter(|chunk| chunk.inserted == 0);
            chunk.is_some_and(|chunk| ends_at(next - 1) == Some((chunk.source, chunk.offset)))
        };
        let last = (number + 1..).take_while(continues).last().unwrap_or(number);
        self.chunks.end(last) - self.chunks.end(number)
    }

    /// Parameter sets that a chunk's samples are preceded by.
    fn sets(&self, chunk: &Pushed, skipped: u64, len: u64) -> Result<Piece, PieceError> {
        let sets =
            self.sets.get(usize::from(chunk.track)).and_then(|sets| sets.get(usize::from(chunk.config)));
        let start = sets.map_or(0, |sets| sets.start) as u64 + skipped;
        let range = usize::try_from(start).ok().zip(usize::try_from(start + len).ok());
        let bytes = range.and_then(|(start, end)| self.header.bytes.get(start..end));
        bytes.map(|bytes| Piece::Bytes(Bytes::copy_from_slice(bytes))).ok_or_else(disagreement)
    }
}

impl<S: SampleSource> VirtualFile for VirtualMp4<S> {
    fn len(&self) -> u64 {
        self.header.len() + self.chunks.media_len
    }

    fn piece(&self, range: Range<u64>) -> Result<Piece, PieceError> {
        let len = range.end.saturating_sub(range.start);
        match self.header.len().checked_sub(range.start).filter(|left| *left > 0) {
            Some(left) if len > 0 => {
                let len = usize::try_from(left.min(len)).unwrap_or(usize::MAX).min(PIECE_MAX);
                self.generate(range.start, len).map(Piece::Bytes)
            }
            _ => self.media(range.start - self.header.len().min(range.start), len),
        }
    }

    fn weight(&self) -> usize {
        let step = |step: &Step| size_of::<Step>() + step.states.capacity() * size_of::<TrackState>();
        let states: usize = self.steps.iter().map(step).sum();
        let chunks = self.chunks.pushed.capacity() * size_of::<Pushed>();
        self.chunks.samples.weight() + chunks + states + self.header.bytes.len()
    }
}
