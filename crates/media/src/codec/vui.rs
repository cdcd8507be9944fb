//! Colour and pixel shape from the video usability information of H.264 and H.265.
//!
//! `shiguredo_mp4` stops before the VUI. Some players read colour and aspect ratio only from the
//! container, so both are copied into `colr` and `pasp` boxes. What cannot be read is left out: the
//! bitstream still carries it.

use shiguredo_mp4::boxes::UnknownBox;

use super::sample_entry::opaque;
use crate::bits::BitReader;

/// What the VUI tells about how to show a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct VideoSignal {
    sample_aspect_ratio: Option<(u32, u32)>,
    colour: Option<Colour>,
}

/// Code points of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) primaries: u16,
    pub(super) transfer: u16,
    pub(super) matrix: u16,
    pub(super) full_range: bool,
}

/// H.273: the sender does not say.
const UNSPECIFIED: u16 = 2;

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

    /// The boxes that repeat this in the container: none, `colr`, `pasp` or both.
    pub(super) fn boxes(&self) -> Vec<UnknownBox> {
        let colour = self.colour.and_then(|colour| colour.to_box());
        let shape = self.pixel_aspect_ratio().map(|(width, height)| {
            // §12.1.4.2: hSpacing and vSpacing.
            opaque(*b"pasp", [width.to_be_bytes(), height.to_be_bytes()].concat())
        });
        colour.into_iter().chain(shape).collect()
    }
}

impl Colour {
    /// A `colr` box of type `nclx` (ISO/IEC 14496-12 §12.1.5); `None` when it would say nothing.
    pub(super) fn to_box(self) -> Option<UnknownBox> {
        let code_points = [self.primaries, self.transfer, self.matrix];
        if code_points == [UNSPECIFIED; 3] && !self.full_range {
            return None;
        }
        let mut payload = b"nclx".to_vec();
        for code_point in code_points {
            payload.extend(code_point.to_be_bytes());
        }
        payload.push(u8::from(self.full_range) << 7);
        Some(opaque(*b"colr", payload))
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
