//! Webhooks: where to tell what happened, which of it, and how.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::ids::{StreamName, TokenId, WebhookId};
use crate::time::Timestamp;
use crate::token::{InvalidPattern, compile};

/// Which types of events a webhook wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriptions {
    /// `feeds`.
    pub is_feed_hooks: bool,
    /// `media`.
    #[serde(default)]
    pub is_media_hooks: bool,
    /// `storage`. Ours.
    #[serde(default)]
    pub is_storage_hooks: bool,
    /// Legacy `recordings`.
    #[serde(default)]
    pub is_recording_hooks: bool,
    /// `thumbnail`.
    #[serde(default)]
    pub is_thumbnail_hooks: bool,
    /// `transcoder`.
    #[serde(default)]
    pub is_transcoder_hooks: bool,
    /// `viewerConnection`.
    #[serde(default)]
    pub is_viewer_connection_hooks: bool,
}

impl Subscriptions {
    /// Whether the type of `kind` is wanted.
    pub fn include(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Media(_) => self.is_media_hooks,
            EventKind::Feeds(_) => self.is_feed_hooks,
            EventKind::Storage(_) => self.is_storage_hooks,
            EventKind::Recordings => self.is_recording_hooks,
            EventKind::Transcoder => self.is_transcoder_hooks,
            EventKind::ViewerConnection => self.is_viewer_connection_hooks,
        }
    }
}

/// Why nothing is sent to a webhook for now. What it is owed is held, not dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Until when; absent: until its URL changes or it is enabled again.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// A regular expression that has to be found in a stream's name. Compiled once; matching takes time
/// linear in the name. Copies share what was compiled.
#[derive(Clone)]
pub struct StreamFilter {
    pattern: String,
    compiled: Option<regex::Regex>,
}

impl StreamFilter {
    /// Reads a filter that somebody sets.
    pub fn new(pattern: impl Into<String>) -> Result<Self, InvalidPattern> {
        let pattern = pattern.into();
        let compiled = Some(compile(&pattern)?);
        Ok(Self { pattern, compiled })
    }

    /// Reads a filter that was checked when it was set. One that cannot be compiled (any more) lets
    /// everything pass: an unwanted hook does less harm than a missing one.
    pub fn stored(pattern: String) -> Self {
        let compiled = compile(&pattern).ok();
        Self { pattern, compiled }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether it is found in the name.
    pub fn passes(&self, stream: &StreamName) -> bool {
        self.compiled.as_ref().is_none_or(|compiled| compiled.is_match(stream.as_str()))
    }
}

impl PartialEq for StreamFilter {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for StreamFilter {}

impl fmt::Debug for StreamFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)
    }
}

/// A secret that was replaced and still signs beside the new one, so that receivers can change theirs
/// in their own time.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Standard base64.
    pub secret: String,
    /// From when on it signs nothing any more.
    pub until: Timestamp,
}

impl fmt::Debug for PreviousSecret {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviousSecret").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What an endpoint's TLS needs beyond the public certificate authorities, in PEM.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct WebhookTls {
    /// The certificate shown to the endpoint, with its chain; set together with its key.
    pub client_certificate: Option<String>,
    /// The private key of `client_certificate`. Never shown.
    pub client_key: Option<String>,
    /// Certificate authorities that may vouch for the endpoint, beside the public ones.
    pub ca_certificate: Option<String>,
}

impl fmt::Debug for WebhookTls {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTls")
            .field("client_certificate", &self.client_certificate.is_some())
            .field("ca_certificate", &self.ca_certificate.is_some())
            .finish_non_exhaustive()
    }
}

/// An endpoint that wants to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: WebhookId,
    /// Where to send.
    pub url: String,
    /// The signing secret, standard base64. REST shows it, so it is not hashed.
    pub secret: String,
    /// The secret before this one, while it still signs.
    pub previous_secret: Option<PreviousSecret>,
    /// Which types it wants.
    pub subscriptions: Subscriptions,
    /// Which kinds of these types it wants; empty means all of them.
    pub events: Vec<EventKind>,
    /// A regular expression that has to be found in the stream's name.
    pub filter: Option<StreamFilter>,
    /// Only what was published with one of these tokens; empty means any.
    pub token_ids: Vec<TokenId>,
    /// Headers that every request carries beside ours, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Requests per second at most; absent means as fast as the endpoint answers.
    pub rate_limit: Option<u32>,
    /// Whether `media.completed` carries a download link, made when it is sent.
    pub include_download: bool,
    /// What its endpoint's TLS needs.
    pub tls: Option<WebhookTls>,
    /// Set while nothing is sent.
    pub disabled: Option<Disabled>,
}

impl fmt::Debug for Webhook {
    /// Leaves the secrets out, and the headers, which may hold some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook without a number that wants all events of the types in `subscriptions`.
    pub fn new(url: impl Into<String>, secret: impl Into<String>, subscriptions: Subscriptions) -> Self {
        Self {
            id: WebhookId(0),
            url: url.into(),
            secret: secret.into(),
            previous_secret: None,
            subscriptions,
            events: Vec::new(),
            filter: None,
            token_ids: Vec::new(),
            headers: BTreeMap::new(),
            rate_limit: None,
            include_download: false,
            tls: None,
            disabled: None,
        }
    }

