//! The domain's words: ids, time, publish tokens, the asset state machine, webhooks, events and
//! their wire payloads.
//!
//! Pure and without state: every decision here takes the facts and the time as arguments. All
//! other crates depend on this one; it depends on none of them.

pub mod asset;
mod chain;
pub mod clip;
pub mod event;
pub mod ids;
pub mod limits;
pub mod metadata;
pub mod publish;
pub mod rules;
pub mod time;
pub mod token;
pub mod webhook;

pub use asset::{AssetInput, AssetState, AssetStatus, AssetType, Refused, Step};
pub use chain::chain;
pub use clip::{CutMode, GapMode, TargetFormat};
pub use event::{Event, EventKind, FeedEvent, MediaEvent, StorageEvent};
pub use ids::{
    AccountId, ClipRequestId, DeliveryId, EventId, FeedId, MediaAssetId, ReplayId, StreamName, TimelineId,
    TokenId, WebhookId,
};
pub use limits::Limits;
pub use metadata::{Gap, GapReason, Metadata, TrackMetadata};
pub use publish::PublishParams;
pub use rules::ExpirationRules;
pub use time::Timestamp;
pub use token::PublishToken;
pub use webhook::Webhook;
