//! Publish tokens and the decision who may publish what.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::RegexBuilder;
use serde::{Deserialize, Serialize};

use crate::ids::{StreamName, TokenId};
use crate::time::Timestamp;

/// A stream that a token allows, by name or by pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRule {
    /// A name, or a regular expression that has to match a whole name.
    pub stream_name: String,
    /// Whether it is a regular expression.
    #[serde(default)]
    pub is_regex: bool,
}

/// A pattern that is not a usable regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a usable regular expression: {reason}")]
pub struct InvalidPattern {
    pattern: String,
    reason: String,
}

/// Compiles a user's pattern under a bound on its compiled size; matching is linear in the input.
pub(crate) fn compile(pattern: &str) -> Result<regex::Regex, InvalidPattern> {
    const COMPILED_SIZE_MAX: usize = 1 << 20;
    RegexBuilder::new(pattern).size_limit(COMPILED_SIZE_MAX).build().map_err(|error| InvalidPattern {
        pattern: pattern.chars().take(128).collect(),
        reason: error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })
}

impl StreamRule {
    /// Checks the pattern, if it is one.
    pub fn validate(&self) -> Result<(), InvalidPattern> {
        if self.is_regex { self.pattern().map(drop) } else { Ok(()) }
    }

    /// Whether the rule allows `stream`. A pattern that cannot be compiled allows nothing.
    pub fn allows(&self, stream: &StreamName) -> bool {
        if self.is_regex {
            self.pattern().is_ok_and(|pattern| pattern.is_match(stream.as_str()))
        } else {
            self.stream_name == stream.as_str()
        }
    }

    /// Anchored at both ends: this is an authorisation, and `cam` must not admit `webcam2`.
    fn pattern(&self) -> Result<regex::Regex, InvalidPattern> {
        compile(&self.stream_name)?;
        compile(&format!("^(?:{})$", self.stream_name))
    }
}

