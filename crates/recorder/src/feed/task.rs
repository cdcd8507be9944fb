//! The task of one feed: takes its media, stores it, serves flushes and finishes its assets.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::Change;
use mediahooks_ingest::gate::{FeedInput, PublishEnd};
use mediahooks_media::error::MuxError;
use mediahooks_media::sample::TrackKind;
use mediahooks_model::{FeedId, TimelineId, Timestamp};
use mediahooks_timeline::segmenter::{Output, Segmenter, SegmenterSettings};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::NewFeed;
use super::sink::Input;
use super::store::{Awaited, SegmentStore};
use crate::counted;
use crate::error::RecorderError;
use crate::live::FlushRequest;
use crate::state::Shared;

/// How often a feed that is silent is looked at.
const TICK: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct FeedTask {
    shared: Arc<Shared>,
    new: NewFeed,
    segmenter: Segmenter,
    store: SegmentStore,
    outputs: Vec<Output>,
    received: watch::Sender<Option<Timestamp>>,
    /// Dropped with the task, when everything is stored: that is its answer.
    unanswered: Option<FlushRequest>,
    dropped: u64,
}

impl FeedTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        new: NewFeed,
        timeline: TimelineId,
        received: watch::Sender<Option<Timestamp>>,
    ) -> Self {
        Self {
            store: SegmentStore::new(Arc::clone(&shared), new.clone(), timeline),
            shared,
            new,
            segmenter: Segmenter::new(SegmenterSettings::default()),
            outputs: Vec::new(),
            received,
            unanswered: None,
            dropped: 0,
        }
    }

    /// Runs until the publisher has left; everything it sent is stored and its assets are finished
    /// when this returns.
    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut flushes: mpsc::Receiver<FlushRequest>,
    ) {
        // Also when this task panics: nobody may wait for a feed that is no more.
        let _leave = Leave { shared: Arc::clone(&self.shared), feed: self.new.feed.id };
        let outcome = self.receive(&mut inputs, &mut flushes).await;
        let ended = self.shared.now();
        // From here on a waiting connection is told that nothing is taken any more.
        inputs.close();
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
            segments = self.store.segments(), bytes = self.store.bytes(), dropped = self.dropped,
            "feed ended"
        );
    }

    async fn receive(
        &mut self,
        inputs: &mut mpsc::Receiver<Input>,
        flushes: &mut mpsc::Receiver<FlushRequest>,
    ) -> Result<PublishEnd, RecorderError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Media(input, arrival)) => self.take(input, arrival).await?,
                    Some(Input::ClockSet(by_us)) => self.clock_set(by_us).await?,
                    Some(Input::End(end)) => return Ok(end),
                    None => return Ok(PublishEnd::Disconnected),
                },
                Some(request) = flushes.recv() => {
                    // What arrived before the request belongs to it.
                    for _ in 0..inputs.len() {
                        match inputs.try_recv() {
                            Ok(Input::Media(input, arrival)) => self.take(input, arrival).await?,
                            Ok(Input::ClockSet(by_us)) => self.clock_set(by_us).await?,
                            Ok(Input::End(end)) => {
                                self.unanswered = Some(request);
                                return Ok(end);
                            }
                            Err(_) => break,
                        }
                    }
                    self.flush(request).await?;
                }
                // A feed whose media waits here, behind a slow disk, is not silent.
                _ = tick.tick() => if inputs.is_empty() {
                    self.segmenter.poll(self.new.clock.now(), &mut self.outputs)?;
                    self.store_outputs(Awaited::No).await?;
                }
            }
        }
    }

    async fn take(&mut self, input: FeedInput, arrival: Timestamp) -> Result<(), RecorderError> {
        match input {
            FeedInput::Config(config) if self.keeps(config.kind) => {
                self.segmenter.set_track(config, &mut self.outputs)?;
            }
            FeedInput::Sample { kind, sample } if self.keeps(kind) => {
                self.segmenter.push(kind, sample, arrival, &mut self.outputs)?;
            }
            FeedInput::Ignored { kind, reason } => self.note_dropped(kind, reason),
            FeedInput::Config(_) | FeedInput::Sample { .. } => return Ok(()),
        }
        self.store_outputs(Awaited::No).await?;
        let received = self.segmenter.received_until();
        self.received.send_if_modified(|known| std::mem::replace(known, received) != received);
        Ok(())
    }

    /// Follows a wall clock that was set: what was received until now keeps the time it had.
    async fn clock_set(&mut self, by_us: i64) -> Result<(), RecorderError> {
        tracing::warn!(
            feed = %self.new.feed.id, stream = %self.new.feed.stream_name, by_ms = by_us / 1000,
            "the system's clock was set; the recording goes on, times of day jump"
        );
        counted::clock_set();
        self.new.clock.step(by_us);
        self.segmenter.set_clock(by_us, &mut self.outputs)?;
        self.store_outputs(Awaited::No).await
    }

    fn keeps(&self, kind: TrackKind) -> bool {
        let wanted = match kind {
            TrackKind::Video => self.new.keeps_video,
            TrackKind::Audio => self.new.keeps_audio,
        };
        wanted && (self.new.records || self.new.clips)
    }

    /// Stores what the segmenter has put out.
    async fn store_outputs(&mut self, awaited: Awaited) -> Result<(), RecorderError> {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Segment(segment) => self.store.put(*segment, awaited).await?,
                Output::Dropped { kind, reason } => self.note_dropped(kind, reason),
                Output::RunEnded { reason } => {
                    tracing::warn!(
                        feed = %self.new.feed.id, stream = %self.new.feed.stream_name, reason,
                        "what follows makes another recording"
                    );
                    counted::run_ended(reason);
                }
                Output::Gap { kind, len_us } => counted::gap(kind, len_us),
                Output::Restamped { kind } => counted::restamped(kind),
            }
        }
        Ok(())
    }

    /// Serves a flush request. What is stored already is not flushed again: every flush makes a
    /// segment, and many clips may be asked for at once.
    async fn flush(&mut self, request: FlushRequest) -> Result<(), RecorderError> {
        if self.store.stored_until().is_none_or(|until| until < request.before) {
            self.segmenter.flush(&mut self.outputs)?;
            self.store_outputs(Awaited::Yes).await?;
        }
        // Who asked may have given up.
        let _ = request.reply.send(self.store.stored_until());
        Ok(())
    }

    fn note_dropped(&mut self, kind: TrackKind, reason: &'static str) {
        self.dropped += 1;
        counted::dropped(kind, reason);
        // The first few tell what is wrong; the count at the end tells how much.
        if self.dropped <= 8 {
            tracing::warn!(feed = %self.new.feed.id, stream = %self.new.feed.stream_name, ?kind, reason, "not kept");
        }
    }

    /// Stores the rest, finishes the assets and tells that the feed ended.
    async fn end(&mut self, ended: Timestamp) {
        if let Err(error) = self.store_rest().await {
            self.report_failure(&error);
        }
        let mut changes = match self.store.finish_assets().await {
            Ok(changes) => changes,
            Err(error) => {
                self.report_failure(&error);
                Vec::new()
            }
        };
        changes.push(Change::EndFeed { feed: self.new.feed.id, at: ended });
        if let Err(error) = self.shared.database.commit(changes, self.shared.now()).await {
            // The sweeper takes it up once the database works again.
            self.report_failure(&error.into());
        }
    }

    async fn store_rest(&mut self) -> Result<(), RecorderError> {
        let flushed: Result<(), MuxError> = self.segmenter.flush(&mut self.outputs);
        self.store_outputs(Awaited::Yes).await?;
        Ok(flushed?)
    }

    fn report_failure(&self, error: &RecorderError) {
        tracing::error!(
            feed = %self.new.feed.id, stream = %self.new.feed.stream_name,
            error = error as &dyn std::error::Error, "a feed could not be kept whole"
        );
        self.shared.live.fail(self.new.feed.id);
    }
}

/// Takes a feed out of the live ones when dropped.
struct Leave {
    shared: Arc<Shared>,
    feed: FeedId,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.live.leave(self.feed);
    }
}
