//! The bounds of RTMP ingest.

use std::time::Duration;

/// How much of everything an RTMP peer may take.
#[derive(Debug, Clone)]
pub struct RtmpSettings {
    /// Connections at one time. One more takes the place of one that does not publish; when all do, it is closed on
    /// arrival. Default 1024.
    pub connections_max: usize,
    /// From the connection to the end of the handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// From the connection (or the end of the previous publish on it) until a publish request is
    /// granted. Default 20 s.
    pub publish_timeout: Duration,
    /// Without a byte from a publisher, or without a byte taken by it. Default 30 s.
    pub idle_timeout: Duration,
    /// Bytes of unfinished messages held for a peer that was not granted to publish, and so its
    /// longest message. Default 64 KiB.
    pub unauthorised_bytes_max: usize,
    /// The same for a publisher. Bounds the largest key frame. Default 16 MiB.
    pub publisher_bytes_max: usize,
}

impl Default for RtmpSettings {
    fn default() -> RtmpSettings {
        RtmpSettings {
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(30),
            unauthorised_bytes_max: 64 * 1024,
            publisher_bytes_max: 16 * 1024 * 1024,
        }
    }
}
