//! The boundary between the protocols that receive media and those who keep it.
//!
//! A protocol shell asks its [`PublishGate`] once per publish request and then pushes everything
//! the publisher sends, in the order received, into the [`FeedSink`] it was given. What always
//! holds: a sink that was handed out is finished exactly once, whatever happens to its connection.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use futures::future::BoxFuture;
use mediahooks_media::dropped::DropReason;
use mediahooks_media::flv::FlvEvent;
use mediahooks_media::sample::{Sample, TrackConfig, TrackKind};

use crate::target::PublishTarget;

/// Decides who may publish and takes what they send.
#[async_trait]
pub trait PublishGate: Send + Sync + 'static {
    /// Authorises one publish request and opens the feed behind it.
    ///
    /// The future is dropped when the publish timeout passes or the server stops first, so an
    /// implementation must not leave a half-open feed behind when that happens.
    ///
    /// # Errors
    /// [`PublishRefused`] says why; its message is sent to the encoder.
    async fn open(&self, request: PublishRequest) -> Result<Box<dyn FeedSink>, PublishRefused>;
}

/// How a feed arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP or Enhanced RTMP over TCP.
    Rtmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::Rtmp => f.write_str("rtmp"),
        }
    }
}

/// Who asks to publish what.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The protocol of the connection.
    pub protocol: Protocol,
    /// Stream name, token and parameters, as the encoder was configured with.
    pub target: PublishTarget,
    /// The publisher's address, for allow-lists and the log.
    pub remote: SocketAddr,
    /// What the encoder calls itself (RTMP: `flashVer`), as sent and therefore not to be trusted.
    pub encoder: Option<String>,
}

/// A publish request that is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PublishRefused {
    /// Stable identifier of the reason, for logs and counters.
    pub code: &'static str,
    /// For the person at the encoder: what is wrong and what to do. Never holds the token.
    pub message: String,
}

/// Takes the media of one feed.
#[async_trait]
pub trait FeedSink: Send {
    /// Takes out of `inputs` what has arrived together, in its order, and answers whether there is room for more.
    /// Without room, wait for [`FeedSink::ready`] first: that is the back-pressure on the publisher's socket.
    ///
    /// # Errors
    /// [`FeedEnded`] when the feed was ended from our side (stopped, replaced, storage failed);
    /// its message is sent to the encoder.
    fn push(&mut self, inputs: &mut Vec<FeedInput>) -> Result<Room, FeedEnded>;

    /// Resolves when there is room, or when the feed was ended. Cancel-safe.
    async fn ready(&mut self);

    /// Resolves when the feed must end although the publisher still sends.
    fn stopped(&self) -> BoxFuture<'static, FeedEnded>;

    /// The feed is over. Called exactly once, also after an error, with the reason.
    async fn finish(self: Box<Self>, end: PublishEnd);
}

/// Whether a sink takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Left,
    /// Not at the moment; see [`FeedSink::ready`].
    None,
}

/// One thing a publisher sent.
#[derive(Debug, Clone)]
pub enum FeedInput {
    /// A track begins, or continues with another configuration. Precedes the track's samples.
    Config(TrackConfig),
    /// A sample of a track whose configuration was given before.
    Sample {
        /// The track it belongs to.
        kind: TrackKind,
        /// The sample, on the clock of that track's configuration.
        sample: Sample,
    },
    /// Something that cannot be kept, reported so that it can be counted and shown.
    Ignored {
        /// The track it would have belonged to.
        kind: TrackKind,
        /// Why it is not kept.
        reason: DropReason,
    },
}

impl FeedInput {
    /// What a publisher's demuxer found, if the sink has to know of it.
    pub fn from_flv(event: FlvEvent) -> Option<FeedInput> {
        match event {
            FlvEvent::Config(config) => Some(FeedInput::Config(config)),
            FlvEvent::Sample(kind, sample) => Some(FeedInput::Sample { kind, sample }),
            FlvEvent::Ignored { kind, reason } => Some(FeedInput::Ignored { kind, reason }),
            // The end of a track is the end of its samples; the other track may go on.
            FlvEvent::EndOfSequence(_) => None,
        }
    }
}

/// A feed ended from our side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FeedEnded {
    /// Stable identifier of the reason, for logs and counters.
    pub code: &'static str,
    /// For the person at the encoder: what happened and what to do.
    pub message: String,
}

/// Why a feed is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishEnd {
    /// The encoder said that it is done.
    Unpublished,
    /// The connection closed or broke without a goodbye.
    Disconnected,
    /// Nothing was received for the idle timeout.
    TimedOut,
    /// The publisher sent what cannot be understood; the text says what.
    ProtocolError(String),
    /// Ended from our side, as told by [`FeedSink::push`] or [`FeedSink::stopped`].
    Stopped(FeedEnded),
    /// This process is stopping.
    ShuttingDown,
}

impl fmt::Display for PublishEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishEnd::Unpublished => f.write_str("unpublished by the encoder"),
            PublishEnd::Disconnected => f.write_str("connection closed"),
            PublishEnd::TimedOut => f.write_str("nothing received for the idle timeout"),
            PublishEnd::ProtocolError(what) => write!(f, "protocol error: {what}"),
            PublishEnd::Stopped(ended) => write!(f, "stopped: {ended}"),
            PublishEnd::ShuttingDown => f.write_str("server is stopping"),
        }
    }
}
