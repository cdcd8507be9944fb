//! How pictures are to be shown: colours, and the screen and the light they were graded for.
//!
//! Read from a codec's own record and bitstream by [`crate::codec`], from what the publisher tells beside
//! them by [`crate::flv`], and written to every kind of file. The fields are those of the boxes that MP4
//! has for them, in the same units.

use serde::{Deserialize, Serialize};

/// Code points of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Colour {
    /// Colour primaries; 9 is BT.2020.
    pub primaries: u16,
    /// Transfer characteristics; 16 is PQ, 18 is HLG.
    pub transfer: u16,
    /// Matrix coefficients.
    pub matrix: u16,
    /// Whether samples use all of their range, not that of television.
    pub full_range: bool,
}

/// H.273: the sender does not say.
pub const UNSPECIFIED: u16 = 2;

impl Colour {
    /// Whether it says anything that a player would not assume.
    pub fn is_told(&self) -> bool {
        [self.primaries, self.transfer, self.matrix] != [UNSPECIFIED; 3] || self.full_range
    }

    /// What this does not say as `other` has it. The range stays: every description has one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let first = |ours, theirs| if ours == UNSPECIFIED { theirs } else { ours };
        Self {
            primaries: first(self.primaries, other.primaries),
            transfer: first(self.transfer, other.transfer),
            matrix: first(self.matrix, other.matrix),
            full_range: self.full_range,
        }
    }
}

/// A point of the CIE 1931 chromaticity diagram, in units of 0.00002.
pub type Chromaticity = (u16, u16);

/// The screen that the pictures were graded on (SMPTE ST 2086).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MasteringDisplay {
    /// Its red.
    pub red: Chromaticity,
    /// Its green.
    pub green: Chromaticity,
    /// Its blue.
    pub blue: Chromaticity,
    /// Its white.
    pub white: Chromaticity,
    /// Its brightest, in units of 0.0001 candela per square metre.
    pub luminance_max: u32,
    /// Its darkest, likewise.
    pub luminance_min: u32,
}

/// How bright the pictures get (CTA-861.3), in candela per square metre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentLight {
    /// The brightest pixel (MaxCLL).
    pub pixel_max: u16,
    /// The brightest picture on average (MaxFALL).
    pub picture_max: u16,
}

/// What a publisher tells of its pictures beside the codec's own record; any part may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ColourInfo {
    /// Colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// The screen they were graded on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mastering: Option<MasteringDisplay>,
    /// How bright they get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub light: Option<ContentLight>,
}

impl ColourInfo {
    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
