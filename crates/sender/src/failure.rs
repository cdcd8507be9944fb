//! Why a request got no response: what went wrong, its kind, and its cause in words.

use std::error::Error;
use std::io;
use std::sync::Arc;

use http::StatusCode;
use mediahooks_delivery::{FailureKind, TargetRefused};

/// Characters of a cause that are kept for the delivery log: some quote what the peer sent.
const CAUSE_CHARS_MAX: usize = 300;

/// What went wrong, by the step it happened in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The resolver failed, or knows no such name.
    #[error("the name cannot be resolved: {0}")]
    Lookup(Arc<io::Error>),
    /// The resolver knows the name, and no address of it.
    #[error("the name has no address")]
    NoAddress,
    /// The address may not be reached.
    #[error(transparent)]
    Refused(TargetRefused),
    /// No TCP connection.
    #[error("{0}")]
    Connect(io::Error),
    /// The configured proxy was not reached.
    #[error("the proxy cannot be reached: {0}")]
    Proxy(String),
    /// It was, and does not let the request through.
    #[error("the proxy answered {0}")]
    ProxyRefused(StatusCode),
    /// No TLS session.
    #[error("{0}")]
    Tls(io::Error),
    /// The connection stood; the exchange on it failed.
    #[error(transparent)]
    Http(hyper::Error),
}

impl Failure {
    /// For the decision what follows, and for the first half of the sentence.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(_) | Self::NoAddress => FailureKind::Dns,
            Self::Refused(_) => FailureKind::TargetRefused,
            Self::Connect(_) | Self::Proxy(_) | Self::ProxyRefused(_) => FailureKind::Connect,
            Self::Tls(_) => FailureKind::Tls,
            Self::Http(error) => kind_of_http(error),
        }
    }

    /// The innermost error, which says most: `Connection refused`, `invalid peer certificate: Expired`.
    pub(crate) fn cause(&self) -> String {
        let text = match self {
            Self::Connect(error) | Self::Tls(error) => root_of(error),
            Self::Http(error) => root_of(error),
            others => others.to_string(),
        };
        text.chars().take(CAUSE_CHARS_MAX).collect()
    }
}

/// A connection that broke shows as an I/O error around which there may be a protocol error; in HTTP/2 also as
/// a stream that was reset or a server that says goodbye.
fn kind_of_http(error: &hyper::Error) -> FailureKind {
    let broke = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<h2::Error>() {
        Some(error) => error.is_io() || (error.is_remote() && (error.is_reset() || error.is_go_away())),
        None => cause.is::<io::Error>(),
    };
    let is_cut = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    if is_cut || causes(error).any(broke) { FailureKind::Io } else { FailureKind::Protocol }
}

fn root_of(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// `io::Error` leaves what it wraps out of its own chain.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}
