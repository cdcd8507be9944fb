//! Reads the files of assets: what is generated from the index, and ranges of segments.

mod body;
mod cache;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use mediahooks_database::Asset;
use mediahooks_model::{AssetState, AssetType, MediaAssetId, TargetFormat, Timestamp};
use mediahooks_storage::{ExportWriter, gather};

use self::body::{Body, Next};
pub use self::body::{DownloadPiece, Hold, StoredPiece};
pub(crate) use self::cache::FileCache;
use self::cache::Told;
use crate::error::{DownloadError, RecorderError};
use crate::finish::{self, PreparedFile};
use crate::hls;
use crate::state::{Read, Reading, Shared};

/// The file of a complete recording or clip. While it exists, its bytes are not freed.
pub struct Download {
    pub(crate) id: MediaAssetId,
    /// Bytes.
    pub len: u64,
    /// A strong entity tag, in its quotes: the same bytes, and only they, have it.
    pub etag: String,
    /// When the file became what it is.
    pub last_modified: Timestamp,
    /// Its media type.
    pub content_type: &'static str,
    /// A name for who saves it.
    pub file_name: String,
    /// Whether players are to be led through it by [`Download::playlist`].
    pub has_playlist: bool,
    shared: Arc<Shared>,
    file: Arc<PreparedFile>,
    reading: Arc<Reading>,
}

/// See [`crate::Recorder::open_download`].
pub(crate) async fn open(shared: &Arc<Shared>, id: MediaAssetId) -> Result<Download, DownloadError> {
    // Before the look at its state: what is not removed by then is not freed from then on.
    let reading = shared.readers.enter(Read::Asset(id));
    if let Some((file, told)) = shared.files.complete(id) {
        return Ok(Download::new(shared, id, file, reading, told.file_name.clone(), told.last_modified));
    }
    let asset = complete_asset(shared, id).await?;
    let prepare = async {
        let turn = shared.planning.take(finish::segments(&asset.recipe)).await;
        finish::prepare(&shared.database, &asset, turn).await
    };
    let file = shared.files.get(id, prepare).await?;
    let stopped = match &asset.state {
        AssetState::Complete { metadata } => metadata.stop_time,
        _ => None,
    };
    let last_modified = stopped.map_or(asset.created, |stopped| stopped.max(asset.created));
    let told = Arc::new(Told { file_name: file_name(&asset, file.format), last_modified });
    shared.files.tell(id, Arc::clone(&told));
    // If it was marked for removal since the first look, it may have been forgotten before it was kept.
    if let Err(error) = complete_asset(shared, id).await {
        shared.files.forget(id);
        return Err(error);
    }
    Ok(Download::new(shared, id, file, reading, told.file_name.clone(), last_modified))
}

/// The asset, if it has a file.
async fn complete_asset(shared: &Shared, id: MediaAssetId) -> Result<Asset, DownloadError> {
    let asset = shared.database.asset(id).await?.ok_or(DownloadError::NotFound)?;
    match asset.asset_type {
        AssetType::Recording | AssetType::Clip => {}
        AssetType::Timeline => return Err(DownloadError::Timeline),
        AssetType::StorageValidation | AssetType::Vod => return Err(DownloadError::NotFound),
    }
    match &asset.state {
        AssetState::Complete { .. } => {}
        AssetState::Deleting { .. } | AssetState::Deleted { .. } => return Err(DownloadError::Gone),
        state => return Err(DownloadError::NotReady { status: state.status() }),
    }
    if asset.recipe.is_empty() {
        return Err(DownloadError::NotFound);
    }
    Ok(asset)
}

fn file_name(asset: &Asset, format: TargetFormat) -> String {
    let stem = match &asset.name {
        Some(name) => name.clone(),
        None => format!("{} {}", asset.stream_name, asset.start_time),
    };
    let safe = |c: char| if c.is_control() || r#"\/:*?"<>|"#.contains(c) { '-' } else { c };
    format!("{}.{}", stem.chars().map(safe).collect::<String>(), format.extension())
}

impl Download {
    /// A file that is there as long as `reading` is.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        id: MediaAssetId,
        file: Arc<PreparedFile>,
        reading: Reading,
        file_name: String,
        last_modified: Timestamp,
    ) -> Self {
        Self {
            id,
            len: file.movie.file.len(),
            etag: file.etag.clone(),
            last_modified,
            content_type: file.format.content_type(),
            file_name,
            has_playlist: file.format == TargetFormat::Hls,
            shared: Arc::clone(shared),
            file,
            reading: Arc::new(reading),
        }
    }

    /// The playlist (HTTP Live Streaming) of a file that is found at `uri`, relative to the playlist; empty for a
    /// file that has none. It depends on nothing but [`Download::etag`] and `uri`, which is in every line of it.
    pub async fn playlist(&self, uri: &str) -> Result<String, RecorderError> {
        let Some(guide) = self.file.guide.clone().filter(|_| self.has_playlist) else {
            return Ok(String::new());
        };
        let uri = uri.to_owned();
        let turn = self.shared.planning.take_short().await;
        finish::compute(turn, move || Ok(hls::playlist(&guide, &uri).to_text())).await
    }

    /// The multivariant playlist that leads to the one at `uri`, likewise.
    pub fn multivariant(&self, uri: &str) -> String {
        let guide = self.file.guide.as_ref().filter(|_| self.has_playlist);
        guide.map_or_else(String::new, |guide| {
            hls::multivariant(guide, &self.file.movie.metadata, uri).to_text()
        })
    }

    /// The bytes of `range`, in small pieces. The caller keeps the range within [`Download::len`].
    ///
    /// Errors in the stream end it: a stored byte could not be read.
    pub fn read(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecorderError>> + Send + 'static + use<> {
        futures::stream::try_unfold(self.body(range), |mut body| async move {
            Ok(body.take_small().await?.map(|bytes| (bytes, body)))
        })
    }

    /// As [`Download::read`], in large pieces and for a socket that the kernel can send to: what is in the page cache is
    /// not read while `by_kernel` says so.
    pub fn pieces<F: Fn() -> bool + Send + 'static>(
        &self,
        range: Range<u64>,
        by_kernel: F,
    ) -> impl Stream<Item = Result<DownloadPiece, RecorderError>> + Send + 'static + use<F> {
        futures::stream::try_unfold((self.body(range), by_kernel), |(mut body, by_kernel)| async move {
            let piece = body.take(by_kernel()).await?;
            Ok(piece.map(|piece| (piece, (body, by_kernel))))
        })
    }

    /// Writes the whole file and tells, now and then, how many bytes of it are written.
    ///
    /// Errors: [`RecorderError`] when a stored byte cannot be read or none be written.
    pub(crate) async fn write_to(
        &self,
        object: &mut ExportWriter,
        progress: impl Fn(u64),
    ) -> Result<(), RecorderError> {
        let mut body = self.body(0..self.len);
        while let Some(next) = body.next().await? {
            match next {
                Next::Made(bytes) => object.write(bytes).await?,
                Next::Short(parts) => object.write(gather(parts).await?).await?,
                Next::Stored { reader, start, len } => object.copy(&reader, start, len).await?,
            }
            body.range.start = object.len();
            progress(object.len());
        }
        Ok(())
    }

    fn body(&self, range: Range<u64>) -> Body {
        Body::new(Arc::clone(&self.shared), Arc::clone(&self.file), Arc::clone(&self.reading), range)
    }
}
