//! AAC: the `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1), with every way of announcing HE-AAC.
//!
//! Written by hand because the parser of `shiguredo_mp4` takes only plain AAC-LC: no bandwidth
//! extension, no program config element, no 960-sample frames.

use bytes::Bytes;
use shiguredo_mp4::{boxes::SampleEntry, descriptors::DecoderConfigDescriptor};

use super::sample_entry::mp4a;
use crate::{bits::BitReader, error::CodecError};

const RECORD: &str = "AudioSpecificConfig";

const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Audio object types (ISO/IEC 14496-3 table 1.17).
mod object_type {
    pub(super) const SBR: u32 = 5;
    pub(super) const SCALABLE: u32 = 6;
    pub(super) const ER_SCALABLE: u32 = 20;
    pub(super) const ER_LD: u32 = 23;
    pub(super) const PS: u32 = 29;
    pub(super) const ESCAPE: u32 = 31;
    pub(super) const ER_ELD: u32 = 39;
}

/// An AAC configuration: the encoder's record and the audio that it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig {
    record: Bytes,
    /// Of the core coder, without extensions.
    object_type: u32,
    has_sbr: bool,
    has_ps: bool,
    /// Of the core coder.
    sample_rate: u32,
    /// After decoding, parametric stereo included.
    channels: u32,
    frame_len: u32,
}

impl AacConfig {
    pub(super) fn parse(record: Bytes) -> Result<Self, CodecError> {
        let mut reader = BitReader::new(&record);
        let header = read_header(&mut reader, record.len())?;
        let truncated = CodecError::Truncated { record: RECORD, len: record.len() };
        let core = read_core(&mut reader, &header).ok_or(truncated)?;
        let extension = read_sync_extension(&mut reader);
        let channels =
            core.channels.or_else(|| channel_count(header.channel_configuration)).ok_or_else(|| {
                CodecError::unsupported(
                    RECORD,
                    format!("channel configuration {}", header.channel_configuration),
                )
            })?;
        if channels == 0 {
            return Err(CodecError::malformed(RECORD, "its program config element has no channels"));
        }
        let has_ps = header.has_ps || extension.has_ps;
        Ok(Self {
            object_type: header.object_type,
            has_sbr: header.has_sbr || extension.has_sbr,
            has_ps,
            sample_rate: header.sample_rate,
            channels: if has_ps && channels == 1 { 2 } else { channels },
            frame_len: core.frame_len,
            record,
        })
    }

    /// The record as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    pub(super) fn channels(&self) -> u32 {
        self.channels
    }

    pub(super) fn frame_len(&self) -> u32 {
        self.frame_len
    }

    pub(super) fn codec_string(&self) -> String {
        let object_type = match (self.has_ps, self.has_sbr) {
            (true, _) => object_type::PS,
            (false, true) => object_type::SBR,
            (false, false) => self.object_type,
        };
        format!("mp4a.40.{object_type}")
    }

    pub(super) fn sample_entry(&self) -> SampleEntry {
        let object_type = DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3;
        mp4a(object_type, Some(&self.record), self.channels, self.sample_rate)
    }
}

/// The part common to all object types. Hierarchical signalling of extensions is resolved:
/// `object_type` is that of the core.
struct Header {
    object_type: u32,
    sample_rate: u32,
    channel_configuration: u32,
    has_sbr: bool,
    has_ps: bool,
}

/// What the specific configuration of the core tells.
struct Core {
    frame_len: u32,
    /// From a program config element.
    channels: Option<u32>,
}

#[derive(Default)]
struct Extension {
    has_sbr: bool,
    has_ps: bool,
}

fn read_header(reader: &mut BitReader<'_>, len: usize) -> Result<Header, CodecError> {
    let truncated = || CodecError::Truncated { record: RECORD, len };
    let outer = read_object_type(reader).ok_or_else(truncated)?;
    let sample_rate = read_sample_rate(reader).ok_or_else(truncated)??;
    let channel_configuration = reader.bits(4).ok_or_else(truncated)?;
    let (has_sbr, has_ps) = (matches!(outer, object_type::SBR | object_type::PS), outer == object_type::PS);
    let object_type = if has_sbr {
        // §1.6.5.3: the rate so far is the core's; that of the extension follows, then the core's type.
        read_sample_rate(reader).ok_or_else(truncated)??;
        read_object_type(reader).ok_or_else(truncated)?
    } else {
        outer
    };
    if !matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23 | object_type::ER_ELD) {
        return Err(CodecError::unsupported(RECORD, format!("audio object type {object_type}")));
    }
    Ok(Header { object_type, sample_rate, channel_configuration, has_sbr, has_ps })
}

