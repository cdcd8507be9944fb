//! One live feed: a sink for its publisher and a task that stores what arrives.

mod assets;
mod sink;
mod store;
mod task;

use std::sync::Arc;

use mediahooks_database::{Change, Feed};
use mediahooks_ingest::gate::{FeedSink, PublishRefused};
use mediahooks_model::TimelineId;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::admission::{refused, unavailable};
use crate::state::Shared;
use crate::time::FeedClock;

use sink::Sink;
use task::FeedTask;

/// What was admitted.
#[derive(Debug, Clone)]
pub(crate) struct NewFeed {
    pub feed: Feed,
    /// Stamps its arrivals.
    pub clock: FeedClock,
    /// Makes a recording.
    pub records: bool,
    /// Keeps a timeline that clips can be cut from.
    pub clips: bool,
    /// Keeps pictures.
    pub keeps_video: bool,
    /// Keeps sound.
    pub keeps_audio: bool,
}

/// Inputs that may wait for the disk; then the publisher's socket waits too. A few seconds of media.
const INPUTS_WAITING_MAX: usize = 512;

/// Enters a feed, tells that it started and begins to take its media.
pub(crate) async fn start(shared: Arc<Shared>, new: NewFeed) -> Result<Box<dyn FeedSink>, PublishRefused> {
    let timeline = TimelineId(Uuid::new_v4());
    let feed = new.feed.clone();
    let entry = shared.live.enter(feed.clone(), timeline).map_err(|_| {
        refused(
            "outranked",
            "A publisher of higher priority is live on this stream; raise `priority` to replace it",
        )
    })?;
    if let Err(error) = shared.database.commit(vec![Change::StartFeed(feed.clone())], shared.now()).await {
        shared.live.leave(feed.id);
        return Err(unavailable(&error.into()));
    }
    shared.live.replace(&entry.rivals);
    let (inputs, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
    let (stop, clock) = (entry.stop.clone(), new.clock.clone());
    let task = FeedTask::new(shared, new, timeline, entry.received);
    let done = tokio::spawn(task.run(receiver, entry.flush));
    Ok(Box::new(Sink::new(clock, inputs, stop, done)))
}
