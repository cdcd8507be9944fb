//! H.265: the `HEVCDecoderConfigurationRecord` and what its first sequence parameter set tells.

use bytes::Bytes;
use shiguredo_mp4::{
    Decode, Encode,
    bitstream::h265::parse_sps,
    boxes::{Hvc1Box, HvccBox, SampleEntry, UnknownBox},
    codec_string::from_sample_entry,
};

use super::{
    avc::{nal_length_size, take_set},
    sample_entry::{opaque, visual, visual_fields},
    vui::VideoSignal,
};
use crate::{
    bits::{BitReader, rbsp},
    error::{CodecError, MuxError},
};

const RECORD: &str = "HEVCDecoderConfigurationRecord";
const NAL_UNIT_TYPE_SPS: u8 = 33;

/// An H.265 configuration: the encoder's record and the picture it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HevcConfig {
    record: Bytes,
    codec_string: String,
    width: u32,
    height: u32,
    signal: VideoSignal,
}

impl HevcConfig {
    pub(super) fn parse(record: Bytes) -> Result<Self, CodecError> {
        let malformed = |error: shiguredo_mp4::Error| CodecError::malformed(RECORD, error.to_string());
        match record.first() {
            None => return Err(CodecError::Truncated { record: RECORD, len: 0 }),
            // Version 0 is what encoders wrote before the standard was final; the layout is the same.
            Some(0 | 1) => {}
            Some(version) => {
                return Err(CodecError::unsupported(RECORD, format!("configurationVersion {version}")));
            }
        }
        let mut versioned = record.to_vec();
        if let Some(version) = versioned.first_mut() {
            *version = 1;
        }
        let hvcc_bytes = opaque(*b"hvcC", versioned).encode_to_vec().map_err(malformed)?;
        let (hvcc, _) = HvccBox::decode(&hvcc_bytes).map_err(malformed)?;
        let sps = hvcc
            .nalu_arrays
            .iter()
            .filter(|array| array.nal_unit_type.get() == NAL_UNIT_TYPE_SPS)
            .find_map(|array| array.nalus.first())
            .ok_or_else(|| CodecError::malformed(RECORD, "it has no sequence parameter set"))?;
        let parsed = parse_sps(sps).map_err(malformed)?;
        let signal = sps.get(2..).and_then(|payload| read_signal(&rbsp(payload))).unwrap_or_default();
        let codec_string = from_sample_entry(&SampleEntry::Hvc1(Hvc1Box {
            visual: visual_fields(parsed.width, parsed.height),
            hvcc_box: hvcc,
            unknown_boxes: Vec::new(),
        }))
        .map_err(malformed)?;
        Ok(Self { width: parsed.width.into(), height: parsed.height.into(), codec_string, signal, record })
    }

    /// The record as the encoder sent it.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// Bytes of the length before each NAL unit of a sample.
    pub(super) fn nal_length_size(&self) -> usize {
        nal_length_size(self.record.get(21))
    }

    /// Its parameter sets in the order of the record (ISO/IEC 14496-15 §8.3.3.1.2).
    pub(super) fn parameter_sets(&self) -> Option<Vec<&[u8]>> {
        let (&arrays, mut rest) = self.record.get(22..)?.split_first()?;
        let mut sets = Vec::new();
        for _ in 0..arrays {
            let (_, after) = rest.split_first()?;
            let (count, after) = after.split_first_chunk::<2>()?;
            rest = after;
            for _ in 0..u16::from_be_bytes(*count) {
                sets.extend(take_set(&mut rest));
            }
        }
        Some(sets)
    }

    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub(super) fn signal(&self) -> &VideoSignal {
        &self.signal
    }

    pub(super) fn codec_string(&self) -> String {
        self.codec_string.clone()
    }

    pub(super) fn sample_entry(&self, shown: Vec<UnknownBox>) -> Result<SampleEntry, MuxError> {
        let mut children = vec![opaque(*b"hvcC", self.record.to_vec())];
        children.extend(shown);
        // `hvc1` rather than `hev1`: Apple's players refuse the latter, and the record has the
        // parameter sets.
        visual(*b"hvc1", self.dimensions(), &children)
    }
}

