//! Codec configuration: what a decoder has to know before the first sample.
//!
//! Fed by `ingest` with the record that the encoder sent, used by [`crate::cmaf`] and [`crate::mp4`]
//! for the sample entry. The record's bytes are kept as they came and written to every file
//! unchanged; what is read from them (picture size, sample rate, colour) only describes them.

mod aac;
mod av1;
mod av1_sequence;
mod avc;
mod hevc;
mod mp3;
mod opus;
mod sample_entry;
mod shown;
mod stored;
mod vp8;
mod vp9;
mod vpcc;
mod vui;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shiguredo_mp4::boxes::SampleEntry;

pub(crate) use self::vpcc::SampleForm;
pub use self::{
    aac::AacConfig, av1::Av1Config, avc::AvcConfig, hevc::HevcConfig, mp3::Mp3Config, opus::OpusConfig,
    vp8::Vp8Config, vp9::Vp9Config,
};
use crate::{
    colour::{Colour, ColourInfo},
    error::{CodecError, MuxError},
    sample::TrackKind,
};

/// A codec and its configuration record.
///
/// Stored as JSON: the codec's name and the record in hexadecimal, from which everything else is
/// read again, so that a stored configuration cannot contradict itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "stored::StoredConfig", into = "stored::StoredConfig")]
pub enum CodecConfig {
    /// H.264 / AVC.
    H264(AvcConfig),
    /// H.265 / HEVC.
    H265(HevcConfig),
    /// AV1.
    Av1(Av1Config),
    /// VP8.
    Vp8(Vp8Config),
    /// VP9.
    Vp9(Vp9Config),
    /// AAC: LC, HE-AAC v1 and v2, LD and ELD.
    Aac(AacConfig),
    /// Opus.
    Opus(OpusConfig),
    /// MPEG-1, MPEG-2 and MPEG-2.5 audio, layer III.
    Mp3(Mp3Config),
}

impl CodecConfig {
    /// From an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1). Its first sequence parameter
    /// set must parse.
    pub fn h264(avcc: Bytes) -> Result<Self, CodecError> {
        AvcConfig::parse(avcc).map(Self::H264)
    }

    /// From an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.2.1). Its first sequence parameter
    /// set must parse.
    pub fn h265(hvcc: Bytes) -> Result<Self, CodecError> {
        HevcConfig::parse(hvcc).map(Self::H265)
    }

    /// From an `AV1CodecConfigurationRecord` (AV1 in ISOBMFF §2.3). Without configuration OBUs the
    /// picture size is unknown until [`Self::with_dimensions_from_sample`].
    pub fn av1(av1c: Bytes) -> Result<Self, CodecError> {
        Av1Config::parse(av1c, None).map(Self::Av1)
    }

    /// From a `VPCodecConfigurationRecord`, as [`Self::vp9`].
    pub fn vp8(vpcc: Bytes) -> Result<Self, CodecError> {
        Vp8Config::parse(vpcc, None).map(Self::Vp8)
    }

    /// From a `VPCodecConfigurationRecord` (VP Codec ISO Media File Format Binding), with or without
    /// the version and flags that precede it in a `vpcC` box: senders of Enhanced RTMP do both.
    /// The picture size is unknown until [`Self::with_dimensions_from_sample`].
    pub fn vp9(vpcc: Bytes) -> Result<Self, CodecError> {
        Vp9Config::parse(vpcc, None).map(Self::Vp9)
    }

    /// From an `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1).
    pub fn aac(asc: Bytes) -> Result<Self, CodecError> {
        AacConfig::parse(asc).map(Self::Aac)
    }

    /// From an Ogg Opus identification header (`OpusHead`, RFC 7845 §5.1), as Enhanced RTMP sends it.
    pub fn opus_from_id_header(opus_head: &[u8]) -> Result<Self, CodecError> {
        OpusConfig::parse(opus_head).map(Self::Opus)
    }

    /// From the first frame of an MP3 stream, which has no record of its own: the frame header tells.
    pub fn mp3(first_frame: &[u8]) -> Result<Self, CodecError> {
        Mp3Config::parse(first_frame).map(Self::Mp3)
    }

