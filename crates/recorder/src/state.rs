//! What all parts of the recorder share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use mediahooks_database::Database;
use mediahooks_model::{Limits, MediaAssetId, Timestamp};
use mediahooks_storage::DiskStorage;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::download::FileCache;
use crate::live::LiveFeeds;

/// One per [`crate::Recorder`].
pub(crate) struct Shared {
    pub database: Database,
    pub storage: DiskStorage,
    pub limits: Limits,
    pub live: LiveFeeds,
    pub files: FileCache,
    pub readers: Readers,
    /// Told when an asset was marked for removal.
    pub sweep: Notify,
    /// Clips that are being stored or waited for.
    pub clips: TaskTracker,
}

impl Shared {
    pub(crate) fn new(database: Database, storage: DiskStorage, limits: Limits) -> Self {
        Self {
            database,
            storage,
            limits,
            live: LiveFeeds::default(),
            files: FileCache::default(),
            readers: Readers::default(),
            sweep: Notify::new(),
            clips: TaskTracker::new(),
        }
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since)
}

/// The clock of one feed: set to the wall clock at its start and steady from there on, so that a step
/// of the wall clock does not tear the feed's media apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeedClock {
    started: Timestamp,
    since: Instant,
}

impl FeedClock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self { started: now(), since: Instant::now() }
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.started.plus(self.since.elapsed())
    }
}

/// How many downloads read each asset. Bytes that are being read are not freed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Readers {
    counts: Arc<Mutex<HashMap<MediaAssetId, usize>>>,
}

/// Counts as a reader of one asset until dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    readers: Readers,
    asset: MediaAssetId,
}

impl Readers {
    pub(crate) fn enter(&self, asset: MediaAssetId) -> Reading {
        *self.lock().entry(asset).or_insert(0) += 1;
        Reading { readers: self.clone(), asset }
    }

    pub(crate) fn is_read(&self, asset: MediaAssetId) -> bool {
        self.lock().contains_key(&asset)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MediaAssetId, usize>> {
        // The map is whole after every statement that touches it.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut counts = self.readers.lock();
        if let Some(count) = counts.get_mut(&self.asset) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.asset);
            }
        }
    }
}
