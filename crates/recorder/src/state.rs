//! What all parts of the recorder share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mediahooks_database::Database;
use mediahooks_model::{Limits, MediaAssetId, TimelineId, Timestamp};
use mediahooks_storage::DiskStorage;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
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
const SHORT_MAX: u64 = 2048;

/// How long the thread for long files waits for another one before it ends.
const THREAD_KEPT: Duration = Duration::from_secs(24 * 3600);

/// One per [`crate::Recorder`].
pub(crate) struct Shared {
    pub database: Database,
    pub storage: DiskStorage,
    pub limits: Limits,
    /// See [`RecorderSettings`].
    pub clips_max: usize,
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
    /// Held while it is noted with an open request that a clip of it was deleted.
    pub noting_deleted: tokio::sync::Mutex<()>,
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
            clips_max: settings.clips_max,
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
            noting_deleted: tokio::sync::Mutex::default(),
            attended: Attended::default(),
            draining: CancellationToken::new(),
        }
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }
}

/// Lets so many files be planned at a time, the others in the order in which they came. Long ones take turns of their
/// own, one at a time, so that no short one ever waits for them.
///
/// They are planned on a thread of their own: what a plan allocates belongs to its thread, and is not given back as long
/// as a little of it is in use. On whichever thread is free, each of these would come to hold as much.
#[derive(Debug)]
pub(crate) struct Turns {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    thread: Option<OwnThread>,
}

/// Somebody's turn, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    thread: Option<Handle>,
}

/// One thread, which begins with its first task.
#[derive(Debug)]
struct OwnThread(Option<Runtime>);

impl OwnThread {
    /// None: the system has none. Then the threads that others share are used.
    fn new() -> Option<Self> {
        let mut threads = Builder::new_current_thread();
        threads.max_blocking_threads(1).thread_keep_alive(THREAD_KEPT).thread_name("long files");
        let built = threads.build().inspect_err(|error| {
            tracing::warn!(%error, "long files have no thread of their own");
        });
        Some(Self(Some(built.ok()?)))
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        // Without waiting for what it is at, which nobody waits for any more.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Turns {
    /// Turns for `at_once` short files.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            short: Arc::new(Semaphore::new(at_once)),
            long: Arc::new(Semaphore::new(1)),
            thread: OwnThread::new(),
        }
    }

    /// A turn for a file of so many segments.
    pub(crate) async fn take(&self, segments: u64) -> Turn {
        if segments <= SHORT_MAX {
            return self.take_short().await;
        }
        let thread = self.thread.as_ref().and_then(|thread| thread.0.as_ref());
        Turn { thread: thread.map(|thread| thread.handle().clone()), ..Turn::of(&self.long).await }
    }

    /// A turn for what takes little memory.
    pub(crate) async fn take_short(&self) -> Turn {
        Turn::of(&self.short).await
    }

    /// How many could be taken now for short files.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.short.available_permits()
    }
}

impl Turn {
    async fn of(places: &Arc<Semaphore>) -> Self {
        // They are never closed.
        Self { _permit: Arc::clone(places).acquire_owned().await.ok(), thread: None }
    }

    /// Does something that takes long where it holds nothing else up. It goes on where nobody waits for it any more,
    /// and so does the turn.
    pub(crate) fn spawn<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let thread = self.thread.clone().unwrap_or_else(Handle::current);
        thread.spawn_blocking(move || {
            let result = work();
            drop(self);
            result
        })
    }
}

/// How many downloads read what. Bytes that are being read are not freed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Readers {
    counts: Arc<Mutex<HashMap<Read, usize>>>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Read {
    /// An asset, which is not removed meanwhile.
    Asset(MediaAssetId),
    /// A chunk file, of which nothing is freed meanwhile, whichever assets go.
    Chunk(TimelineId, u32),
    /// Any chunk file of a timeline.
    Timeline(TimelineId),
}

/// Counts as a reader until dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    readers: Readers,
    what: Read,
    /// What is read with it.
    others: Vec<Reading>,
}

impl Reading {
    /// Reads something else as well, for as long.
    pub(crate) fn extend(&mut self, others: impl IntoIterator<Item = Reading>) {
        self.others.extend(others);
    }
}

impl Readers {
    pub(crate) fn enter(&self, what: Read) -> Reading {
        *self.lock().entry(what).or_insert(0) += 1;
        Reading { readers: self.clone(), what, others: Vec::new() }
    }

    /// Whether an asset is read.
    pub(crate) fn read_asset(&self, asset: MediaAssetId) -> bool {
        self.lock().contains_key(&Read::Asset(asset))
    }

    /// Whether a chunk file is read, whichever assets go.
    pub(crate) fn read_chunk(&self, timeline: TimelineId, chunk: u32) -> bool {
        let counts = self.lock();
        counts.contains_key(&Read::Chunk(timeline, chunk)) || counts.contains_key(&Read::Timeline(timeline))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Read, usize>> {
        // The map is whole after every statement that touches it.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut counts = self.readers.lock();
        if let Some(count) = counts.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.what);
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
    async fn long_files_take_turns_and_no_short_one_waits_for_them() {
        let turns = Turns::new(1);
        let long = turns.take(SHORT_MAX + 1).await;
        assert!(turns.take(u64::MAX).now_or_never().is_none());
        let short = turns.take(SHORT_MAX).await;
        assert!(turns.take(1).now_or_never().is_none());
        drop((long, short));
        assert!(turns.take(u64::MAX).now_or_never().is_some());
        assert!(turns.take(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn long_files_are_planned_on_one_thread() {
        let turns = Turns::new(4);
        let thread = |turn: Turn| turn.spawn(|| std::thread::current().id());
        let first = thread(turns.take(u64::MAX).await).await.unwrap();
        assert_eq!(thread(turns.take(u64::MAX).await).await.unwrap(), first);
        assert_ne!(thread(turns.take(1).await).await.unwrap(), first);
    }
}
