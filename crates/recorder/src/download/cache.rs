//! Files that were asked for lately, so that whoever asks for another range of one finds it planned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mediahooks_model::{MediaAssetId, Timestamp};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::RecorderError;
use crate::finish::{PreparedFile, SegmentPlace};

/// Bytes of planned files kept for the next request of the same one: of eight hours about 16 MB.
const CACHE_BYTES: u64 = 24 << 20;

/// What they are made of and how, not their bytes. Whoever reads the same
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
pub(super) struct Told {
    pub(super) file_name: String,
    pub(super) last_modified: Timestamp,
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
    pub(super) fn complete(&self, id: MediaAssetId) -> Option<(Arc<PreparedFile>, Arc<Told>)> {
        let kept = self.files.get(&id);
        let open = self.lock();
        let OpenFile { file, told } = open.get(&id)?;
        Some((kept.or_else(|| file.upgrade())?, told.clone()?))
    }

    /// Notes that the asset of a file is complete. Whoever does so has to look after it whether it still is.
    pub(super) fn tell(&self, id: MediaAssetId, told: Arc<Told>) {
        if let Some(open) = self.lock().get_mut(&id) {
            open.told = Some(told);
        }
    }

    /// The file that is kept or read by somebody, or what `prepare` makes of it: once, however many wait.
    pub(super) async fn get(
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bytes::Bytes;
    use mediahooks_media::virtual_file::{Piece, PieceError, VirtualFile};
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
