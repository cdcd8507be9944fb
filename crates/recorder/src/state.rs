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

/// A file of more segments than this, half an hour of them, is long.
const SHORT_MAX: u32 = 2048;

/// Segments of the long files that are planned at once; of a longer one it is the only one. A segment takes about a
/// kilobyte while its file is planned.
const LONG_SEGMENTS_AT_ONCE: u32 = 1 << 15;

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

/// Lets so many files be planned at a time, the others in the order in which they came. Long ones have turns of their
/// own, by what memory they take: no short one ever waits for them.
#[derive(Debug)]
pub(crate) struct Turns {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

/// Somebody's turn, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Turns for `at_once` short files.
    pub(crate) fn new(at_once: usize) -> Self {
        let long = Arc::new(Semaphore::new(LONG_SEGMENTS_AT_ONCE as usize));
        Self { short: Arc::new(Semaphore::new(at_once)), long }
    }

    /// A turn for a file of so many segments.
    pub(crate) async fn take(&self, segments: u64) -> Turn {
        let segments = u32::try_from(segments).unwrap_or(u32::MAX).min(LONG_SEGMENTS_AT_ONCE);
        if segments <= SHORT_MAX {
            return self.take_short().await;
        }
        // They are never closed.
        Turn { _permit: Arc::clone(&self.long).acquire_many_owned(segments).await.ok() }
    }

    /// A turn for what takes little memory.
    pub(crate) async fn take_short(&self) -> Turn {
        Turn { _permit: Arc::clone(&self.short).acquire_owned().await.ok() }
    }

    /// How many could be taken now for short files.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.short.available_permits()
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn long_files_take_turns_by_their_length_and_no_short_one_waits_for_them() {
        let turns = Turns::new(1);
        let hours = |hours: u64| hours * 3600;
        let first = turns.take(hours(8)).await;
        // Those of an hour that fit beside it, and then one that does not.
        let _beside = turns.take(hours(1)).await;
        let mut waiting = Box::pin(turns.take(hours(8)));
        assert!(waiting.as_mut().now_or_never().is_none());
        let short = turns.take(10).await;
        assert!(turns.take(10).now_or_never().is_none());
        drop((first, short));
        assert!(waiting.now_or_never().is_some());
        assert!(turns.take(10).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_file_that_is_longer_than_all_turns_has_them_all() {
        let turns = Turns::new(1);
        let longest = turns.take(u64::MAX).await;
        assert!(turns.take(u64::from(SHORT_MAX) + 1).now_or_never().is_none());
        drop(longest);
        assert!(turns.take(u64::MAX).now_or_never().is_some());
    }
}
