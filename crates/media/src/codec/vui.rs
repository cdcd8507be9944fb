//! Colour and pixel shape from the video usability information of H.264 and H.265.
//!
//! `shiguredo_mp4` stops before the VUI. Some players read colour and aspect ratio only from the
//! container, so both are copied into boxes of their own. What cannot be read is left out: the
//! bitstream still carries it.

use crate::bits::BitReader;
use crate::colour::{Colour, UNSPECIFIED};

/// What the VUI tells about how to show a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct VideoSignal {
    sample_aspect_ratio: Option<(u32, u32)>,
    colour: Option<Colour>,
}

/// Table E-1 of H.264 and H.265: `aspect_ratio_idc` 1 to 16.
const ASPECT_RATIOS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// `aspect_ratio_idc` of a ratio that is written out.
const EXTENDED_SAR: u32 = 255;

impl VideoSignal {
    /// Reads the start of `vui_parameters()`, which H.264 E.1.1 and H.265 E.2.1 have in common.
    pub(super) fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        let sample_aspect_ratio = if reader.bit()? { read_aspect_ratio(reader)? } else { None };
        let overscan_info_present = reader.bit()?;
        if overscan_info_present {
            reader.bit()?;
        }
        let colour = if reader.bit()? { Some(read_colour(reader)?) } else { None };
        Some(Self { sample_aspect_ratio, colour })
    }

    /// The ratio, unless it is missing or 1:1.
    pub(super) fn pixel_aspect_ratio(&self) -> Option<(u32, u32)> {
        self.sample_aspect_ratio.filter(|(width, height)| *width != 0 && *height != 0 && width != height)
    }

    /// Colours, where they are told.
    pub(super) fn colour(&self) -> Option<Colour> {
        self.colour
    }
}

fn read_aspect_ratio(reader: &mut BitReader<'_>) -> Option<Option<(u32, u32)>> {
    let idc = reader.bits(8)?;
    if idc == EXTENDED_SAR {
        return Some(Some((reader.bits(16)?, reader.bits(16)?)));
    }
    let index = usize::try_from(idc).ok()?.checked_sub(1);
    Some(index.and_then(|index| ASPECT_RATIOS.get(index).copied()))
}

fn read_colour(reader: &mut BitReader<'_>) -> Option<Colour> {
    let _video_format = reader.bits(3)?;
    let full_range = reader.bit()?;
    let mut code_points = [UNSPECIFIED; 3];
    if reader.bit()? {
        for code_point in &mut code_points {
            *code_point = u16::try_from(reader.bits(8)?).ok()?;
        }
    }
    let [primaries, transfer, matrix] = code_points;
    Some(Colour { primaries, transfer, matrix, full_range })
}
