//! Webhooks: where to tell what happened, and which of it.

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::ids::{StreamName, WebhookId};
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

/// Why nothing is sent to a webhook for now. What it is owed is held, not dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Until when; absent: until its URL changes or it is enabled again.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
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
    /// Which types it wants.
    pub subscriptions: Subscriptions,
    /// A regular expression that has to be found in the stream's name.
    pub filter: Option<String>,
    /// Set while nothing is sent.
    pub disabled: Option<Disabled>,
}

impl std::fmt::Debug for Webhook {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Whether this webhook is owed an event of `kind` about `stream`. A filter that cannot be
    /// compiled (it was checked when it was set) matches everything: an unwanted hook does less harm
    /// than a missing one.
    pub fn wants(&self, kind: EventKind, stream: &StreamName) -> bool {
        let subscribed = match kind {
            EventKind::Media(_) => self.subscriptions.is_media_hooks,
            EventKind::Feeds(_) => self.subscriptions.is_feed_hooks,
            EventKind::Recordings => self.subscriptions.is_recording_hooks,
            EventKind::Transcoder => self.subscriptions.is_transcoder_hooks,
            EventKind::ViewerConnection => self.subscriptions.is_viewer_connection_hooks,
        };
        subscribed
            && self
                .filter
                .as_deref()
                .is_none_or(|filter| compile(filter).map_or(true, |filter| filter.is_match(stream.as_str())))
    }

    /// Checks a filter before it is stored.
    pub fn validate_filter(filter: &str) -> Result<(), InvalidPattern> {
        compile(filter).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FeedEvent, MediaEvent};

    #[test]
    fn a_filter_is_searched_in_the_stream_name() {
        let webhook = Webhook {
            id: WebhookId(1),
            url: "https://example.com/".into(),
            secret: String::new(),
            subscriptions: Subscriptions { is_media_hooks: true, ..Subscriptions::default() },
            filter: Some("cam[0-9]".into()),
            disabled: None,
        };
        let wants = |kind, stream: &str| webhook.wants(kind, &stream.parse().unwrap());
        assert!(wants(EventKind::Media(MediaEvent::Completed), "webcam7-hd"));
        assert!(!wants(EventKind::Media(MediaEvent::Completed), "webcam-hd"));
        assert!(!wants(EventKind::Feeds(FeedEvent::Started), "webcam7-hd"));
        assert!(Webhook::validate_filter("*").is_err());
    }
}
