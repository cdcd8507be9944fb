//! Reads the bodies that make and change webhooks.
//!
//! What always holds: a change touches the members that were given and nothing else, so that it undoes
//! nothing that happened to the webhook since somebody last looked at it. What members say about each other
//! is checked on the webhook as it will be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mediahooks_delivery::headers::check_headers;
use mediahooks_delivery::target::parse_url;
use mediahooks_delivery::tls::{InvalidTls, read_tls};
use mediahooks_delivery::{TargetPolicy, WebhookSecret};
use mediahooks_model::webhook::{PreviousSecret, StreamFilter, Subscriptions, WebhookTls};
use mediahooks_model::{EventKind, Timestamp, TokenId, Webhook};

use crate::errors::{ApiError, Result};
use crate::extract::members::Members;

/// Most tokens that a webhook can be limited to.
const TOKENS_MAX: usize = 1000;

/// Requests per second that a webhook can be limited to.
const RATE_LIMITS: std::ops::RangeInclusive<i64> = 1..=10_000;

/// One type of events among the subscriptions.
type Flag = fn(&mut Subscriptions) -> &mut bool;

/// What a body asks for. Absent members stay as they are; of those that can be cleared, `Some(None)` is
/// cleared.
#[derive(Default)]
pub(crate) struct Edit {
    url: Option<String>,
    subscriptions: Vec<(Flag, bool)>,
    events: Option<Vec<EventKind>>,
    filter: Option<Option<StreamFilter>>,
    token_ids: Option<Vec<TokenId>>,
    headers: Option<BTreeMap<String, String>>,
    rate_limit: Option<Option<u32>>,
    include_download: Option<bool>,
    client_certificate: Option<Option<String>>,
    client_key: Option<Option<String>>,
    ca_certificate: Option<Option<String>>,
    /// A new secret.
    secret: Option<String>,
    /// Whether the old one signs nothing any more.
    expire_old_secret: bool,
    /// Whether a disable is lifted and everything owed is due at once.
    pub(crate) re_enable: bool,
}

/// Reads the body of a new webhook.
pub(crate) fn create(mut body: Members, policy: &TargetPolicy) -> Result<Webhook> {
    let url: Option<String> = body.required("url");
    let feeds: Option<bool> = body.required("isFeedHooks");
    let subscriptions = Subscriptions { is_feed_hooks: feeds.unwrap_or(false), ..Subscriptions::default() };
    let mut webhook = Webhook::new("", fresh_secret(), subscriptions);
    let mut edit = read(&mut body);
    if let Some(url) = &url {
        check_url(&mut body, url, policy);
    }
    edit.url = url;
    // There is no secret before the first one.
    body.finish(Some(edit))?.apply(&mut webhook, Timestamp::EPOCH, Duration::ZERO)?;
    Ok(webhook)
}

/// Reads the body of a change.
pub(crate) fn update(mut body: Members, policy: &TargetPolicy) -> Result<Edit> {
    let mut edit = read(&mut body);
    edit.url = body.optional("url");
    if let Some(url) = &edit.url {
        check_url(&mut body, url, policy);
    }
    if let Some(feeds) = body.optional("isFeedHooks") {
        edit.subscriptions.push((|wants| &mut wants.is_feed_hooks, feeds));
    }
    edit.secret = (body.optional("refreshSecret") == Some(true)).then(fresh_secret);
    edit.expire_old_secret = body.optional("expireOldSecret") == Some(true);
    edit.re_enable = body.optional("reEnable") == Some(true);
    body.finish(Some(edit))
}

/// Reads what a new webhook and a change have in common.
fn read(body: &mut Members) -> Edit {
    Edit {
        subscriptions: read_subscriptions(body),
        events: read_events(body),
        filter: read_filter(body),
        token_ids: read_token_ids(body),
        headers: read_headers(body),
        rate_limit: read_rate_limit(body),
        include_download: body.nullable("includeDownload").map(Option::unwrap_or_default),
        client_certificate: body.nullable("clientCertificate"),
        client_key: body.nullable("clientKey"),
        ca_certificate: body.nullable("caCertificate"),
        ..Edit::default()
    }
}

fn read_subscriptions(body: &mut Members) -> Vec<(Flag, bool)> {
    let flags: [(&str, Flag); 6] = [
        ("isMediaHooks", |wants| &mut wants.is_media_hooks),
        ("isStorageHooks", |wants| &mut wants.is_storage_hooks),
        ("isRecordingHooks", |wants| &mut wants.is_recording_hooks),
        ("isThumbnailHooks", |wants| &mut wants.is_thumbnail_hooks),
        ("isTranscoderHooks", |wants| &mut wants.is_transcoder_hooks),
        ("isViewerConnectionHooks", |wants| &mut wants.is_viewer_connection_hooks),
    ];
    flags.into_iter().filter_map(|(name, flag)| Some((flag, body.optional(name)?))).collect()
}

/// In the order of [`EventKind::ALL`], each once.
fn read_events(body: &mut Members) -> Option<Vec<EventKind>> {
    let named: Vec<EventKind> = body.nullable("events")?.unwrap_or_default();
    Some(EventKind::ALL.into_iter().filter(|kind| named.contains(kind)).collect())
}

fn read_filter(body: &mut Members) -> Option<Option<StreamFilter>> {
    let pattern = body.nullable::<String>("filter")?;
    body.length("filter", pattern.as_deref(), 1..=128);
    match pattern.map(StreamFilter::new).transpose() {
        Ok(filter) => Some(filter),
        Err(invalid) => {
            body.error("filter", invalid.to_string());
            None
        }
    }
}

