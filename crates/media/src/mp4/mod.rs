//! The virtual MP4: a file with its index in front whose media stays where it is.
//!
//! Fed with the sample tables of the timeline's segments. The result is a header (`ftyp`, `moov`, head
//! of the `mdat`) and a list of extents that together are the file.
//! Invariant: the same input gives the same bytes, so that an `ETag` and a resumed download hold.

mod file;
mod layout;
mod tables;

pub use self::{
    file::VirtualMp4,
    layout::{Chunk, Edit, Movie, MovieBuilder, MovieTrack, layout},
};

/// Ticks per second of a movie's own clock, in which edits are measured.
///
/// 90 000 divides evenly into frames of 24, 25, 29.97, 30, 50, 59.94 and 60 per second, into
/// milliseconds, and into AAC frames at 48 kHz: edits are exact on all of them.
pub const MOVIE_TIMESCALE: u32 = 90_000;
