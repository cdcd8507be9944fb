//! What a finished file is: the `metadata` member of assets and of `completed` hooks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clip::TargetFormat;
use crate::time::Timestamp;

/// Describes a finished asset, in the members of the hosted service and some of our own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The container; `MPEG-4` or `WebM`.
    pub format: String,
    /// Bytes of each file of the asset, by its [`TargetFormat`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, u64>,
    /// What a player shows, in whole seconds, rounded to the nearest.
    pub duration: u64,
    /// What a player shows, in milliseconds. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Every track of the file.
    pub tracks: Vec<TrackMetadata>,
    /// Names of thumbnail files.
    pub thumbnails: Vec<String>,
    /// Number of files of the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_count: Option<u32>,
    /// When the first shown frame was received. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the last shown frame ends. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<Timestamp>,
    /// Milliseconds of media before the first shown frame that an edit list hides, because decoding
    /// has to begin at a sync sample. A player that ignores edit lists shows them. A WebM has none: it shows
    /// what lies before the moment that was asked for. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_roll_ms: Option<u64>,
    /// What is missing inside of it, in order. Ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

impl Metadata {
    /// What file the asset is; `None` without one.
    pub fn file_format(&self) -> Option<TargetFormat> {
        self.sizes.keys().find_map(|format| format.parse().ok())
    }
}

/// A span of wall clock inside an asset of which nothing was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// When the last frame before it ends.
    pub start_time: Timestamp,
    /// When the first frame after it was received.
    pub stop_time: Timestamp,
    /// How long it lasted, in milliseconds.
    pub duration_ms: u64,
    /// What made it.
    pub reason: GapReason,
}

/// What interrupts a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GapReason {
    /// The publisher went and came back, or another one took over.
    Reconnect,
    /// The publisher's timestamps jumped.
    TimestampJump,
    /// The publisher changed its codec's configuration, such as the picture's size.
    Configuration,
}

impl GapReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::TimestampJump => "timestampJump",
            Self::Configuration => "configuration",
        }
    }
}

// Only the frame rate is a float, and it is never a NaN: it comes from a division by more than 0.
impl Eq for Metadata {}

/// Describes one track of a finished file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackMetadata {
    /// `video` or `audio`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the codec: `H264`, `H265`, `AV1`, `VP8`, `VP9`, `AAC`, `Opus`, `MP3`.
    pub codec: String,
    /// Mean bits per second.
    pub bitrate: u64,
    /// Pixels; video only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels; video only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Mean frames per second with up to three decimals; video only. REST rounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framerate: Option<f64>,
    /// Number of channels; audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Samples per second; audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samplerate: Option<u32>,
}
