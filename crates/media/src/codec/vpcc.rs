//! The `VPCodecConfigurationRecord` that VP8 and VP9 share.
//!
//! Spec: VP Codec ISO Media File Format Binding, which Enhanced RTMP refers to for both.

use bytes::Bytes;
use shiguredo_mp4::{
    Decode, Encode,
    boxes::{SampleEntry, UnknownBox, VpccBox},
    codec_string::from_sample_entry,
};

use super::sample_entry::{opaque, visual};
use crate::colour::Colour;
use crate::error::{CodecError, MuxError};

const RECORD: &str = "VPCodecConfigurationRecord";
/// Version 1 and no flags: what precedes the record in a `vpcC` box.
const FULL_BOX_HEADER: [u8; 4] = [1, 0, 0, 0];

/// A record as the encoder sent it, and what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VpRecord {
    /// With or without [`FULL_BOX_HEADER`].
    bytes: Bytes,
    codec_string: String,
    colour: Colour,
    profile: u8,
    level: u8,
    bit_depth: u8,
    /// 0 and 1: 4:2:0, 2: 4:2:2, 3: 4:4:4.
    chroma_subsampling: u8,
}

/// How the samples of a picture are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleForm {
    /// Bits of each.
    pub(crate) bit_depth: u8,
    /// Whether chroma has half as many, horizontally and vertically.
    pub(crate) subsampled: (bool, bool),
}

impl VpRecord {
    /// Reads a record. `entry` makes the sample entry of its codec, for the name of the codec.
    pub(super) fn parse(
        bytes: Bytes,
        entry: impl FnOnce(VpccBox) -> SampleEntry,
    ) -> Result<Self, CodecError> {
        let malformed = |error: shiguredo_mp4::Error| CodecError::malformed(RECORD, error.to_string());
        let boxed = vpcc_box(&bytes).encode_to_vec().map_err(malformed)?;
        let (vpcc, _) = VpccBox::decode(&boxed).map_err(malformed)?;
        Ok(Self {
            bytes,
            colour: Colour {
                primaries: vpcc.colour_primaries.into(),
                transfer: vpcc.transfer_characteristics.into(),
                matrix: vpcc.matrix_coefficients.into(),
                full_range: vpcc.video_full_range_flag.as_bool(),
            },
            profile: vpcc.profile,
            level: vpcc.level,
            bit_depth: vpcc.bit_depth.get(),
            chroma_subsampling: vpcc.chroma_subsampling.get(),
            codec_string: from_sample_entry(&entry(vpcc)).map_err(malformed)?,
        })
    }

    /// As sent, with or without the version and flags before it.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    pub(super) fn colour(&self) -> Colour {
        self.colour
    }

    pub(super) fn form(&self) -> SampleForm {
        let subsampled = (self.chroma_subsampling < 3, self.chroma_subsampling < 2);
        SampleForm { bit_depth: self.bit_depth, subsampled }
    }

    /// What WebM gives a decoder of VP9 (WebM Container Guidelines, "VP9 Codec Feature Metadata"): identifier,
    /// length and value of profile, level, bit depth and chroma subsampling.
    pub(super) fn features(&self) -> [u8; 12] {
        let Self { profile, level, bit_depth, chroma_subsampling, .. } = *self;
        [1, 1, profile, 2, 1, level, 3, 1, bit_depth, 4, 1, chroma_subsampling]
    }

    /// The sample entry of the codec that `box_type` names; `shown` as from [`super::shown::boxes`].
    pub(super) fn sample_entry(
        &self,
        box_type: [u8; 4],
        dimensions: (u32, u32),
        shown: Vec<UnknownBox>,
    ) -> Result<SampleEntry, MuxError> {
        let mut children = vec![vpcc_box(&self.bytes)];
        children.extend(shown);
        visual(box_type, dimensions, &children)
    }
}

/// The record as a box, with the version and flags that the box has and the record may lack.
fn vpcc_box(record: &[u8]) -> UnknownBox {
    // The third byte of a bare record holds the bit depth, which is never 0.
    let has_header = record.starts_with(&FULL_BOX_HEADER);
    let header: &[u8] = if has_header { &[] } else { &FULL_BOX_HEADER };
    opaque(*b"vpcC", [header, record].concat())
}
