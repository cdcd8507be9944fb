//! How a request goes out.
//!
//! The one place where `sender` touches the network, behind a trait so that the rest runs on a simulated
//! network just as it is. [`crate::exchange::Exchange`] is the HTTP client.

use bytes::Bytes;
use mediahooks_database::ClaimedDelivery;
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
    /// The start of the response's body, where it may be shown.
    pub response: Option<String>,
}

impl Exchanged {
    /// An attempt that ended before anything was sent.
    pub(crate) fn refused(why: &dyn std::fmt::Display) -> Self {
        Self::failed(FailureKind::TargetRefused, format!("refused: {why}"))
    }

    /// An attempt without a usable response.
    pub fn failed(kind: FailureKind, error: String) -> Self {
        Self { result: AttemptResult::Failed { kind }, error: Some(error), response: None }
    }
}