/// Walks an SPS to its VUI (ITU-T H.265 7.3.2.2.1). `rbsp` begins after the NAL unit header.
fn read_signal(rbsp: &[u8]) -> Option<VideoSignal> {
    let mut reader = BitReader::new(rbsp);
    reader.skip(4)?; // sps_video_parameter_set_id
    let max_sub_layers_minus1 = reader.bits(3)?;
    reader.bit()?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut reader, max_sub_layers_minus1)?;
    reader.ue()?; // sps_seq_parameter_set_id
    skip_picture_format(&mut reader)?;
    let log2_max_pic_order_cnt_lsb = reader.ue()?.checked_add(4)?;
    let sub_layer_ordering_info_present = reader.bit()?;
    let first_layer = if sub_layer_ordering_info_present { 0 } else { max_sub_layers_minus1 };
    for _ in first_layer..=max_sub_layers_minus1 {
        skip_ue(&mut reader, 3)?; // buffering, reordering, latency
    }
    skip_ue(&mut reader, 6)?; // coding and transform block sizes
    let scaling_list_enabled = reader.bit()?;
    if scaling_list_enabled && reader.bit()? {
        skip_scaling_list_data(&mut reader)?;
    }
    reader.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    let pcm_enabled = reader.bit()?;
    if pcm_enabled {
        reader.skip(8)?; // bit depths
        skip_ue(&mut reader, 2)?; // block sizes
        reader.bit()?; // pcm_loop_filter_disabled_flag
    }
    skip_reference_picture_sets(&mut reader, log2_max_pic_order_cnt_lsb)?;
    reader.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    let vui_parameters_present = reader.bit()?;
    if vui_parameters_present { VideoSignal::read(&mut reader) } else { None }
}

fn skip_ue(reader: &mut BitReader<'_>, count: usize) -> Option<()> {
    for _ in 0..count {
        reader.ue()?;
    }
    Some(())
}

/// §7.3.3, with the general profile present.
fn skip_profile_tier_level(reader: &mut BitReader<'_>, max_sub_layers_minus1: u32) -> Option<()> {
    const PROFILE_BITS: usize = 88;
    const LEVEL_BITS: usize = 8;
    reader.skip(PROFILE_BITS + LEVEL_BITS)?;
    let mut sub_layer_bits = 0;
    for _ in 0..max_sub_layers_minus1 {
        let (profile_present, level_present) = (reader.bit()?, reader.bit()?);
        sub_layer_bits +=
            usize::from(profile_present) * PROFILE_BITS + usize::from(level_present) * LEVEL_BITS;
    }
    if max_sub_layers_minus1 > 0 {
        for _ in max_sub_layers_minus1..8 {
            reader.skip(2)?; // reserved_zero_2bits
        }
    }
    reader.skip(sub_layer_bits)
}

/// From `chroma_format_idc` to `bit_depth_chroma_minus8`.
fn skip_picture_format(reader: &mut BitReader<'_>) -> Option<()> {
    let chroma_format_idc = reader.ue()?;
    if chroma_format_idc == 3 {
        reader.bit()?; // separate_colour_plane_flag
    }
    skip_ue(reader, 2)?; // width, height
    let conformance_window = reader.bit()?;
    if conformance_window {
        skip_ue(reader, 4)?;
    }
    skip_ue(reader, 2) // bit depths
}

/// §7.3.4.
fn skip_scaling_list_data(reader: &mut BitReader<'_>) -> Option<()> {
    for size_id in 0..4 {
        for _ in (0..6).step_by(if size_id == 3 { 3 } else { 1 }) {
            let pred_mode = reader.bit()?;
            if !pred_mode {
                reader.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size_id > 1 {
                reader.se()?; // scaling_list_dc_coef_minus8
            }
            for _ in 0..64.min(1 << (4 + (size_id << 1))) {
                reader.se()?; // scaling_list_delta_coef
            }
        }
    }
    Some(())
}

/// Short-term sets (§7.3.7), then long-term pictures.
fn skip_reference_picture_sets(reader: &mut BitReader<'_>, log2_max_pic_order_cnt_lsb: u32) -> Option<()> {
    let mut delta_pocs = 0;
    for set in 0..reader.ue()? {
        delta_pocs = skip_short_term_set(reader, set, delta_pocs)?;
    }
    let long_term_ref_pics_present = reader.bit()?;
    if long_term_ref_pics_present {
        for _ in 0..reader.ue()? {
            reader.skip(usize::try_from(log2_max_pic_order_cnt_lsb).ok()?)?; // lt_ref_pic_poc_lsb_sps
            reader.bit()?; // used_by_curr_pic_lt_sps_flag
        }
    }
    Some(())
}

/// `previous` is the number of entries of the set before; returns that of this one.
fn skip_short_term_set(reader: &mut BitReader<'_>, set: u32, previous: u32) -> Option<u32> {
    let predicted_from_previous = set > 0 && reader.bit()?;
    if predicted_from_previous {
        reader.bit()?; // delta_rps_sign
        reader.ue()?; // abs_delta_rps_minus1
        let mut entries = 0;
        for _ in 0..=previous {
            let used_by_curr_pic = reader.bit()?;
            let kept = used_by_curr_pic || reader.bit()?; // use_delta_flag
            entries += u32::from(kept);
        }
        return Some(entries);
    }
    let entries = reader.ue()?.checked_add(reader.ue()?)?;
    for _ in 0..entries {
        reader.ue()?; // delta_poc_minus1
        reader.bit()?; // used_by_curr_pic_flag
    }
    Some(entries)
}
