//! The virtual MP4: a file with its index in front whose media stays where it is.
//!
//! Fed with summaries of the timeline's segments. The header (`ftyp`, `moov`, head of the `mdat`) is planned with
//! these alone; its sample tables are written when they are read, piece by piece, and may be far larger than
//! what is in memory.
//! Invariant: the same input gives the same bytes, so that an `ETag` and a resumed download hold.

mod chunks;
mod file;
mod layout;
mod summary;
mod tables;

pub(crate) use self::{chunks::groups, tables::Runs};
pub use self::{
    file::VirtualMp4,
    layout::{Chunk, Edit, MovieBuilder, MovieTrack},
    summary::{ChunkRef, ChunkSummary, Column, RunSummary, SampleSource},
};

/// Ticks per second of a movie's own clock, in which edits are measured.
///
/// 90 000 divides evenly into frames of 24, 25, 29.97, 30, 50, 59.94 and 60 per second, into
/// milliseconds, and into AAC frames at 48 kHz: edits are exact on all of them.
pub const MOVIE_TIMESCALE: u32 = 90_000;
