//! What the operator chooses about sending, and why a choice cannot work.

use std::time::Duration;

use mediahooks_delivery::{RetryPolicy, TargetPolicy};

/// How webhooks are sent. [`SenderConfig::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// When to try again.
    pub retry: RetryPolicy,
    /// Which addresses may be reached.
    pub targets: TargetPolicy,
    /// The whole of one exchange, from name resolution to the last byte read; default 15 s.
    pub deadline: Duration,
    /// Bytes of a response that are read before the connection is closed; default 64 KiB.
    pub response_bytes_max: usize,
    /// Attempts in flight to one webhook; default 16.
    pub per_webhook: u32,
    /// Attempts in flight in all; default 256. One costs up to [`SenderConfig::response_bytes_max`]
    /// of memory on top of its body.
    pub total: u32,
    /// How long a claimed delivery is this sender's alone; default 60 s. At least twice the deadline,
    /// so that it outlasts the attempt and its record.
    pub lease: Duration,
    /// How long requests in flight may take to end at shutdown; default 10 s.
    pub grace: Duration,
    /// In whose name deliveries are leased. The same at every start on one data directory: what the
    /// process before this one had leased is taken over at once.
    pub owner: String,
    /// The `User-Agent` header; default `mediahooks/<version>`.
    pub user_agent: String,
}

impl SenderConfig {
    /// The defaults, in the name of `owner`: the default retry schedule, public targets only.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            retry: RetryPolicy::default(),
            targets: TargetPolicy::default(),
            deadline: Duration::from_secs(15),
            response_bytes_max: 64 * 1024,
            per_webhook: 16,
            total: 256,
            lease: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            owner: owner.into(),
            user_agent: concat!("mediahooks/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SenderError> {
        if self.deadline.is_zero() {
            return Err(SenderError::NoDeadline);
        }
        if self.per_webhook == 0 || self.total == 0 {
            return Err(SenderError::NoSlots { per_webhook: self.per_webhook, total: self.total });
        }
        if self.lease < self.deadline.saturating_mul(2) {
            return Err(SenderError::ShortLease { lease: self.lease, deadline: self.deadline });
        }
        Ok(())
    }
}

/// Why a sender cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// No request could end in time.
    #[error("the deadline of a webhook request is 0: give it some seconds, 15 is the default")]
    NoDeadline,
    /// Nothing could ever be sent.
    #[error(
        "webhooks could never be sent with {per_webhook} requests in flight per webhook and {total} in all: both have to be at least 1"
    )]
    NoSlots {
        /// [`SenderConfig::per_webhook`].
        per_webhook: u32,
        /// [`SenderConfig::total`].
        total: u32,
    },
    /// Deliveries would be sent again while they are being sent.
    #[error(
        "a lease of {lease:?} is too short for a deadline of {deadline:?}: it has to be at least twice as long"
    )]
    ShortLease {
        /// [`SenderConfig::lease`].
        lease: Duration,
        /// [`SenderConfig::deadline`].
        deadline: Duration,
    },
    /// The HTTP client could not be made.
    #[error(
        "cannot prepare the HTTP client: the user agent has to be visible ASCII, and the system has to have certificates to trust (on Debian the package ca-certificates)"
    )]
    Client(#[source] reqwest::Error),
}
