//! The webhook sender's decisions: how a request is signed, what follows an attempt, and which
//! targets may be reached.
//!
//! Pure: no socket, no clock, no dice. `sender` asks and does what it is told; `api` asks the same
//! target checks when a webhook is registered.
//!
//! - [`sign`]: secrets and signature headers;
//! - [`outcome`]: what an attempt came to;
//! - [`retry`]: the schedule and the verdict after each attempt;
//! - [`health`]: when an endpoint is left alone and when it is tried again;
//! - [`pace`]: how fast an endpoint is sent to;
//! - [`target`] and [`address`]: the outbound guard;
//! - [`headers`] and [`tls`]: what a webhook's owner adds to its requests and connections;
//! - [`trace`]: the `traceparent` of an attempt.

pub mod address;
pub mod headers;
pub mod health;
pub mod outcome;
pub mod pace;
pub mod retry;
pub mod sign;
pub mod target;
pub mod tls;
pub mod trace;

pub use address::{TargetPolicy, check_address};
pub use headers::{InvalidHeader, check_headers};
pub use health::{Ended, Health, HealthPolicy};
pub use outcome::{AttemptResult, FailureKind, Outcome};
pub use pace::{Pace, Room};
pub use retry::{InvalidRetryPolicy, RetryPolicy, Verdict, after_attempt, parse_retry_after};
pub use sign::{InvalidSecret, SignatureHeaders, SigningKey, WebhookSecret, signature_headers};
pub use target::{TargetRefused, check_answers, check_url, parse_url};
pub use tls::{InvalidTls, TlsMaterial, read_tls};
pub use trace::traceparent;
