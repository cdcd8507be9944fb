//! What `serve` can be told, and by whom.
//!
//! Every setting has one name. It is a flag or only a key of the TOML file, and always an environment
//! variable: `clip_min` is `MEDIAHOOKS_CLIP_MIN`. A flag beats the environment, the environment the file,
//! the file the default. What always holds: [`load()`] returns settings that were all understood, or an error
//! that names the value and where it stands.

mod load;
mod value;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mediahooks_delivery::{HealthPolicy, RetryPolicy, TargetPolicy};
use mediahooks_ingest::rtmp::RtmpSettings;
use mediahooks_model::Limits;
use mediahooks_recorder::{DiskLimits, RecorderSettings, Room};
use mediahooks_sender::{Proxy, SenderConfig};
use serde::{Deserialize, Serialize};
use url::Url;

pub use load::{Environment, load};
pub use value::{Bytes, DiskRoom, Span};

/// In whose name deliveries are leased. One server has a data directory, so the name never changes: a server
/// that starts again takes over at once what the one before it had leased.
const SENDER: &str = "server";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Every setting of a server. `mediahooks.example.toml` shows them with their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Directory of the database and of all media.
    pub data: PathBuf,
    /// Where REST and downloads are served.
    #[serde(deserialize_with = "value::socket")]
    pub http: SocketAddr,
    /// Where encoders publish.
    #[serde(deserialize_with = "value::socket")]
    pub rtmp: SocketAddr,
    /// How this server is reached from outside; download links begin with it. Absent: as the client
    /// that asks for a link reached it.
    #[serde(with = "value::optional_url")]
    pub public_url: Option<Url>,
    /// Whether `/metrics` answers without an API secret.
    pub metrics_open: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are: a level, or directives such as `info,mediahooks_sender=debug`.
    pub log: String,
    /// Private networks that webhooks may reach all the same.
    #[serde(deserialize_with = "value::networks")]
    pub webhook_allow: Vec<IpNet>,
    /// Through what webhooks are sent; absent: nothing in between.
    #[serde(with = "value::optional_proxy")]
    pub webhook_proxy: Option<Proxy>,
    /// The delay before each attempt of a delivery.
    pub webhook_retry_schedule: RetryPolicy,
    /// An endpoint is suspended once so many attempts in a row have failed,
    pub webhook_suspend_after_failures: u32,
    /// and it has accepted nothing for so long.
    pub webhook_suspend_after: Span,
    /// Its first suspension; each failed probe doubles it,
    pub webhook_suspension: Span,
    /// up to this.
    pub webhook_suspension_max: Span,
    /// What was not delivered so long after its event is given up.
    pub webhook_hold_for: Span,
    /// The whole of one attempt, from name resolution to the last byte of the answer.
    pub webhook_timeout: Span,
    /// Attempts in flight to one webhook.
    pub webhook_in_flight_per_webhook: u32,
    /// Attempts in flight in all.
    pub webhook_in_flight_max: u32,
    /// How long a webhook's secret signs beside the one that replaced it.
    pub webhook_secret_grace: Span,
    /// How long what is over is remembered: events, settled deliveries, deleted assets.
    pub history_retention: Span,
    /// How long a download link works.
    pub download_ttl: Span,
    /// Shortest clip.
    pub clip_min: Span,
    /// Longest clip.
    pub clip_max: Span,
    /// A recording is split into several assets at this length.
    pub recording_max: Span,
    /// A timeline is split at this length.
    pub timeline_max: Span,
    /// With less room on the disk than this, the oldest timelines that nothing else needs are freed before
    /// their time.
    pub disk_low: DiskRoom,
    /// With less room than this, new publishers are refused; with a quarter of it, all are ended.
    pub disk_reserve: DiskRoom,
    /// Where exported files go; absent: `exports` in the data directory.
    #[serde(with = "value::optional_path")]
    pub export_dir: Option<PathBuf>,
    /// RTMP connections at one time.
    pub rtmp_connections_max: usize,
    /// From an RTMP connection to the end of its handshake.
    pub rtmp_handshake_timeout: Span,
    /// From an RTMP connection until its publish request is granted.
    pub rtmp_publish_timeout: Span,
    /// A publisher that sends nothing for so long is gone.
    pub rtmp_idle_timeout: Span,
    /// Longest message of an RTMP peer that is not allowed to publish yet.
    pub rtmp_unauthorised_bytes_max: Bytes,
    /// Longest message of a publisher, and so its largest frame.
    pub rtmp_publisher_bytes_max: Bytes,
}

