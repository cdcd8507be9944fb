//! Deliveries: claimed, settled and shown.

use std::sync::Arc;

use mediahooks_model::{DeliveryId, EventId, Timestamp, Webhook};

/// A delivery that this process may attempt until its lease runs out.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// To which webhook, as it was when this was claimed.
    pub webhook: Arc<Webhook>,
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
