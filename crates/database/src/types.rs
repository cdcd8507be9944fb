//! What goes into the database and what comes out of it, in the domain's words.

use std::net::IpAddr;

use mediahooks_media::sample::TrackConfig;
use mediahooks_model::{
    AssetInput, AssetState, AssetStatus, AssetType, DeliveryId, Event, EventId, FeedId, MediaAssetId,
    StreamName, TimelineId, Timestamp, TokenId, WebhookId,
};

/// One live ingest connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its id.
    pub id: FeedId,
    /// The token it was published with.
    pub token: TokenId,
    /// The stream it contributes to.
    pub stream_name: StreamName,
    /// Which source; absent is the main source.
    pub source_id: Option<String>,
    /// Which quality layer; the empty string differs from absent.
    pub simulcast_id: Option<String>,
    /// Its rank; absent ranks lowest.
    pub priority: Option<i32>,
    /// Where it came from.
    pub remote: IpAddr,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// The stored series of segments of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Its id.
    pub id: TimelineId,
    /// The feed that fills or filled it.
    pub feed: FeedId,
    /// When it was opened.
    pub created: Timestamp,
}

/// A stretch of a timeline without a break: same codecs, no jump of timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub number: u32,
    /// Its tracks. A track that appears late is added at the end; none is ever removed or changed.
    pub tracks: Vec<TrackConfig>,
}

/// One stored segment: where its bytes are and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub sequence: u64,
    /// The run it belongs to.
    pub run: u32,
    /// The chunk file its bytes lie in, numbered within the timeline.
    pub chunk: u32,
    /// Where in the chunk file it begins, in bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Presentation time of its earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which its latest sample ends, on the same clock.
    pub media_end_us: i64,
    /// Wall clock minus media clock while this segment was received, in microseconds.
    pub wall_offset_us: i64,
    /// Whether its first video sample is a sync sample (always true without video).
    pub starts_with_sync: bool,
    /// The sample table, as `mediahooks_timeline::index` encodes it; opaque here.
    pub index: Vec<u8>,
}

impl Segment {
    /// Wall clock at which its earliest sample was captured.
    pub fn wall_start(&self) -> Timestamp {
        Timestamp::from_micros(self.media_start_us.saturating_add(self.wall_offset_us))
    }

    /// Wall clock at which its latest sample ends.
    pub fn wall_end(&self) -> Timestamp {
        Timestamp::from_micros(self.media_end_us.saturating_add(self.wall_offset_us))
    }
}

/// A [`Segment`] without its sample table: what planning a cut needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSpan {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub sequence: u64,
    /// The run it belongs to.
    pub run: u32,
    /// Presentation time of its earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which its latest sample ends, on the same clock.
    pub media_end_us: i64,
    /// Wall clock minus media clock while this segment was received, in microseconds.
    pub wall_offset_us: i64,
    /// Whether its first video sample is a sync sample (always true without video).
    pub starts_with_sync: bool,
}

impl SegmentSpan {
    /// Wall clock at which its earliest sample was captured.
    pub fn wall_start(&self) -> Timestamp {
        Timestamp::from_micros(self.media_start_us.saturating_add(self.wall_offset_us))
    }

    /// Wall clock at which its latest sample ends.
    pub fn wall_end(&self) -> Timestamp {
        Timestamp::from_micros(self.media_end_us.saturating_add(self.wall_offset_us))
    }
}

/// Which media an asset is made of: segments of one run and where it is cut at both ends.
///
/// While `last` is absent the asset grows with its timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
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
}

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
    /// What its media is; absent when it never had any and after removal.
    pub recipe: Option<Recipe>,
}

/// A new asset; it enters `processing` and, when its type has hooks, so does its first event.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAsset {
    /// All members; `state` is ignored.
    pub asset: Asset,
}

/// A step of an asset's life, with what changes beside its state.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetChange {
    /// Which asset.
    pub id: MediaAssetId,
    /// What happened to it.
    pub input: AssetInput,
    /// Replaces the recipe when present.
    pub recipe: Option<Recipe>,
    /// Replaces the stop time when present.
    pub stop_time: Option<Timestamp>,
    /// Replaces the expiration when present.
    pub expiration: Option<Timestamp>,
}

