//! Webhooks as REST shows them.

use std::collections::BTreeMap;

use mediahooks_model::{EventKind, Timestamp, TokenId, Webhook};
use serde::Serialize;
use utoipa::ToSchema;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub struct WebhookView {
    /// Its number.
    pub id: i64,
    /// Where to send.
    pub url: String,
    /// The signing secret, base64.
    pub secret: String,
    /// Until when the secret before it signs too; null when it does not. Ours, as all that follow `filter`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_expires_on: Option<Timestamp>,
    /// Whether it wants `feeds`.
    pub is_feed_hooks: bool,
    /// Whether it wants `media`.
    pub is_media_hooks: bool,
    /// Whether it wants `storage`. Ours.
    pub is_storage_hooks: bool,
    /// Whether it wants the legacy `recordings`.
    pub is_recording_hooks: bool,
    /// Whether it wants `thumbnail`.
    pub is_thumbnail_hooks: bool,
    /// Whether it wants `transcoder`.
    pub is_transcoder_hooks: bool,
    /// Whether it wants `viewerConnection`.
    pub is_viewer_connection_hooks: bool,
    /// A regular expression that has to be found in the stream's name.
    pub filter: Option<String>,
    /// Which kinds of the subscribed types it wants, such as `media.completed`; empty: all.
    #[schema(value_type = Vec<String>)]
    pub events: Vec<EventKind>,
    /// Only what was published with one of these tokens; empty: any.
    #[schema(value_type = Vec<i64>)]
    pub token_ids: Vec<TokenId>,
    /// Headers of every request beside the server's own, by name.
    pub headers: BTreeMap<String, String>,
    /// Requests per second at most; null: as fast as the endpoint answers.
    pub rate_limit: Option<u32>,
    /// Whether `media.completed` carries a download link, made when it is sent.
    pub include_download: bool,
    /// The certificate shown to the endpoint, PEM. Its key is never shown.
    pub client_certificate: Option<String>,
    /// Certificate authorities that may vouch for the endpoint beside the public ones, PEM.
    pub ca_certificate: Option<String>,
    /// Present while nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<DisabledView>,
}

/// Why nothing is sent for now. What is owed is held, not dropped.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDisabled)]
pub struct DisabledView {
    /// Until when; null: until its URL changes or it is enabled again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

impl WebhookView {
    /// Shows a webhook as it is at `now`.
    pub(crate) fn new(webhook: &Webhook, now: Timestamp) -> Self {
        let wants = webhook.subscriptions;
        let previous = webhook.previous_secret.as_ref().map(|previous| previous.until);
        let tls = webhook.tls.clone().unwrap_or_default();
        Self {
            id: webhook.id.0,
            url: webhook.url.clone(),
            secret: webhook.secret.clone(),
            previous_secret_expires_on: previous.filter(|until| now < *until),
            is_feed_hooks: wants.is_feed_hooks,
            is_media_hooks: wants.is_media_hooks,
            is_storage_hooks: wants.is_storage_hooks,
            is_recording_hooks: wants.is_recording_hooks,
            is_thumbnail_hooks: wants.is_thumbnail_hooks,
            is_transcoder_hooks: wants.is_transcoder_hooks,
            is_viewer_connection_hooks: wants.is_viewer_connection_hooks,
            filter: webhook.filter.as_ref().map(|filter| filter.as_str().to_owned()),
            events: webhook.events.clone(),
            token_ids: webhook.token_ids.clone(),
            headers: webhook.headers.clone(),
            rate_limit: webhook.rate_limit,
            include_download: webhook.include_download,
            client_certificate: tls.client_certificate,
            ca_certificate: tls.ca_certificate,
            disabled: webhook
                .disabled
                .as_ref()
                .map(|disabled| DisabledView { until: disabled.until, reason: disabled.reason.clone() }),
        }
    }
}
