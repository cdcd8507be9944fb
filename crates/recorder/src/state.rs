//! What all parts of the recorder share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use mediahooks_database::Database;
use mediahooks_model::{Limits, MediaAssetId, Timestamp};
use mediahooks_storage::DiskStorage;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::RecorderSettings;
use crate::disk::{Disk, DiskLimits};
use crate::download::FileCache;
use crate::export::Exports;
use crate::live::LiveFeeds;
use crate::preview::Previews;
use crate::time::Clock;

/// Files that are planned at once for downloads, and as many again for assets that are completed. The threads that do
/// it are those that write media, too: these must never wait for hundreds of plans.
const PLANS_AT_ONCE: usize = 4;

/// One per [`crate::Recorder`].
pub(crate) struct Shared {
    pub database: Database,
    pub storage: DiskStorage,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub disk_limits: DiskLimits,
    pub disk: Disk,
    pub live: LiveFeeds,
    pub files: FileCache,
    /// For who plans a file that is downloaded.
    pub planning: Turns,
    /// For who plans a file to complete an asset: a feed never waits for downloads.
    pub finishing: Turns,
    pub readers: Readers,
    pub exports: Exports,
    /// What playlists of timelines are made with.
    pub previews: Previews,
    /// Told when an asset was marked for removal.
    pub sweep: Notify,
    /// Clips that are being stored or waited for.
    pub clips: TaskTracker,
    /// Unfinished clips that somebody waits for.
    pub attended: Attended,
    /// Cancelled when no feed will come any more.
    pub draining: CancellationToken,
}

impl Shared {
    pub(crate) fn new(database: Database, storage: DiskStorage, settings: RecorderSettings) -> Self {
        let beside = || storage.root().with_file_name("exports");
        let export_dir = settings.export_dir.unwrap_or_else(beside);
        Self {
            database,
            storage,
            limits: settings.limits,
            clock: settings.clock,
            disk_limits: settings.disk,
            disk: Disk::default(),
            live: LiveFeeds::default(),
            files: FileCache::default(),
            planning: Turns::new(PLANS_AT_ONCE),
            finishing: Turns::new(PLANS_AT_ONCE),
            readers: Readers::default(),
            exports: Exports::new(export_dir),
            previews: Previews::default(),
            sweep: Notify::new(),
            clips: TaskTracker::new(),
            attended: Attended::default(),
            draining: CancellationToken::new(),
        }
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }
}

/// Lets so many do something at a time, the others in the order in which they came.
#[derive(Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

/// Somebody's turn, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    pub(crate) async fn take(&self) -> Turn {
        // It is never closed.
        Turn { _permit: Arc::clone(&self.0).acquire_owned().await.ok() }
    }

    /// How many could be taken now.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.available_permits()
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

/// Unfinished clips that a task is at work on: the sweeper leaves them to it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attended {
    assets: Arc<Mutex<HashSet<MediaAssetId>>>,
}

/// Attends to some clips until dropped.
#[derive(Debug)]
pub(crate) struct Attending {
    attended: Attended,
    assets: Vec<MediaAssetId>,
}

impl Attended {
    pub(crate) fn enter(&self, assets: Vec<MediaAssetId>) -> Attending {
        self.lock().extend(&assets);
        Attending { attended: self.clone(), assets }
    }

    pub(crate) fn has(&self, asset: MediaAssetId) -> bool {
        self.lock().contains(&asset)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<MediaAssetId>> {
        // The set is whole after every statement that touches it.
        self.assets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let mut assets = self.attended.lock();
        for asset in &self.assets {
            assets.remove(asset);
        }
    }
}
