//! The body of a video tag, legacy (FLV 10.1 annex E.4.3) or enhanced.

use bytes::Bytes;

use super::FlvError;
use super::colour_info;
use super::enhanced::{
    CODED_FRAMES, FourCc, SEQUENCE_END, SEQUENCE_START, read_mod_ex, read_tracks, take_i24, take_u8,
};
use crate::codec::CodecConfig;
use crate::colour::ColourInfo;
use crate::dropped::DropReason;
use crate::error::CodecError;

const IS_EX_HEADER: u8 = 0x80;
const FRAME_TYPE_KEY: u8 = 1;
const FRAME_TYPE_COMMAND: u8 = 5;

const CODEC_ID_AVC: u8 = 7;
/// Not in any specification, but what encoders used for HEVC before Enhanced RTMP; laid out as AVC.
const CODEC_ID_HEVC: u8 = 12;

const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MULTITRACK: u8 = 6;

/// The video codecs that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VideoCodec {
    H264,
    H265,
    Av1,
    Vp8,
    Vp9,
}

impl VideoCodec {
    fn from_four_cc(code: FourCc) -> Option<VideoCodec> {
        match &code {
            b"avc1" => Some(VideoCodec::H264),
            b"hvc1" => Some(VideoCodec::H265),
            b"av01" => Some(VideoCodec::Av1),
            b"vp08" => Some(VideoCodec::Vp8),
            b"vp09" => Some(VideoCodec::Vp9),
            _ => None,
        }
    }

    /// Whether `CodedFrames` begins with a composition time.
    fn has_composition_time(self) -> bool {
        matches!(self, VideoCodec::H264 | VideoCodec::H265)
    }

    /// Reads this codec's configuration record.
    pub(super) fn config(self, record: Bytes) -> Result<CodecConfig, CodecError> {
        match self {
            VideoCodec::H264 => CodecConfig::h264(record),
            VideoCodec::H265 => CodecConfig::h265(record),
            VideoCodec::Av1 => CodecConfig::av1(record),
            VideoCodec::Vp8 => CodecConfig::vp8(record),
            VideoCodec::Vp9 => CodecConfig::vp9(record),
        }
    }
}

/// What a video tag is for.
pub(super) enum VideoPacket {
    Config {
        codec: VideoCodec,
        record: Bytes,
    },
    Frame(VideoFrame),
    End,
    /// How the pictures are to be shown (`VideoPacketType.Metadata`).
    Colours(ColourInfo),
    /// Metadata of another kind, or a command to the player, such as that it begins to seek.
    Description,
    Ignored(DropReason),
}

/// One picture.
pub(super) struct VideoFrame {
    pub(super) codec: VideoCodec,
    /// As the frame type of the tag says. For H.264 this also covers recovery points of open GOPs
    /// and of intra refresh, which encoders mark as key frames: a stream made of those has no IDR
    /// pictures after its first, and could not be cut at all if those were demanded.
    pub(super) is_key: bool,
    pub(super) nanos: u32,
    pub(super) composition_ms: i32,
    pub(super) data: Bytes,
}

/// Reads the body of a video tag, which may hold several packets when it is a multitrack container.
pub(super) fn read_video(mut body: Bytes) -> Result<Vec<VideoPacket>, FlvError> {
    if body.is_empty() {
        return Ok(vec![VideoPacket::Ignored(DropReason::EmptyTag)]);
    }
    let first = take_u8(&mut body)?;
    if first & IS_EX_HEADER != 0 {
        return read_enhanced((first >> 4) & 0x07, first & 0x0F, body);
    }
    let codec = match first & 0x0F {
        CODEC_ID_AVC => VideoCodec::H264,
        CODEC_ID_HEVC => VideoCodec::H265,
        _ => return Ok(vec![VideoPacket::Ignored(DropReason::UnsupportedCodec)]),
    };
    read_legacy(first >> 4, codec, body).map(|packet| vec![packet])
}

fn read_legacy(frame_type: u8, codec: VideoCodec, mut body: Bytes) -> Result<VideoPacket, FlvError> {
    if frame_type == FRAME_TYPE_COMMAND {
        return Ok(VideoPacket::Description);
    }
    let packet_type = take_u8(&mut body)?;
    let composition_ms = take_i24(&mut body)?;
    Ok(match packet_type {
        0 => VideoPacket::Config { codec, record: body },
        1 => VideoPacket::Frame(VideoFrame {
            codec,
            is_key: frame_type == FRAME_TYPE_KEY,
            nanos: 0,
            composition_ms,
            data: body,
        }),
        2 => VideoPacket::End,
        _ => VideoPacket::Ignored(DropReason::UnknownPacketType),
    })
}

fn read_enhanced(frame_type: u8, packet_type: u8, mut body: Bytes) -> Result<Vec<VideoPacket>, FlvError> {
    let prelude = read_mod_ex(packet_type, &mut body)?;
    if frame_type == FRAME_TYPE_COMMAND && prelude.packet_type != METADATA {
        return Ok(vec![VideoPacket::Description]);
    }
    let enhanced = read_tracks(prelude, MULTITRACK, body)?;
    let mut packets = Vec::with_capacity(1);
    for track in enhanced.tracks {
        packets.push(match VideoCodec::from_four_cc(track.codec) {
            _ if track.id != 0 => VideoPacket::Ignored(DropReason::AdditionalTrack),
            None => VideoPacket::Ignored(DropReason::UnsupportedCodec),
            Some(codec) => {
                let is_key = frame_type == FRAME_TYPE_KEY;
                read_track(enhanced.packet_type, codec, is_key, enhanced.nanos, track.body)?
            }
        });
    }
    Ok(packets)
}

fn read_track(
    packet_type: u8,
    codec: VideoCodec,
    is_key: bool,
    nanos: u32,
    mut body: Bytes,
) -> Result<VideoPacket, FlvError> {
    let composition_ms = match packet_type {
        CODED_FRAMES if codec.has_composition_time() => take_i24(&mut body)?,
        CODED_FRAMES | CODED_FRAMES_X => 0,
        SEQUENCE_START => return Ok(VideoPacket::Config { codec, record: body }),
        SEQUENCE_END => return Ok(VideoPacket::End),
        METADATA => {
            return Ok(match colour_info::read_packet(&body) {
                Ok(Some(info)) => VideoPacket::Colours(info),
                Ok(None) => VideoPacket::Description,
                Err(_) => VideoPacket::Ignored(DropReason::MalformedTag),
            });
        }
        _ => return Ok(VideoPacket::Ignored(DropReason::UnknownPacketType)),
    };
    Ok(VideoPacket::Frame(VideoFrame { codec, is_key, nanos, composition_ms, data: body }))
}
