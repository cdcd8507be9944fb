//! What an AV1 sequence header tells of its pictures: their size and their colours.
//!
//! `shiguredo_mp4` finds the OBUs and stops before the colours, so that the header is walked to them here
//! (AV1 Bitstream & Decoding Process Specification §5.5).

use shiguredo_mp4::bitstream::av1::{Av1ObuParseContext, Av1ObuType, parse_obus, parse_sequence_header};

use crate::bits::BitReader;
use crate::colour::{Colour, UNSPECIFIED};

/// The pictures of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Width and height of the largest frame, in pixels.
    pub(super) dimensions: (u32, u32),
    /// Absent where the header could not be walked so far.
    pub(super) colour: Option<Colour>,
}

impl Sequence {
    /// From the first sequence header among `obus`.
    pub(super) fn find(obus: &[u8], context: Av1ObuParseContext) -> Option<Self> {
        let obus = parse_obus(obus, context).ok()?;
        let header = obus.iter().find(|obu| obu.obu_type == Av1ObuType::SequenceHeader)?;
        let parsed = parse_sequence_header(header.payload).ok()?;
        Some(Self {
            dimensions: (parsed.max_frame_width, parsed.max_frame_height),
            colour: read_colour(header.payload),
        })
    }
}

/// `sequence_header_obu()` up to and with `color_config()`.
fn read_colour(payload: &[u8]) -> Option<Colour> {
    let mut reader = BitReader::new(payload);
    let profile = reader.bits(3)?;
    reader.bit()?; // still_picture
    let is_reduced = reader.bit()?;
    if is_reduced {
        reader.skip(5)?; // seq_level_idx
    } else {
        skip_operating_points(&mut reader)?;
    }
    let (width_bits, height_bits) = (reader.bits(4)? + 1, reader.bits(4)? + 1);
    reader.skip((width_bits + height_bits) as usize)?; // max_frame_width_minus_1 and height
    let frame_ids_present = !is_reduced && reader.bit()?;
    if frame_ids_present {
        reader.skip(4 + 3)?; // lengths of frame ids
    }
    reader.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if !is_reduced {
        skip_inter_tools(&mut reader)?;
    }
    reader.skip(3)?; // enable_superres, enable_cdef, enable_restoration
    read_colour_config(&mut reader, profile)
}

fn skip_operating_points(reader: &mut BitReader<'_>) -> Option<()> {
    let mut delay_bits = None;
    let timing_info_present = reader.bit()?;
    if timing_info_present {
        reader.skip(32 + 32)?; // num_units_in_display_tick, time_scale
        let equal_picture_interval = reader.bit()?;
        if equal_picture_interval {
            reader.ue()?; // num_ticks_per_picture_minus_1, coded as an Exp-Golomb code is
        }
        let decoder_model_info_present = reader.bit()?;
        if decoder_model_info_present {
            delay_bits = Some(reader.bits(5)? + 1);
            reader.skip(32 + 5 + 5)?; // num_units_in_decoding_tick and two lengths
        }
    }
    let display_delay_present = reader.bit()?;
    let points = reader.bits(5)? + 1;
    for _ in 0..points {
        reader.skip(12)?; // operating_point_idc
        let level = reader.bits(5)?;
        if level > 7 {
            reader.bit()?; // seq_tier
        }
        if let Some(bits) = delay_bits {
            let is_present = reader.bit()?;
            if is_present {
                reader.skip(2 * bits as usize + 1)?; // two delays and low_delay_mode_flag
            }
        }
        if display_delay_present && reader.bit()? {
            reader.skip(4)?; // initial_display_delay_minus_1
        }
    }
    Some(())
}

fn skip_inter_tools(reader: &mut BitReader<'_>) -> Option<()> {
    reader.skip(4)?; // interintra and masked compound, warped motion, dual filter
    let order_hint = reader.bit()?;
    if order_hint {
        reader.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
    }
    let chooses_screen_content_tools = reader.bit()?;
    let may_have_screen_content_tools = chooses_screen_content_tools || reader.bit()?;
    if may_have_screen_content_tools {
        let chooses_integer_mv = reader.bit()?;
        if !chooses_integer_mv {
            reader.bit()?; // seq_force_integer_mv
        }
    }
    if order_hint {
        reader.skip(3)?; // order_hint_bits_minus_1
    }
    Some(())
}

/// `color_config()` up to and with `color_range` (§5.5.2).
fn read_colour_config(reader: &mut BitReader<'_>, profile: u32) -> Option<Colour> {
    /// BT.709 primaries, sRGB transfer, identity matrix.
    const SRGB: [u16; 3] = [1, 13, 0];
    let high_bit_depth = reader.bit()?;
    if profile == 2 && high_bit_depth {
        reader.bit()?; // twelve_bit
    }
    let is_monochrome = profile != 1 && reader.bit()?;
    let mut code_points = [UNSPECIFIED; 3];
    let description_present = reader.bit()?;
    if description_present {
        for code_point in &mut code_points {
            *code_point = u16::try_from(reader.bits(8)?).ok()?;
        }
    }
    let full_range = if !is_monochrome && code_points == SRGB { true } else { reader.bit()? };
    let [primaries, transfer, matrix] = code_points;
    Some(Colour { primaries, transfer, matrix, full_range })
}