/// The credential that allows a broadcaster to publish one or more streams.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishToken {
    /// Its number.
    pub id: TokenId,
    /// A name for people; 1 to 128 characters.
    pub label: String,
    /// The secret that encoders present: 64 hexadecimal digits. REST shows it, so it is not hashed.
    pub token: String,
    /// When it was made.
    pub added_on: Timestamp,
    /// From when it admits no new publisher; running feeds go on.
    pub expires_on: Option<Timestamp>,
    /// Whether it admits publishers at all.
    pub is_active: bool,
    /// What may be published; at least one.
    pub streams: Vec<StreamRule>,
    /// From where; empty means anywhere.
    pub allowed_ip_addresses: Vec<IpNet>,
    /// How many addresses may use it: the first ones that do. Excludes `allowed_ip_addresses`.
    pub bind_ips_on_usage: Option<u32>,
    /// Whether its feeds are recorded.
    pub record: bool,
    /// Whether its feeds keep a timeline that clips can be cut from.
    pub clip: bool,
    /// Whether a feed may name a source.
    pub multisource: bool,
    /// Rank of its feeds that name none of their own.
    pub priority: Option<i32>,
    /// Members that do not concern recording: stored as they came and shown again.
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl std::fmt::Debug for PublishToken {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishToken")
            .field("id", &self.id)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Why a publisher is not admitted. The text goes to the encoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishDenied {
    /// No such token.
    #[error("Unauthorized: Invalid token")]
    UnknownToken,
    /// The token was switched off.
    #[error("Unauthorized: Token is disabled")]
    Inactive,
    /// The token is past its time.
    #[error("Unauthorized: Token expired")]
    Expired,
    /// The token does not allow this name.
    #[error("StreamName is not valid for token")]
    StreamNotAllowed,
    /// The publisher's address is not one of the token's.
    #[error("Unauthorized: IP Address not allowed")]
    AddressNotAllowed,
    /// A source was named on a token that allows only one.
    #[error("Unauthorized: Token does not allow several sources")]
    SourceNotAllowed,
}

impl PublishToken {
    /// Decides whether `stream` may be published from `address` with this token at `now`.
    /// `names_source` tells that a `sourceId` was given.
    pub fn admits(
        &self,
        stream: &StreamName,
        names_source: bool,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), PublishDenied> {
        if !self.is_active {
            return Err(PublishDenied::Inactive);
        }
        if self.expires_on.is_some_and(|end| end <= now) {
            return Err(PublishDenied::Expired);
        }
        if !self.streams.iter().any(|rule| rule.allows(stream)) {
            return Err(PublishDenied::StreamNotAllowed);
        }
        // An IPv4 publisher on a dual-stack socket shows up as a mapped IPv6 address.
        let address = address.to_canonical();
        let listed = self.allowed_ip_addresses.iter().any(|net| net.contains(&address));
        if !self.allowed_ip_addresses.is_empty() && !listed {
            return Err(PublishDenied::AddressNotAllowed);
        }
        if names_source && !self.multisource {
            return Err(PublishDenied::SourceNotAllowed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> PublishToken {
        PublishToken {
            id: TokenId(1),
            label: "main".into(),
            token: "ab".repeat(32),
            added_on: Timestamp::EPOCH,
            expires_on: Some(Timestamp::from_millis(1000)),
            is_active: true,
            streams: vec![
                StreamRule { stream_name: "exact.name".into(), is_regex: false },
                StreamRule { stream_name: "cam|stage/.+".into(), is_regex: true },
            ],
            allowed_ip_addresses: vec!["10.1.0.0/16".parse().unwrap()],
            bind_ips_on_usage: None,
            record: true,
            clip: true,
            multisource: false,
            priority: None,
            other: serde_json::Map::new(),
        }
    }

    fn check(token: &PublishToken, stream: &str, address: &str, expected: Result<(), PublishDenied>) {
        let decided = token.admits(
            &stream.parse().unwrap(),
            false,
            address.parse().unwrap(),
            Timestamp::from_millis(500),
        );
        assert_eq!(decided, expected, "{stream} from {address}");
    }

    #[test]
    fn names_are_exact_and_patterns_match_the_whole_name() {
        let token = token();
        check(&token, "exact.name", "10.1.2.3", Ok(()));
        check(&token, "cam", "::ffff:10.1.2.3", Ok(()));
        check(&token, "stage/left", "10.1.2.3", Ok(()));
        for stream in ["exactXname", "webcam2", "camera", "xstage/left", "stage/"] {
            check(&token, stream, "10.1.2.3", Err(PublishDenied::StreamNotAllowed));
        }
        check(&token, "cam", "10.2.2.3", Err(PublishDenied::AddressNotAllowed));
        check(&token, "cam", "2001:db8::1", Err(PublishDenied::AddressNotAllowed));
    }

    #[test]
    fn time_and_switch_come_first() {
        let stream: StreamName = "cam".parse().unwrap();
        let address: IpAddr = "10.1.2.3".parse().unwrap();
        let at = |token: &PublishToken, ms| token.admits(&stream, false, address, Timestamp::from_millis(ms));
        assert_eq!(at(&token(), 999), Ok(()));
        assert_eq!(at(&token(), 1000), Err(PublishDenied::Expired));
        assert_eq!(at(&PublishToken { is_active: false, ..token() }, 0), Err(PublishDenied::Inactive));
        assert_eq!(
            token().admits(&stream, true, address, Timestamp::EPOCH),
            Err(PublishDenied::SourceNotAllowed)
        );
    }

    #[test]
    fn hostile_patterns_are_refused_not_run() {
        for pattern in ["(", "a{1000}{1000}{1000}", "(?P<", "x)|(?:y"] {
            assert!(
                StreamRule { stream_name: pattern.into(), is_regex: true }.validate().is_err(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", token()).contains("abab"));
    }
}
