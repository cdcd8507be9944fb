//! Assets: what is stored of them, and how they are listed.

use mediahooks_model::{
    AssetState, AssetStatus, AssetType, ClipRequestId, CutMode, FeedId, GapMode, MediaAssetId, StreamName,
    TargetFormat, TimelineId, Timestamp, TokenId,
};

/// A media asset as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Its id.
    pub id: MediaAssetId,
    /// Recording, clip or timeline.
    pub asset_type: AssetType,
    /// Where it stands.
    pub state: AssetState,
    /// The feed it comes from; its own columns, since an asset outlives feeds and tokens.
    pub feed: FeedId,
    /// The token that published the source.
    pub token: Option<TokenId>,
    /// The stream it comes from.
    pub stream_name: StreamName,
    /// The source it comes from.
    pub source_id: Option<String>,
    /// The quality layer it comes from.
    pub simulcast_id: Option<String>,
    /// The rank of the feed it comes from.
    pub priority: Option<i32>,
    /// Start of the media (clip: as asked for).
    pub start_time: Timestamp,
    /// End of the media (clip: as asked for); absent while a recording runs.
    pub stop_time: Option<Timestamp>,
    /// Given by the user, or assigned.
    pub name: Option<String>,
    /// When it was made: a clip's request, a recording's start.
    pub created: Timestamp,
    /// When it will be removed.
    pub expiration: Option<Timestamp>,
    /// Where it will be published.
    pub media_distribution_id: Option<String>,
    /// Its path there; unique.
    pub custom_path: Option<String>,
    /// The request it came of; clips only.
    pub request: Option<ClipRequestId>,
    /// What becomes of its gaps.
    pub gaps: GapMode,
    /// Where it is cut.
    pub cut: CutMode,
    /// What file was asked for; absent: what suits its codecs.
    pub target_format: Option<TargetFormat>,
    /// What its media is, in the order in which it is shown; empty when it never had any and after removal.
    pub recipe: Vec<RecipePart>,
}

impl Asset {
    /// One that has just begun, at `start_time`: it is processing, has no media yet, and nothing that it may be
    /// without.
    pub fn new(
        id: MediaAssetId,
        asset_type: AssetType,
        feed: FeedId,
        stream_name: StreamName,
        start_time: Timestamp,
    ) -> Self {
        Self {
            id,
            asset_type,
            state: AssetState::Processing,
            feed,
            token: None,
            stream_name,
            source_id: None,
            simulcast_id: None,
            priority: None,
            start_time,
            stop_time: None,
            name: None,
            created: start_time,
            expiration: None,
            media_distribution_id: None,
            custom_path: None,
            request: None,
            gaps: GapMode::default(),
            cut: CutMode::default(),
            target_format: None,
            recipe: Vec::new(),
        }
    }
}

/// A part of the media that an asset is made of: segments of one run and where it is cut at both ends.
///
/// While `last` is absent the part grows with its timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipePart {
    /// The timeline.
    pub timeline: TimelineId,
    /// The run.
    pub run: u32,
    /// First segment.
    pub first: u64,
    /// Last segment, included.
    pub last: Option<u64>,
    /// First shown moment, in microseconds of the run's media clock; absent: from the first sample.
    pub start_us: Option<i64>,
    /// End of the last shown moment, on the same clock; absent: to the last sample.
    pub stop_us: Option<i64>,
    /// By how much the wall clock that is stored of what it shows first is too late, in microseconds, as far as was known when
    /// the asset was completed.
    pub late_us: i64,
}

/// Orders of an asset list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssetSort {
    /// Start of the media.
    #[default]
    StartTime,
    /// End of the media.
    StopTime,
    /// The stream's name.
    StreamName,
    /// The token's number.
    TokenId,
    /// When it was made.
    Created,
}

/// Which assets to list. Empty lists and absent members do not narrow. Deleted assets never appear.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AssetQuery {
    /// Any of these types.
    pub types: Vec<AssetType>,
    /// Any of these statuses.
    pub statuses: Vec<AssetStatus>,
    /// Exact name.
    pub name: Option<String>,
    /// Exact stream name.
    pub stream_name: Option<String>,
    /// Exact source.
    pub source_id: Option<String>,
    /// Exact layer; `Some("")` is the layer with the empty name.
    pub simulcast_id: Option<String>,
    /// The token's number.
    pub token: Option<TokenId>,
    /// The feed's rank.
    pub priority: Option<i32>,
    /// The request it came of.
    pub request: Option<ClipRequestId>,
    /// The order; ties are broken by id.
    pub sort: AssetSort,
    /// Descending.
    pub desc: bool,
    /// Only those behind the one of this start and id, by [`AssetSort::StartTime`] whatever the order is.
    pub after: Option<(Timestamp, MediaAssetId)>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u32,
}
