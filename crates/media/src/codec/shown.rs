//! The boxes of a visual sample entry that tell a player how to show the pictures.

use shiguredo_mp4::boxes::UnknownBox;

use super::sample_entry::opaque;
use crate::colour::{Colour, ColourInfo, ContentLight, MasteringDisplay};

/// Those there is something to say in: `colr`, `pasp`, `mdcv`, `clli`.
///
/// - `info`: its `colour` is what the file shall say, wherever it was learnt.
/// - `shape`: pixel aspect ratio, where it is not 1:1.
pub(super) fn boxes(info: &ColourInfo, shape: Option<(u32, u32)>) -> Vec<UnknownBox> {
    let colour = info.colour.map(colour_box);
    // ISO/IEC 14496-12 §12.1.4.2: hSpacing and vSpacing.
    let shape =
        shape.map(|(width, height)| opaque(*b"pasp", [width.to_be_bytes(), height.to_be_bytes()].concat()));
    let mastering = info.mastering.map(mastering_box);
    let light = info.light.map(light_box);
    colour.into_iter().chain(shape).chain(mastering).chain(light).collect()
}

/// Of type `nclx` (ISO/IEC 14496-12 §12.1.5).
fn colour_box(colour: Colour) -> UnknownBox {
    let mut payload = b"nclx".to_vec();
    for code_point in [colour.primaries, colour.transfer, colour.matrix] {
        payload.extend(code_point.to_be_bytes());
    }
    payload.push(u8::from(colour.full_range) << 7);
    opaque(*b"colr", payload)
}

/// ISO/IEC 14496-12 §12.1.7: the primaries come in the order of the SEI message, green first.
fn mastering_box(display: MasteringDisplay) -> UnknownBox {
    let MasteringDisplay { red, green, blue, white, luminance_max, luminance_min } = display;
    let mut payload = Vec::with_capacity(24);
    for (x, y) in [green, blue, red, white] {
        payload.extend(x.to_be_bytes());
        payload.extend(y.to_be_bytes());
    }
    payload.extend(luminance_max.to_be_bytes());
    payload.extend(luminance_min.to_be_bytes());
    opaque(*b"mdcv", payload)
}

/// ISO/IEC 14496-12 §12.1.6.
fn light_box(light: ContentLight) -> UnknownBox {
    opaque(*b"clli", [light.pixel_max.to_be_bytes(), light.picture_max.to_be_bytes()].concat())
}
