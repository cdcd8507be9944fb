//! What can be committed.

use mediahooks_model::{AssetInput, Event, FeedId, MediaAssetId, Timestamp, WebhookId};

use super::asset::{Asset, Recipe};
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
    /// Keeps the reply to a request made with an `Idempotency-Key`. Fails the commit with
    /// `DatabaseError::KeyUsed` if the key is taken.
    KeepReply(KeptReply),
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
    pub recipe: Option<Recipe>,
    /// Replaces the stop time when present.
    pub stop_time: Option<Timestamp>,
    /// Replaces the expiration when present.
    pub expiration: Option<Timestamp>,
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
