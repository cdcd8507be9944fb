//! VP9: the `VPCodecConfigurationRecord`, and the picture size that only key frames carry.

use bytes::Bytes;
use shiguredo_mp4::{
    Decode, Encode,
    bitstream::vp9::{Vp9FrameSize, Vp9FrameType, parse_frame_header},
    boxes::{SampleEntry, UnknownBox, Vp09Box, VpccBox},
    codec_string::from_sample_entry,
};

use super::{
    sample_entry::{opaque, visual, visual_fields},
    vui::Colour,
};
use crate::error::{CodecError, MuxError};

const RECORD: &str = "VPCodecConfigurationRecord";
/// Version 1 and no flags: what precedes the record in a `vpcC` box.
const FULL_BOX_HEADER: [u8; 4] = [1, 0, 0, 0];

/// A VP9 configuration: the encoder's record, and the picture size once a key frame was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vp9Config {
    /// As sent, with or without [`FULL_BOX_HEADER`].
    record: Bytes,
    codec_string: String,
    colour: Colour,
    dimensions: Option<(u32, u32)>,
}

impl Vp9Config {
    pub(super) fn parse(record: Bytes, dimensions: Option<(u32, u32)>) -> Result<Self, CodecError> {
        let malformed = |error: shiguredo_mp4::Error| CodecError::malformed(RECORD, error.to_string());
        let vpcc_bytes = vpcc_box(&record).encode_to_vec().map_err(malformed)?;
        let (vpcc, _) = VpccBox::decode(&vpcc_bytes).map_err(malformed)?;
        let colour = Colour {
            primaries: vpcc.colour_primaries.into(),
            transfer: vpcc.transfer_characteristics.into(),
            matrix: vpcc.matrix_coefficients.into(),
            full_range: vpcc.video_full_range_flag.as_bool(),
        };
        let codec_string = from_sample_entry(&SampleEntry::Vp09(Vp09Box {
            visual: visual_fields(0, 0),
            vpcc_box: vpcc,
            unknown_boxes: Vec::new(),
        }))
        .map_err(malformed)?;
        Ok(Self { record, codec_string, colour, dimensions })
    }

    /// The record as the encoder sent it, with or without the version and flags before it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        self.dimensions
    }

    pub(super) fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    pub(super) fn with_dimensions_from_sample(&self, data: &[u8]) -> Option<Self> {
        let header = parse_frame_header(data).ok()?;
        let Vp9FrameSize::Resolved { width, height } = header.frame_size else { return None };
        let found = Some((width, height));
        (header.frame_type == Vp9FrameType::Key && self.dimensions != found)
            .then(|| Self { dimensions: found, ..self.clone() })
    }

    pub(super) fn sample_entry(&self) -> Result<SampleEntry, MuxError> {
        let dimensions = self.dimensions.ok_or(MuxError::NoDimensions { codec: "VP9" })?;
        let mut children = vec![vpcc_box(&self.record)];
        children.extend(self.colour.to_box());
        visual(*b"vp09", dimensions, &children)
    }
}

/// The record as a box, with the version and flags that the box has and the record may lack.
fn vpcc_box(record: &[u8]) -> UnknownBox {
    // The third byte of a bare record holds the bit depth, which is never 0.
    let has_header = record.starts_with(&FULL_BOX_HEADER);
    let header: &[u8] = if has_header { &[] } else { &FULL_BOX_HEADER };
    opaque(*b"vpcC", [header, record].concat())
}
