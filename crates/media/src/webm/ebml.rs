//! Elements of EBML (RFC 8794): identifier, size, payload.
//!
//! Written by hand. The crates that write EBML hold a tree of elements with their payloads or stream to a
//! `Write`; here sizes have to be known, and payloads must not be there, before a file is read.

/// Identifiers of Matroska (RFC 9559 §5), with their length marker.
pub(super) mod id {
    pub(in super::super) const EBML: u32 = 0x1A45_DFA3;
    pub(in super::super) const EBML_VERSION: u32 = 0x4286;
    pub(in super::super) const EBML_READ_VERSION: u32 = 0x42F7;
    pub(in super::super) const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub(in super::super) const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub(in super::super) const DOC_TYPE: u32 = 0x4282;
    pub(in super::super) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(in super::super) const DOC_TYPE_READ_VERSION: u32 = 0x4285;

    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(in super::super) const SEEK: u32 = 0x4DBB;
    pub(in super::super) const SEEK_ID: u32 = 0x53AB;
    pub(in super::super) const SEEK_POSITION: u32 = 0x53AC;

    pub(in super::super) const INFO: u32 = 0x1549_A966;
    pub(in super::super) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(in super::super) const DURATION: u32 = 0x4489;
    pub(in super::super) const DATE_UTC: u32 = 0x4461;
    pub(in super::super) const MUXING_APP: u32 = 0x4D80;
    pub(in super::super) const WRITING_APP: u32 = 0x5741;

    pub(in super::super) const TRACKS: u32 = 0x1654_AE6B;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xAE;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xD7;
    pub(in super::super) const TRACK_UID: u32 = 0x73C5;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const FLAG_LACING: u32 = 0x9C;
    pub(in super::super) const LANGUAGE: u32 = 0x22_B59C;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(in super::super) const CODEC_DELAY: u32 = 0x56AA;
    pub(in super::super) const SEEK_PRE_ROLL: u32 = 0x56BB;
    pub(in super::super) const VIDEO: u32 = 0xE0;
    pub(in super::super) const PIXEL_WIDTH: u32 = 0xB0;
    pub(in super::super) const PIXEL_HEIGHT: u32 = 0xBA;
    pub(in super::super) const DISPLAY_WIDTH: u32 = 0x54B0;
    pub(in super::super) const DISPLAY_HEIGHT: u32 = 0x54BA;
    pub(in super::super) const COLOUR: u32 = 0x55B0;
    pub(in super::super) const MATRIX_COEFFICIENTS: u32 = 0x55B1;
    pub(in super::super) const BITS_PER_CHANNEL: u32 = 0x55B2;
    pub(in super::super) const CHROMA_SUBSAMPLING_HORZ: u32 = 0x55B3;
    pub(in super::super) const CHROMA_SUBSAMPLING_VERT: u32 = 0x55B4;
    pub(in super::super) const RANGE: u32 = 0x55B9;
    pub(in super::super) const TRANSFER_CHARACTERISTICS: u32 = 0x55BA;
    pub(in super::super) const PRIMARIES: u32 = 0x55BB;
    pub(in super::super) const MAX_CLL: u32 = 0x55BC;
    pub(in super::super) const MAX_FALL: u32 = 0x55BD;
    pub(in super::super) const MASTERING_METADATA: u32 = 0x55D0;
    /// X of red; then y, green, blue and white likewise.
    pub(in super::super) const PRIMARY_R_CHROMATICITY_X: u32 = 0x55D1;
    pub(in super::super) const LUMINANCE_MAX: u32 = 0x55D9;
    pub(in super::super) const LUMINANCE_MIN: u32 = 0x55DA;
    pub(in super::super) const AUDIO: u32 = 0xE1;
    pub(in super::super) const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub(in super::super) const CHANNELS: u32 = 0x9F;

    pub(in super::super) const CUES: u32 = 0x1C53_BB6B;
    pub(in super::super) const CUE_POINT: u32 = 0xBB;
    pub(in super::super) const CUE_TIME: u32 = 0xB3;
    pub(in super::super) const CUE_TRACK_POSITIONS: u32 = 0xB7;
    pub(in super::super) const CUE_TRACK: u32 = 0xF7;
    pub(in super::super) const CUE_CLUSTER_POSITION: u32 = 0xF1;

    pub(in super::super) const CLUSTER: u32 = 0x1F43_B675;
    pub(in super::super) const TIMESTAMP: u32 = 0xE7;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xA3;
}

/// Appends an identifier.
pub(super) fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend(bytes.iter().skip_while(|byte| **byte == 0));
}

/// Appends a size in eight bytes, whatever it is; at most 2^56 - 2.
pub(super) fn put_wide_size(out: &mut Vec<u8>, size: u64) {
    out.extend((1 << 56 | size).to_be_bytes());
}

/// Appends a size of up to 32 bits in five bytes, whatever it is.
pub(super) fn put_block_size(out: &mut Vec<u8>, size: u64) {
    let [_, _, _, bytes @ ..] = (0x08_0000_0000 | size).to_be_bytes();
    out.extend(bytes);
}

/// Appends an element with an eight-byte size, whose payload `body` writes.
pub(super) fn master(out: &mut Vec<u8>, id: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = Vec::new();
    body(&mut payload);
    put_id(out, id);
    put_wide_size(out, payload.len() as u64);
    out.extend(payload);
}

/// Appends an element of bytes or text, with a size as short as it can be.
pub(super) fn bytes(out: &mut Vec<u8>, id: u32, payload: &[u8]) {
    put_id(out, id);
    match u8::try_from(payload.len()) {
        Ok(short @ 0..0x7F) => out.push(0x80 | short),
        _ => put_wide_size(out, payload.len() as u64),
    }
    out.extend(payload);
}

/// Appends an unsigned number in as few bytes as it takes.
pub(super) fn number(out: &mut Vec<u8>, id: u32, value: u64) {
    let wide = value.to_be_bytes();
    let zeros = wide.iter().take(7).take_while(|byte| **byte == 0).count();
    bytes(out, id, &wide[zeros..]);
}

/// Appends an unsigned number in six bytes, whatever it is; at most 2^48 - 1: 8900 years of milliseconds, or
/// 281 TB.
pub(super) fn wide_number(out: &mut Vec<u8>, id: u32, value: u64) {
    let [_, _, six @ ..] = value.min((1 << 48) - 1).to_be_bytes();
    bytes(out, id, &six);
}

/// Appends a floating-point number.
pub(super) fn float(out: &mut Vec<u8>, id: u32, value: f64) {
    bytes(out, id, &value.to_be_bytes());
}
