//! Request bodies, for the OpenAPI document and for clients written in Rust.
//!
//! The server reads bodies member by member, more leniently than these types say: unknown members are
//! ignored, unless they are nearly a known one, and older spellings accepted.

use std::collections::BTreeMap;

use mediahooks_model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Absent, null or a value: for members for which null says something of its own.
pub type Nullable<T> = Option<Option<T>>;

/// Declares bodies whose members are all left out unless they are set.
macro_rules! bodies {
    ($($(#[$of_body:meta])* $name:ident { $($(#[$of_member:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$of_body])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$of_member])* #[serde(skip_serializing_if = "Option::is_none")] pub $member: $type,)*
        }
    )*};
}

bodies! {
    /// A stream that a token is to allow.
    TokenStream {
        /// A name, or a regular expression that has to match a whole name; 1 to 128 characters.
        #[schema(required, min_length = 1, max_length = 128)]
        stream_name: Option<String>,
        /// Whether it is a regular expression; default false.
        is_regex: Option<bool>,
    }

    /// Makes a publish token.
    NewPublishToken {
        /// A name for people; 1 to 128 characters.
        #[schema(required, min_length = 1, max_length = 128)]
        label: Option<String>,
        /// What may be published.
        #[schema(required, min_items = 1)]
        streams: Option<Vec<TokenStream>>,
        /// Seconds until it admits no new publisher; default never.
        #[schema(minimum = 1)]
        expires: Option<i32>,
        /// Whether its feeds are recorded; default false.
        record: Option<bool>,
        /// Whether its feeds keep a timeline that clips can be cut from; default false.
        clip: Option<bool>,
        /// Whether a feed may name a source; default true.
        multisource: Option<bool>,
        /// Rank of its feeds that name none of their own.
        priority: Option<i32>,
        /// Addresses and CIDR ranges that may publish.
        allowed_ip_addresses: Option<Vec<String>>,
        /// How many addresses may use it: the first ones that do. Excludes `allowedIpAddresses`.
        bind_ips_on_usage: Option<i32>,
    }

    /// Changes a publish token. Absent members stay as they are.
    PublishTokenChange {
        /// A name for people; 1 to 128 characters.
        label: Option<String>,
        /// Whether it admits publishers; what is live goes on.
        is_active: Option<bool>,
        /// Gives it a new secret; the old one dies.
        refresh_token: Option<bool>,
        /// Streams to allow as well.
        add_token_streams: Option<Vec<TokenStream>>,
        /// Names to allow no more.
        remove_token_streams: Option<Vec<String>>,
        /// Seconds from now until it admits no new publisher; null: never. Ours.
        #[schema(value_type = Option<i32>)]
        expires: Nullable<i32>,
        /// Whether its feeds are recorded.
        record: Option<bool>,
        /// Whether its feeds keep a timeline.
        clip: Option<bool>,
        /// Whether a feed may name a source.
        multisource: Option<bool>,
        /// Rank of its feeds that name none of their own; null: none.
        #[schema(value_type = Option<i32>)]
        priority: Nullable<i32>,
        /// Addresses and CIDR ranges that may publish; empty: any.
        allowed_ip_addresses: Option<Vec<String>>,
        /// How many addresses may use it; 0: any number.
        bind_ips_on_usage: Option<i32>,
    }

    /// Names publish tokens.
    TokenNumbers {
        /// 1 to 1000 of them.
        #[schema(required, min_items = 1, max_items = 1000)]
        token_ids: Option<Vec<i64>>,
    }

    /// Adds a webhook.
    NewWebhook {
        /// Where to send; http or https.
        #[schema(required)]
        url: Option<String>,
        /// Whether it wants `feeds`.
        #[schema(required)]
        is_feed_hooks: Option<bool>,
        /// Whether it wants `media`; default false, as all that follow.
        is_media_hooks: Option<bool>,
        /// Whether it wants `storage`. Ours.
        is_storage_hooks: Option<bool>,
        /// Whether it wants the legacy `recordings`.
        is_recording_hooks: Option<bool>,
        /// Whether it wants `thumbnail`.
        is_thumbnail_hooks: Option<bool>,
        /// Whether it wants `transcoder`.
        is_transcoder_hooks: Option<bool>,
        /// Whether it wants `viewerConnection`.
        is_viewer_connection_hooks: Option<bool>,
        /// A regular expression that has to be found in the stream's name; 1 to 128 characters.
        filter: Option<String>,
        /// Which kinds of the subscribed types it wants, such as `media.completed`; default all. Ours, as all that
        /// follow.
        events: Option<Vec<String>>,
        /// Only what was published with one of these tokens; default any. Up to 1000.
        token_ids: Option<Vec<i64>>,
        /// Headers of every request beside the server's own, by name. Up to 16.
        headers: Option<BTreeMap<String, String>>,
        /// Requests per second at most; default as fast as the endpoint answers.
        #[schema(minimum = 1, maximum = 10000)]
        rate_limit: Option<u32>,
        /// Whether `media.completed` carries a download link, made when it is sent; default false.
        include_download: Option<bool>,
        /// A certificate to show to the endpoint, with its chain, PEM; with `clientKey`.
        client_certificate: Option<String>,
        /// Its private key, PEM. Never shown again.
        client_key: Option<String>,
        /// Certificate authorities that may vouch for the endpoint beside the public ones, PEM.
        ca_certificate: Option<String>,
    }

    /// Changes a webhook. Absent members stay as they are.
    WebhookChange {
        /// Where to send; a new one lifts a disable.
        url: Option<String>,
        /// Whether it wants `feeds`.
        is_feed_hooks: Option<bool>,
        /// Whether it wants `media`.
        is_media_hooks: Option<bool>,
        /// Whether it wants `storage`. Ours.
        is_storage_hooks: Option<bool>,
        /// Whether it wants the legacy `recordings`.
        is_recording_hooks: Option<bool>,
        /// Whether it wants `thumbnail`.
        is_thumbnail_hooks: Option<bool>,
        /// Whether it wants `transcoder`.
        is_transcoder_hooks: Option<bool>,
        /// Whether it wants `viewerConnection`.
        is_viewer_connection_hooks: Option<bool>,
        /// A regular expression that has to be found in the stream's name; null: none.
        #[schema(value_type = Option<String>)]
        filter: Nullable<String>,
        /// Which kinds of the subscribed types it wants; null or empty: all. What is owed already stays owed.
        #[schema(value_type = Option<Vec<String>>)]
        events: Nullable<Vec<String>>,
        /// Only what was published with one of these tokens; null or empty: any.
        #[schema(value_type = Option<Vec<i64>>)]
        token_ids: Nullable<Vec<i64>>,
        /// All headers of every request beside the server's own; null: none.
        #[schema(value_type = Option<BTreeMap<String, String>>)]
        headers: Nullable<BTreeMap<String, String>>,
        /// Requests per second at most; null: as fast as the endpoint answers.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000)]
        rate_limit: Nullable<u32>,
        /// Whether `media.completed` carries a download link, made when it is sent.
        include_download: Option<bool>,
        /// A certificate to show to the endpoint, PEM; null: none, and no key.
        #[schema(value_type = Option<String>)]
        client_certificate: Nullable<String>,
        /// Its private key, PEM; null: none.
        #[schema(value_type = Option<String>)]
        client_key: Nullable<String>,
        /// Certificate authorities that may vouch for the endpoint beside the public ones, PEM; null: none.
        #[schema(value_type = Option<String>)]
        ca_certificate: Nullable<String>,
        /// Gives it a new secret; the old one signs beside it for a while.
        refresh_secret: Option<bool>,
        /// The secret before the newest one signs nothing any more, from now on.
        expire_old_secret: Option<bool>,
        /// Lifts a disable; what is owed is sent at once.
        re_enable: Option<bool>,
    }

    /// Asks for events to be sent to a webhook once more.
    NewReplay {
        /// Events that happened then or later,
        #[schema(required, value_type = String, format = DateTime)]
        since: Option<Timestamp>,
        /// and before this; default: now.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
        /// Only of these types or kinds, such as `media` or `media.completed`.
        types: Option<Vec<String>>,
        /// Only what the webhook was owed and never accepted; default: all that it wants as it is now.
        failed_only: Option<bool>,
    }

    /// Asks for a test event.
    WebhookTest {
        /// The stream it is about.
        stream_name: Option<String>,
        /// The transcoder it is about, for `Transcoder`.
        transcoder_name: Option<String>,
        /// Only this webhook, whatever it subscribes to. Ours.
        webhook_id: Option<i64>,
    }

    /// Asks for clips.
    NewClip {
        /// From when on; required unless `last` or `next` is given.
        #[schema(value_type = Option<String>, format = DateTime)]
        start_time: Option<Timestamp>,
        /// Up to when; default: when the request arrived.
        #[schema(value_type = Option<String>, format = DateTime)]
        stop_time: Option<Timestamp>,
        /// The last so many seconds by the server's clock, in place of `startTime`. Ours.
        #[schema(minimum = 0)]
        last: Option<f64>,
        /// And the next so many seconds, in place of `stopTime`. Ours.
        #[schema(minimum = 0)]
        next: Option<f64>,
        /// What becomes of reconnects and other breaks: `split` (default; a clip per stretch), `collapse` (one
        /// clip without them), `hold` (one clip that shows the last picture meanwhile) or `refuse`. Ours.
        gaps: Option<String>,
        /// `frame` (default; exact, with an edit list) or `keyframe` (from the key frame before, without). Ours.
        cut: Option<String>,
        /// Of which stream.
        #[schema(required, min_length = 1, max_length = 128)]
        stream_name: Option<String>,
        /// Only what was published with this token.
        token_id: Option<i64>,
        /// Only this source.
        source_id: Option<String>,
        /// Absent: a clip per layer; null: what was published without one; else this layer.
        #[schema(value_type = Option<String>)]
        simulcast_id: Nullable<String>,
        /// Only feeds of this rank; default: the highest of each source.
        priority: Option<i32>,
        /// A name, without CR, LF and ``# [ ] * ? : " “ ” < > | / { } ^ % ` ~``.
        #[schema(min_length = 1, max_length = 256)]
        name: Option<String>,
        /// When to remove it; beats the account's rule.
        #[schema(value_type = Option<String>, format = DateTime)]
        expiration: Option<Timestamp>,
        /// The file that it becomes: `mp4`, `webm`, `hls` (a playlist) or `fmp4` (fragmented). Absent: what suits its codecs.
        target_format: Option<String>,
        /// Where to publish it.
        media_distribution_id: Option<String>,
        /// Its path there; unique.
        #[schema(min_length = 1, max_length = 512)]
        custom_path: Option<String>,
    }

    /// Changes where an asset is published. Absent members stay as they are.
    AssetChange {
        /// Where to publish it.
        media_distribution_id: Option<String>,
        /// Its path there; unique.
        #[schema(min_length = 1, max_length = 512)]
        custom_path: Option<String>,
    }

    /// How long one type of asset is kept; without days the rule is reset.
    Rule {
        /// 1 to 365.
        #[schema(minimum = 1, maximum = 365)]
        days: Option<i32>,
    }

    /// Changes how long assets are kept. Absent members stay as they are.
    ExpirationChange {
        /// Counts from a timeline's creation; applies to existing ones at once.
        timelines: Option<Rule>,
        /// Counts from the end of a recording; applies to later ones.
        recordings: Option<Rule>,
        /// Counts from the request of a clip; applies to later ones.
        clips: Option<Rule>,
    }

    /// Adds an API secret.
    NewApiSecret {
        /// 1 to 128 characters; unique.
        #[schema(required, min_length = 1, max_length = 128)]
        name: Option<String>,
    }

    /// Names a stream.
    StreamStop {
        /// `account/stream`.
        #[schema(required)]
        stream_id: Option<String>,
    }

    /// Gives a token another priority.
    Reprioritize {
        /// The token's number.
        #[schema(required)]
        token_id: Option<i64>,
        /// Its rank from now on.
        #[schema(required)]
        update_priority: Option<i32>,
    }
}
