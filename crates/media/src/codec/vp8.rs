//! VP8: the `VPCodecConfigurationRecord`, and the picture size that only key frames carry.

use bytes::Bytes;
use shiguredo_mp4::{
    bitstream::vp8::parse_frame_header,
    boxes::{SampleEntry, UnknownBox, Vp08Box},
};

use super::{
    sample_entry::visual_fields,
    vpcc::{SampleForm, VpRecord},
};
use crate::colour::Colour;
use crate::error::{CodecError, MuxError};

/// A VP8 configuration: the encoder's record, and the picture size once a key frame was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vp8Config {
    record: VpRecord,
    dimensions: Option<(u32, u32)>,
}

impl Vp8Config {
    pub(super) fn parse(record: Bytes, dimensions: Option<(u32, u32)>) -> Result<Self, CodecError> {
        let entry = |vpcc_box| {
            SampleEntry::Vp08(Vp08Box { visual: visual_fields(0, 0), vpcc_box, unknown_boxes: Vec::new() })
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

    /// The size in a key frame's header (RFC 6386 §9.1), before the upscaling that it may ask for, which
    /// decoders do not do.
    pub(super) fn with_dimensions_from_sample(&self, data: &[u8]) -> Option<Self> {
        let key = parse_frame_header(data).ok()?.keyframe?;
        let found = Some((u32::from(key.width), u32::from(key.height)));
        (self.dimensions != found).then(|| Self { dimensions: found, ..self.clone() })
    }

    pub(super) fn colour(&self) -> Colour {
        self.record.colour()
    }

    pub(super) fn form(&self) -> SampleForm {
        self.record.form()
    }

    pub(super) fn sample_entry(&self, shown: Vec<UnknownBox>) -> Result<SampleEntry, MuxError> {
        let dimensions = self.dimensions.ok_or(MuxError::NoDimensions { codec: "VP8" })?;
        self.record.sample_entry(*b"vp08", dimensions, shown)
    }
}

/// Whether a frame is a key frame: the lowest bit of its tag is 0 (RFC 6386 §9.1).
pub(super) fn is_key_frame(data: &[u8]) -> bool {
    data.first().is_some_and(|tag| tag & 1 == 0)
}
