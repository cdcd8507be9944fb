//! MP3: everything is in the header of each frame (ISO/IEC 11172-3 §2.4.1.3, ISO/IEC 13818-3).

use shiguredo_mp4::boxes::SampleEntry;

use super::sample_entry::mp4a;
use crate::error::CodecError;

const RECORD: &str = "MP3 frame header";
/// Registered object types (mp4ra.org) of MPEG-1 audio and of the half-rate audio of MPEG-2.
const OBJECT_TYPE_MPEG1: u8 = 0x6b;
const OBJECT_TYPE_MPEG2: u8 = 0x69;

/// An MP3 configuration: the header of the first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mp3Config {
    frame_header: [u8; 4],
    is_mpeg1: bool,
    sample_rate: u32,
    channels: u32,
}

impl Mp3Config {
    pub(super) fn parse(first_frame: &[u8]) -> Result<Self, CodecError> {
        let Some(frame_header) = first_frame.first_chunk::<4>() else {
            return Err(CodecError::Truncated { record: RECORD, len: first_frame.len() });
        };
        let [sync, flags, rates, channel_mode] = *frame_header;
        if sync != 0xff || flags & 0xe0 != 0xe0 {
            return Err(CodecError::malformed(RECORD, "it has no sync word"));
        }
        if flags >> 1 & 3 != 1 {
            return Err(CodecError::unsupported(RECORD, "a layer other than III"));
        }
        let divisor = match flags >> 3 & 3 {
            3 => 1, // MPEG-1
            2 => 2, // MPEG-2
            0 => 4, // MPEG-2.5
            _ => return Err(CodecError::malformed(RECORD, "its version is reserved")),
        };
        let sample_rate = match rates >> 2 & 3 {
            0 => 44_100,
            1 => 48_000,
            2 => 32_000,
            _ => return Err(CodecError::malformed(RECORD, "its sampling frequency is reserved")),
        };
        Ok(Self {
            frame_header: *frame_header,
            is_mpeg1: divisor == 1,
            sample_rate: sample_rate / divisor,
            channels: if channel_mode >> 6 == 3 { 1 } else { 2 },
        })
    }

    /// The header of the first frame.
    pub fn frame_header(&self) -> &[u8; 4] {
        &self.frame_header
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    pub(super) fn channels(&self) -> u32 {
        self.channels
    }

    pub(super) fn frame_len(&self) -> u32 {
        if self.is_mpeg1 { 1152 } else { 576 }
    }

    pub(super) fn codec_string(&self) -> String {
        format!("mp4a.{:02X}", self.object_type())
    }

    pub(super) fn sample_entry(&self) -> SampleEntry {
        mp4a(self.object_type(), None, self.channels, self.sample_rate)
    }

    fn object_type(&self) -> u8 {
        if self.is_mpeg1 { OBJECT_TYPE_MPEG1 } else { OBJECT_TYPE_MPEG2 }
    }
}
