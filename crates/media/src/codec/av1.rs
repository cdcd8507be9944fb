//! AV1: the `AV1CodecConfigurationRecord`, and the sequence header in it or in a key frame.

use bytes::Bytes;
use shiguredo_mp4::{
    Decode, Encode,
    bitstream::av1::{Av1ObuParseContext, Av1ObuType, parse_obus, parse_sequence_header},
    boxes::{Av01Box, Av1cBox, SampleEntry},
    codec_string::from_sample_entry,
};

use super::sample_entry::{opaque, visual, visual_fields};
use crate::error::{CodecError, MuxError};

const RECORD: &str = "AV1CodecConfigurationRecord";

/// An AV1 configuration: the encoder's record, and the picture size where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Av1Config {
    record: Bytes,
    codec_string: String,
    /// From the sequence header in the record.
    own_dimensions: Option<(u32, u32)>,
    /// From a sample, when the record has no sequence header.
    sample_dimensions: Option<(u32, u32)>,
}

impl Av1Config {
    pub(super) fn parse(record: Bytes, sample_dimensions: Option<(u32, u32)>) -> Result<Self, CodecError> {
        let malformed = |error: shiguredo_mp4::Error| CodecError::malformed(RECORD, error.to_string());
        let av1c_bytes = opaque(*b"av1C", record.to_vec()).encode_to_vec().map_err(malformed)?;
        let (av1c, _) = Av1cBox::decode(&av1c_bytes).map_err(malformed)?;
        let own_dimensions = dimensions_in(&av1c.config_obus, Av1ObuParseContext::ConfigObus);
        let codec_string = from_sample_entry(&SampleEntry::Av01(Av01Box {
            visual: visual_fields(0, 0),
            av1c_box: av1c,
            unknown_boxes: Vec::new(),
        }))
        .map_err(malformed)?;
        Ok(Self { record, codec_string, own_dimensions, sample_dimensions })
    }

    /// The record as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        self.own_dimensions.or(self.sample_dimensions)
    }

    pub(super) fn dimensions_from_sample(&self) -> Option<(u32, u32)> {
        self.sample_dimensions
    }

    pub(super) fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    pub(super) fn with_sequence_header_from_sample(&self, data: &[u8]) -> Option<Self> {
        if self.own_dimensions.is_some() {
            return None;
        }
        let found = dimensions_in(data, Av1ObuParseContext::Sample)?;
        (self.sample_dimensions != Some(found))
            .then(|| Self { sample_dimensions: Some(found), ..self.clone() })
    }

    pub(super) fn sample_entry(&self) -> Result<SampleEntry, MuxError> {
        let dimensions = self.dimensions().ok_or(MuxError::NoDimensions { codec: "AV1" })?;
        visual(*b"av01", dimensions, &[opaque(*b"av1C", self.record.to_vec())])
    }
}

/// Picture size in the first sequence header among `obus`.
fn dimensions_in(obus: &[u8], context: Av1ObuParseContext) -> Option<(u32, u32)> {
    let obus = parse_obus(obus, context).ok()?;
    let header = obus.iter().find(|obu| obu.obu_type == Av1ObuType::SequenceHeader)?;
    let header = parse_sequence_header(header.payload).ok()?;
    Some((header.max_frame_width, header.max_frame_height))
}
