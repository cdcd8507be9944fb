//! The task of one feed: stores its segments, serves flushes and finishes its assets.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::Change;
use mediahooks_ingest::gate::PublishEnd;
use mediahooks_model::{FeedId, TimelineId, Timestamp, chain};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::NewFeed;
use super::intake::{Intake, Next};
use super::store::{Awaited, SegmentStore};
use crate::error::RecorderError;
use crate::live::FlushRequest;
use crate::state::Shared;

/// How often a feed that is silent is looked at.
const TICK: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct FeedTask {
    shared: Arc<Shared>,
    new: NewFeed,
    intake: Arc<Intake>,
    store: SegmentStore,
}

impl FeedTask {
    pub(super) fn new(shared: Arc<Shared>, new: NewFeed, timeline: TimelineId, intake: Arc<Intake>) -> Self {
        let store = SegmentStore::new(Arc::clone(&shared), new.clone(), timeline);
        Self { shared, new, intake, store }
    }

    /// Runs until the publisher has left; everything it sent is stored and its assets are finished
    /// when this returns.
    pub(super) async fn run(mut self, mut flushes: mpsc::Receiver<FlushRequest>) {
        // Also when this task panics: nobody may wait for a feed that is no more.
        let _leave = Leave {
            shared: Arc::clone(&self.shared),
            intake: Arc::clone(&self.intake),
            feed: self.new.feed.id,
        };
        let outcome = self.receive(&mut flushes).await;
        let ended = self.shared.now();
        // From here on a waiting connection is told that nothing is taken any more.
        self.intake.close();
        let end = match outcome {
            Ok(end) => end,
            Err(error) => {
                self.report_failure(&error);
                PublishEnd::ProtocolError("storage failed".into())
            }
        };
        self.end(ended).await;
        tracing::info!(
            feed = %self.new.feed.id, stream = %self.new.feed.stream_name, %end,
            segments = self.store.segments(), bytes = self.store.bytes(), dropped = self.intake.dropped(),
            "feed ended"
        );
    }

    async fn receive(
        &mut self,
        flushes: &mut mpsc::Receiver<FlushRequest>,
    ) -> Result<PublishEnd, RecorderError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = self.intake.next() => match next {
                    Next::Segment(segment) => self.store.put(*segment, Awaited::No).await?,
                    Next::End(end) => return Ok(end),
                    Next::Failed(failure) => return Err(failure.into()),
                },
                Some(request) = flushes.recv() => self.flush(request).await?,
                _ = tick.tick() => {
                    self.intake.poll()?;
                    self.store.note_held(self.intake.held()).await;
                }
            }
        }
    }

    /// Serves a flush request. What is stored already is not flushed again: every flush makes a
    /// segment, and many clips may be asked for at once.
    async fn flush(&mut self, request: FlushRequest) -> Result<(), RecorderError> {
        // What arrived before the request belongs to it.
        self.store_waiting(Awaited::Yes).await?;
        if self.store.stored_until().is_none_or(|until| until < request.before) {
            let received = self.intake.flush()?;
            self.store_waiting(Awaited::Yes).await?;
            self.store.holds_all(received);
        }
        // Who asked may have given up.
        let _ = request.reply.send(self.store.stored_until());
        Ok(())
    }

    async fn store_waiting(&mut self, awaited: Awaited) -> Result<(), RecorderError> {
        for segment in self.intake.waiting() {
            self.store.put(*segment, awaited).await?;
        }
        Ok(())
    }

    /// Stores the rest, finishes the assets and tells that the feed ended.
    async fn end(&mut self, ended: Timestamp) {
        if let Err(error) = self.store_rest().await {
            self.report_failure(&error);
        }
        let mut changes = match self.store.finish_assets(self.intake.held()).await {
            Ok(changes) => changes,
            Err(error) => {
                self.report_failure(&error);
                Vec::new()
            }
        };
        changes.push(Change::EndFeed { feed: self.new.feed.id, at: ended });
        if let Err(error) = self.shared.database.commit_patiently(changes, self.shared.now()).await {
            // The sweeper takes it up once the database works again.
            self.report_failure(&error.into());
        }
    }

    async fn store_rest(&mut self) -> Result<(), RecorderError> {
        let flushed = self.intake.flush();
        self.store_waiting(Awaited::No).await?;
        flushed?;
        Ok(())
    }

    fn report_failure(&self, error: &RecorderError) {
        tracing::error!(
            feed = %self.new.feed.id, stream = %self.new.feed.stream_name,
            error = chain(error), "a feed could not be kept whole"
        );
        self.shared.live.fail(self.new.feed.id);
    }
}

/// Takes a feed out of the live ones when dropped.
struct Leave {
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    feed: FeedId,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.live.leave(self.feed);
        self.intake.over();
    }
}
