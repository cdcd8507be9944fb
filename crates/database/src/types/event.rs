//! Events as followers read them.

use mediahooks_model::{EventId, EventKind, StreamName, Timestamp, TokenId, WebhookId};

/// Where a follower of events is: it has seen everything up to here. Events have rising cursors in the
/// order in which they became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventCursor(pub i64);

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Who has seen it is here.
    pub cursor: EventCursor,
    /// The `webhook-id` of its deliveries.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// Whom it happened to.
    pub subject: String,
    /// The stream concerned, if any.
    pub stream_name: Option<StreamName>,
    /// What its subject was published with.
    pub token: Option<TokenId>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The JSON that webhooks get.
    pub body: String,
}

/// Which events to read. Empty and absent members do not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Any of these kinds.
    pub kinds: Vec<EventKind>,
    /// Exact stream name.
    pub stream_name: Option<String>,
    /// The asset or feed.
    pub subject: Option<String>,
    /// What this webhook wants as it is now.
    pub webhook: Option<WebhookId>,
}

/// From where to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStart {
    /// The oldest event there is.
    Oldest,
    /// Whatever comes next.
    Latest,
    /// Behind this one.
    After(EventCursor),
}

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The ones that the filter lets through.
    pub events: Vec<StoredEvent>,
    /// From where to read on; beyond the last of `events` when the filter kept others back.
    pub next: EventCursor,
    /// Whether there is more to look at behind `next` now.
    pub more: bool,
}

/// Why there is no page from a cursor on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventGap {
    /// Some events behind the cursor are forgotten already.
    Forgotten {
        /// From where on none is.
        oldest: EventCursor,
    },
    /// No event ever had a cursor as high: it is of another database, or of this one before it was
    /// replaced by a backup.
    NeverGiven {
        /// The highest one that was given.
        latest: EventCursor,
    },
}
