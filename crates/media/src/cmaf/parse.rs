//! Reads a fragment back, for the offline verifier and the tests.

use crate::{
    error::ParseError,
    sample::{SampleInfo, Ticks},
};

/// A fragment as read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFragment {
    /// Number of the fragment in its file.
    pub sequence_number: u32,
    /// In file order.
    pub tracks: Vec<ParsedTrack>,
    /// Bytes of the fragment; the next one begins here.
    pub len: u64,
}

/// One track of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedTrack {
    /// Number of the track.
    pub track_id: u32,
    /// Decode time of the first sample.
    pub base_dts: Ticks,
    /// In decode order.
    pub samples: Vec<SampleInfo>,
    /// Offset of the first sample's first byte from the start of the `moof`. The others follow
    /// without gaps.
    pub data_offset: u64,
}

/// Reads the fragment at the start of `bytes`; more may follow it.
///
/// - Errors: [`ParseError::Truncated`] when `bytes` end before the fragment does;
///   [`ParseError::Malformed`] when it is not one that [`crate::cmaf::encode_fragment_head`] writes, or
///   when a sample lies outside its `mdat`.
pub fn parse_fragment(bytes: &[u8]) -> Result<ParsedFragment, ParseError> {
    Err(ParseError::Truncated { needed: 8, available: bytes.len() as u64 })
}
