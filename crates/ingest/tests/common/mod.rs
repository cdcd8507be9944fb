//! What the ingest tests share: a gate that remembers everything, a running server, an encoder's
//! side of the protocol written by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod encoder;
pub mod ffmpeg;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use mediahooks_ingest::gate::{
    FeedEnded, FeedInput, FeedSink, PublishEnd, PublishGate, PublishRefused, PublishRequest, Room,
};
use mediahooks_ingest::rtmp::{RtmpSettings, serve};
use mediahooks_media::sample::{Sample, TrackConfig, TrackKind};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer for another process or task.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one token that [`CollectingGate`] accepts.
pub const TOKEN: &str = "00c0ffee";

/// Everything that went into one finished sink.
#[derive(Debug)]
pub struct FeedLog {
    pub request: PublishRequest,
    pub inputs: Vec<FeedInput>,
    pub end: PublishEnd,
}

impl FeedLog {
    pub fn samples(&self, wanted: TrackKind) -> Vec<&Sample> {
        let samples = self.inputs.iter().filter_map(|input| match input {
            FeedInput::Sample { kind, sample } => (*kind == wanted).then_some(sample),
            _ => None,
        });
        samples.collect()
    }

    pub fn configs(&self, wanted: TrackKind) -> Vec<&TrackConfig> {
        let configs = self.inputs.iter().filter_map(|input| match input {
            FeedInput::Config(config) => Some(config),
            _ => None,
        });
        configs.filter(|config| config.kind == wanted).collect()
    }

    pub fn ignored(&self) -> Vec<&'static str> {
        let reason = |input: &FeedInput| match input {
            FeedInput::Ignored { reason, .. } => Some(reason.as_str()),
            _ => None,
        };
        self.inputs.iter().filter_map(reason).collect()
    }
}

/// Accepts [`TOKEN`] and reports each feed when it is finished.
pub struct CollectingGate {
    finished: mpsc::UnboundedSender<FeedLog>,
    stop: watch::Receiver<Option<FeedEnded>>,
    panics_on_push: bool,
}

struct CollectingSink {
    log: Option<FeedLog>,
    finished: mpsc::UnboundedSender<FeedLog>,
    stop: watch::Receiver<Option<FeedEnded>>,
    panics_on_push: bool,
}

impl CollectingGate {
    /// A gate for connections without a server, and where its finished feeds arrive.
    pub fn detached() -> (CollectingGate, mpsc::UnboundedReceiver<FeedLog>) {
        let (finished, receiver) = mpsc::unbounded_channel();
        let (_, stop) = watch::channel(None);
        (CollectingGate { finished, stop, panics_on_push: false }, receiver)
    }
}

#[async_trait]
impl PublishGate for CollectingGate {
    async fn open(&self, request: PublishRequest) -> Result<Box<dyn FeedSink>, PublishRefused> {
        if request.target.token_hex.as_deref() != Some(TOKEN) {
            let message = "the publish token is unknown; copy it again".to_owned();
            return Err(PublishRefused { code: "unknown_token", message });
        }
        let log = FeedLog { request, inputs: Vec::new(), end: PublishEnd::Disconnected };
        Ok(Box::new(CollectingSink {
            log: Some(log),
            finished: self.finished.clone(),
            stop: self.stop.clone(),
            panics_on_push: self.panics_on_push,
        }))
    }
}

#[async_trait]
impl FeedSink for CollectingSink {
    fn push(&mut self, inputs: &mut Vec<FeedInput>) -> Result<Room, FeedEnded> {
        assert!(!self.panics_on_push, "as the test wants it");
        if let Some(log) = &mut self.log {
            log.inputs.append(inputs);
        }
        Ok(Room::Left)
    }

    async fn ready(&mut self) {}

    fn stopped(&self) -> BoxFuture<'static, FeedEnded> {
        let mut stop = self.stop.clone();
        async move {
            let ended = stop.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
            match ended {
                Some(ended) => ended,
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    async fn finish(mut self: Box<Self>, end: PublishEnd) {
        let mut log = self.log.take().expect("finish is called once");
        log.end = end;
        let _ = self.finished.send(log);
    }
}

/// An RTMP server on a free loopback port.
pub struct Server {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub finished: mpsc::UnboundedReceiver<FeedLog>,
    pub stop_feeds: watch::Sender<Option<FeedEnded>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(RtmpSettings::default(), false).await
    }

    pub async fn start_with(settings: RtmpSettings, panics_on_push: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (finished_sender, finished) = mpsc::unbounded_channel();
        let (stop_feeds, stop) = watch::channel(None);
        let gate = Arc::new(CollectingGate { finished: finished_sender, stop, panics_on_push });
        let task = tokio::spawn(serve(listener, gate, settings, shutdown.clone()));
        Server { address, shutdown, finished, stop_feeds, task }
    }

    pub fn url(&self, stream: &str) -> String {
        format!("rtmp://{}/v2/pub/{stream}?token={TOKEN}", self.address)
    }

    pub async fn next_feed(&mut self) -> FeedLog {
        patiently(self.finished.recv()).await.expect("the server runs")
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        patiently(self.task).await.expect("the server does not panic");
    }
}

pub async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this ends well before a minute has passed")
}