fn read_object_type(reader: &mut BitReader<'_>) -> Option<u32> {
    match reader.bits(5)? {
        object_type::ESCAPE => Some(32 + reader.bits(6)?),
        object_type => Some(object_type),
    }
}

/// `None` at the end of the data, an error for a reserved index.
fn read_sample_rate(reader: &mut BitReader<'_>) -> Option<Result<u32, CodecError>> {
    let index = reader.bits(4)?;
    let rate = if index == 15 {
        reader.bits(24)?
    } else {
        usize::try_from(index).ok().and_then(|index| SAMPLE_RATES.get(index).copied()).unwrap_or(0)
    };
    Some(if rate == 0 {
        Err(CodecError::malformed(RECORD, "its sampling frequency is zero or reserved"))
    } else {
        Ok(rate)
    })
}

fn read_core(reader: &mut BitReader<'_>, header: &Header) -> Option<Core> {
    let short_frames = reader.bit()?; // frameLengthFlag, also first in ELDSpecificConfig (§4.4.1, §4.6.20.1)
    let (long, short) = match header.object_type {
        object_type::ER_LD | object_type::ER_ELD => (512, 480),
        _ => (1024, 960),
    };
    let frame_len = if short_frames { short } else { long };
    if header.object_type == object_type::ER_ELD {
        return Some(Core { frame_len, channels: None });
    }
    let depends_on_core_coder = reader.bit()?;
    if depends_on_core_coder {
        reader.skip(14)?; // coreCoderDelay
    }
    let extension_flag = reader.bit()?;
    let channels =
        if header.channel_configuration == 0 { Some(read_program_config_element(reader)?) } else { None };
    if matches!(header.object_type, object_type::SCALABLE | object_type::ER_SCALABLE) {
        reader.skip(3)?; // layerNr
    }
    if extension_flag && header.object_type >= 17 {
        match header.object_type {
            22 => reader.skip(16)?,               // numOfSubFrame, layer_length
            17 | 19 | 20 | 23 => reader.skip(3)?, // resilience flags
            _ => {}
        }
        reader.skip(1)?; // extensionFlag3
    }
    if header.object_type >= 17 {
        reader.skip(2)?; // epConfig
    }
    Some(Core { frame_len, channels })
}

/// Counts the channels of a `program_config_element()` (§4.4.1.1) and reads past it.
fn read_program_config_element(reader: &mut BitReader<'_>) -> Option<u32> {
    reader.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let channel_elements = [reader.bits(4)?, reader.bits(4)?, reader.bits(4)?]; // front, side, back
    let lfe_elements = reader.bits(2)?;
    let data_elements = reader.bits(3)?;
    let coupling_elements = reader.bits(4)?;
    for mixdown_bits in [4, 4, 3] {
        if reader.bit()? {
            reader.skip(mixdown_bits)?;
        }
    }
    let mut channels = lfe_elements;
    for _ in 0..channel_elements.iter().sum() {
        let is_pair = reader.bit()?;
        channels += if is_pair { 2 } else { 1 };
        reader.skip(4)?; // element_tag_select
    }
    let tags = lfe_elements * 4 + data_elements * 4 + coupling_elements * 5;
    reader.skip(usize::try_from(tags).ok()?)?;
    reader.align();
    let comment_len = reader.bits(8)?;
    reader.skip(usize::try_from(comment_len).ok()? * 8)?;
    Some(channels)
}

/// Backward compatible signalling of extensions after the core's configuration (§1.6.6.1). Its
/// absence is no error: extensions may also be announced nowhere but in the frames.
fn read_sync_extension(reader: &mut BitReader<'_>) -> Extension {
    let mut extension = Extension::default();
    let _ = (|| {
        if reader.bits(11)? != 0x2b7 || read_object_type(reader)? != object_type::SBR {
            return None;
        }
        extension.has_sbr = reader.bit()?;
        if extension.has_sbr {
            read_sample_rate(reader)?.ok()?;
            extension.has_ps = reader.bits(11)? == 0x548 && reader.bit()?;
        }
        Some(())
    })();
    extension
}

/// Channels of a `channelConfiguration` (ISO/IEC 14496-3 table 1.19).
fn channel_count(channel_configuration: u32) -> Option<u32> {
    match channel_configuration {
        1..=6 => Some(channel_configuration),
        7 | 12 | 14 => Some(8),
        11 => Some(7),
        13 => Some(24),
        _ => None,
    }
}