fn read_token_ids(body: &mut Members) -> Option<Vec<TokenId>> {
    let named: Vec<i64> = body.nullable("tokenIds")?.unwrap_or_default();
    if named.len() > TOKENS_MAX {
        body.error("tokenIds", format!("The field TokenIds must have at most {TOKENS_MAX} items."));
    }
    Some(BTreeSet::from_iter(named).into_iter().map(TokenId).collect())
}

fn read_headers(body: &mut Members) -> Option<BTreeMap<String, String>> {
    let named: BTreeMap<String, String> = body.nullable("headers")?.unwrap_or_default();
    match check_headers(&named) {
        Ok(headers) => Some(headers),
        Err(invalid) => {
            body.error("headers", invalid.to_string());
            None
        }
    }
}

fn read_rate_limit(body: &mut Members) -> Option<Option<u32>> {
    let limit: Option<i64> = body.nullable("rateLimit")?;
    body.range("rateLimit", limit, RATE_LIMITS);
    Some(limit.and_then(|limit| u32::try_from(limit).ok()))
}

/// Only what can be known without resolving the name; the sender checks the address at every attempt.
fn check_url(body: &mut Members, url: &str, policy: &TargetPolicy) {
    if let Err(refused) = parse_url(url, policy) {
        body.error("url", refused.to_string());
    }
}

/// A fresh signing secret, as it is stored and shown.
fn fresh_secret() -> String {
    WebhookSecret::generate_from(rand::random::<[u8; 32]>()).reveal_base64()
}

impl Edit {
    /// Changes a webhook at `now`. A secret that is replaced signs for `grace` longer, a new URL lifts a
    /// disable.
    ///
    /// Errors: what the members would say about each other; the webhook is of no use then.
    pub(crate) fn apply(self, webhook: &mut Webhook, now: Timestamp, grace: Duration) -> Result<()> {
        for (flag, wanted) in self.subscriptions {
            *flag(&mut webhook.subscriptions) = wanted;
        }
        set(&mut webhook.events, self.events);
        set(&mut webhook.filter, self.filter);
        set(&mut webhook.token_ids, self.token_ids);
        set(&mut webhook.headers, self.headers);
        set(&mut webhook.rate_limit, self.rate_limit);
        set(&mut webhook.include_download, self.include_download);
        if let Some(secret) = self.secret {
            let secret = std::mem::replace(&mut webhook.secret, secret);
            webhook.previous_secret = Some(PreviousSecret { secret, until: now.plus(grace) });
        }
        if self.expire_old_secret {
            webhook.previous_secret = None;
        }
        let moved = self.url.as_ref().is_some_and(|url| *url != webhook.url);
        set(&mut webhook.url, self.url);
        if moved || self.re_enable {
            webhook.disabled = None;
        }
        check_events(webhook)?;
        set_tls(webhook, self.client_certificate, self.client_key, self.ca_certificate)
    }
}

fn set<T>(member: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *member = given;
    }
}

/// A kind of event whose type is not subscribed to would never come.
fn check_events(webhook: &Webhook) -> Result<()> {
    match webhook.events.iter().find(|kind| !webhook.subscriptions.include(**kind)) {
        Some(kind) => Err(ApiError::invalid(
            "Events",
            format!("`{kind}` would never come: subscribe to its type ({}) or leave it out.", flag_of(*kind)),
        )),
        None => Ok(()),
    }
}

/// The member that subscribes to the type of `kind`.
fn flag_of(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Media(_) => "isMediaHooks",
        EventKind::Feeds(_) => "isFeedHooks",
        EventKind::Storage(_) => "isStorageHooks",
        EventKind::Recordings => "isRecordingHooks",
        EventKind::Transcoder => "isTranscoderHooks",
        EventKind::ViewerConnection => "isViewerConnectionHooks",
    }
}

/// Without its certificate a key is of no use, so it goes with it.
fn set_tls(
    webhook: &mut Webhook,
    certificate: Option<Option<String>>,
    key: Option<Option<String>>,
    authorities: Option<Option<String>>,
) -> Result<()> {
    let mut tls = webhook.tls.take().unwrap_or_default();
    if certificate == Some(None) {
        tls.client_key = None;
    }
    let changed = certificate.is_some() || key.is_some() || authorities.is_some();
    set(&mut tls.client_certificate, certificate);
    set(&mut tls.client_key, key);
    set(&mut tls.ca_certificate, authorities);
    if changed {
        check_tls(&tls)?;
    }
    webhook.tls = Some(tls).filter(|tls| *tls != WebhookTls::default());
    Ok(())
}

fn check_tls(tls: &WebhookTls) -> Result<()> {
    let (certificate, key) = (tls.client_certificate.as_deref(), tls.client_key.as_deref());
    if let Err(invalid) = read_tls(certificate, key, None) {
        let about_key = match invalid {
            InvalidTls::OneOfTwo => key.is_none(),
            InvalidTls::NoKey | InvalidTls::Identity(_) => true,
            _ => false,
        };
        let member = if about_key { "ClientKey" } else { "ClientCertificate" };
        return Err(ApiError::invalid(member, invalid.to_string()));
    }
    read_tls(None, None, tls.ca_certificate.as_deref())
        .map(drop)
        .map_err(|invalid| ApiError::invalid("CaCertificate", invalid.to_string()))
}
