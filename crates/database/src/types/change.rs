//! What can be committed.

use mediahooks_model::event::StorageRoom;
use mediahooks_model::{
    AssetInput, ClipRequestId, Event, FeedId, MediaAssetId, StorageEvent, Timestamp, WebhookId,
};

use super::asset::{Asset, RecipePart};
use super::media::{Feed, Run, Segment, Timeline};

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
    /// Nothing new came for an asset that grows with its feed: its last picture was on screen until `until_us` at
    /// least, on the media clock of the run. Nothing happens if it does not grow any more.
    HoldAsset {
        /// Which asset.
        id: MediaAssetId,
        /// It becomes the end of its open part ([`RecipePart::stop_us`]), in microseconds.
        until_us: i64,
    },
    /// Keeps the reply to a request made with an `Idempotency-Key`. Fails the commit with
    /// `DatabaseError::KeyUsed` if the key is taken.
    KeepReply(KeptReply),
    /// A request for clips whose range is still being received: it may have to make more of them.
    OpenClipRequest(OpenClipRequest),
    /// What is to be known of one by who goes on with it. Nothing happens if it is over.
    ChangeClipRequest(OpenClipRequest),
    /// It will make no more. Nothing happens if it was not open.
    CloseClipRequest(ClipRequestId),
    /// The room for media has changed: stores its event. Nothing happens if the last one said the same.
    TellStorage(StorageEvent, StorageRoom),
    /// An event without a subject in the database: a test.
    Emit(Event),
    /// The same for one webhook, whatever it subscribes to. Fails the commit with
    /// `DatabaseError::NotFound` if there is none of this number.
    EmitTo(WebhookId, Event),
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
    pub recipe: Option<Vec<RecipePart>>,
    /// Replaces the stop time when present.
    pub stop_time: Option<Timestamp>,
    /// Replaces the expiration when present.
    pub expiration: Option<Timestamp>,
}

/// A request for clips that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClipRequest {
    /// Its id.
    pub id: ClipRequestId,
    /// What was asked for, as JSON; opaque here.
    pub request: String,
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
