//! The end of a feed that its publisher's connection holds.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use mediahooks_ingest::gate::{FeedEnded, FeedInput, FeedSink, PublishEnd, Room};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::intake::Intake;

/// Passes media on. Dropping it ends the feed.
pub(super) struct Sink {
    intake: Arc<Intake>,
    stop: watch::Receiver<Option<FeedEnded>>,
    /// The feed's task; absent once it is awaited.
    done: Option<JoinHandle<()>>,
}

impl Sink {
    pub(super) fn new(
        intake: Arc<Intake>,
        stop: watch::Receiver<Option<FeedEnded>>,
        done: JoinHandle<()>,
    ) -> Self {
        Self { intake, stop, done: Some(done) }
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
    fn push(&mut self, inputs: &mut Vec<FeedInput>) -> Result<Room, FeedEnded> {
        if self.stop.borrow().is_some() {
            return Err(self.why_ended());
        }
        self.intake.push(inputs).map_err(|_| self.why_ended())
    }

    async fn ready(&mut self) {
        tokio::select! {
            // Also while the disk keeps everybody waiting.
            biased;
            Ok(_) = self.stop.wait_for(Option::is_some) => {}
            () = self.intake.room() => {}
        }
    }

    fn stopped(&self) -> BoxFuture<'static, FeedEnded> {
        let mut stop = self.stop.clone();
        async move {
            if let Ok(stopped) = stop.wait_for(Option::is_some).await
                && let Some(ended) = &*stopped
            {
                return ended.clone();
            }
            // The task is gone; `push` will say so. Until then nothing stops the feed from our side.
            std::future::pending().await
        }
        .boxed()
    }

    async fn finish(mut self: Box<Self>, end: PublishEnd) {
        self.intake.end(end);
        if let Some(done) = self.done.take()
            && let Err(error) = done.await
        {
            tracing::error!(%error, "the task of a feed failed");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.intake.end(PublishEnd::Disconnected);
    }
}
