//! The body of an audio tag, legacy (FLV 10.1 annex E.4.2) or enhanced.

use bytes::Bytes;

use super::FlvError;
use super::enhanced::{
    CODED_FRAMES, FourCc, SEQUENCE_END, SEQUENCE_START, read_mod_ex, read_tracks, take_u8,
};
use crate::codec::CodecConfig;
use crate::dropped::DropReason;
use crate::error::CodecError;

const SOUND_FORMAT_MP3: u8 = 2;
const SOUND_FORMAT_EX_HEADER: u8 = 9;
const SOUND_FORMAT_AAC: u8 = 10;
const SOUND_FORMAT_MP3_8K: u8 = 14;

const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;

/// The audio codecs that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AudioCodec {
    Aac,
    Opus,
    Mp3,
}

impl AudioCodec {
    fn from_four_cc(code: FourCc) -> Option<AudioCodec> {
        match &code {
            b"mp4a" => Some(AudioCodec::Aac),
            b"Opus" => Some(AudioCodec::Opus),
            b".mp3" => Some(AudioCodec::Mp3),
            _ => None,
        }
    }

    /// Reads this codec's configuration record; for MP3 that is any frame.
    pub(super) fn config(self, record: Bytes) -> Result<CodecConfig, CodecError> {
        match self {
            AudioCodec::Aac => CodecConfig::aac(record),
            AudioCodec::Opus => CodecConfig::opus_from_id_header(&record),
            AudioCodec::Mp3 => CodecConfig::mp3(&record),
        }
    }
}

/// What an audio tag is for.
pub(super) enum AudioPacket {
    Config {
        codec: AudioCodec,
        record: Bytes,
    },
    Frame {
        codec: AudioCodec,
        nanos: u32,
        data: Bytes,
    },
    End,
    /// The order of channels; the configuration record of the codec says the same.
    Description,
    Ignored(DropReason),
}

/// Reads the body of an audio tag, which may hold several packets when it is a multitrack container.
pub(super) fn read_audio(mut body: Bytes) -> Result<Vec<AudioPacket>, FlvError> {
    if body.is_empty() {
        return Ok(vec![AudioPacket::Ignored(DropReason::EmptyTag)]);
    }
    let first = take_u8(&mut body)?;
    let packet = match first >> 4 {
        SOUND_FORMAT_EX_HEADER => return read_enhanced(first & 0x0F, body),
        SOUND_FORMAT_AAC => match take_u8(&mut body)? {
            0 => AudioPacket::Config { codec: AudioCodec::Aac, record: body },
            1 => AudioPacket::Frame { codec: AudioCodec::Aac, nanos: 0, data: body },
            _ => AudioPacket::Ignored(DropReason::UnknownPacketType),
        },
        SOUND_FORMAT_MP3 | SOUND_FORMAT_MP3_8K => {
            AudioPacket::Frame { codec: AudioCodec::Mp3, nanos: 0, data: body }
        }
        _ => AudioPacket::Ignored(DropReason::UnsupportedCodec),
    };
    Ok(vec![packet])
}

fn read_enhanced(packet_type: u8, mut body: Bytes) -> Result<Vec<AudioPacket>, FlvError> {
    let prelude = read_mod_ex(packet_type, &mut body)?;
    let enhanced = read_tracks(prelude, MULTITRACK, body)?;
    let read = |track: super::enhanced::Track| match AudioCodec::from_four_cc(track.codec) {
        _ if track.id != 0 => AudioPacket::Ignored(DropReason::AdditionalTrack),
        None => AudioPacket::Ignored(DropReason::UnsupportedCodec),
        Some(codec) => match enhanced.packet_type {
            SEQUENCE_START => AudioPacket::Config { codec, record: track.body },
            CODED_FRAMES => AudioPacket::Frame { codec, nanos: enhanced.nanos, data: track.body },
            SEQUENCE_END => AudioPacket::End,
            MULTICHANNEL_CONFIG => AudioPacket::Description,
            _ => AudioPacket::Ignored(DropReason::UnknownPacketType),
        },
    };
    Ok(enhanced.tracks.into_iter().map(read).collect())
}
