//! The tag headers that Enhanced RTMP v2 has in common for audio and video: ModEx and multitrack.
//!
//! Spec: Enhanced RTMP v2, "Enhanced Audio" and "Enhanced Video" (`ExAudioTagHeader`,
//! `ExVideoTagHeader`, `ModEx`, `AvMultitrackType`).

use bytes::{Buf, Bytes};

use super::FlvError;

/// `PacketType.SequenceStart`
pub(super) const SEQUENCE_START: u8 = 0;
/// `PacketType.CodedFrames`
pub(super) const CODED_FRAMES: u8 = 1;
/// `PacketType.SequenceEnd`
pub(super) const SEQUENCE_END: u8 = 2;
const MOD_EX: u8 = 7;
const MOD_EX_TIMESTAMP_OFFSET_NANO: u8 = 0;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// A codec as four characters.
pub(super) type FourCc = [u8; 4];

/// An enhanced tag after its headers.
pub(super) struct Enhanced {
    /// What the body is; its meaning differs between audio and video from 3 on.
    pub(super) packet_type: u8,
    /// Added to the tag's time.
    pub(super) nanos: u32,
    /// The tracks in the tag; one with id 0 unless the tag is a multitrack container.
    pub(super) tracks: Vec<Track>,
}

/// One track's part of a tag.
pub(super) struct Track {
    pub(super) id: u8,
    pub(super) codec: FourCc,
    pub(super) body: Bytes,
}

/// What follows the first byte of an enhanced tag, when `packet_type` has been taken from it.
pub(super) struct Prelude {
    pub(super) packet_type: u8,
    pub(super) nanos: u32,
}

/// Reads the chain of ModEx packets in front of the real one.
pub(super) fn read_mod_ex(first_packet_type: u8, body: &mut Bytes) -> Result<Prelude, FlvError> {
    let mut prelude = Prelude { packet_type: first_packet_type, nanos: 0 };
    while prelude.packet_type == MOD_EX {
        let mut size = usize::from(take_u8(body)?) + 1;
        if size == 256 {
            size = usize::from(u16::from_be_bytes(take_array(body)?)) + 1;
        }
        let data = take(body, size)?;
        let types = take_u8(body)?;
        prelude.packet_type = types & 0x0F;
        if types >> 4 == MOD_EX_TIMESTAMP_OFFSET_NANO
            && let Some([high, middle, low]) = data.first_chunk::<3>()
        {
            prelude.nanos = u32::from_be_bytes([0, *high, *middle, *low]);
        }
    }
    Ok(prelude)
}

/// Reads codec and tracks. `multitrack` is the packet type of a multitrack container.
pub(super) fn read_tracks(prelude: Prelude, multitrack: u8, mut body: Bytes) -> Result<Enhanced, FlvError> {
    let Prelude { packet_type, nanos } = prelude;
    if packet_type != multitrack {
        let codec = take_array(&mut body)?;
        return Ok(Enhanced { packet_type, nanos, tracks: vec![Track { id: 0, codec, body }] });
    }
    let types = take_u8(&mut body)?;
    let (container, packet_type) = (types >> 4, types & 0x0F);
    if packet_type == multitrack {
        return Err(FlvError::NestedMultitrack);
    }
    let shared = if container == MANY_TRACKS_MANY_CODECS { None } else { Some(take_array(&mut body)?) };
    let mut tracks = Vec::new();
    while tracks.is_empty() || !body.is_empty() {
        let codec = match shared {
            Some(codec) => codec,
            None => take_array(&mut body)?,
        };
        let id = take_u8(&mut body)?;
        let size = if container == ONE_TRACK { body.len() } else { take_u24(&mut body)? };
        tracks.push(Track { id, codec, body: take(&mut body, size)? });
    }
    Ok(Enhanced { packet_type, nanos, tracks })
}

pub(super) fn take_u8(body: &mut Bytes) -> Result<u8, FlvError> {
    body.try_get_u8().map_err(|_| FlvError::Truncated)
}

fn take_u24(body: &mut Bytes) -> Result<usize, FlvError> {
    let [high, middle, low] = take_array(body)?;
    usize::try_from(u32::from_be_bytes([0, high, middle, low])).map_err(|_| FlvError::Truncated)
}

/// A signed 24-bit number: composition times (`SI24`).
pub(super) fn take_i24(body: &mut Bytes) -> Result<i32, FlvError> {
    let [high, middle, low] = take_array(body)?;
    Ok(i32::from_be_bytes([high, middle, low, 0]) >> 8)
}

fn take_array<const N: usize>(body: &mut Bytes) -> Result<[u8; N], FlvError> {
    let mut array = [0; N];
    body.try_copy_to_slice(&mut array).map_err(|_| FlvError::Truncated)?;
    Ok(array)
}

fn take(body: &mut Bytes, length: usize) -> Result<Bytes, FlvError> {
    if length > body.len() { Err(FlvError::Truncated) } else { Ok(body.split_to(length)) }
}
