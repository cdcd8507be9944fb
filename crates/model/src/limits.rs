//! How long things may be.

use std::time::Duration;

/// Lengths that a server allows; each is a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Shortest clip. The hosted service refuses less than 10 s; the default here is 1 s.
    pub clip_min: Duration,
    /// Longest clip; default 8 h.
    pub clip_max: Duration,
    /// A recording is split into several assets at this length; default 24 h.
    pub recording_max: Duration,
    /// A timeline is split at this length; default 12 h.
    pub timeline_max: Duration,
    /// How long a download link stays valid; default 1 h.
    pub download_ttl: Duration,
    /// How long events, settled deliveries and what is left of deleted assets are listed; default 30 d.
    pub history: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            clip_min: Duration::from_secs(1),
            clip_max: Duration::from_secs(8 * HOUR),
            recording_max: Duration::from_secs(24 * HOUR),
            timeline_max: Duration::from_secs(12 * HOUR),
            download_ttl: Duration::from_secs(HOUR),
            history: Duration::from_secs(30 * 24 * HOUR),
        }
    }
}
