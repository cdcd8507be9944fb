//! Webhooks as REST shows them.

use mediahooks_model::{Timestamp, Webhook};
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
    /// Whether it wants `feeds`.
    pub is_feed_hooks: bool,
    /// Whether it wants `media`.
    pub is_media_hooks: bool,
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
    /// Shows a webhook.
    pub(crate) fn new(webhook: &Webhook) -> Self {
        let wants = webhook.subscriptions;
        Self {
            id: webhook.id.0,
            url: webhook.url.clone(),
            secret: webhook.secret.clone(),
            is_feed_hooks: wants.is_feed_hooks,
            is_media_hooks: wants.is_media_hooks,
            is_recording_hooks: wants.is_recording_hooks,
            is_thumbnail_hooks: wants.is_thumbnail_hooks,
            is_transcoder_hooks: wants.is_transcoder_hooks,
            is_viewer_connection_hooks: wants.is_viewer_connection_hooks,
            filter: webhook.filter.as_ref().map(|filter| filter.as_str().to_owned()),
            disabled: webhook
                .disabled
                .as_ref()
                .map(|disabled| DisabledView { until: disabled.until, reason: disabled.reason.clone() }),
        }
    }
}
