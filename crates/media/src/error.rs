//! What can go wrong in the media core: one error type per direction of travel.
//!
//! [`CodecError`] for configuration records from the network, [`MuxError`] for samples that cannot
//! be laid out, [`ParseError`] for fragments read back from storage.

use crate::virtual_file::PieceError;

/// A codec configuration record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The record ends before a field that it must have.
    #[error("{record} is cut short: it has only {len} bytes")]
    Truncated {
        /// The record's name in its specification.
        record: &'static str,
        /// Bytes received.
        len: usize,
    },
    /// The record contradicts its specification.
    #[error("{record} is malformed: {reason}")]
    Malformed {
        /// The record's name in its specification.
        record: &'static str,
        /// Which rule it breaks.
        reason: String,
    },
    /// The record is sound but describes something that is not handled here.
    #[error("{record} asks for {feature}, which is not supported")]
    Unsupported {
        /// The record's name in its specification.
        record: &'static str,
        /// What it asks for.
        feature: String,
    },
}

impl CodecError {
    pub(crate) fn malformed(record: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed { record, reason: reason.into() }
    }

    pub(crate) fn unsupported(record: &'static str, feature: impl Into<String>) -> Self {
        Self::Unsupported { record, feature: feature.into() }
    }
}

/// Samples that cannot be written as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// There is no track, or a track without a sample.
    #[error("there is nothing to write: {what}")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// A video track whose picture size is not known yet.
    #[error("the picture size of {codec} is not known: take it from a key frame first")]
    NoDimensions {
        /// Name of the codec.
        codec: &'static str,
    },
    /// A codec that WebM does not have.
    #[error("WebM has no {codec}: ask for MP4")]
    NotInWebm {
        /// Name of the codec.
        codec: &'static str,
    },
    /// A number does not fit the field that holds it.
    #[error("{field} overflows: {value} is more than {max}")]
    Overflow {
        /// The field, as its specification calls it.
        field: &'static str,
        /// What should have been written.
        value: u64,
        /// The most that the field holds.
        max: u64,
    },
    /// A time before zero where the format only has unsigned ones.
    #[error("{field} is negative ({value} ticks): shift the timeline to begin at or after zero")]
    NegativeTime {
        /// The field, as its specification calls it.
        field: &'static str,
        /// Ticks of the track.
        value: i64,
    },
    /// A chunk names a track that the movie does not have.
    #[error("a chunk belongs to track {track}, but the movie has {tracks}")]
    NoSuchTrack {
        /// Index that the chunk carries.
        track: usize,
        /// Number of tracks.
        tracks: usize,
    },
    /// A chunk names a configuration that its track does not have.
    #[error("a chunk is decoded with configuration {config}, but its track has {configs}")]
    NoSuchConfig {
        /// Index that the chunk carries.
        config: usize,
        /// Number of configurations.
        configs: usize,
    },
    /// Samples that a file is planned with cannot be read.
    #[error(transparent)]
    Unreadable(#[from] PieceError),
    /// A track has a timescale of zero.
    #[error("a track has a timescale of 0 ticks per second")]
    NoTimescale,
    /// A box could not be encoded; a bug of ours unless a configuration record is enormous.
    #[error("cannot encode a box: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
}

impl From<shiguredo_mp4::Error> for MuxError {
    fn from(error: shiguredo_mp4::Error) -> Self {
        Self::Encode { reason: error.to_string() }
    }
}

/// A fragment that does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes end inside the fragment.
    #[error("the fragment is cut short: {needed} bytes are needed, {available} are there")]
    Truncated {
        /// Bytes the fragment says it has.
        needed: u64,
        /// Bytes given.
        available: u64,
    },
    /// The boxes are not those of a fragment written by [`crate::cmaf::encode_fragment_head`].
    #[error("the fragment is malformed: {reason}")]
    Malformed {
        /// Which rule is broken.
        reason: String,
    },
}

impl ParseError {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }
}
