//! One live feed: a sink for its publisher and a task that stores what arrives.

mod assets;
mod intake;
mod sink;
mod store;
mod task;

use std::sync::Arc;

use mediahooks_database::{Change, Feed};
use mediahooks_ingest::gate::{FeedSink, PublishRefused};
use mediahooks_model::TimelineId;
use uuid::Uuid;

use crate::admission::{refused, unavailable};
use crate::state::Shared;
use crate::time::FeedClock;

use intake::Intake;
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

/// Enters a feed, tells that it started and begins to take its media.
pub(crate) async fn start(shared: Arc<Shared>, new: NewFeed) -> Result<Box<dyn FeedSink>, PublishRefused> {
    let timeline = TimelineId(Uuid::new_v4());
    let feed = new.feed.clone();
    let entry = shared.live.enter(feed.clone(), timeline, new.clips).map_err(|_| {
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
    let intake = Arc::new(Intake::new(new.clone(), entry.received));
    let task = FeedTask::new(shared, new, timeline, Arc::clone(&intake));
    let done = tokio::spawn(task.run(entry.flush));
    Ok(Box::new(Sink::new(intake, entry.stop, done)))
}
