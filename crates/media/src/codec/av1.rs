//! AV1: the `AV1CodecConfigurationRecord`, and the sequence header in it or in a key frame.

use bytes::Bytes;
use shiguredo_mp4::{
    Decode, Encode,
    bitstream::av1::Av1ObuParseContext,
    boxes::{Av01Box, Av1cBox, SampleEntry, UnknownBox},
    codec_string::from_sample_entry,
};

use super::av1_sequence::Sequence;
use super::sample_entry::{opaque, visual, visual_fields};
use crate::colour::Colour;
use crate::error::{CodecError, MuxError};

const RECORD: &str = "AV1CodecConfigurationRecord";

/// An AV1 configuration: the encoder's record, and what is known of the pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Av1Config {
    record: Bytes,
    codec_string: String,
    /// The sequence header in the record.
    own_sequence: Option<Sequence>,
    /// That in a sample, when the record has none.
    sample_sequence: Option<Sequence>,
}

impl Av1Config {
    pub(super) fn parse(record: Bytes, sample_sequence: Option<Sequence>) -> Result<Self, CodecError> {
        let malformed = |error: shiguredo_mp4::Error| CodecError::malformed(RECORD, error.to_string());
        let av1c_bytes = opaque(*b"av1C", record.to_vec()).encode_to_vec().map_err(malformed)?;
        let (av1c, _) = Av1cBox::decode(&av1c_bytes).map_err(malformed)?;
        let own_sequence = Sequence::find(&av1c.config_obus, Av1ObuParseContext::ConfigObus);
        let codec_string = from_sample_entry(&SampleEntry::Av01(Av01Box {
            visual: visual_fields(0, 0),
            av1c_box: av1c,
            unknown_boxes: Vec::new(),
        }))
        .map_err(malformed)?;
        Ok(Self { record, codec_string, own_sequence, sample_sequence })
    }

    /// The record as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        self.sequence().map(|sequence| sequence.dimensions)
    }

    pub(super) fn colour(&self) -> Option<Colour> {
        self.sequence().and_then(|sequence| sequence.colour)
    }

    fn sequence(&self) -> Option<Sequence> {
        self.own_sequence.or(self.sample_sequence)
    }

    pub(super) fn sequence_from_sample(&self) -> Option<Sequence> {
        self.sample_sequence
    }

    pub(super) fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    pub(super) fn with_sequence_header_from_sample(&self, data: &[u8]) -> Option<Self> {
        if self.own_sequence.is_some() {
            return None;
        }
        let found = Sequence::find(data, Av1ObuParseContext::Sample)?;
        (self.sample_sequence != Some(found)).then(|| Self { sample_sequence: Some(found), ..self.clone() })
    }

    pub(super) fn sample_entry(&self, shown: Vec<UnknownBox>) -> Result<SampleEntry, MuxError> {
        let dimensions = self.dimensions().ok_or(MuxError::NoDimensions { codec: "AV1" })?;
        let mut children = vec![opaque(*b"av1C", self.record.to_vec())];
        children.extend(shown);
        visual(*b"av01", dimensions, &children)
    }
}
