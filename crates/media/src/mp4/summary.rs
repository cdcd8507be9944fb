//! What is known of samples without having them: enough to plan the tables that list them.
//!
//! Made by whoever stores samples, when it stores them; combined by [`super::MovieBuilder`].

use std::fmt;

use crate::{sample::SampleInfo, virtual_file::PieceError};

/// The values that one member of successive samples has, as runs of equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunSummary {
    /// How often a value differs from the one before.
    pub changes: u32,
    /// Value of the first sample.
    pub first: u32,
    /// Value of the last one.
    pub last: u32,
    /// How many samples the last value stands for without a change; 0 where there are no samples.
    pub tail: u32,
}

impl RunSummary {
    /// Adds the value of the next sample.
    pub fn push(&mut self, value: u32) {
        match *self {
            Self { tail: 0, .. } => *self = Self { changes: 0, first: value, last: value, tail: 1 },
            Self { last, .. } if last == value => self.tail = self.tail.saturating_add(1),
            Self { changes, first, .. } => {
                *self = Self { changes: changes.saturating_add(1), first, last: value, tail: 1 };
            }
        }
    }
}

/// What the tables of a file need to know of the samples of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkSummary {
    /// How many there are.
    pub samples: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Sum of their durations, in ticks.
    pub duration: u64,
    /// Their durations.
    pub durations: RunSummary,
    /// Their composition offsets, as [`Column::Offset`] has them.
    pub offsets: RunSummary,
    /// Lowest composition offset, in ticks.
    pub offset_min: i32,
    /// Highest one.
    pub offset_max: i32,
    /// How many are sync samples.
    pub sync_samples: u32,
    /// Bytes of the smallest.
    pub size_min: u32,
    /// Bytes of the largest.
    pub size_max: u32,
    /// The latest time at which one of them ends on screen, in ticks after the decode time of the first.
    pub composition_end: i64,
}

impl ChunkSummary {
    /// The summary of samples in decode order.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a SampleInfo>) -> Self {
        let mut all = Self::default();
        for sample in samples {
            all.push(sample);
        }
        all
    }

    fn push(&mut self, sample: &SampleInfo) {
        if self.samples == 0 {
            (self.offset_min, self.offset_max) = (sample.cts_offset, sample.cts_offset);
            (self.size_min, self.size_max) = (sample.size, sample.size);
            self.composition_end = i64::MIN;
        }
        let dts = i64::try_from(self.duration).unwrap_or(i64::MAX);
        let end = dts.saturating_add(i64::from(sample.cts_offset)).saturating_add(i64::from(sample.duration));
        self.composition_end = self.composition_end.max(end);
        self.samples = self.samples.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(sample.size));
        self.duration = self.duration.saturating_add(u64::from(sample.duration));
        self.durations.push(sample.duration);
        self.offsets.push(Column::Offset.of(sample));
        self.offset_min = self.offset_min.min(sample.cts_offset);
        self.offset_max = self.offset_max.max(sample.cts_offset);
        self.sync_samples = self.sync_samples.saturating_add(u32::from(sample.is_sync));
        self.size_min = self.size_min.min(sample.size);
        self.size_max = self.size_max.max(sample.size);
    }
}

/// One member of the samples of a chunk: a table of the file needs no more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// Durations, in ticks.
    Duration,
    /// Composition offsets in two's complement, in ticks.
    Offset,
    /// Bytes.
    Size,
    /// 1 for sync samples, else 0.
    Sync,
}

impl Column {
    /// The member of a sample.
    pub fn of(self, sample: &SampleInfo) -> u32 {
        match self {
            Self::Duration => sample.duration,
            Self::Offset => u32::from_be_bytes(sample.cts_offset.to_be_bytes()),
            Self::Size => sample.size,
            Self::Sync => u32::from(sample.is_sync),
        }
    }
}

/// A chunk of a file whose samples are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// How many chunks were pushed before it.
    pub number: usize,
    /// Index of its track in the movie.
    pub track: usize,
    /// The caller's number of the file that holds the samples.
    pub source: u32,
}

/// Where the samples of a file's chunks are read when the file is.
pub trait SampleSource: fmt::Debug + Send + Sync {
    /// Appends one member of every sample of a chunk, in decode order. What it gives has to agree with the
    /// chunk's [`ChunkSummary`].
    ///
    /// Errors: [`PieceError`] where the samples cannot be read.
    fn read(&self, chunk: ChunkRef, column: Column, out: &mut Vec<u32>) -> Result<(), PieceError>;

    /// Bytes of memory that it holds.
    fn weight(&self) -> usize;
}
