//! How a request goes out.
//!
//! The one place where `sender` touches the network, behind a trait so that the rest runs on a simulated
//! network just as it is. [`crate::exchange::Exchange`] is the HTTP client.

use bytes::Bytes;
use mediahooks_database::{ClaimedDelivery, Timings};
use mediahooks_delivery::{AttemptResult, FailureKind, SignatureHeaders};

/// Sends requests. An implementation ends each by its deadline, whatever the peer does.
pub trait Transport: Send + Sync + 'static {
    /// Sends `body`, which `headers` sign, to the endpoint of `delivery`.
    fn send(
        &self,
        delivery: &ClaimedDelivery,
        headers: &SignatureHeaders,
        body: Bytes,
    ) -> impl Future<Output = Exchanged> + Send;
}

/// What one request came to.
#[derive(Debug)]
pub struct Exchanged {
    /// For the decision what follows.
    pub result: AttemptResult,
    /// In words; absent on success.
    pub error: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// The request's head as it was sent, secrets masked; absent when nothing could be sent.
    pub request: Option<String>,
    /// The start of the response's body, where it may be shown.
    pub response: Option<String>,
    /// A connection that had been open already broke before any of the answer came. The endpoint may have closed
    /// it for being idle, so this says nothing about the endpoint, and the next attempt need not wait.
    pub stale: bool,
}

impl Exchanged {
    /// A record of nothing but the result.
    pub fn new(result: AttemptResult) -> Self {
        Self { result, error: None, timings: Timings::default(), request: None, response: None, stale: false }
    }

    /// An attempt that ended before anything was sent.
    pub(crate) fn refused(why: &dyn std::fmt::Display) -> Self {
        Self::failed(FailureKind::TargetRefused, format!("refused: {why}"))
    }

    /// An attempt without a usable response.
    pub fn failed(kind: FailureKind, error: String) -> Self {
        Self { error: Some(error), ..Self::new(AttemptResult::Failed { kind }) }
    }
}