    /// Video or audio.
    pub fn kind(&self) -> TrackKind {
        match self {
            Self::H264(_) | Self::H265(_) | Self::Av1(_) | Self::Vp8(_) | Self::Vp9(_) => TrackKind::Video,
            Self::Aac(_) | Self::Opus(_) | Self::Mp3(_) => TrackKind::Audio,
        }
    }

    /// The name that the metadata of an asset shows, e.g. `H264`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264(_) => "H264",
            Self::H265(_) => "H265",
            Self::Av1(_) => "AV1",
            Self::Vp8(_) => "VP8",
            Self::Vp9(_) => "VP9",
            Self::Aac(_) => "AAC",
            Self::Opus(_) => "Opus",
            Self::Mp3(_) => "MP3",
        }
    }

    /// The `codecs` parameter of a MIME type (RFC 6381), e.g. `avc1.64001f`.
    pub fn codec_string(&self) -> String {
        match self {
            Self::H264(config) => config.codec_string(),
            Self::H265(config) => config.codec_string(),
            Self::Av1(config) => config.codec_string(),
            Self::Vp8(config) => config.codec_string(),
            Self::Vp9(config) => config.codec_string(),
            Self::Aac(config) => config.codec_string(),
            Self::Opus(_) => "Opus".to_owned(),
            Self::Mp3(config) => config.codec_string(),
        }
    }

    /// Width and height of the picture in pixels, after cropping and before any pixel aspect ratio.
    /// `None` for audio, and for video whose record does not tell (see
    /// [`Self::with_dimensions_from_sample`]).
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => Some(config.dimensions()),
            Self::H265(config) => Some(config.dimensions()),
            Self::Av1(config) => config.dimensions(),
            Self::Vp8(config) => config.dimensions(),
            Self::Vp9(config) => config.dimensions(),
            Self::Aac(_) | Self::Opus(_) | Self::Mp3(_) => None,
        }
    }

    /// Samples per second, the unit of [`Self::audio_frame_len`] and the natural timescale of the track.
    ///
    /// For HE-AAC the rate of the core, which is right whether or not the record tells of the
    /// bandwidth extension; a decoder's output may run at twice that. For Opus always 48 000.
    pub fn audio_sample_rate(&self) -> Option<u32> {
        match self {
            Self::Aac(config) => Some(config.sample_rate()),
            Self::Opus(_) => Some(opus::SAMPLE_RATE),
            Self::Mp3(config) => Some(config.sample_rate()),
            _ => None,
        }
    }

    /// Channels after decoding.
    pub fn channels(&self) -> Option<u32> {
        match self {
            Self::Aac(config) => Some(config.channels()),
            Self::Opus(config) => Some(config.channels()),
            Self::Mp3(config) => Some(config.channels()),
            _ => None,
        }
    }

    /// How long one packet plays, in ticks of [`Self::audio_sample_rate`]. `None` for video and for a
    /// packet from which it cannot be read.
    pub fn audio_frame_len(&self, packet: &[u8]) -> Option<u32> {
        match self {
            Self::Aac(config) => Some(config.frame_len()),
            Self::Opus(_) => opus::packet_len(packet),
            Self::Mp3(config) => Some(config.frame_len()),
            _ => None,
        }
    }

    /// How many packets before the wanted one a decoder must be fed until its output is right, as the
    /// `roll_distance` of ISO/IEC 14496-12 §10.1 (negative). `None` where none is needed.
    ///
    /// `packet_len` is the usual length of a packet in ticks of [`Self::audio_sample_rate`].
    pub fn roll_distance(&self, packet_len: u32) -> Option<i16> {
        match self {
            // AAC overlaps each frame with the one before.
            Self::Aac(_) => Some(-1),
            // 80 ms in any packet length (Opus in ISOBMFF §4.3.6.2).
            Self::Opus(_) => {
                let packets = (opus::SAMPLE_RATE / 1000 * 80).div_ceil(packet_len.max(1));
                Some(i16::try_from(packets).map_or(i16::MIN, |packets| -packets))
            }
            _ => None,
        }
    }

    /// The configuration with the picture size that a sync sample carries, where the record itself
    /// does not tell: VP8, VP9, and AV1 without configuration OBUs.
    ///
    /// `None` when nothing new was learnt. A `Some` on a configuration that had a size already means
    /// that the picture changed its size.
    pub fn with_dimensions_from_sample(&self, data: &[u8]) -> Option<Self> {
        match self {
            Self::Vp8(config) => config.with_dimensions_from_sample(data).map(Self::Vp8),
            Self::Vp9(config) => config.with_dimensions_from_sample(data).map(Self::Vp9),
            Self::Av1(config) => config.with_sequence_header_from_sample(data).map(Self::Av1),
            _ => None,
        }
    }

    /// Whether decoding can begin at a sample, where its first bytes tell: VP8.
    pub fn is_sync_sample(&self, data: &[u8]) -> Option<bool> {
        matches!(self, Self::Vp8(_)).then(|| vp8::is_key_frame(data))
    }

    /// True when the encoder's record is the same, byte for byte: a repeated record, not a change of
    /// codec. What [`Self::with_dimensions_from_sample`] added does not count.
    pub fn same_record(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vp8(ours), Self::Vp8(theirs)) => ours.record() == theirs.record(),
            (Self::Vp9(ours), Self::Vp9(theirs)) => ours.record() == theirs.record(),
            (Self::Av1(ours), Self::Av1(theirs)) => ours.record() == theirs.record(),
            _ => self == other,
        }
    }

    /// The sample entry (ISO/IEC 14496-12 §8.5.2) with the encoder's record inside, unchanged.
    /// `info` is what the file shall say of the pictures' colours.
    ///
    /// Errors: [`MuxError::NoDimensions`] for video whose picture size is not known yet.
    pub fn sample_entry(&self, info: &ColourInfo) -> Result<SampleEntry, MuxError> {
        let shown = || shown::boxes(info, self.pixel_aspect_ratio());
        match self {
            Self::H264(config) => config.sample_entry(shown()),
            Self::H265(config) => config.sample_entry(shown()),
            Self::Av1(config) => config.sample_entry(shown()),
            Self::Vp8(config) => config.sample_entry(shown()),
            Self::Vp9(config) => config.sample_entry(shown()),
            Self::Aac(config) => Ok(config.sample_entry()),
            Self::Opus(config) => config.sample_entry(),
            Self::Mp3(config) => Ok(config.sample_entry()),
        }
    }

    /// Bytes of the length before each NAL unit of a sample; `None` for codecs without NAL units.
    pub fn nal_length_size(&self) -> Option<usize> {
        match self {
            Self::H264(config) => Some(config.nal_length_size()),
            Self::H265(config) => Some(config.nal_length_size()),
            _ => None,
        }
    }

    /// The parameter sets of the record as NAL units of a sample, each after its length: what a decoder
    /// needs in front of a sync sample that it got another record for. Empty for codecs that carry
    /// theirs in sync samples.
    pub fn parameter_sets(&self) -> Vec<u8> {
        let (sets, size) = match self {
            Self::H264(config) => (config.parameter_sets(), config.nal_length_size()),
            Self::H265(config) => (config.parameter_sets(), config.nal_length_size()),
            _ => return Vec::new(),
        };
        let mut units = Vec::new();
        for set in sets.unwrap_or_default() {
            let length = u32::try_from(set.len()).unwrap_or(u32::MAX).to_be_bytes();
            units.extend(&length[length.len() - size..]);
            units.extend(set);
        }
        units
    }

    /// The colours that the record or, for AV1, the sequence header tells. `None` for audio and where there
    /// is nothing to read.
    pub fn colour(&self) -> Option<Colour> {
        match self {
            Self::H264(config) => config.signal().colour(),
            Self::H265(config) => config.signal().colour(),
            Self::Av1(config) => config.colour(),
            Self::Vp8(config) => Some(config.colour()),
            Self::Vp9(config) => Some(config.colour()),
            Self::Aac(_) | Self::Opus(_) | Self::Mp3(_) => None,
        }
    }

    /// How the samples of pictures are coded, where the record tells: VP8 and VP9.
    pub(crate) fn sample_form(&self) -> Option<SampleForm> {
        match self {
            Self::Vp8(config) => Some(config.form()),
            Self::Vp9(config) => Some(config.form()),
            _ => None,
        }
    }

    /// Width and height of the pixel aspect ratio, where the bitstream names one other than 1:1.
    pub fn pixel_aspect_ratio(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => config.signal().pixel_aspect_ratio(),
            Self::H265(config) => config.signal().pixel_aspect_ratio(),
            _ => None,
        }
    }
}
