//! Opus: the Ogg identification header that senders use, the `dOps` box that MP4 uses, and the
//! length of a packet.
//!
//! Written by hand because the `dOps` box of `shiguredo_mp4` knows neither more than two channels nor
//! their mapping, and because it does not read packets.

use bytes::Bytes;
use shiguredo_mp4::boxes::SampleEntry;

use super::sample_entry::{audio, opaque};
use crate::error::{CodecError, MuxError};

const RECORD: &str = "OpusHead";
/// Opus always decodes at this rate (RFC 7845 §4).
pub(super) const SAMPLE_RATE: u32 = 48_000;
/// Header without a channel mapping table.
const FIXED_LEN: usize = 19;

/// An Opus configuration: the encoder's identification header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusConfig {
    record: Bytes,
    channels: u8,
    pre_skip: u16,
    input_sample_rate: u32,
    output_gain: i16,
    /// Family, then stream count, coupled count and mapping unless the family is 0.
    channel_mapping: Vec<u8>,
}

impl OpusConfig {
    pub(super) fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let Some((fixed, table)) = record.split_first_chunk::<FIXED_LEN>() else {
            return Err(CodecError::Truncated { record: RECORD, len: record.len() });
        };
        let [
            b'O',
            b'p',
            b'u',
            b's',
            b'H',
            b'e',
            b'a',
            b'd',
            version,
            channels,
            p0,
            p1,
            r0,
            r1,
            r2,
            r3,
            g0,
            g1,
            family,
        ] = *fixed
        else {
            return Err(CodecError::malformed(RECORD, "it does not begin with `OpusHead`"));
        };
        // The upper four bits are the major version: another one is another layout (RFC 7845 §5.1).
        if version >> 4 != 0 {
            return Err(CodecError::unsupported(RECORD, format!("version {version}")));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([p0, p1]),
            input_sample_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            output_gain: i16::from_le_bytes([g0, g1]),
            channel_mapping: channel_mapping(family, channels, table)?,
            record: Bytes::copy_from_slice(record),
        })
    }

    /// The identification header as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// Samples at 48 kHz to drop from the start of a stream's output.
    pub fn pre_skip(&self) -> u16 {
        self.pre_skip
    }

    pub(super) fn channels(&self) -> u32 {
        self.channels.into()
    }

    pub(super) fn sample_entry(&self) -> Result<SampleEntry, MuxError> {
        audio(*b"Opus", self.channels(), SAMPLE_RATE, &[opaque(*b"dOps", self.dops())])
    }

    /// `OpusSpecificBox` (Opus in ISOBMFF §4.3.2): the header's fields, big-endian and version 0.
    fn dops(&self) -> Vec<u8> {
        let mut dops = vec![0, self.channels];
        dops.extend(self.pre_skip.to_be_bytes());
        dops.extend(self.input_sample_rate.to_be_bytes());
        dops.extend(self.output_gain.to_be_bytes());
        dops.extend(&self.channel_mapping);
        dops
    }
}

/// Checks family and table (RFC 7845 §5.1.1), which have the same form in both containers.
fn channel_mapping(family: u8, channels: u8, table: &[u8]) -> Result<Vec<u8>, CodecError> {
    let most = match family {
        0 => 2,
        1 => 8,
        2 | 255 => 255,
        _ => return Err(CodecError::unsupported(RECORD, format!("channel mapping family {family}"))),
    };
    if channels == 0 || channels > most {
        return Err(CodecError::malformed(RECORD, format!("{channels} channels in mapping family {family}")));
    }
    if family == 0 {
        return Ok(vec![family]);
    }
    let table = table
        .get(..2 + usize::from(channels))
        .ok_or(CodecError::Truncated { record: RECORD, len: FIXED_LEN + table.len() })?;
    Ok([&[family], table].concat())
}

/// Length of a packet in samples at 48 kHz, from its first bytes (RFC 6716 §3.1, §3.2); `None` when
/// it is empty, has no frame or is longer than the 120 ms that a packet may be.
pub(super) fn packet_len(packet: &[u8]) -> Option<u32> {
    const LONGEST: u32 = SAMPLE_RATE / 1000 * 120;
    let toc = *packet.first()?;
    let configuration = toc >> 3;
    let frame_len = match configuration {
        // SILK: 10, 20, 40, 60 ms. Hybrid: 10, 20 ms. CELT: 2.5, 5, 10, 20 ms.
        0..=11 => [480, 960, 1920, 2880][usize::from(configuration & 3)],
        12..=15 => [480, 960][usize::from(configuration & 1)],
        _ => [120, 240, 480, 960][usize::from(configuration & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    Some(frame_len * frames).filter(|len| (1..=LONGEST).contains(len))
}
