//! Media assets as REST shows them.

use std::collections::BTreeMap;

use mediahooks_database::Asset;
use mediahooks_model::{
    AssetState, AssetStatus, AssetType, Gap, Metadata, TargetFormat, Timestamp, TrackMetadata,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::download::link::{DownloadLink, has_file};

/// A media asset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaAsset)]
pub struct AssetView {
    /// Its id.
    pub id: String,
    /// `recording`, `clip` or `timeline`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub asset_type: AssetType,
    /// Where it comes from.
    pub feed: FeedView,
    /// The request that a clip came of: the same for all of its clips. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The file that was asked for; absent: what suits its codecs. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_format: Option<&'static str>,
    /// Start of the media.
    #[schema(value_type = String, format = DateTime)]
    pub start_time: Timestamp,
    /// End of the media; null while it is received.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stop_time: Option<Timestamp>,
    /// Given by the user, or assigned.
    pub name: Option<String>,
    /// Where its bytes are.
    pub storage: StorageView,
    /// `processing`, `complete`, `error`, `deleting` or `deleted`.
    #[schema(value_type = String)]
    pub status: AssetStatus,
    /// Why it failed, when `status` is `error`.
    pub error: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When it will be removed; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expiration: Option<Timestamp>,
    /// When it was marked for removal.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub removed: Option<Timestamp>,
    /// What the file is, once there is one.
    pub metadata: Option<MetadataView>,
    /// Where it will be published.
    pub media_distribution_id: Option<String>,
    /// Its path there.
    pub custom_path: Option<String>,
    /// Where a timeline can be watched, live and later: a playlist of HTTP Live Streaming. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<String>,
    /// How to get the file; not in the reply to a create. Null while there is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DownloadView>)]
    pub download: Option<Option<DownloadView>>,
}

/// Where an asset comes from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaAssetFeed)]
pub struct FeedView {
    /// The token it was published with.
    pub token_id: Option<i64>,
    /// The stream.
    pub stream_name: String,
    /// The source; null is the main source.
    pub source_id: Option<String>,
    /// The quality layer; the empty string differs from null.
    pub simulcast_id: Option<String>,
    /// Its rank; null ranks lowest.
    pub priority: Option<i32>,
    /// Always null.
    pub channel_id: Option<String>,
}

/// Where an asset's bytes are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MediaAssetStorage)]
pub struct StorageView {
    /// Always `dolbyStorage`: the hosted service's word for the service's own storage.
    #[serde(rename = "type")]
    pub storage_type: &'static str,
    /// Always null: only storage of the user's own has paths.
    pub path: Option<String>,
}

/// How to get a file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaAssetDownload)]
pub struct DownloadView {
    /// Needs no API secret. Read the asset again for a new one.
    pub download_url: String,
    /// Of a playlist (`hls`) only: the media itself, one fragmented MP4, for who wants a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// Until when it works.
    #[schema(value_type = String, format = DateTime)]
    pub download_expires_on: Timestamp,
    /// Always null: there are no distributions yet.
    pub url: Option<String>,
}

/// What a finished file is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaAssetMetadata)]
pub struct MetadataView {
    /// The container.
    pub format: String,
    /// Bytes of each file, by name.
    pub sizes: BTreeMap<String, u64>,
    /// What a player shows, in whole seconds.
    pub duration: u64,
    /// Every track.
    pub tracks: Vec<TrackView>,
    /// Names of thumbnail files.
    pub thumbnails: Vec<String>,
    /// Number of files.
    pub file_count: Option<u32>,
    /// What a player shows, in milliseconds. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When the first shown frame was received. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_time: Option<Timestamp>,
    /// When the last shown frame ends. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stop_time: Option<Timestamp>,
    /// Milliseconds of media before the first shown frame that an edit list hides. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_roll_ms: Option<u64>,
    /// What is missing inside of it. Ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapView>,
}

/// A span of time inside an asset of which nothing was received.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MediaAssetGap)]
pub struct GapView {
    /// When the last frame before it ends.
    #[schema(value_type = String, format = DateTime)]
    pub start_time: Timestamp,
    /// When the first frame after it was received.
    #[schema(value_type = String, format = DateTime)]
    pub stop_time: Timestamp,
    /// How long it lasted.
    pub duration_ms: u64,
    /// `reconnect`, `timestampJump` or `configuration`.
    pub reason: &'static str,
}

/// One track of a finished file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MediaAssetTrack)]
pub struct TrackView {
    /// `video` or `audio`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the codec.
    pub codec: String,
    /// Mean bits per second.
    pub bitrate: u64,
    /// Pixels; video only.
    pub width: Option<u32>,
    /// Pixels; video only.
    pub height: Option<u32>,
    /// Mean frames per second, rounded; webhooks have the decimals.
    pub framerate: Option<i32>,
    /// Number of channels; audio only.
    pub channels: Option<u32>,
    /// Samples per second; audio only.
    pub samplerate: Option<u32>,
}

impl AssetView {
    /// Shows an asset as the reply to its create does: without `download`.
    pub(crate) fn created(asset: &Asset) -> Self {
        let (metadata, error, removed) = match &asset.state {
            AssetState::Processing => (None, None, None),
            AssetState::Complete { metadata } => (Some(MetadataView::new(metadata)), None, None),
            AssetState::Error { reason } => (None, Some(reason.clone()), None),
            AssetState::Deleting { at } | AssetState::Deleted { at } => (None, None, Some(*at)),
        };
        Self {
            id: asset.id.to_string(),
            asset_type: asset.asset_type,
            feed: FeedView {
                token_id: asset.token.map(|token| token.0),
                stream_name: asset.stream_name.to_string(),
                source_id: asset.source_id.clone(),
                simulcast_id: asset.simulcast_id.clone(),
                priority: asset.priority,
                channel_id: None,
            },
            request_id: asset.request.map(|id| id.to_string()),
            target_format: asset.target_format.map(TargetFormat::as_str),
            start_time: asset.start_time,
            stop_time: asset.stop_time,
            name: asset.name.clone(),
            storage: StorageView { storage_type: "dolbyStorage", path: None },
            status: asset.state.status(),
            error,
            created: asset.created,
            expiration: asset.expiration,
            removed,
            metadata,
            media_distribution_id: asset.media_distribution_id.clone(),
            custom_path: asset.custom_path.clone(),
            preview_url: None,
            download: None,
        }
    }

    /// Shows an asset with its link, if it has a file.
    pub(crate) fn with_link(asset: &Asset, link: impl FnOnce() -> DownloadLink) -> Self {
        let download = has_file(asset).then(link).map(|link| DownloadView {
            download_url: link.url,
            media_url: link.media_url,
            download_expires_on: link.expires,
            url: None,
        });
        Self { download: Some(download), ..Self::created(asset) }
    }
}

impl MetadataView {
    fn new(metadata: &Metadata) -> Self {
        Self {
            format: metadata.format.clone(),
            sizes: metadata.sizes.clone(),
            duration: metadata.duration,
            tracks: metadata.tracks.iter().map(TrackView::new).collect(),
            thumbnails: metadata.thumbnails.clone(),
            file_count: metadata.file_count,
            duration_ms: metadata.duration_ms,
            start_time: metadata.start_time,
            stop_time: metadata.stop_time,
            pre_roll_ms: metadata.pre_roll_ms,
            gaps: metadata.gaps.iter().map(GapView::new).collect(),
        }
    }
}

impl GapView {
    fn new(gap: &Gap) -> Self {
        Self {
            start_time: gap.start_time,
            stop_time: gap.stop_time,
            duration_ms: gap.duration_ms,
            reason: gap.reason.as_str(),
        }
    }
}

impl TrackView {
    fn new(track: &TrackMetadata) -> Self {
        Self {
            kind: track.kind.clone(),
            codec: track.codec.clone(),
            bitrate: track.bitrate,
            width: track.width,
            height: track.height,
            // The schema says int32. The cast saturates.
            framerate: track.framerate.map(|rate| rate.round() as i32),
            channels: track.channels,
            samplerate: track.samplerate,
        }
    }
}

/// What came of a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedAssets {
    /// How many were marked for removal.
    pub items_deleted: u64,
    /// Those that were not; null when there are none.
    pub errors: Option<Vec<DeleteError>>,
}

/// An asset that was not marked for removal.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteError {
    /// As it was asked for.
    pub id: String,
    /// Why.
    pub error: String,
}
