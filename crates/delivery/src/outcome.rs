//! What one attempt came to: a status, or the reason why there is none.
//!
//! `sender` makes an [`Outcome`] of every request, `database` stores its code, and
//! [`crate::retry::after_attempt`] decides what follows. The codes are part of the API: they never change.

use std::fmt;
use std::time::Duration;

/// One HTTP request made to pay a delivery, as it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub result: AttemptResult,
    /// From the start of name resolution to the last byte read or the failure.
    pub duration: Duration,
}

impl Outcome {
    /// Whether the receiver took the event over: a status of 200 to 299, nothing else. What its body
    /// says does not matter, nor does a body that was cut at the cap.
    pub fn delivered(&self) -> bool {
        matches!(self.result, AttemptResult::Status { code: 200..=299, .. })
    }

    /// Whether the receiver wants no more events at all (410 Gone; Standard Webhooks 1.0, RFC 9110 §15.5.11).
    pub fn gone(&self) -> bool {
        matches!(self.result, AttemptResult::Status { code: 410, .. })
    }

    /// The wait that the receiver asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.result {
            AttemptResult::Status { retry_after, .. } => retry_after,
            AttemptResult::Failed { .. } => None,
        }
    }

    /// The status that asks to leave the whole endpoint alone for a while, not only this delivery, and for how
    /// long: 429 and 503 with a `Retry-After`.
    pub fn asks_for_patience(&self) -> Option<(u16, Duration)> {
        match self.result {
            AttemptResult::Status { code: code @ (429 | 503), retry_after: Some(wait) } => Some((code, wait)),
            _ => None,
        }
    }
}

/// How an attempt ended. `Display` is a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// A response arrived.
    Status {
        /// Its HTTP status.
        code: u16,
        /// Its `Retry-After`, as read by [`crate::retry::parse_retry_after`].
        retry_after: Option<Duration>,
    },
    /// None arrived.
    Failed {
        /// Why.
        kind: FailureKind,
    },
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code: code @ 300..=399, .. } => write!(
                f,
                "the endpoint answered {code}: redirects are not followed, register the final URL instead"
            ),
            Self::Status { code: 410, .. } => {
                f.write_str("the endpoint answered 410: it wants no more events, so the webhook is disabled")
            }
            Self::Status { code, .. } => write!(f, "the endpoint answered {code}"),
            Self::Failed { kind } => kind.fmt(f),
        }
    }
}

/// Why no response arrived. `Display` is a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The host name has no address.
    Dns,
    /// The outbound guard forbids the target ([`crate::target::TargetRefused`]).
    TargetRefused,
    /// No TCP connection came about.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The deadline over the whole exchange passed.
    Timeout,
    /// What came back is not HTTP.
    Protocol,
    /// The connection broke before a whole response head had come.
    Io,
}

impl FailureKind {
    /// The stable word for the API and the database.
    pub fn code(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::TargetRefused => "target_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Io => "io",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the host name could not be resolved",
            Self::TargetRefused => {
                "the host's address is private or reserved: requests to it are refused unless it is allow-listed"
            }
            Self::Connect => "no connection could be made: nothing listens there, or a firewall is in between",
            Self::Tls => "the TLS handshake failed: check the certificate, its names and its chain",
            Self::Timeout => "the endpoint did not finish its answer in time: answer first, work afterwards",
            Self::Protocol => "the endpoint's answer is not valid HTTP",
            Self::Io => "the connection broke before the answer was complete",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Outcome {
        Outcome {
            result: AttemptResult::Status { code, retry_after: None },
            duration: Duration::from_millis(3),
        }
    }

    #[test]
    fn only_2xx_is_delivered() {
        let delivered: Vec<u16> = (100..600).filter(|code| status(*code).delivered()).collect();
        assert_eq!(delivered, (200..300).collect::<Vec<u16>>());
        assert!(status(410).gone() && !status(404).gone());
    }

    #[test]
    fn a_redirect_is_explained() {
        assert!(status(302).result.to_string().contains("register the final URL"));
    }
}