/// One domain change. Changes committed together stand or fall together, and are durable when
/// the commit returns.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A publisher was accepted: stores the feed and its `feeds.started`.
    StartFeed(Feed),
    /// A feed is over: stores when, and its `feeds.ended`. Nothing happens if it had ended already.
    EndFeed {
        /// Which feed.
        feed: FeedId,
        /// When.
        at: Timestamp,
    },
    /// The first segment of a feed is about to be stored.
    OpenTimeline(Timeline),
    /// A new run, or the same run with a track added at the end.
    PutRun(Run),
    /// The bytes of a segment are durable.
    AddSegment(Segment),
    /// A recording or timeline begins, or a clip was requested.
    CreateAsset(Box<NewAsset>),
    /// Something happened to an asset.
    StepAsset(Box<AssetChange>),
    /// Keeps the reply to a request made with an `Idempotency-Key`. Fails the commit with
    /// `DatabaseError::KeyUsed` if the key is taken.
    KeepReply(KeptReply),
    /// An event without a subject in the database: a test.
    Emit(Event),
}

/// The stored reply to a request made with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReply {
    /// The key as the client sent it.
    pub key: String,
    /// SHA-256 of the request's meaning, to tell a repeat from a misuse.
    pub fingerprint: Vec<u8>,
    /// The ids of the assets the request made; the reply is rebuilt or replayed from `reply`.
    pub reply: String,
    /// When it was made.
    pub created: Timestamp,
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
    /// The order; ties are broken by id.
    pub sort: AssetSort,
    /// Descending.
    pub desc: bool,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u32,
}

/// Where clips can be cut: a timeline asset with its feed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClippableTimeline {
    /// The timeline asset.
    pub asset: MediaAssetId,
    /// The range of segments it shows (`last` absent while it grows).
    pub recipe: Recipe,
    /// The feed that fills or filled it.
    pub feed: Feed,
}

/// Narrowing of [`ClippableTimeline`]s; see the create body of a clip.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimelineQuery {
    /// Exact stream name.
    pub stream_name: String,
    /// The token's number.
    pub token: Option<TokenId>,
    /// Exact source.
    pub source_id: Option<String>,
    /// Omitted: any; `Some(None)`: published without one; `Some(Some(x))`: exactly `x`.
    pub simulcast_id: Option<Option<String>>,
    /// The feed's rank.
    pub priority: Option<i32>,
    /// With media captured before this.
    pub before: Option<Timestamp>,
    /// With media captured after this.
    pub after: Option<Timestamp>,
}

/// Where the bytes of a removed segment were, so that they can be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreedRange {
    /// The timeline.
    pub timeline: TimelineId,
    /// The chunk file.
    pub chunk: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What a chunk file has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkExtent {
    /// The timeline.
    pub timeline: TimelineId,
    /// The chunk file.
    pub chunk: u32,
    /// End of its last indexed segment, in bytes.
    pub end: u64,
}

/// A delivery that this process may attempt until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// To which webhook.
    pub webhook: WebhookId,
    /// Number of the attempt to be made now; 1 is the first.
    pub attempt: u32,
    /// The event to tell of.
    pub event: EventId,
    /// Its time.
    pub timestamp: Timestamp,
    /// `type.event`.
    pub kind: String,
    /// The JSON to send.
    pub body: String,
    /// Where to.
    pub url: String,
    /// Signing secret, base64.
    pub secret: String,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The endpoint said 2xx.
    Delivered,
    /// Try again.
    Retry {
        /// Not before.
        at: Timestamp,
    },
    /// Given up: the schedule is used up.
    Exhausted,
    /// The endpoint said 410: the webhook is disabled until someone enables it, and what it is owed,
    /// this delivery included, is held.
    Gone,
}

/// One HTTP request that was made (or refused before it was made), as the delivery log shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// 1 is the first.
    pub number: u32,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in words; absent on success.
    pub error: Option<String>,
    /// The start of the answer's body.
    pub response: Option<String>,
}

/// The record of an attempt. Refused silently when the lease was lost to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which delivery.
    pub id: DeliveryId,
    /// The attempt made.
    pub attempt: Attempt,
    /// What follows.
    pub settled: Settled,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Behind an earlier one of the same webhook and subject.
    Waiting,
    /// Due now or later.
    Pending,
    /// Acknowledged.
    Delivered,
    /// Given up.
    Exhausted,
}

impl DeliveryState {
    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
        }
    }
}

/// A line of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which delivery; the cursor of the log.
    pub id: DeliveryId,
    /// The event.
    pub event: EventId,
    /// `type.event`.
    pub kind: String,
    /// Whom it happened to.
    pub subject: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
    /// Every attempt, first one first.
    pub attempts: Vec<Attempt>,
}

/// Orders of a token list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenSort {
    /// By label.
    #[default]
    Name,
    /// By age.
    AddedOn,
}

/// Which tokens a name finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenFilter {
    /// All of them.
    None,
    /// By label.
    TokenName,
    /// By an exact (not regex) stream name.
    StreamName,
    /// By either.
    #[default]
    TokenOrStreamName,
}
