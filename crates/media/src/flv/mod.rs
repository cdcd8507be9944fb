//! FLV tags, which are also the media messages of RTMP, to tracks and samples.
//!
//! Pure. Fed tag by tag by `ingest`; [`Aggregate`] takes a message of many tags apart, [`mod@file`] a `.flv` file. Legacy tags and
//! Enhanced RTMP (v1 and v2) come out alike. What always holds: a sample follows the configuration
//! it was encoded with, an unchanged configuration is told once, and no byte string panics.

mod aggregate;
pub mod amf0;
mod audio;
mod clock;
mod colour_info;
mod demuxer;
mod enhanced;
pub mod file;
mod video;

#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, CutOff};
pub use demuxer::FlvDemuxer;

use crate::dropped::DropReason;
use crate::error::CodecError;
use crate::sample::{Sample, TrackConfig, TrackKind};

/// FLV tag type of audio (FLV 10.1, annex E.4.1).
pub const TAG_AUDIO: u8 = 8;
/// FLV tag type of video.
pub const TAG_VIDEO: u8 = 9;
/// FLV tag type of script data, such as `onMetaData`.
pub const TAG_SCRIPT: u8 = 18;

/// What a tag held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlvEvent {
    /// A track begins, or goes on with another configuration.
    Config(TrackConfig),
    /// A sample of a track whose configuration came before.
    Sample(TrackKind, Sample),
    /// The encoder says that the track is complete.
    EndOfSequence(TrackKind),
    /// Nothing that can be kept.
    Ignored {
        /// The track it is part of.
        kind: TrackKind,
        /// Why.
        reason: DropReason,
    },
}

/// Why one tag cannot be read. The tags after it can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The tag ends inside a header.
    #[error("FLV tag is cut off inside its header")]
    Truncated,
    /// A tag type other than audio, video and script data.
    #[error("FLV tag type {0} is unknown")]
    UnknownTagType(u8),
    /// A multitrack container inside another one.
    #[error("FLV tag nests multitrack containers")]
    NestedMultitrack,
    /// The decoder configuration cannot be used. Samples are ignored until one can.
    #[error("decoder configuration of the {kind:?} track is malformed")]
    Config {
        /// The track.
        kind: TrackKind,
        /// What is wrong with it.
        source: CodecError,
    },
}
