//! How a clip is cut: the choices of one who asks for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::asset::UnknownWord;

/// What becomes of a range in which a publisher was away, or its timestamps jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GapMode {
    /// An asset per uninterrupted stretch.
    #[default]
    Split,
    /// One asset; what follows a gap is shown at once.
    Collapse,
    /// One asset; the last picture before a gap is held for as long as it lasted, in silence.
    Hold,
    /// No asset.
    Refuse,
}

impl GapMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Split, Self::Collapse, Self::Hold, Self::Refuse];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Collapse => "collapse",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }

    /// Whether stretches become one asset where their codecs allow it.
    pub fn joins(self) -> bool {
        matches!(self, Self::Collapse | Self::Hold)
    }
}

/// Where a clip begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CutMode {
    /// With the first and the last frame of the range; an edit list hides what decoding needs before.
    #[default]
    Frame,
    /// With the sync sample at or before the start; without an edit list.
    Keyframe,
}

impl CutMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Frame, Self::Keyframe];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Keyframe => "keyframe",
        }
    }
}

/// What file an asset becomes. Whatever it is, no sample is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetFormat {
    /// An MP4 with its index in front.
    Mp4,
    /// A playlist of HTTP Live Streaming over a fragmented MP4.
    Hls,
    /// A fragmented MP4. Ours.
    Fmp4,
    /// A WebM. Ours.
    Webm,
}

impl TargetFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Mp4, Self::Hls, Self::Fmp4, Self::Webm];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Hls => "hls",
            Self::Fmp4 => "fmp4",
            Self::Webm => "webm",
        }
    }

    /// How the name of its media file ends.
    pub fn extension(self) -> &'static str {
        if self == Self::Webm { "webm" } else { "mp4" }
    }

    /// The media type of its media file.
    pub fn content_type(self) -> &'static str {
        if self == Self::Webm { "video/webm" } else { "video/mp4" }
    }
}

macro_rules! read_word {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.into_iter().find(|value| value.as_str().eq_ignore_ascii_case(text));
                found.ok_or_else(|| UnknownWord::new(text))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
read_word!(GapMode);
read_word!(CutMode);
read_word!(TargetFormat);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_written_and_without_regard_to_case() {
        for mode in GapMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for format in TargetFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("KeyFrame".parse(), Ok(CutMode::Keyframe));
        assert_eq!("HLS".parse(), Ok(TargetFormat::Hls));
        assert!("".parse::<GapMode>().is_err());
    }
}
