//! The end of a feed that its publisher's connection holds.

use async_trait::async_trait;
use mediahooks_ingest::gate::{FeedEnded, FeedInput, FeedSink, PublishEnd};
use mediahooks_model::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::time::FeedClock;

/// What a connection hands to the feed's task.
#[derive(Debug)]
pub(super) enum Input {
    /// Media, with its arrival.
    Media(FeedInput, Timestamp),
    /// The wall clock was set by so many microseconds before what follows arrived.
    ClockSet(i64),
    /// Nothing more comes.
    End(PublishEnd),
}

/// Stamps arrivals and passes them on. Dropping it ends the feed.
#[derive(Debug)]
pub(super) struct Sink {
    clock: FeedClock,
    inputs: mpsc::Sender<Input>,
    stop: watch::Receiver<Option<FeedEnded>>,
    done: JoinHandle<()>,
}

impl Sink {
    pub(super) fn new(
        clock: FeedClock,
        inputs: mpsc::Sender<Input>,
        stop: watch::Receiver<Option<FeedEnded>>,
        done: JoinHandle<()>,
    ) -> Self {
        Self { clock, inputs, stop, done }
    }

    async fn send(&mut self, input: Input) -> Result<(), FeedEnded> {
        let taken = tokio::select! {
            // Also while the disk keeps everybody waiting.
            biased;
            Ok(_) = self.stop.wait_for(Option::is_some) => false,
            sent = self.inputs.send(input) => sent.is_ok(),
        };
        if taken { Ok(()) } else { Err(self.why_ended()) }
    }

    fn why_ended(&self) -> FeedEnded {
        self.stop.borrow().clone().unwrap_or_else(|| FeedEnded {
            code: "internal_error",
            message: "The server could not keep this stream; see its log".into(),
        })
    }
}

#[async_trait]
impl FeedSink for Sink {
    async fn push(&mut self, input: FeedInput) -> Result<(), FeedEnded> {
        if let Some(by_us) = self.clock.follow() {
            self.send(Input::ClockSet(by_us)).await?;
        }
        let arrival = self.clock.now();
        self.send(Input::Media(input, arrival)).await
    }

    async fn stopped(&mut self) -> FeedEnded {
        if self.stop.wait_for(Option::is_some).await.is_err() {
            // The task is gone; `push` will say so. Until then nothing stops the feed from our side.
            std::future::pending::<()>().await;
        }
        self.why_ended()
    }

    async fn finish(self: Box<Self>, end: PublishEnd) {
        // Either way the task ends: told, or because the channel closes.
        let _ = self.inputs.send(Input::End(end)).await;
        drop(self.inputs);
        if let Err(error) = self.done.await {
            tracing::error!(%error, "the task of a feed failed");
        }
    }
}
