//! Reads the bodies that make and change publish tokens.
//!
//! Both versions of the update call are read alike: plain names, `update…` names, or both.

use std::time::Duration;

use ipnet::IpNet;
use mediahooks_model::token::StreamRule;
use mediahooks_model::{PublishToken, Timestamp, TokenId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::other;
use crate::errors::{ApiError, Result};
use crate::extract::members::Members;
use crate::extract::value::FromJson;

const LABEL_CHARS: std::ops::RangeInclusive<usize> = 1..=128;
const STREAM_CHARS: std::ops::RangeInclusive<usize> = 1..=128;
const SECONDS: std::ops::RangeInclusive<i64> = 1..=2_147_483_647;

/// Streams of one token. Ours: each publish request tries them all.
const STREAMS_MAX: usize = 1000;

/// Address ranges of one token. Ours.
const ADDRESSES_MAX: usize = 1000;

/// A stream that a token is to allow: an object, or only its name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StreamInput {
    /// A plain name.
    Name(String),
    /// A name or a pattern.
    Rule {
        /// 1 to 128 characters.
        #[serde(rename = "streamName")]
        stream_name: String,
        /// Whether it is a regular expression.
        #[serde(rename = "isRegex", default)]
        is_regex: Option<bool>,
    },
}

impl FromJson for StreamInput {
    fn from_json(value: Value) -> Result<Self, String> {
        serde_json::from_value(value)
            .map_err(|_| "expected stream names, or objects with a streamName".into())
    }
}

impl From<StreamInput> for StreamRule {
    fn from(input: StreamInput) -> Self {
        match input {
            StreamInput::Name(stream_name) => Self { stream_name, is_regex: false },
            StreamInput::Rule { stream_name, is_regex } => {
                Self { stream_name, is_regex: is_regex.unwrap_or(false) }
            }
        }
    }
}

/// Reads the body of a new token; `secret` becomes its secret.
pub(crate) fn create(mut body: Members, secret: String, now: Timestamp) -> Result<PublishToken> {
    let label: Option<String> = body.required("label");
    let streams: Option<Vec<StreamInput>> = body.required("streams");
    let Some((label, streams)) = label.zip(streams) else { return body.finish(None) };
    let mut token = PublishToken {
        id: TokenId(0),
        label,
        token: secret,
        added_on: now,
        expires_on: None,
        is_active: true,
        streams: streams.into_iter().map(StreamRule::from).collect(),
        allowed_ip_addresses: Vec::new(),
        bind_ips_on_usage: None,
        record: false,
        clip: false,
        multisource: true,
        priority: None,
        other: Map::new(),
    };
    read_common(&mut body, &mut token, now);
    check(&mut body, &token);
    body.finish(Some(token))
}

/// Applies the body of an update to a token. `fresh_secret` becomes its secret if one was asked for.
pub(crate) fn update(
    mut body: Members,
    mut token: PublishToken,
    fresh_secret: String,
    now: Timestamp,
) -> Result<PublishToken> {
    let mut changed = read_common(&mut body, &mut token, now);
    if let Some(label) = body.optional("label") {
        token.label = label;
        changed = true;
    }
    if let Some(is_active) = body.optional("isActive") {
        token.is_active = is_active;
        changed = true;
    }
    if let Some(refresh) = body.optional::<bool>("refreshToken") {
        changed = true;
        if refresh {
            token.token = fresh_secret;
        }
    }
    changed |= update_streams(&mut body, &mut token);
    check(&mut body, &token);
    let token = body.finish(Some(token))?;
    if changed { Ok(token) } else { Err(ApiError::about("token", "No properties specified to update.")) }
}

/// The members that both bodies have. Returns whether any came.
fn read_common(body: &mut Members, token: &mut PublishToken, now: Timestamp) -> bool {
    let mut changed = other::read(body, &mut token.other);
    for (name, switch) in
        [("record", &mut token.record), ("clip", &mut token.clip), ("multisource", &mut token.multisource)]
    {
        if let Some(value) = body.optional(name) {
            *switch = value;
            changed = true;
        }
    }
    if let Some(priority) = body.nullable("priority") {
        token.priority = priority;
        changed = true;
    }
    for name in ["expires", "expiresOn"] {
        if let Some(expires) = body.nullable::<Expiry>(name) {
            let seconds = expires.as_ref().and_then(|expires| expires.seconds());
            body.range(name, seconds, SECONDS);
            token.expires_on = expires.map(|expires| expires.moment(now));
            changed = true;
        }
    }
    for name in ["allowedIpAddresses", "updateAllowedIpAddresses"] {
        if let Some(ranges) = body.optional::<Vec<IpNet>>(name) {
            token.allowed_ip_addresses = ranges;
            changed = true;
        }
    }
    for name in ["bindIpsOnUsage", "updateBindIpsOnUsage"] {
        if let Some(count) = body.nullable::<i64>(name) {
            body.range(name, count, 0..=2_147_483_647);
            // 0 takes the binding away.
            token.bind_ips_on_usage =
                count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
            changed = true;
        }
    }
    changed
}

/// When a token expires: seconds from now; the Python client's `expiresOn` may also be a moment.
enum Expiry {
    Seconds(i64),
    At(Timestamp),
}

impl FromJson for Expiry {
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::String(_) => Timestamp::from_json(value).map(Self::At),
            value => i64::from_json(value).map(Self::Seconds),
        }
    }
}

impl Expiry {
    fn seconds(&self) -> Option<i64> {
        match self {
            Self::Seconds(seconds) => Some(*seconds),
            Self::At(_) => None,
        }
    }

    fn moment(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Seconds(seconds) => now.plus(Duration::from_secs(u64::try_from(*seconds).unwrap_or(0))),
            Self::At(moment) => *moment,
        }
    }
}

fn update_streams(body: &mut Members, token: &mut PublishToken) -> bool {
    let add: Option<Vec<StreamInput>> = body.optional("addTokenStreams");
    let remove: Option<Vec<StreamInput>> = body.optional("removeTokenStreams");
    let changed = add.is_some() || remove.is_some();
    for gone in remove.into_iter().flatten().map(StreamRule::from) {
        token.streams.retain(|rule| rule.stream_name != gone.stream_name);
    }
    for rule in add.into_iter().flatten().map(StreamRule::from) {
        token.streams.retain(|known| known.stream_name != rule.stream_name);
        token.streams.push(rule);
    }
    changed
}

/// What holds for every token, new or changed.
fn check(body: &mut Members, token: &PublishToken) {
    body.length("label", Some(&token.label), LABEL_CHARS);
    if token.streams.is_empty() {
        body.error("streams", "A token needs at least one stream.");
    }
    if token.streams.len() > STREAMS_MAX {
        body.error("streams", format!("A token allows at most {STREAMS_MAX} streams."));
    }
    for rule in token.streams.iter().take(STREAMS_MAX) {
        body.length("streamName", Some(&rule.stream_name), STREAM_CHARS);
        if let Err(invalid) = rule.validate() {
            body.error("streams", invalid.to_string());
        }
    }
    if token.allowed_ip_addresses.len() > ADDRESSES_MAX {
        body.error("allowedIpAddresses", format!("At most {ADDRESSES_MAX} ranges are allowed."));
    }
    if token.bind_ips_on_usage.is_some() && !token.allowed_ip_addresses.is_empty() {
        body.error("bindIpsOnUsage", "BindIpsOnUsage and AllowedIpAddresses exclude each other.");
    }
}
