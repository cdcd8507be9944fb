//! Lays out a movie: collects the sample tables of its tracks and places their chunks in the file.

use crate::{
    error::MuxError,
    mp4::virtual_file::VirtualMp4,
    sample::{SampleInfo, TrackConfig},
};

/// Which part of a track is shown, and when (ISO/IEC 14496-12 §8.6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Nothing is shown for this long before the media starts, in ticks of [`crate::mp4::MOVIE_TIMESCALE`].
    pub empty: u64,
    /// Composition time at which the media starts, in ticks of the track, on a timeline where the
    /// first included sample has decode time 0. Never negative.
    pub media_time: i64,
    /// How long the media is shown, in ticks of [`crate::mp4::MOVIE_TIMESCALE`].
    pub duration: u64,
}

/// A track of a movie.
#[derive(Debug, Clone, Copy)]
pub struct MovieTrack<'a> {
    /// Its codec and timescale.
    pub config: &'a TrackConfig,
    /// The part that is shown.
    pub edit: Edit,
}

/// Samples of one track that lie one after another in a source.
#[derive(Debug, Clone)]
pub struct Chunk<'a> {
    /// Index of the track in the movie.
    pub track: usize,
    /// The caller's number of the file that holds the samples.
    pub source: u32,
    /// Offset of the first sample's first byte in it.
    pub offset: u64,
    /// In decode order, following those of the track's previous chunk.
    pub samples: &'a [SampleInfo],
}

/// A movie whose sample tables are all in memory. For long ones feed a [`MovieBuilder`] instead.
#[derive(Debug, Clone, Copy)]
pub struct Movie<'a> {
    /// Tracks, numbered from 1 in the file.
    pub tracks: &'a [MovieTrack<'a>],
    /// In the order in which the file has them.
    pub chunks: &'a [Chunk<'a>],
    /// When the movie was made, in seconds since 1970-01-01 00:00 UTC.
    pub created_unix_s: u64,
}

/// Lays out a whole movie at once.
///
/// - Errors: those of [`MovieBuilder`].
pub fn layout(movie: Movie<'_>) -> Result<VirtualMp4, MuxError> {
    let mut builder = MovieBuilder::new(movie.tracks, movie.created_unix_s)?;
    for chunk in movie.chunks {
        builder.push(chunk)?;
    }
    builder.finish()
}

/// Lays out a movie chunk by chunk, keeping of each sample only its bytes in the index (4 to 20), so
/// that the sample tables of hours never have to be in memory together.
#[derive(Debug)]
pub struct MovieBuilder<'a> {
    tracks: &'a [MovieTrack<'a>],
}

impl<'a> MovieBuilder<'a> {
    /// A movie of `tracks`, made at `created_unix_s` (seconds since 1970-01-01 00:00 UTC).
    ///
    /// - Errors: [`MuxError::Empty`] without tracks; [`MuxError::NegativeTime`] for an edit that starts
    ///   before its media; [`MuxError::NoTimescale`].
    pub fn new(tracks: &'a [MovieTrack<'a>], created_unix_s: u64) -> Result<Self, MuxError> {
        let _ = created_unix_s;
        Ok(Self { tracks })
    }

    /// Appends a chunk to the file and its samples to their track. An empty chunk adds nothing.
    ///
    /// - Errors: [`MuxError::NoSuchTrack`]; [`MuxError::Overflow`] past 2^32 samples of a track.
    pub fn push(&mut self, chunk: &Chunk<'_>) -> Result<(), MuxError> {
        let _ = chunk;
        Ok(())
    }

    /// Writes the header.
    ///
    /// - Errors: [`MuxError::Empty`] for a track that got no samples; [`MuxError::NoDimensions`];
    ///   [`MuxError::Overflow`] for an index of 4 GiB.
    pub fn finish(self) -> Result<VirtualMp4, MuxError> {
        let _ = self.tracks;
        Err(MuxError::Empty { what: "no samples" })
    }
}
