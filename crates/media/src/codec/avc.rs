//! H.264: the `AVCDecoderConfigurationRecord` and what its first sequence parameter set tells.

use bytes::Bytes;
use shiguredo_mp4::{
    bitstream::h264::{H264ProfileLevelId, parse_sps},
    boxes::{SampleEntry, UnknownBox},
};

use super::{
    sample_entry::{opaque, visual},
    vui::VideoSignal,
};
use crate::{
    bits::{BitReader, rbsp},
    error::{CodecError, MuxError},
};

const RECORD: &str = "AVCDecoderConfigurationRecord";

/// An H.264 configuration: the encoder's record and the picture it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvcConfig {
    record: Bytes,
    width: u32,
    height: u32,
    signal: VideoSignal,
}

impl AvcConfig {
    pub(super) fn parse(record: Bytes) -> Result<Self, CodecError> {
        let sps = first_sps(&record)?;
        let parsed = parse_sps(sps).map_err(|error| CodecError::malformed(RECORD, error.to_string()))?;
        let signal = sps.get(1..).and_then(|payload| read_signal(&rbsp(payload))).unwrap_or_default();
        Ok(Self { width: parsed.width.into(), height: parsed.height.into(), signal, record })
    }

    /// The record as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// Bytes of the length before each NAL unit of a sample.
    pub(super) fn nal_length_size(&self) -> usize {
        nal_length_size(self.record.get(4))
    }

    /// Its parameter sets in the order of the record.
    pub(super) fn parameter_sets(&self) -> Option<Vec<&[u8]>> {
        let (&sps_count, mut rest) = self.record.get(5..)?.split_first()?;
        let mut sets = take_sets(&mut rest, sps_count & 0x1f)?;
        let (&pps_count, mut rest) = rest.split_first()?;
        sets.extend(take_sets(&mut rest, pps_count)?);
        Some(sets)
    }

    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub(super) fn signal(&self) -> &VideoSignal {
        &self.signal
    }

    pub(super) fn codec_string(&self) -> String {
        let byte = |at: usize| self.record.get(at).copied().unwrap_or_default();
        let id = H264ProfileLevelId { profile_idc: byte(1), profile_iop: byte(2), level_idc: byte(3) };
        format!("avc1.{}", id.to_hex())
    }

    pub(super) fn sample_entry(&self, shown: Vec<UnknownBox>) -> Result<SampleEntry, MuxError> {
        let mut children = vec![opaque(*b"avcC", self.record.to_vec())];
        children.extend(shown);
        visual(*b"avc1", self.dimensions(), &children)
    }
}

/// What the lower two bits of a record's byte say.
pub(super) fn nal_length_size(byte: Option<&u8>) -> usize {
    usize::from(byte.copied().unwrap_or(3) & 3) + 1
}

fn take_sets<'a>(rest: &mut &'a [u8], count: u8) -> Option<Vec<&'a [u8]>> {
    (0..count).map(|_| take_set(rest)).collect()
}

/// Takes a parameter set with its length in front off the rest of a record.
pub(super) fn take_set<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = after;
    Some(set)
}

/// The first SPS of a record. Read by hand because the typed box refuses High profile records
/// without the chroma fields at their end, which older encoders leave out.
fn first_sps(record: &[u8]) -> Result<&[u8], CodecError> {
    let truncated = || CodecError::Truncated { record: RECORD, len: record.len() };
    let [version, _profile, _compatibility, _level, length_size, sps_count, rest @ ..] = record else {
        return Err(truncated());
    };
    if *version != 1 {
        return Err(CodecError::unsupported(RECORD, format!("configurationVersion {version}")));
    }
    if length_size & 3 == 2 {
        return Err(CodecError::malformed(RECORD, "NAL unit lengths of 3 bytes do not exist"));
    }
    if sps_count & 0x1f == 0 {
        return Err(CodecError::malformed(RECORD, "it has no sequence parameter set"));
    }
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or_else(truncated)
}

/// Walks an SPS to its VUI (ITU-T H.264 7.3.2.1.1). `rbsp` begins after the NAL unit header.
fn read_signal(rbsp: &[u8]) -> Option<VideoSignal> {
    let mut reader = BitReader::new(rbsp);
    let profile_idc = reader.bits(8)?;
    reader.skip(16)?; // constraint flags, level_idc
    reader.ue()?; // seq_parameter_set_id
    if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        skip_chroma_format(&mut reader)?;
    }
    reader.ue()?; // log2_max_frame_num_minus4
    skip_picture_order_count(&mut reader)?;
    reader.ue()?; // max_num_ref_frames
    reader.bit()?; // gaps_in_frame_num_value_allowed_flag
    reader.ue()?; // pic_width_in_mbs_minus1
    reader.ue()?; // pic_height_in_map_units_minus1
    let frame_mbs_only = reader.bit()?;
    if !frame_mbs_only {
        reader.bit()?; // mb_adaptive_frame_field_flag
    }
    reader.bit()?; // direct_8x8_inference_flag
    let frame_cropping = reader.bit()?;
    if frame_cropping {
        for _ in 0..4 {
            reader.ue()?;
        }
    }
    let vui_parameters_present = reader.bit()?;
    if vui_parameters_present { VideoSignal::read(&mut reader) } else { None }
}

fn skip_chroma_format(reader: &mut BitReader<'_>) -> Option<()> {
    let chroma_format_idc = reader.ue()?;
    if chroma_format_idc == 3 {
        reader.bit()?; // separate_colour_plane_flag
    }
    reader.ue()?; // bit_depth_luma_minus8
    reader.ue()?; // bit_depth_chroma_minus8
    reader.bit()?; // qpprime_y_zero_transform_bypass_flag
    let seq_scaling_matrix_present = reader.bit()?;
    if seq_scaling_matrix_present {
        for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
            if reader.bit()? {
                skip_scaling_list(reader, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(())
}

fn skip_scaling_list(reader: &mut BitReader<'_>, size: usize) -> Option<()> {
    let mut last_scale = 8;
    for _ in 0..size {
        let delta = reader.se()?;
        let next_scale = (last_scale + i64::from(delta)).rem_euclid(256);
        if next_scale == 0 {
            return Some(());
        }
        last_scale = next_scale;
    }
    Some(())
}

fn skip_picture_order_count(reader: &mut BitReader<'_>) -> Option<()> {
    match reader.ue()? {
        0 => {
            reader.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            reader.bit()?; // delta_pic_order_always_zero_flag
            reader.se()?; // offset_for_non_ref_pic
            reader.se()?; // offset_for_top_to_bottom_field
            for _ in 0..reader.ue()? {
                reader.se()?; // offset_for_ref_frame; the end of the data bounds the loop
            }
        }
        _ => {}
    }
    Some(())
}