    /// Whether this webhook is owed an event of `kind` about `stream`, published with `token`: it has to
    /// subscribe to the type, and each of `events`, `filter` and `token_ids` that is set has to agree. The last two
    /// choose among streams and hold back nothing that is of none.
    pub fn wants(&self, kind: EventKind, stream: Option<&StreamName>, token: Option<TokenId>) -> bool {
        let is_of_mine = |stream| {
            (self.token_ids.is_empty() || token.is_some_and(|token| self.token_ids.contains(&token)))
                && self.filter.as_ref().is_none_or(|filter| filter.passes(stream))
        };
        self.subscriptions.include(kind)
            && (self.events.is_empty() || self.events.contains(&kind))
            && stream.is_none_or(is_of_mine)
    }

    /// The replaced secret, while it signs beside the new one: at `now`.
    pub fn secret_beside(&self, now: Timestamp) -> Option<&str> {
        let previous = self.previous_secret.as_ref().filter(|previous| now < previous.until);
        previous.map(|previous| previous.secret.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FeedEvent, MediaEvent, StorageEvent};

    const COMPLETED: EventKind = EventKind::Media(MediaEvent::Completed);
    const ERRORED: EventKind = EventKind::Media(MediaEvent::Errored);
    const STARTED: EventKind = EventKind::Feeds(FeedEvent::Started);

    fn webhook() -> Webhook {
        let subscriptions = Subscriptions { is_media_hooks: true, ..Subscriptions::default() };
        Webhook::new("https://example.com/", "c2VjcmV0", subscriptions)
    }

    fn check(webhook: &Webhook, kind: EventKind, stream: &str, token: Option<i64>, expected: bool) {
        let wanted = webhook.wants(kind, Some(&stream.parse().unwrap()), token.map(TokenId));
        assert_eq!(wanted, expected, "{kind} of {stream} published with {token:?}");
    }

    #[test]
    fn a_filter_is_searched_in_the_stream_name() {
        let webhook = Webhook { filter: Some(StreamFilter::new("cam[0-9]").unwrap()), ..webhook() };
        check(&webhook, COMPLETED, "webcam7-hd", None, true);
        check(&webhook, COMPLETED, "webcam-hd", None, false);
        check(&webhook, STARTED, "webcam7-hd", None, false);
        assert!(StreamFilter::new("*").is_err());
        assert!(StreamFilter::stored("*".into()).passes(&"any".parse().unwrap()));
    }

    #[test]
    fn events_and_tokens_narrow_what_is_subscribed_to() {
        let some = Webhook { events: vec![COMPLETED, STARTED], ..webhook() };
        check(&some, COMPLETED, "a", None, true);
        check(&some, ERRORED, "a", None, false);
        // Naming a kind does not subscribe to its type.
        check(&some, STARTED, "a", None, false);

        let of_tokens = Webhook { token_ids: vec![TokenId(3), TokenId(5)], ..webhook() };
        check(&of_tokens, COMPLETED, "a", Some(5), true);
        check(&of_tokens, COMPLETED, "a", Some(4), false);
        check(&of_tokens, COMPLETED, "a", None, false);
    }

    #[test]
    fn what_is_of_no_stream_is_not_held_back_by_choices_among_streams() {
        let low = EventKind::Storage(StorageEvent::Low);
        let subscriptions = Subscriptions { is_storage_hooks: true, ..Subscriptions::default() };
        let narrow = Webhook {
            filter: Some(StreamFilter::new("^stage$").unwrap()),
            token_ids: vec![TokenId(3)],
            subscriptions,
            ..webhook()
        };
        assert!(narrow.wants(low, None, None));
        assert!(!Webhook { events: vec![COMPLETED], ..narrow }.wants(low, None, None));
        assert!(!webhook().wants(low, None, None));
    }

    #[test]
    fn everything_that_is_set_has_to_agree() {
        let all = Webhook {
            events: vec![COMPLETED],
            filter: Some(StreamFilter::new("^stage/").unwrap()),
            token_ids: vec![TokenId(3)],
            ..webhook()
        };
        check(&all, COMPLETED, "stage/left", Some(3), true);
        check(&all, ERRORED, "stage/left", Some(3), false);
        check(&all, COMPLETED, "backstage", Some(3), false);
        check(&all, COMPLETED, "stage/left", Some(4), false);
    }

    #[test]
    fn a_replaced_secret_signs_until_its_time_is_over() {
        let until = Timestamp::from_millis(1000);
        let previous_secret = Some(PreviousSecret { secret: "b2xk".into(), until });
        let webhook = Webhook { previous_secret, ..webhook() };
        assert_eq!(webhook.secret_beside(Timestamp::from_millis(999)), Some("b2xk"));
        assert_eq!(webhook.secret_beside(until), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let tls = WebhookTls { client_key: Some("PRIVATE".into()), ..WebhookTls::default() };
        let previous = PreviousSecret { secret: "b2xk".into(), until: Timestamp::EPOCH };
        let printed = format!("{:?} {tls:?} {previous:?}", webhook());
        for secret in ["c2VjcmV0", "b2xk", "PRIVATE"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
