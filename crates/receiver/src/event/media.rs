//! Webhooks of type `media`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::words;
use super::{Millis, adopt};
use crate::links::DownloadLinks;

words! {
    /// What happened to an asset.
    MediaEventKind {
        /// A recording began, or a clip was requested.
        Processing = "processing",
        /// The file can be downloaded.
        Completed = "completed",
        /// It could not be made.
        Errored = "errored",
        /// It was marked for removal.
        Deleted = "deleted",
    }
}

words! {
    /// What an asset is.
    AssetType {
        /// All that a feed sent, from its first to its last sample.
        Recording = "recording",
        /// A chosen range.
        Clip = "clip",
        /// What clips are cut from; never in a webhook, but readable through REST.
        Timeline = "timeline",
    }
}

/// A recording or a clip changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MediaEvent {
    /// What happened: the body's `event`.
    #[serde(skip, default = "no_media_kind")]
    pub kind: MediaEventKind,
    /// The asset: an opaque text.
    pub media_asset_id: String,
    /// Recording or clip.
    #[serde(rename = "type")]
    pub asset_type: AssetType,
    /// The publish token of the source, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<i64>,
    /// The stream it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_name: Option<String>,
    /// `account/stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// A channel of a sibling product of hosted Millicast; excludes the three members above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// Clip: when it was requested; recording: when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Millis>,
    /// When it will be removed; absent: it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Millis>,
    /// What the file is. Empty while processing; hosted Millicast may leave it empty always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Its number among the events of the asset: 1, 2, 3 … Hosted Millicast has none.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Why it could not be made; only in `errored`. Hosted Millicast has none.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A link to the file, made when the request was sent; only in `completed`, and only when the webhook
    /// asks for it (`includeDownload`). Hosted Millicast has none.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub download: Option<DownloadLinks>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl MediaEvent {
    /// An event with nothing but what every event has.
    pub fn new(kind: MediaEventKind, asset_type: AssetType, media_asset_id: impl Into<String>) -> Self {
        Self {
            kind,
            media_asset_id: media_asset_id.into(),
            asset_type,
            token_id: None,
            stream_name: None,
            stream_id: None,
            channel_id: None,
            start_time: None,
            expiration: None,
            metadata: None,
            seq: None,
            error: None,
            download: None,
            other: Map::new(),
        }
    }

    pub(super) fn complete(mut self) -> Self {
        self.seq = adopt(&mut self.other, "seq");
        self.error = adopt(&mut self.other, "error");
        self.download = adopt(&mut self.other, "download");
        self
    }
}

fn no_media_kind() -> MediaEventKind {
    MediaEventKind::Other(String::new())
}

/// What a finished file is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The container, such as `MPEG-4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Bytes per stored form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<std::collections::BTreeMap<String, u64>>,
    /// Whole seconds by the schema; fractions are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// What it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks: Option<Vec<Track>>,
    /// Names of pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnails: Option<Vec<String>>,
    /// How many files make it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_count: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Metadata {
    /// How the name of the file ends, for [`crate::safe_file_name`]: `webm` or `mp4`.
    pub fn extension(&self) -> &'static str {
        let is_webm = self.sizes.as_ref().is_some_and(|sizes| sizes.contains_key("webm"));
        if is_webm { "webm" } else { "mp4" }
    }
}

/// One elementary sequence of a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Track {
    /// `video` or `audio`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub track_type: Option<String>,
    /// Such as `H264` or `AAC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per second; may be fractional, such as 29.97.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framerate: Option<f64>,
    /// Audio channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Audio samples per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samplerate: Option<u64>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
