//! Reads the bodies that make and change webhooks.

use mediahooks_delivery::target::parse_url;
use mediahooks_delivery::{TargetPolicy, WebhookSecret};
use mediahooks_model::Webhook;
use mediahooks_model::webhook::{StreamFilter, Subscriptions};

use crate::errors::Result;
use crate::extract::members::Members;

/// A fresh signing secret, as it is stored and shown.
fn fresh_secret() -> String {
    WebhookSecret::generate_from(rand::random::<[u8; 32]>()).reveal_base64()
}

/// Reads the body of a new webhook.
pub(crate) fn create(mut body: Members, policy: &TargetPolicy) -> Result<Webhook> {
    let url: Option<String> = body.required("url");
    if let Some(url) = &url {
        check_url(&mut body, url, policy);
    }
    let feeds: Option<bool> = body.required("isFeedHooks");
    let subscriptions = Subscriptions { is_feed_hooks: feeds.unwrap_or(false), ..Subscriptions::default() };
    let mut webhook = Webhook::new(url.unwrap_or_default(), fresh_secret(), subscriptions);
    read_subscriptions(&mut body, &mut webhook.subscriptions);
    read_filter(&mut body, &mut webhook);
    body.finish(Some(webhook))
}

/// Applies the body of an update to a webhook. A new URL enables it again.
pub(crate) fn update(mut body: Members, mut webhook: Webhook, policy: &TargetPolicy) -> Result<Webhook> {
    if let Some(url) = body.optional::<String>("url") {
        check_url(&mut body, &url, policy);
        if url != webhook.url {
            webhook.disabled = None;
        }
        webhook.url = url;
    }
    if let Some(feeds) = body.optional("isFeedHooks") {
        webhook.subscriptions.is_feed_hooks = feeds;
    }
    read_subscriptions(&mut body, &mut webhook.subscriptions);
    read_filter(&mut body, &mut webhook);
    if body.optional("refreshSecret") == Some(true) {
        webhook.secret = fresh_secret();
    }
    if body.optional("reEnable") == Some(true) {
        webhook.disabled = None;
    }
    body.finish(Some(webhook))
}

fn read_subscriptions(body: &mut Members, wants: &mut Subscriptions) {
    for (name, wanted) in [
        ("isMediaHooks", &mut wants.is_media_hooks),
        ("isRecordingHooks", &mut wants.is_recording_hooks),
        ("isThumbnailHooks", &mut wants.is_thumbnail_hooks),
        ("isTranscoderHooks", &mut wants.is_transcoder_hooks),
        ("isViewerConnectionHooks", &mut wants.is_viewer_connection_hooks),
    ] {
        if let Some(value) = body.optional(name) {
            *wanted = value;
        }
    }
}

fn read_filter(body: &mut Members, webhook: &mut Webhook) {
    let Some(filter) = body.nullable::<String>("filter") else { return };
    body.length("filter", filter.as_deref(), 1..=128);
    match filter.map(StreamFilter::new).transpose() {
        Ok(filter) => webhook.filter = filter,
        Err(invalid) => body.error("filter", invalid.to_string()),
    }
}

/// Only what can be known without resolving the name; the sender checks the address at every attempt.
fn check_url(body: &mut Members, url: &str, policy: &TargetPolicy) {
    if let Err(refused) = parse_url(url, policy) {
        body.error("url", refused.to_string());
    }
}