impl Default for Settings {
    fn default() -> Self {
        let (limits, disk) = (Limits::default(), DiskLimits::default());
        let rtmp = RtmpSettings::default();
        let sender = SenderConfig::new(SENDER);
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            data: "./mediahooks-data".into(),
            http: loopback(8080),
            rtmp: loopback(1935),
            public_url: None,
            metrics_open: false,
            log_format: LogFormat::Human,
            log: "info".into(),
            webhook_allow: Vec::new(),
            webhook_proxy: None,
            webhook_retry_schedule: RetryPolicy::default(),
            webhook_suspend_after_failures: sender.health.failures,
            webhook_suspend_after: Span(sender.health.failing_for),
            webhook_suspension: Span(sender.health.suspension),
            webhook_suspension_max: Span(sender.health.suspension_max),
            webhook_hold_for: Span(sender.hold_for),
            webhook_timeout: Span(sender.deadline),
            webhook_in_flight_per_webhook: sender.per_webhook,
            webhook_in_flight_max: sender.total,
            webhook_secret_grace: Span(Duration::from_secs(24 * 3600)),
            history_retention: Span(limits.history),
            download_ttl: Span(limits.download_ttl),
            clip_min: Span(limits.clip_min),
            clip_max: Span(limits.clip_max),
            recording_max: Span(limits.recording_max),
            timeline_max: Span(limits.timeline_max),
            disk_low: disk_room(disk.low),
            disk_reserve: disk_room(disk.reserve),
            export_dir: None,
            rtmp_connections_max: rtmp.connections_max,
            rtmp_handshake_timeout: Span(rtmp.handshake_timeout),
            rtmp_publish_timeout: Span(rtmp.publish_timeout),
            rtmp_idle_timeout: Span(rtmp.idle_timeout),
            rtmp_unauthorised_bytes_max: Bytes(rtmp.unauthorised_bytes_max),
            rtmp_publisher_bytes_max: Bytes(rtmp.publisher_bytes_max),
        }
    }
}

impl Settings {
    /// The lengths that media is held to.
    pub fn limits(&self) -> Limits {
        Limits {
            clip_min: self.clip_min.0,
            clip_max: self.clip_max.0,
            recording_max: self.recording_max.0,
            timeline_max: self.timeline_max.0,
            download_ttl: self.download_ttl.0,
            history: self.history_retention.0,
        }
    }

    /// How media is kept.
    pub fn recorder_settings(&self) -> RecorderSettings {
        let room = |room| match room {
            DiskRoom::Bytes(Bytes(bytes)) => Room::Bytes(bytes as u64),
            DiskRoom::Percent(percent) => Room::Percent(percent),
        };
        let disk = DiskLimits { low: room(self.disk_low), reserve: room(self.disk_reserve) };
        RecorderSettings { disk, export_dir: self.export_dir.clone(), ..self.limits().into() }
    }

    /// How webhooks are sent.
    pub fn sender_config(&self) -> SenderConfig {
        let defaults = SenderConfig::new(SENDER);
        SenderConfig {
            retry: self.webhook_retry_schedule.clone(),
            health: HealthPolicy {
                failures: self.webhook_suspend_after_failures,
                failing_for: self.webhook_suspend_after.0,
                suspension: self.webhook_suspension.0,
                suspension_max: self.webhook_suspension_max.0,
            },
            hold_for: self.webhook_hold_for.0,
            targets: TargetPolicy::new(self.webhook_allow.clone()),
            proxy: self.webhook_proxy.clone(),
            deadline: self.webhook_timeout.0,
            per_webhook: self.webhook_in_flight_per_webhook,
            total: self.webhook_in_flight_max,
            // An attempt and its record have to fit.
            lease: defaults.lease.max(self.webhook_timeout.0.saturating_mul(4)),
            ..defaults
        }
    }

    /// The bounds of RTMP ingest.
    pub fn rtmp_settings(&self) -> RtmpSettings {
        RtmpSettings {
            connections_max: self.rtmp_connections_max,
            handshake_timeout: self.rtmp_handshake_timeout.0,
            publish_timeout: self.rtmp_publish_timeout.0,
            idle_timeout: self.rtmp_idle_timeout.0,
            unauthorised_bytes_max: self.rtmp_unauthorised_bytes_max.0,
            publisher_bytes_max: self.rtmp_publisher_bytes_max.0,
        }
    }
}

fn disk_room(room: Room) -> DiskRoom {
    match room {
        Room::Bytes(bytes) => DiskRoom::Bytes(Bytes(usize::try_from(bytes).unwrap_or(usize::MAX))),
        Room::Percent(percent) => DiskRoom::Percent(percent),
    }
}

/// Settings given on the command line; absent ones are left to the environment, the file and the defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Flags {
    /// `--data`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// `--http`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// `--rtmp`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<SocketAddr>,
    /// `--public-url`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// `--log-format`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// `--webhook-allow`, as often as given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook_allow: Vec<IpNet>,
}

/// The names of all settings, with how the defaults are written.
fn defaults() -> BTreeMap<String, figment::value::Value> {
    use figment::Provider as _;
    let profiles = figment::providers::Serialized::defaults(Settings::default()).data().unwrap_or_default();
    profiles.into_values().flatten().collect()
}
