//! Reads the files of assets: what is generated from the index, and ranges of segments.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures::Stream;
use mediahooks_database::Asset;
use mediahooks_media::virtual_file::{Extent, Piece};
use mediahooks_model::{AssetState, AssetType, MediaAssetId, TargetFormat, TimelineId, Timestamp};
use mediahooks_storage::{ChunkReader, ExportWriter, Part, StoredRange, gather};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::{DownloadError, RecorderError};
use crate::finish::{self, PreparedFile, SegmentPlace};
use crate::hls;
use crate::state::{Reading, Shared};

/// Bytes read at a time: what one download keeps in memory.
const READ_MAX: u64 = 256 << 10;

/// Bytes that the kernel is given to send at a time; they take no memory.
const SEND_MAX: u64 = 1 << 20;

/// Bytes in one place from which on they are sent as they are. Fewer are put together with what is around them:
/// copying costs less than a system call, or a packet, for each.
const LONG: u64 = 64 << 10;

/// Bytes of planned files kept for the next request of the same one: of eight hours about 16 MB.
const CACHE_BYTES: u64 = 24 << 20;

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

/// A part of a file on its way to a client.
pub enum DownloadPiece {
    /// The bytes.
    Bytes(Bytes),
    /// Bytes that need not be read here.
    Stored(StoredPiece),
}

/// Stored bytes that the kernel can send to a socket from its page cache. While this exists, they are not
/// freed.
pub struct StoredPiece {
    range: StoredRange,
    hold: Hold,
}

