//! The head of a fragment: the `moof` and the header of the `mdat`.

use crate::{
    error::MuxError,
    sample::{SampleInfo, Ticks},
};

/// The samples of one track in a fragment.
#[derive(Debug, Clone, Copy)]
pub struct FragmentTrack<'a> {
    /// Number of the track, as in the initialization segment.
    pub track_id: u32,
    /// Decode time of the first sample. The format has no negative times: the caller shifts its
    /// timeline so that it begins at or after zero.
    pub base_dts: Ticks,
    /// In decode order, at least one.
    pub samples: &'a [SampleInfo],
}

/// What precedes the samples' bytes of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentHead {
    /// The `moof` and the header of the `mdat`.
    pub bytes: Vec<u8>,
    /// For each track, the offset of its first sample's first byte from the start of the `moof`.
    pub data_offsets: Vec<u64>,
    /// Bytes of the whole fragment: the head and all samples.
    pub total_len: u64,
}

/// Encodes the head of a fragment. The caller writes it, then the bytes of all samples of the first
/// track, then those of the next.
///
/// - `sequence_number`: of the fragment in its file, from 1, rising.
/// - Errors: [`MuxError::Empty`] without tracks or for a track without samples;
///   [`MuxError::NegativeTime`] for a base before zero; [`MuxError::Overflow`] for more data than the
///   32-bit offsets of `trun` and size of `mdat` hold.
///
/// Spec: ISO/IEC 14496-12 §8.8.4 (`moof`), §8.8.8 (`trun`), §8.8.12 (`tfdt` version 1).
pub fn encode_fragment_head(
    sequence_number: u32,
    tracks: &[FragmentTrack<'_>],
) -> Result<FragmentHead, MuxError> {
    let _ = (sequence_number, tracks);
    Err(MuxError::Empty { what: "no tracks" })
}
