//! Live feeds to durable segments; segments to recordings, clips and downloads; and their removal.
//!
//! A shell: it admits publishers, runs one task per feed that appends what its `Segmenter` closes to
//! storage and commits the rows, and moves assets through their states. Decisions are made in
//! `model`, `media` and `timeline`. What always holds: bytes are durable before their row is, and a
//! row is gone before its bytes are.

mod admission;
pub mod check;
mod clip;
mod counted;
mod disk;
mod download;
mod error;
mod export;
mod feed;
mod finish;
mod hls;
mod live;
mod preview;
mod recovery;
mod removal;
mod screen;
mod state;
mod tidy;
mod time;

use std::path::PathBuf;
use std::sync::Arc;

use mediahooks_database::{Asset, Database, Feed};
use mediahooks_ingest::gate::PublishGate;
use mediahooks_model::{AssetType, Limits, MediaAssetId};
use mediahooks_storage::DiskStorage;
use tokio_util::sync::CancellationToken;

pub use clip::{Absence, ClipRequest, Idempotency};
pub use counted::describe_metrics;
pub use disk::{DiskLevel, DiskLimits, Room};
pub use download::{Download, DownloadPiece, Hold, StoredPiece};
pub use error::{ClipError, DeleteRefused, DownloadError, ExportError, PreviewError, RecorderError};
pub use export::{Export, ExportDone, ExportProgress};
pub use live::StopScope;
pub use preview::{PlaylistText, Preview, PreviewRequest};
pub use time::{Clock, SystemClock};

use admission::Gate;
use state::Shared;

/// How a recorder works. [`Limits`] turn into it, with the rest as it is by default.
#[derive(Debug, Clone)]
pub struct RecorderSettings {
    /// How long media may be.
    pub limits: Limits,
    /// Clips that one request makes at most: a range in which a stream was interrupted more often makes no others.
    pub clips_max: usize,
    /// How much room is kept on the disk.
    pub disk: DiskLimits,
    /// Where exported files go; absent: `exports` beside the media's directory.
    pub export_dir: Option<PathBuf>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl From<Limits> for RecorderSettings {
    fn from(limits: Limits) -> Self {
        const CLIPS_MAX: usize = 1000;
        let clock = Arc::new(SystemClock::default());
        Self { limits, clips_max: CLIPS_MAX, disk: DiskLimits::default(), export_dir: None, clock }
    }
}

/// Everything that happens to media. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

impl Recorder {
    /// Opens over a database and a storage that belong together, and repairs what a crash left; see
    /// [`Recorder::repair`].
    ///
    /// Errors: [`RecorderError`] when either cannot be read or written.
    pub async fn open(
        database: Database,
        storage: DiskStorage,
        settings: impl Into<RecorderSettings>,
    ) -> Result<Self, RecorderError> {
        let recorder = Self::open_unrepaired(database, storage, settings).await?;
        recorder.repair().await?;
        Ok(recorder)
    }

    /// As [`Recorder::open`], but leaves the repair to the caller: it takes longer, the more media there
    /// is and the more feeds were live, and publishers can be admitted meanwhile.
    ///
    /// Errors: [`RecorderError`] when the two do not belong together, or cannot be read or written.
    pub async fn open_unrepaired(
        database: Database,
        storage: DiskStorage,
        settings: impl Into<RecorderSettings>,
    ) -> Result<Self, RecorderError> {
        let shared = Arc::new(Shared::new(database, storage, settings.into()));
        tidy::claim_directory(&shared).await?;
        shared.exports.tidy().await;
        // Before anybody can ask for clips: those that are asked for from now on are followed already.
        clip::resume(&shared).await?;
        Ok(Self { shared })
    }

    /// Repairs what a crash left: ends the feeds that were live, finishes their assets with what was
    /// received, cuts chunk files back to their last row and removes those that no row knows.
    ///
    /// Errors: [`RecorderError`] when database or storage cannot be read or written.
    pub async fn repair(&self) -> Result<(), RecorderError> {
        recovery::take_up(&self.shared).await?;
        tidy::tidy_chunks(&self.shared).await
    }