/// While this exists, the bytes of a download are not freed.
///
/// What the kernel has taken from its page cache is on its way as that very page: freeing the bytes then may
/// fill it with zeros, before the client or a repeat after a loss has it. So a hold is let go of only once the
/// client has shown that it has them, or is cut off.
#[derive(Clone)]
pub struct Hold(Arc<Reading>);

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl StoredPiece {
    /// Bytes; at least one.
    pub fn len(&self) -> u64 {
        self.range.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Keeps the bytes from being freed for longer than this piece does.
    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// See [`StoredRange::send`].
    pub fn send(&self, socket: impl AsFd, skip: u64, max: u64) -> io::Result<usize> {
        self.range.send(socket, skip, max)
    }

    /// Reads them after all.
    ///
    /// Errors: [`RecorderError`] when they cannot be read.
    pub async fn read(&self) -> Result<Bytes, RecorderError> {
        Ok(self.range.read().await?)
    }
}

/// Files that were asked for lately: what they are made of and how, not their bytes. Whoever reads the same
/// file shares one of them, even where it is no longer kept.
pub(crate) struct FileCache {
    files: Cache<MediaAssetId, Arc<PreparedFile>, FileBytes>,
    /// All that somebody still has.
    open: Mutex<HashMap<MediaAssetId, OpenFile>>,
}

/// A file that somebody has.
struct OpenFile {
    file: Weak<PreparedFile>,
    /// Once its asset was found complete: what else is told of it, which never changes. Who is told needs no look
    /// at the database, as an asset that is marked for removal is forgotten before anything is freed.
    told: Option<Arc<Told>>,
}

/// What a client is told of a file besides its bytes.
struct Told {
    file_name: String,
    last_modified: Timestamp,
}

#[derive(Clone)]
struct FileBytes;

impl Weighter<MediaAssetId, Arc<PreparedFile>> for FileBytes {
    fn weight(&self, _: &MediaAssetId, file: &Arc<PreparedFile>) -> u64 {
        let guide = file.guide.as_ref().map_or(0, |guide| guide.weight());
        let places = file.places.capacity() * size_of::<SegmentPlace>();
        (size_of::<PreparedFile>() + file.movie.file.weight() + places + guide) as u64
    }
}

impl Default for FileCache {
    fn default() -> Self {
        // So few keep the cache in one shard: a file of many hours would be more than the share of one of several.
        const FILES_EXPECTED: usize = 32;
        let files = Cache::with_weighter(FILES_EXPECTED, CACHE_BYTES, FileBytes);
        Self { files, open: Mutex::default() }
    }
}

impl FileCache {
    /// Keeps a file for who will ask for it.
    pub(crate) fn keep(&self, id: MediaAssetId, file: Arc<PreparedFile>) {
        self.note(id, &file);
        self.files.insert(id, file);
    }

    /// Forgets a file whose asset is marked for removal.
    pub(crate) fn forget(&self, id: MediaAssetId) {
        self.lock().remove(&id);
        self.files.remove(&id);
    }

    /// A file of a complete asset, if it is kept or read by somebody.
    fn complete(&self, id: MediaAssetId) -> Option<(Arc<PreparedFile>, Arc<Told>)> {
        let kept = self.files.get(&id);
        let open = self.lock();
        let OpenFile { file, told } = open.get(&id)?;
        Some((kept.or_else(|| file.upgrade())?, told.clone()?))
    }

    /// Notes that the asset of a file is complete. Whoever does so has to look after it whether it still is.
    fn tell(&self, id: MediaAssetId, told: Arc<Told>) {
        if let Some(open) = self.lock().get_mut(&id) {
            open.told = Some(told);
        }
    }

    /// The file that is kept or read by somebody, or what `prepare` makes of it: once, however many wait.
    async fn get(
        &self,
        id: MediaAssetId,
        prepare: impl Future<Output = Result<PreparedFile, RecorderError>>,
    ) -> Result<Arc<PreparedFile>, RecorderError> {
        let find_or_prepare = async {
            if let Some(file) = self.lock().get(&id).and_then(|open| open.file.upgrade()) {
                return Ok(file);
            }
            let file = Arc::new(prepare.await?);
            self.note(id, &file);
            Ok(file)
        };
        self.files.get_or_insert_async(&id, find_or_prepare).await
    }

    fn note(&self, id: MediaAssetId, file: &Arc<PreparedFile>) {
        let mut open = self.lock();
        open.retain(|_, open| open.file.strong_count() > 0);
        open.insert(id, OpenFile { file: Arc::downgrade(file), told: None });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MediaAssetId, OpenFile>> {
        // The map is whole after every statement that touches it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`crate::Recorder::open_download`].
pub(crate) async fn open(shared: &Arc<Shared>, id: MediaAssetId) -> Result<Download, DownloadError> {
    // Before the look at its state: what is not removed by then is not freed from then on.
    let reading = shared.readers.enter(id);
    if let Some((file, told)) = shared.files.complete(id) {
        return Ok(Download::new(shared, id, file, reading, told.file_name.clone(), told.last_modified));
    }
    let asset = complete_asset(shared, id).await?;
    let prepare = async {
        let turn = shared.planning.take(finish::segments(&asset.recipe)).await;
        finish::prepare(&shared.database, &asset, turn).await
    };
    let file = shared.files.get(id, prepare).await?;
    let last_modified = file.movie.metadata.stop_time.unwrap_or(asset.created).max(asset.created);
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

    /// The bytes of `range`, in pieces. The caller keeps the range within [`Download::len`].
    ///
    /// Errors in the stream end it: a stored byte could not be read.
    pub fn read(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecorderError>> + Send + 'static + use<> {
        futures::stream::try_unfold(self.body(range), |mut body| async move {
            Ok(match body.take(false).await? {
                Some(DownloadPiece::Bytes(bytes)) => Some((bytes, body)),
                Some(DownloadPiece::Stored(piece)) => Some((piece.read().await?, body)),
                None => None,
            })
        })
    }

    /// As [`Download::read`], for a socket that the kernel can send to: what is in the page cache is not read.
    pub fn pieces(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<DownloadPiece, RecorderError>> + Send + 'static + use<> {
        futures::stream::try_unfold(self.body(range), |mut body| async move {
            Ok(body.take(true).await?.map(|piece| (piece, body)))
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
        Body {
            shared: Arc::clone(&self.shared),
            file: Arc::clone(&self.file),
            reading: Arc::clone(&self.reading),
            range,
            open: None,
        }
    }
}

/// What is left of a range to be read.
struct Body {
    shared: Arc<Shared>,
    file: Arc<PreparedFile>,
    reading: Arc<Reading>,
    range: Range<u64>,
    open: Option<(TimelineId, u32, ChunkReader)>,
}

/// What follows in a file.
enum Next {
    /// Many bytes that were made.
    Made(Bytes),
    /// Many bytes in one place.
    Stored { reader: ChunkReader, start: u64, len: u64 },
    /// Few bytes each, and not too many together.
    Short(Vec<Part>),
}

impl Body {
    /// What comes next: something long, or all that is short up to there. It stays in the range.
    async fn next(&mut self) -> Result<Option<Next>, RecorderError> {
        let (mut parts, mut len) = (Vec::new(), 0);
        while len < READ_MAX && self.range.start + len < self.range.end {
            let piece = self.file.movie.file.piece(self.range.start + len..self.range.end)?;
            let is_long = piece.len() >= LONG;
            if is_long && !parts.is_empty() {
                break;
            }
            let room = READ_MAX - len;
            let part = match piece {
                Piece::Bytes(bytes) if is_long => return Ok(Some(Next::Made(bytes))),
                Piece::Bytes(mut bytes) => {
                    bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                    Part::Made(bytes)
                }
                Piece::Extent(extent) => {
                    let (reader, start) = self.locate(extent).await?;
                    if is_long {
                        return Ok(Some(Next::Stored { reader, start, len: extent.len }));
                    }
                    Part::Stored(reader.range(start, extent.len.min(room)))
                }
            };
            len += part.len();
            parts.push(part);
        }
        Ok((!parts.is_empty()).then_some(Next::Short(parts)))
    }

    /// Takes a piece off the range. `by_kernel`: what is in the page cache need not be read.
    async fn take(&mut self, by_kernel: bool) -> Result<Option<DownloadPiece>, RecorderError> {
        let Some(next) = self.next().await? else { return Ok(None) };
        let bytes = match next {
            Next::Made(bytes) => bytes,
            Next::Short(parts) => gather(parts).await?,
            Next::Stored { reader, start, len } => {
                let cached = if by_kernel { reader.cached(start, len.min(SEND_MAX)) } else { None };
                if let Some(range) = cached {
                    self.range.start += range.len();
                    let hold = Hold(Arc::clone(&self.reading));
                    return Ok(Some(DownloadPiece::Stored(StoredPiece { range, hold })));
                }
                reader.range(start, len.min(READ_MAX)).read().await?
            }
        };
        self.range.start += bytes.len() as u64;
        Ok(Some(DownloadPiece::Bytes(bytes)))
    }

    /// The open file that holds an extent, and where in it.
    async fn locate(&mut self, extent: Extent) -> Result<(ChunkReader, u64), RecorderError> {
        let place = self.file.places.get(extent.source as usize).ok_or(RecorderError::SegmentsMissing)?;
        let (timeline, chunk) = (place.timeline, place.chunk);
        let start = place.offset.checked_add(extent.offset).ok_or(RecorderError::SegmentsMissing)?;
        let reader = match &self.open {
            Some((of, open, reader)) if (*of, *open) == (timeline, chunk) => reader.clone(),
            _ => self.shared.storage.open_chunk(timeline, chunk).await?,
        };
        self.open = Some((timeline, chunk, reader.clone()));
        Ok((reader, start))
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_media::virtual_file::{PieceError, VirtualFile};
    use mediahooks_model::{Metadata, TargetFormat};
    use mediahooks_timeline::movie::BuiltMovie;
    use uuid::Uuid;

    use super::*;

    #[derive(Debug)]
    struct Heavy(usize);

    impl VirtualFile for Heavy {
        fn len(&self) -> u64 {
            1
        }

        fn piece(&self, _: Range<u64>) -> Result<Piece, PieceError> {
            Ok(Piece::Bytes(Bytes::from_static(b"a")))
        }

        fn weight(&self) -> usize {
            self.0
        }
    }

    fn file(weight: usize) -> Arc<PreparedFile> {
        Arc::new(prepared(weight))
    }

    fn prepared(weight: usize) -> PreparedFile {
        let movie = BuiltMovie { file: Arc::new(Heavy(weight)), metadata: Metadata::default() };
        let format = TargetFormat::Mp4;
        PreparedFile { format, movie, guide: None, places: Vec::new(), etag: String::new() }
    }

    fn id(number: u128) -> MediaAssetId {
        MediaAssetId(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn who_reads_a_file_that_is_too_large_to_be_kept_shares_it() {
        let cache = FileCache::default();
        let first = cache.get(id(0), async { Ok(prepared(100 << 20)) }).await.unwrap();
        assert!(cache.files.get(&id(0)).is_none());
        let second = cache.get(id(0), async { panic!("planned again") }).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert_eq!(cache.get(id(0), async { Ok(prepared(1)) }).await.unwrap().movie.file.weight(), 1);
    }

    #[test]
    fn some_files_of_many_hours_are_kept() {
        let cache = FileCache::default();
        for number in 0..2 {
            cache.keep(id(number), file(10 << 20));
        }
        assert!((0..2).all(|number| cache.files.get(&id(number)).is_some()));
        cache.keep(id(2), file(10 << 20));
        assert_eq!((0..3).filter(|number| cache.files.get(&id(*number)).is_some()).count(), 2);
    }
}
