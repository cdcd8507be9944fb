//! Replays: what is sent to a webhook once more.

use mediahooks_model::{DeliveryId, EventKind, ReplayId, Timestamp, WebhookId};

/// Asks for events to be sent to a webhook once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplay {
    /// To which webhook.
    pub webhook: WebhookId,
    /// Events that happened then or later,
    pub since: Timestamp,
    /// and before this.
    pub until: Timestamp,
    /// Of any of these kinds; empty: of every kind.
    pub kinds: Vec<EventKind>,
    /// Only those that were given up: the webhook was owed them, never accepted them and is not owed them
    /// any more. Otherwise all that the webhook wants as it is now.
    pub failed_only: bool,
}

/// A replay and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its number.
    pub id: ReplayId,
    /// What was asked for.
    pub asked: NewReplay,
    /// Where it stands.
    pub state: ReplayState,
    /// Events that happened in its time.
    pub total: u64,
    /// How many of them were looked at.
    pub examined: u64,
    /// How many of those are to be sent. Each has a delivery of its own.
    pub matched: u64,
    /// Deliveries not settled yet.
    pub owed: u64,
    /// Deliveries that were acknowledged.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub failed: u64,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the last event was looked at, or when it was cancelled.
    pub ended: Option<Timestamp>,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// Something of it is still to be looked at or to be delivered.
    Running,
    /// All of it was delivered or given up.
    Done,
    /// It was cancelled.
    Cancelled,
}

impl ReplayState {
    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a step of a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStep {
    /// It went on.
    Advanced,
    /// As much of it as may be owed at one time is.
    Full,
    /// There is nothing left to look at.
    Over,
}

/// What a resend came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    /// The event is owed once more, as this delivery.
    Again(DeliveryId),
    /// It was not settled, so it is not owed twice. Its next attempt is due now, unless it waits for an
    /// earlier event or is under way.
    StillOwed(DeliveryId),
}
