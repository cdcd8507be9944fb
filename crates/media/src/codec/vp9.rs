//! VP9: the `VPCodecConfigurationRecord`, and the picture size that only key frames carry.

use bytes::Bytes;
use shiguredo_mp4::{
    bitstream::vp9::{Vp9FrameSize, Vp9FrameType, parse_frame_header},
    boxes::{SampleEntry, UnknownBox, Vp09Box},
};

use super::{
    sample_entry::visual_fields,
    vpcc::{SampleForm, VpRecord},
};
use crate::colour::Colour;
use crate::error::{CodecError, MuxError};

/// A VP9 configuration: the encoder's record, and the picture size once a key frame was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vp9Config {
    record: VpRecord,
    dimensions: Option<(u32, u32)>,
}

impl Vp9Config {
    pub(super) fn parse(record: Bytes, dimensions: Option<(u32, u32)>) -> Result<Self, CodecError> {
        let entry = |vpcc_box| {
            SampleEntry::Vp09(Vp09Box { visual: visual_fields(0, 0), vpcc_box, unknown_boxes: Vec::new() })
        };
        Ok(Self { record: VpRecord::parse(record, entry)?, dimensions })
    }

    /// The record as the encoder sent it, with or without the version and flags before it.
    pub fn record(&self) -> &Bytes {
        self.record.bytes()
    }

    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        self.dimensions
    }

    pub(super) fn codec_string(&self) -> String {
        self.record.codec_string()
    }

    pub(super) fn with_dimensions_from_sample(&self, data: &[u8]) -> Option<Self> {
        let header = parse_frame_header(data).ok()?;
        let Vp9FrameSize::Resolved { width, height } = header.frame_size else { return None };
        let found = Some((width, height));
        (header.frame_type == Vp9FrameType::Key && self.dimensions != found)
            .then(|| Self { dimensions: found, ..self.clone() })
    }

    pub(super) fn colour(&self) -> Colour {
        self.record.colour()
    }

    pub(super) fn form(&self) -> SampleForm {
        self.record.form()
    }

    /// See [`VpRecord::features`].
    pub(crate) fn features(&self) -> [u8; 12] {
        self.record.features()
    }

    pub(super) fn sample_entry(&self, shown: Vec<UnknownBox>) -> Result<SampleEntry, MuxError> {
        let dimensions = self.dimensions.ok_or(MuxError::NoDimensions { codec: "VP9" })?;
        self.record.sample_entry(*b"vp09", dimensions, shown)
    }
}
