//! How far the sample tables of a track have come: what is counted of them while a file is planned, and gone
//! on from when a part of one is written.

use super::summary::{ChunkSummary, RunSummary};

/// A table of a track whose entries are written when they are read (ISO/IEC 14496-12 §8.6 and §8.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// `stts`: number of samples, duration.
    Durations,
    /// `ctts`: number of samples, offset.
    Offsets,
    /// `stss`: number of the sample.
    SyncSamples,
    /// `stsc`: first chunk, samples per chunk, sample description.
    ChunkRuns,
    /// `stsz`: bytes.
    Sizes,
    /// `stco`: offset in the file.
    ChunkOffsets,
    /// `co64`: likewise.
    WideChunkOffsets,
}

impl Table {
    /// Bytes of an entry.
    pub(super) fn width(self) -> u64 {
        match self {
            Self::SyncSamples | Self::Sizes | Self::ChunkOffsets => 4,
            Self::Durations | Self::Offsets | Self::WideChunkOffsets => 8,
            Self::ChunkRuns => 12,
        }
    }
}

/// Entries of (number of samples, value), as `stts` and `ctts` have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Runs {
    /// Runs that are over.
    pub(super) ended: u32,
    len: u32,
    value: u32,
}

impl Runs {
    /// Adds a value; the entry of the run that it ends.
    pub(crate) fn push(&mut self, value: u32) -> Option<[u8; 8]> {
        let ended = if value == self.value { None } else { self.end() };
        self.value = value;
        self.len += 1;
        ended
    }

    /// The entry of the run that is open.
    pub(crate) fn end(&mut self) -> Option<[u8; 8]> {
        let len = std::mem::take(&mut self.len);
        (len > 0).then(|| {
            self.ended += 1;
            joined([len, self.value])
        })
    }

    /// Adds as many values at once.
    fn append(&mut self, next: &RunSummary) {
        if next.tail == 0 {
            return;
        }
        if self.len > 0 && self.value != next.first {
            (self.ended, self.len) = (self.ended.saturating_add(1), 0);
        }
        self.ended = self.ended.saturating_add(next.changes);
        self.len = if next.changes == 0 { self.len.saturating_add(next.tail) } else { next.tail };
        self.value = next.last;
    }

    /// Entries, once nothing follows.
    fn count(&self) -> u32 {
        self.ended.saturating_add(u32::from(self.len > 0))
    }
}

/// What the tables of a track hold before some chunk of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TrackState {
    pub(super) samples: u32,
    pub(super) sync_samples: u32,
    pub(super) durations: Runs,
    pub(super) offsets: Runs,
    pub(super) chunks: u32,
    pub(super) chunk_runs: u32,
    /// Samples per chunk and sample description of the latest chunk.
    latest: (u32, u32),
}

impl TrackState {
    /// Adds samples, but not their chunk.
    pub(super) fn append(&mut self, samples: &ChunkSummary) {
        self.samples = self.samples.saturating_add(samples.samples);
        self.sync_samples = self.sync_samples.saturating_add(samples.sync_samples);
        self.durations.append(&samples.durations);
        self.offsets.append(&samples.offsets);
    }

    /// Adds a chunk; the entry of `stsc` that it begins.
    pub(super) fn push_chunk(&mut self, samples: u32, description: u32) -> Option<[u8; 12]> {
        self.chunks = self.chunks.saturating_add(1);
        if (samples, description) == self.latest {
            return None;
        }
        self.latest = (samples, description);
        self.chunk_runs = self.chunk_runs.saturating_add(1);
        Some(joined([self.chunks, samples, description]))
    }

    /// Entries that a table has before what follows; a run that is open has none yet.
    pub(super) fn entries(&self, table: Table) -> u32 {
        match table {
            Table::Durations => self.durations.ended,
            Table::Offsets => self.offsets.ended,
            Table::SyncSamples => self.sync_samples,
            Table::ChunkRuns => self.chunk_runs,
            Table::Sizes => self.samples,
            Table::ChunkOffsets | Table::WideChunkOffsets => self.chunks,
        }
    }

    /// Entries that a table has when nothing follows.
    pub(super) fn count(&self, table: Table) -> u32 {
        match table {
            Table::Durations => self.durations.count(),
            Table::Offsets => self.offsets.count(),
            _ => self.entries(table),
        }
    }

    /// Bytes of all tables in the file, or a little more.
    pub(super) fn len_at_most(&self) -> u64 {
        const BOX_HEADERS: u64 = 7 * 20;
        const OPEN_RUNS: u64 = 2 * 8;
        let of = |table: Table| u64::from(self.entries(table)) * table.width();
        let sync_samples = if self.sync_samples < self.samples { of(Table::SyncSamples) } else { 0 };
        BOX_HEADERS
            + of(Table::Durations)
            + of(Table::Offsets)
            + OPEN_RUNS
            + of(Table::Sizes)
            + sync_samples
            + of(Table::ChunkRuns)
            + of(Table::WideChunkOffsets)
    }
}

/// What a track comes to as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// Sum of all durations, in ticks of the track.
    pub(super) media_duration: u64,
    /// The latest time at which a sample ends on screen, in ticks of the track.
    pub(super) composition_end: i64,
    offsets: Option<(i32, i32)>,
    sizes: Option<(u32, u32)>,
}

impl Totals {
    pub(super) fn append(&mut self, samples: &ChunkSummary) {
        let begin = i64::try_from(self.media_duration).unwrap_or(i64::MAX);
        self.composition_end = self.composition_end.max(begin.saturating_add(samples.composition_end));
        self.media_duration = self.media_duration.saturating_add(samples.duration);
        self.offsets = Some(widened(self.offsets, (samples.offset_min, samples.offset_max)));
        self.sizes = Some(widened(self.sizes, (samples.size_min, samples.size_max)));
    }

    /// The bytes that all samples have in common. A common size of 0 would announce a list (§8.7.3.2), so
    /// empty samples are always listed.
    pub(super) fn common_size(&self) -> Option<u32> {
        self.sizes.filter(|(min, max)| min == max && *min > 0).map(|(size, _)| size)
    }

    pub(super) fn has_offsets(&self) -> bool {
        self.offsets.is_some_and(|offsets| offsets != (0, 0))
    }

    /// §8.6.1.3: version 0 has unsigned offsets, and is what the oldest players know.
    pub(super) fn offsets_version(&self) -> u8 {
        u8::from(self.offsets.is_some_and(|(min, _)| min < 0))
    }
}

fn widened<T: Ord + Copy>(known: Option<(T, T)>, next: (T, T)) -> (T, T) {
    known.map_or(next, |known| (known.0.min(next.0), known.1.max(next.1)))
}

/// Fields one behind the other.
fn joined<const FIELDS: usize, const BYTES: usize>(fields: [u32; FIELDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}