    /// What ingest asks for admission.
    pub fn gate(&self) -> Arc<dyn PublishGate> {
        Arc::new(Gate::new(Arc::clone(&self.shared)))
    }

    /// Makes clips of a range of a stream: one per source and, unless the request says otherwise, per
    /// uninterrupted stretch. Each is complete on return unless its range is still being received.
    ///
    /// A repeated idempotency key returns the assets of its first request.
    ///
    /// Errors: [`ClipError`].
    pub async fn create_clips(&self, request: ClipRequest) -> Result<Vec<Asset>, ClipError> {
        clip::create(&self.shared, request).await
    }

    /// Opens the file of a complete recording or clip.
    ///
    /// Errors: [`DownloadError`].
    pub async fn open_download(&self, id: MediaAssetId) -> Result<Download, DownloadError> {
        download::open(&self.shared, id).await
    }

    /// Begins to write the file of a complete recording or clip as an object of its own, or joins who does. The
    /// export goes on whether anybody waits for it or not.
    ///
    /// Errors: [`ExportError`].
    pub async fn export(&self, id: MediaAssetId) -> Result<Export, ExportError> {
        export::export(&self.shared, id).await
    }

    /// The playlist of a timeline, live or over; once it has what the request waits for.
    ///
    /// Errors: [`PreviewError`].
    pub async fn preview(&self, id: MediaAssetId, request: PreviewRequest) -> Result<Preview, PreviewError> {
        preview::playlist(&self.shared, id, request).await
    }

    /// The multivariant playlist that leads to that of a timeline, which is found at `uri`.
    ///
    /// Errors: [`PreviewError`].
    pub async fn preview_variants(&self, id: MediaAssetId, uri: &str) -> Result<String, PreviewError> {
        preview::multivariant(&self.shared, id, uri).await
    }

    /// Opens what a playlist of a timeline names, by the last part of its address.
    ///
    /// Errors: [`PreviewError`].
    pub async fn open_preview(&self, id: MediaAssetId, name: &str) -> Result<Download, PreviewError> {
        preview::open(&self.shared, id, name).await
    }

    /// Marks assets for removal and tells for each whether it was. Their bytes are freed in the
    /// background, once nothing else refers to them and no download reads them.
    ///
    /// Errors: [`RecorderError`] when the database fails.
    pub async fn delete_assets(
        &self,
        ids: &[MediaAssetId],
    ) -> Result<Vec<(MediaAssetId, Result<(), DeleteRefused>)>, RecorderError> {
        removal::delete(&self.shared, ids).await
    }

    /// Marks every asset of a type for removal that can be. Returns how many were, and those that
    /// were refused.
    ///
    /// Errors: [`RecorderError`] when the database fails.
    pub async fn delete_assets_of_type(
        &self,
        asset_type: AssetType,
    ) -> Result<(u64, Vec<(MediaAssetId, DeleteRefused)>), RecorderError> {
        removal::delete_type(&self.shared, asset_type).await
    }

    /// What the disk's room allows, as the sweeper saw it last.
    pub fn disk_level(&self) -> DiskLevel {
        self.shared.disk.level()
    }

    /// Every feed that is live now.
    pub fn live_feeds(&self) -> Vec<Feed> {
        self.shared.live.feeds()
    }

    /// Tells feeds to stop and returns how many were told; `why` goes to their encoders.
    pub fn stop_feeds(&self, which: &StopScope, why: &'static str) -> usize {
        self.shared.live.stop(which, why)
    }

    /// Removes what has expired or was marked, until `shutdown`. Run it once.
    pub async fn run_sweeper(self, shutdown: CancellationToken) {
        removal::sweep(&self.shared, shutdown).await;
    }

    /// Resolves when no feed is live and no clip is waited for any more; clips whose range is still to come
    /// are gone on with by the next start. Call it once publishers are no longer admitted.
    pub async fn drain(&self) {
        self.shared.live.wait_until_empty().await;
        self.shared.draining.cancel();
        self.shared.clips.close();
        self.shared.clips.wait().await;
    }
}
