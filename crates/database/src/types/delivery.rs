//! Deliveries: claimed, settled and shown.

use std::sync::Arc;

use mediahooks_model::webhook::Disabled;
use mediahooks_model::{DeliveryId, EventId, EventKind, Timestamp, Webhook, WebhookId};

/// A delivery that this process may attempt until its lease runs out.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// To which webhook, as it was when this was claimed.
    pub webhook: Arc<Webhook>,
    /// Number of the attempt to be made now; 1 is the first.
    pub attempt: u32,
    /// How many of those before it were probes.
    pub probes: u32,
    /// When the attempt before it was made.
    pub previous: Option<Timestamp>,
    /// The event to tell of.
    pub event: EventId,
    /// Its time.
    pub timestamp: Timestamp,
    /// `type.event`.
    pub kind: String,
    /// The JSON to send.
    pub body: String,
}

impl ClaimedDelivery {
    /// Whether it is attempted to find out if a disabled endpoint is back.
    pub fn is_probe(&self) -> bool {
        self.webhook.disabled.is_some()
    }
}

impl std::fmt::Debug for ClaimedDelivery {
    /// Leaves the body out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimedDelivery")
            .field("id", &self.id)
            .field("webhook", &self.webhook.id)
            .field("attempt", &self.attempt)
            .field("event", &self.event)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// How many more deliveries of a webhook may be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// So many.
    pub more: u32,
    /// When there may be more though nothing else happens. Absent: when one that is leased is recorded.
    pub at: Option<Timestamp>,
}

/// The record of an attempt. Refused silently when the lease was lost to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which delivery.
    pub id: DeliveryId,
    /// The attempt made.
    pub attempt: Attempt,
    /// Whether it was a probe ([`ClaimedDelivery::is_probe`]).
    pub probe: bool,
    /// What follows.
    pub settled: Settled,
}

/// What attempts told about their endpoint. Ignored when the webhook was changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// Whose.
    pub webhook: WebhookId,
    /// Where the attempts were made.
    pub url: String,
    /// What is known now.
    pub health: WebhookHealth,
    /// How it was disabled, as far as the attempts' maker knew.
    pub before: Option<Disabled>,
    /// How it is to be disabled. When it is enabled, everything it is owed is due at once.
    pub after: Option<Disabled>,
}

/// What is known of an endpoint that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookHealth {
    /// Attempts that failed in a row.
    pub failures: u32,
    /// When the first of them ended.
    pub failing_since: Option<Timestamp>,
    /// When a delivery was last accepted.
    pub last_success: Option<Timestamp>,
    /// How often in a row it was suspended.
    pub suspensions: u32,
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
    /// Where that time went.
    pub timings: Timings,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in words; absent on success.
    pub error: Option<String>,
    /// The request's head as it was sent: a request line and one header a line, secrets and signatures masked.
    /// Absent when nothing could be sent.
    pub request: Option<String>,
    /// The start of the answer's body.
    pub response: Option<String>,
}

/// Where the time of an attempt went, in microseconds. Each is absent when it did not happen: a connection that
/// was open already is neither resolved nor made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Resolving the name.
    pub dns_us: Option<u64>,
    /// Making the TCP connection.
    pub connect_us: Option<u64>,
    /// The TLS handshake.
    pub tls_us: Option<u64>,
    /// From the start of the attempt to the head of the answer.
    pub first_byte_us: Option<u64>,
}

/// A question to the delivery log. Everything that is given has to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// What is owed to this webhook.
    pub webhook: Option<WebhookId>,
    /// About this asset or feed.
    pub subject: Option<String>,
    /// In one of these states; empty: in any.
    pub states: Vec<DeliveryState>,
    /// Of one of these kinds; empty: of any.
    pub kinds: Vec<EventKind>,
    /// That happened at this moment or later.
    pub since: Option<Timestamp>,
    /// That happened at this moment or earlier.
    pub until: Option<Timestamp>,
    /// Before this delivery: where the page before ended.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for DeliveryQuery {
    fn default() -> Self {
        Self {
            webhook: None,
            subject: None,
            states: Vec::new(),
            kinds: Vec::new(),
            since: None,
            until: None,
            before: None,
            limit: 25,
        }
    }
}

/// A page of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryPage {
    /// Newest first. There may be more though these are few, or none.
    pub deliveries: Vec<Delivery>,
    /// Where to go on: `before` of the next question. Absent when everything was looked through.
    pub next: Option<DeliveryId>,
}

/// A line of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which delivery; the cursor of the log.
    pub id: DeliveryId,
    /// To which webhook it is owed. It may be removed by now.
    pub webhook: WebhookId,
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
    /// Behind which delivery it waits.
    pub behind: Option<DeliveryId>,
    /// Whether an attempt is being made.
    pub is_attempted: bool,
    /// When the next attempt is due; absent while one is being made.
    pub next_attempt: Option<Timestamp>,
    /// Every attempt, first one first.
    pub attempts: Vec<Attempt>,
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
    /// Given up: its schedule was used up.
    Exhausted,
    /// Given up: it was held for longer than deliveries are held.
    Expired,
}

impl DeliveryState {
    /// Every state, in the order of a delivery's life.
    pub const ALL: [DeliveryState; 5] =
        [Self::Waiting, Self::Pending, Self::Delivered, Self::Exhausted, Self::Expired];

    /// Reads what [`DeliveryState::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
        }
    }
}
