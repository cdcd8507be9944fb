//! How a codec configuration is written to the database: its name, and the record in hexadecimal.
//!
//! Reading parses the record again, so the parsed fields never have to be migrated.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::av1_sequence::Sequence;
use super::{
    AacConfig, Av1Config, AvcConfig, CodecConfig, HevcConfig, Mp3Config, OpusConfig, Vp8Config, Vp9Config,
};
use crate::colour::Colour;
use crate::error::CodecError;

/// The stored form of [`CodecConfig`].
#[derive(Serialize, Deserialize)]
#[serde(tag = "codec")]
pub(super) enum StoredConfig {
    H264 {
        #[serde(with = "hex_bytes")]
        avcc: Bytes,
    },
    H265 {
        #[serde(with = "hex_bytes")]
        hvcc: Bytes,
    },
    #[serde(rename = "AV1")]
    Av1 {
        #[serde(with = "hex_bytes")]
        av1c: Bytes,
        /// From a sample, where `av1c` has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimensions: Option<(u32, u32)>,
        /// Likewise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        colour: Option<Colour>,
    },
    #[serde(rename = "VP8")]
    Vp8 {
        #[serde(with = "hex_bytes")]
        vpcc: Bytes,
        /// From a sample.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimensions: Option<(u32, u32)>,
    },
    #[serde(rename = "VP9")]
    Vp9 {
        #[serde(with = "hex_bytes")]
        vpcc: Bytes,
        /// From a sample.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimensions: Option<(u32, u32)>,
    },
    #[serde(rename = "AAC")]
    Aac {
        #[serde(with = "hex_bytes")]
        asc: Bytes,
    },
    Opus {
        #[serde(with = "hex_bytes")]
        id_header: Bytes,
    },
    #[serde(rename = "MP3")]
    Mp3 {
        #[serde(with = "hex_bytes")]
        frame_header: Bytes,
    },
}

impl TryFrom<StoredConfig> for CodecConfig {
    type Error = CodecError;

    fn try_from(stored: StoredConfig) -> Result<Self, CodecError> {
        Ok(match stored {
            StoredConfig::H264 { avcc } => Self::H264(AvcConfig::parse(avcc)?),
            StoredConfig::H265 { hvcc } => Self::H265(HevcConfig::parse(hvcc)?),
            StoredConfig::Av1 { av1c, dimensions, colour } => {
                let sequence = dimensions.map(|dimensions| Sequence { dimensions, colour });
                Self::Av1(Av1Config::parse(av1c, sequence)?)
            }
            StoredConfig::Vp8 { vpcc, dimensions } => Self::Vp8(Vp8Config::parse(vpcc, dimensions)?),
            StoredConfig::Vp9 { vpcc, dimensions } => Self::Vp9(Vp9Config::parse(vpcc, dimensions)?),
            StoredConfig::Aac { asc } => Self::Aac(AacConfig::parse(asc)?),
            StoredConfig::Opus { id_header } => Self::Opus(OpusConfig::parse(&id_header)?),
            StoredConfig::Mp3 { frame_header } => Self::Mp3(Mp3Config::parse(&frame_header)?),
        })
    }
}

impl From<CodecConfig> for StoredConfig {
    fn from(config: CodecConfig) -> Self {
        match config {
            CodecConfig::H264(config) => Self::H264 { avcc: config.record().clone() },
            CodecConfig::H265(config) => Self::H265 { hvcc: config.record().clone() },
            CodecConfig::Av1(config) => {
                let sequence = config.sequence_from_sample();
                Self::Av1 {
                    av1c: config.record().clone(),
                    dimensions: sequence.map(|sequence| sequence.dimensions),
                    colour: sequence.and_then(|sequence| sequence.colour),
                }
            }
            CodecConfig::Vp8(config) => {
                Self::Vp8 { vpcc: config.record().clone(), dimensions: config.dimensions() }
            }
            CodecConfig::Vp9(config) => {
                Self::Vp9 { vpcc: config.record().clone(), dimensions: config.dimensions() }
            }
            CodecConfig::Aac(config) => Self::Aac { asc: config.record().clone() },
            CodecConfig::Opus(config) => Self::Opus { id_header: config.record().clone() },
            CodecConfig::Mp3(config) => {
                Self::Mp3 { frame_header: Bytes::copy_from_slice(config.frame_header()) }
            }
        }
    }
}

/// Bytes as a string of hexadecimal digits.
mod hex_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
