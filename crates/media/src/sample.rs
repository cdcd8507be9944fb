//! The words every part of the media path shares: ticks, tracks and samples.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shiguredo_mp4::boxes::SampleEntry;

use crate::codec::CodecConfig;
use crate::colour::{Colour, ColourInfo};
use crate::error::MuxError;

/// A point or span of media time in units of one track's timescale.
///
/// Only meaningful beside the timescale it belongs to ([`TrackConfig::timescale`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticks(pub i64);

impl Ticks {
    /// The same span in another timescale, rounded to the nearest tick (halves away from zero).
    pub fn rescale(self, from_timescale: u32, to_timescale: u32) -> Ticks {
        // Nearly always: dividing 128 bits costs many times as much.
        let near = self.0.checked_mul(i64::from(to_timescale)).and_then(|scaled| {
            let from = i64::from(from_timescale.max(1));
            let half = if scaled < 0 { -from / 2 } else { from / 2 };
            Some(scaled.checked_add(half)? / from)
        });
        near.map_or_else(|| self.rescale_far(from_timescale, to_timescale), Ticks)
    }

    fn rescale_far(self, from_timescale: u32, to_timescale: u32) -> Ticks {
        let scaled = i128::from(self.0) * i128::from(to_timescale);
        let from = i128::from(from_timescale.max(1));
        let half = if scaled < 0 { -from / 2 } else { from / 2 };
        Ticks(i64::try_from((scaled + half) / from).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX }))
    }

    /// The span in microseconds.
    pub fn to_micros(self, timescale: u32) -> i64 {
        self.rescale(timescale, 1_000_000).0
    }

    /// A span of microseconds in ticks of `timescale`.
    pub fn from_micros(micros: i64, timescale: u32) -> Ticks {
        Ticks(micros).rescale(1_000_000, timescale)
    }
}

/// What a track carries. A feed has at most one track of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// Everything a decoder has to know before the first sample of a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackConfig {
    /// Video or audio; agrees with `codec`.
    pub kind: TrackKind,
    /// Ticks per second of every timestamp of this track. Video arriving by RTMP uses 90 000,
    /// audio its sample rate (Opus: 48 000).
    pub timescale: u32,
    /// The codec and its configuration record, as the encoder sent it.
    pub codec: CodecConfig,
    /// What the publisher told of its pictures beside the record; see [`TrackConfig::colour_info`].
    #[serde(default, skip_serializing_if = "ColourInfo::is_empty")]
    pub told: ColourInfo,
}

impl TrackConfig {
    /// A track of which nothing is told but its codec.
    pub fn new(timescale: u32, codec: CodecConfig) -> Self {
        Self { kind: codec.kind(), timescale, codec, told: ColourInfo::default() }
    }

    /// What a file says of the pictures' colours: what the codec's own record or sequence header tells,
    /// and what was told beside it where that says nothing.
    pub fn colour_info(&self) -> ColourInfo {
        let own = self.codec.colour();
        let colour = match (own, self.told.colour) {
            (Some(own), Some(told)) => Some(own.or(told)),
            (own, told) => own.or(told),
        };
        ColourInfo { colour: colour.filter(Colour::is_told), ..self.told }
    }

    /// Whether a track of this configuration may go on as `next`: the codec's is the same, and nothing that is
    /// known of the colours is taken back. A screen or a brightness alone makes no other track.
    pub fn goes_on_as(&self, next: &Self) -> bool {
        let (known, told) = (self.colour_info().colour, next.colour_info().colour);
        let contradicts = known.is_some_and(|known| told.is_none_or(|told| known.or(told) != told));
        self.timescale == next.timescale && self.codec == next.codec && !contradicts
    }

    /// Learns what `told` has and this has not; returns whether that was anything.
    pub fn learn(&mut self, told: &ColourInfo) -> bool {
        let known = self.told;
        self.told = ColourInfo {
            colour: match (known.colour, told.colour) {
                (Some(known), Some(told)) => Some(known.or(told)),
                (known, told) => known.or(told),
            },
            mastering: known.mastering.or(told.mastering),
            light: known.light.or(told.light),
        };
        self.told != known
    }

    /// The sample entry (ISO/IEC 14496-12 §8.5.2) of the track.
    ///
    /// Errors: [`MuxError::NoDimensions`] for video whose picture size is not known yet.
    pub fn sample_entry(&self) -> Result<SampleEntry, MuxError> {
        self.codec.sample_entry(&self.colour_info())
    }
}

/// The data of one timestamp in one track (ISO/IEC 14496-12, "sample"), as the encoder sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Decode time, on the track's own clock; never wraps.
    pub dts: Ticks,
    /// Presentation time minus decode time.
    pub cts_offset: i32,
    /// True when decoding can begin here (IDR, key frame; every audio sample).
    pub is_sync: bool,
    /// The encoded bytes, in the form MP4 stores them (length-prefixed NAL units, raw AAC, OBUs).
    pub data: Bytes,
}

impl Sample {
    /// Presentation time.
    pub fn pts(&self) -> Ticks {
        Ticks(self.dts.0 + i64::from(self.cts_offset))
    }
}

/// One line of an index: all that an MP4 header needs to know of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleInfo {
    /// Ticks until the next sample of the track.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Presentation time minus decode time, in ticks.
    pub cts_offset: i32,
    /// True when decoding can begin here.
    pub is_sync: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_rounds_to_the_nearest_tick_on_both_sides_of_zero() {
        assert_eq!(Ticks(1024).rescale(48_000, 90_000), Ticks(1920));
        assert_eq!(Ticks(1).rescale(3, 1000), Ticks(333));
        assert_eq!(Ticks(2).rescale(3, 1000), Ticks(667));
        assert_eq!(Ticks(-2).rescale(3, 1000), Ticks(-667));
        assert_eq!(Ticks(i64::MAX).rescale(1, 90_000), Ticks(i64::MAX));
        assert_eq!(Ticks(i64::MIN).rescale(0, 90_000), Ticks(i64::MIN));
    }

    proptest::proptest! {
        #[test]
        fn near_and_far_rescale_alike(
            ticks: i64, shift in 0_u32..64, from_timescale: u32, to_timescale: u32
        ) {
            let ticks = Ticks(ticks >> shift);
            let far = ticks.rescale_far(from_timescale, to_timescale);
            proptest::prop_assert_eq!(ticks.rescale(from_timescale, to_timescale), far);
        }
    }
}
