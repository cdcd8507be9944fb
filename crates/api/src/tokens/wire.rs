//! Publish tokens as REST shows them.

use mediahooks_model::token::StreamRule;
use mediahooks_model::{PublishToken, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::other::{flag, text, texts};

/// A publish token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublishToken)]
pub struct TokenView {
    /// Its number.
    pub id: i64,
    /// A name for people.
    pub label: String,
    /// The label again; only in version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(deprecated)]
    pub name: Option<String>,
    /// The secret that encoders present: 64 hexadecimal digits.
    pub token: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub added_on: Timestamp,
    /// From when it admits no new publisher; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_on: Option<Timestamp>,
    /// Whether it admits publishers at all.
    pub is_active: bool,
    /// What may be published.
    pub streams: Vec<StreamView>,
    /// Stored and shown; concerns browsers only.
    pub allowed_origins: Vec<String>,
    /// From where; empty: anywhere.
    pub allowed_ip_addresses: Vec<String>,
    /// How many addresses may use it: the first ones that do.
    pub bind_ips_on_usage: Option<u32>,
    /// Stored and shown.
    pub origin_cluster: String,
    /// Whether its feeds are recorded.
    pub record: bool,
    /// Whether its feeds keep a timeline that clips can be cut from.
    pub clip: bool,
    /// Whether a feed may name a source.
    pub multisource: bool,
    /// Stored and shown.
    pub enable_thumbnails: bool,
    /// Stored and shown.
    pub low_latency_rtmp: bool,
    /// Stored and shown.
    pub display_srt_passphrase: bool,
    /// Stored and shown.
    pub subscribe_requires_auth: bool,
    /// Stored and shown.
    pub drm: bool,
    /// Always null: there is no SRT ingest yet.
    pub srt_passphrase: Option<String>,
    /// Rank of its feeds that name none of their own; null ranks lowest.
    pub priority: Option<i32>,
    /// Stored and shown.
    pub encoder_profile_id: Option<String>,
    /// Stored and shown.
    #[serde(rename = "enableUTCInsertion")]
    pub enable_utc_insertion: Option<bool>,
    /// Always `None`.
    pub integration_id: &'static str,
    /// Stored and shown.
    pub allowed_countries: Vec<String>,
    /// Stored and shown.
    pub denied_countries: Vec<String>,
    /// Stored and shown.
    pub geo_cascade: Option<Value>,
    /// Stored and shown.
    pub restream: Option<Value>,
    /// The settings of the account applied to the token's; the same, as there are none.
    pub effective_settings: EffectiveSettings,
}

/// A stream that a token allows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublishTokenStream)]
pub struct StreamView {
    /// A name, or a regular expression that has to match a whole name.
    pub stream_name: String,
    /// Whether it is a regular expression.
    pub is_regex: bool,
}

/// The settings that apply.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveSettings {
    /// As in the token.
    pub origin_cluster: String,
    /// As in the token.
    pub allowed_countries: Vec<String>,
    /// As in the token.
    pub denied_countries: Vec<String>,
    /// As in the token.
    pub geo_cascade: Option<Value>,
    /// As in the token.
    #[serde(rename = "enableUTCInsertion")]
    pub enable_utc_insertion: Option<bool>,
}

/// Which version of the call asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// With the deprecated `name`.
    V1,
    /// Without it.
    V2,
}

impl TokenView {
    /// Shows a token.
    pub(crate) fn new(token: &PublishToken, version: Version) -> Self {
        Self {
            id: token.id.0,
            label: token.label.clone(),
            name: (version == Version::V1).then(|| token.label.clone()),
            token: token.token.clone(),
            added_on: token.added_on,
            expires_on: token.expires_on,
            is_active: token.is_active,
            streams: token.streams.iter().map(StreamView::new).collect(),
            allowed_origins: texts(token, "allowedOrigins"),
            allowed_ip_addresses: token.allowed_ip_addresses.iter().map(show_range).collect(),
            bind_ips_on_usage: token.bind_ips_on_usage,
            origin_cluster: text(token, "originCluster").unwrap_or_default(),
            record: token.record,
            clip: token.clip,
            multisource: token.multisource,
            enable_thumbnails: flag(token, "enableThumbnails", false),
            low_latency_rtmp: flag(token, "lowLatencyRtmp", true),
            display_srt_passphrase: flag(token, "displaySrtPassphrase", false),
            subscribe_requires_auth: flag(token, "subscribeRequiresAuth", false),
            drm: flag(token, "drm", false),
            srt_passphrase: None,
            priority: token.priority,
            encoder_profile_id: text(token, "encoderProfileId"),
            enable_utc_insertion: token.other.get("enableUTCInsertion").and_then(Value::as_bool),
            integration_id: "None",
            allowed_countries: texts(token, "allowedCountries"),
            denied_countries: texts(token, "deniedCountries"),
            geo_cascade: token.other.get("geoCascade").cloned(),
            restream: token.other.get("restream").cloned(),
            effective_settings: EffectiveSettings {
                origin_cluster: text(token, "originCluster").unwrap_or_default(),
                allowed_countries: texts(token, "allowedCountries"),
                denied_countries: texts(token, "deniedCountries"),
                geo_cascade: token.other.get("geoCascade").cloned(),
                enable_utc_insertion: token.other.get("enableUTCInsertion").and_then(Value::as_bool),
            },
        }
    }
}

impl StreamView {
    fn new(rule: &StreamRule) -> Self {
        Self { stream_name: rule.stream_name.clone(), is_regex: rule.is_regex }
    }
}

/// A range of one address is shown as that address, as it was given.
fn show_range(range: &ipnet::IpNet) -> String {
    if range.prefix_len() == range.max_prefix_len() { range.addr().to_string() } else { range.to_string() }
}

/// Numbers of tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenIds {
    /// In rising order.
    pub token_ids: Vec<i64>,
}

/// What came of disabling tokens.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisabledTokens {
    /// Disabled now.
    pub successful_tokens: Vec<i64>,
    /// Not disabled.
    pub failed_tokens: Vec<FailedToken>,
}

/// A token that was not disabled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedToken {
    /// Which.
    pub token_id: i64,
    /// Why.
    pub error_message: String,
}
