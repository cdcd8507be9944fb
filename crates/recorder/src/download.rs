//! Reads the files of assets: a header built from the index, and ranges of segments.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use mediahooks_database::Asset;
use mediahooks_media::virtual_file::{Extent, Piece};
use mediahooks_model::{AssetState, AssetType, MediaAssetId, TargetFormat, TimelineId, Timestamp};
use mediahooks_storage::ChunkReader;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::{DownloadError, RecorderError};
use crate::finish::{self, PreparedFile, SegmentPlace};
use crate::hls;
use crate::state::{Reading, Shared};

/// Bytes read from disk at a time: what one download keeps in memory.
const READ_MAX: u64 = 256 << 10;

/// Bytes of headers kept for the next request of the same file.
const CACHE_BYTES: u64 = 64 << 20;

/// The file of a complete recording or clip. While it exists, its bytes are not freed.
pub struct Download {
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

/// The headers of files that were asked for lately.
pub(crate) struct FileCache {
    files: Cache<MediaAssetId, Arc<PreparedFile>, HeaderBytes>,
}

#[derive(Clone)]
struct HeaderBytes;

impl Weighter<MediaAssetId, Arc<PreparedFile>> for HeaderBytes {
    fn weight(&self, _: &MediaAssetId, file: &Arc<PreparedFile>) -> u64 {
        (file.movie.file.weight() + file.places.len() * size_of::<SegmentPlace>()) as u64
    }
}

impl Default for FileCache {
    fn default() -> Self {
        const FILES_EXPECTED: usize = 1024;
        Self { files: Cache::with_weighter(FILES_EXPECTED, CACHE_BYTES, HeaderBytes) }
    }
}

impl FileCache {
    /// Keeps a file for who will ask for it.
    pub(crate) fn keep(&self, id: MediaAssetId, file: Arc<PreparedFile>) {
        self.files.insert(id, file);
    }

    /// Forgets a file that was removed.
    pub(crate) fn forget(&self, id: MediaAssetId) {
        self.files.remove(&id);
    }
}

/// See [`crate::Recorder::open_download`].
pub(crate) async fn open(shared: &Arc<Shared>, id: MediaAssetId) -> Result<Download, DownloadError> {
    // Before the look at its state: what is not removed by then is not freed from then on.
    let reading = shared.readers.enter(id);
    let asset = shared.database.asset(id).await?.ok_or(DownloadError::NotFound)?;
    if !matches!(asset.asset_type, AssetType::Recording | AssetType::Clip) {
        return Err(DownloadError::NotFound);
    }
    match &asset.state {
        AssetState::Complete { .. } => {}
        AssetState::Deleting { .. } | AssetState::Deleted { .. } => return Err(DownloadError::Gone),
        state => return Err(DownloadError::NotReady { status: state.status() }),
    }
    if asset.recipe.is_empty() {
        return Err(DownloadError::NotFound);
    }
    let prepared = shared
        .files
        .files
        .get_or_insert_async(&id, async { finish::prepare(&shared.database, &asset).await.map(Arc::new) })
        .await?;
    Ok(Download {
        len: prepared.movie.file.len(),
        etag: prepared.etag.clone(),
        last_modified: prepared.movie.metadata.stop_time.unwrap_or(asset.created).max(asset.created),
        content_type: content_type(prepared.format),
        file_name: file_name(&asset, prepared.format),
        has_playlist: prepared.format == TargetFormat::Hls,
        shared: Arc::clone(shared),
        file: prepared,
        reading: Arc::new(reading),
    })
}

fn content_type(format: TargetFormat) -> &'static str {
    match format {
        TargetFormat::Mp4 | TargetFormat::Fmp4 | TargetFormat::Hls => "video/mp4",
        TargetFormat::Webm => "video/webm",
    }
}

fn file_name(asset: &Asset, format: TargetFormat) -> String {
    let stem = match &asset.name {
        Some(name) => name.clone(),
        None => format!("{} {}", asset.stream_name, asset.start_time),
    };
    let safe = |c: char| if c.is_control() || r#"\/:*?"<>|"#.contains(c) { '-' } else { c };
    let extension = match format {
        TargetFormat::Mp4 | TargetFormat::Fmp4 | TargetFormat::Hls => "mp4",
        TargetFormat::Webm => "webm",
    };
    format!("{}.{extension}", stem.chars().map(safe).collect::<String>())
}

impl Download {
    /// The playlist (HTTP Live Streaming) of a file that is found at `uri`, relative to the playlist; none of
    /// a file that has none.
    pub fn playlist(&self, uri: &str) -> Option<String> {
        let guide = self.file.guide.as_ref().filter(|_| self.has_playlist)?;
        Some(hls::playlist(guide, uri).to_text())
    }

    /// The bytes of `range`, in pieces. The caller keeps the range within [`Download::len`].
    ///
    /// Errors in the stream end it: a stored byte could not be read.
    pub fn read(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecorderError>> + Send + 'static + use<> {
        let body = Body {
            shared: Arc::clone(&self.shared),
            file: Arc::clone(&self.file),
            _reading: Arc::clone(&self.reading),
            range,
            open: None,
        };
        futures::stream::try_unfold(body, |mut body| async move {
            Ok(body.next().await?.map(|bytes| (bytes, body)))
        })
    }
}

/// What is left of a range to be read.
struct Body {
    shared: Arc<Shared>,
    file: Arc<PreparedFile>,
    _reading: Arc<Reading>,
    range: Range<u64>,
    open: Option<(TimelineId, u32, ChunkReader)>,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, RecorderError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let bytes = match self.file.movie.file.piece(self.range.clone())? {
            Piece::Bytes(bytes) => bytes,
            Piece::Extent(extent) => self.read(extent).await?,
        };
        self.range.start += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Reads the beginning of an extent.
    async fn read(&mut self, extent: Extent) -> Result<Bytes, RecorderError> {
        let place = self.file.places.get(extent.source as usize).ok_or(RecorderError::SegmentsMissing)?;
        let (timeline, chunk, start) = (place.timeline, place.chunk, place.offset + extent.offset);
        let reader = match &self.open {
            Some((of, open, reader)) if (*of, *open) == (timeline, chunk) => reader.clone(),
            _ => self.shared.storage.open_chunk(timeline, chunk).await?,
        };
        self.open = Some((timeline, chunk, reader.clone()));
        Ok(reader.read(start, extent.len.min(READ_MAX) as usize).await?)
    }
}
