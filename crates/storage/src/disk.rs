//! The directory of all timelines.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mediahooks_model::TimelineId;
use quick_cache::sync::Cache;
use rustix::fs::{FallocateFlags, fallocate};

use crate::direct::Direct;
use crate::files::{Files, Space, SystemFiles};
use crate::padding::may_be_padding;
use crate::reader::ChunkReader;
use crate::turns::Turns;
use crate::writer::{ChunkWriter, discard};
use crate::{StorageError, blocking};

/// A chunk file that was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkFile {
    /// The timeline it belongs to.
    pub timeline: TimelineId,
    /// Its number.
    pub chunk: u32,
    /// Bytes.
    pub len: u64,
    /// Bytes it takes on the disk; less than `len` where ranges were freed.
    pub allocated: u64,
}

impl ChunkFile {
    /// Bytes behind `end`, where its last row ends, that are more than padding.
    pub fn bytes_behind(&self, end: u64) -> u64 {
        let behind = self.len.saturating_sub(end);
        if may_be_padding(behind) { 0 } else { behind }
    }
}

/// The file that says whom the directory belongs to.
const IDENTITY: &str = "identity";

/// Chunk files kept open for who reads them again: a player asks for a file in many ranges.
const OPEN_MAX: usize = 64;

/// All stored segments, below one directory.
#[derive(Debug, Clone)]
pub struct DiskStorage {
    root: PathBuf,
    files: Arc<dyn Files>,
    /// In which they are appended to.
    turns: Arc<Turns>,
    direct: Arc<Direct>,
    /// Chunk files that were read lately; never one that was removed.
    open: Arc<Cache<(TimelineId, u32), ChunkReader>>,
}

impl DiskStorage {
    /// Opens the directory, and makes it when it is new.
    ///
    /// Errors: [`StorageError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::open_on(root, Arc::new(SystemFiles))
    }

    /// As [`DiskStorage::open`], with chunk files on `files`.
    ///
    /// Errors: [`StorageError::Io`].
    pub fn open_on(root: impl Into<PathBuf>, files: Arc<dyn Files>) -> Result<Self, StorageError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(StorageError::io("create", &root))?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
        Ok(Self {
            root,
            files,
            turns: Arc::default(),
            direct: Arc::default(),
            open: Arc::new(Cache::new(OPEN_MAX)),
        })
    }

    /// How much room there is.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn space(&self) -> Result<Space, StorageError> {
        let (root, files) = (self.root.clone(), Arc::clone(&self.files));
        blocking(move || files.space(&root).map_err(StorageError::io("ask for the room of", &root))).await
    }

    /// Checks that bytes can be made durable: writes a file, syncs and removes it.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn probe(&self) -> Result<(), StorageError> {
        let path = self.root.join(".probe");
        blocking(move || {
            let file = File::create(&path).map_err(StorageError::io("create", &path))?;
            (&file).write_all(b"probe").map_err(StorageError::io("write", &path))?;
            file.sync_data().map_err(StorageError::io("sync", &path))?;
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))
        })
        .await
    }

    /// Whom the directory belongs to, as [`DiskStorage::set_identity`] noted it; absent when nobody
    /// did.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn identity(&self) -> Result<Option<String>, StorageError> {
        let path = self.root.join(IDENTITY);
        blocking(move || match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("read", &path)(error)),
        })
        .await
    }

    /// Notes whom the directory belongs to, durably and as a whole.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn set_identity(&self, identity: String) -> Result<(), StorageError> {
        let root = self.root.clone();
        blocking(move || {
            let (path, new) = (root.join(IDENTITY), root.join(".identity.new"));
            let mut file = File::create(&new).map_err(StorageError::io("create", &new))?;
            writeln!(file, "{identity}").map_err(StorageError::io("write", &new))?;
            file.sync_all().map_err(StorageError::io("sync", &new))?;
            fs::rename(&new, &path).map_err(StorageError::io("rename", &new))?;
            sync_directory(&root)
        })
        .await
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a chunk file with its init segment. Nothing of it is promised to be durable before
    /// the first append.
    ///
    /// Errors: [`StorageError::Io`], also when the file exists already. Nothing is left behind then, as
    /// far as the disk lets us.
    pub async fn create_chunk(
        &self,
        timeline: TimelineId,
        chunk: u32,
        init: Vec<u8>,
    ) -> Result<ChunkWriter, StorageError> {
        let storage = self.clone();
        blocking(move || {
            let directory = storage.directory(timeline);
            if !directory.exists() {
                fs::create_dir_all(&directory).map_err(StorageError::io("create", &directory))?;
                sync_directory(&storage.root)?;
            }
            let path = storage.chunk_path(timeline, chunk);
            let (files, turns, direct) = (&storage.files, &storage.turns, &storage.direct);
            let writer = match ChunkWriter::create(files, turns, direct, path.clone(), timeline, chunk, init)
            {
                Ok(writer) => writer,
                Err(error) => {
                    // Of a new timeline; it stays when it holds other files.
                    let _ = fs::remove_dir(&directory);
                    return Err(error);
                }
            };
            if let Err(error) = sync_directory(&directory) {
                discard(&path);
                return Err(error);
            }
            Ok(writer)
        })
        .await
    }

    /// Opens a chunk file for reading, unless it is still open from the last time.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn open_chunk(&self, timeline: TimelineId, chunk: u32) -> Result<ChunkReader, StorageError> {
        if let Some(reader) = self.open.get(&(timeline, chunk)) {
            return Ok(reader);
        }
        let storage = self.clone();
        blocking(move || {
            let path = storage.chunk_path(timeline, chunk);
            let reader = ChunkReader::open(path.clone())?;
            storage.open.insert((timeline, chunk), reader.clone());
            // Who removed it meanwhile may have looked for it among the open ones before it was there.
            if !path.exists() {
                storage.open.remove(&(timeline, chunk));
            }
            Ok(reader)
        })
        .await
    }

    /// Gives the blocks of a range back to the file system. The file keeps its length. Where the file
    /// system cannot do that, the room comes back with [`DiskStorage::remove_chunk`].
    ///
    /// Errors: [`StorageError::Io`]; a file that is gone already is fine.
    pub async fn free(
        &self,
        timeline: TimelineId,
        chunk: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), StorageError> {
        let path = self.chunk_path(timeline, chunk);
        blocking(move || {
            let file = match File::options().write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(StorageError::io("open", &path)(error)),
            };
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(&file, flags, offset, len) {
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
                Err(errno) => Err(StorageError::io("free a range of", &path)(errno.into())),
            }
        })
        .await
    }

    /// Removes a chunk file, and its timeline's directory with the last one.
    ///
    /// Errors: [`StorageError::Io`]; a file that is gone already is fine.
    pub async fn remove_chunk(&self, timeline: TimelineId, chunk: u32) -> Result<(), StorageError> {
        let storage = self.clone();
        blocking(move || {
            let path = storage.chunk_path(timeline, chunk);
            let directory = storage.directory(timeline);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", &path)(error));
                }
                _ => {}
            }
            // Its room comes back with the last one who has it open.
            storage.open.remove(&(timeline, chunk));
            match fs::remove_dir(&directory) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
                }
                Err(error) => return Err(StorageError::io("remove", &directory)(error)),
            }
            Ok(())
        })
        .await
    }

    /// Cuts a chunk file back to `len` bytes: what a crash left behind the last indexed segment.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn cut_back(&self, timeline: TimelineId, chunk: u32, len: u64) -> Result<(), StorageError> {
        let path = self.chunk_path(timeline, chunk);
        blocking(move || {
            let file = File::options().write(true).open(&path).map_err(StorageError::io("open", &path))?;
            file.set_len(len).map_err(StorageError::io("cut", &path))?;
            file.sync_all().map_err(StorageError::io("sync", &path))
        })
        .await
    }

    /// Every chunk file there is. Files with other names are left alone and not reported; one that is removed meanwhile
    /// may be.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn chunk_files(&self) -> Result<Vec<ChunkFile>, StorageError> {
        let storage = self.clone();
        blocking(move || {
            let mut found = Vec::new();
            for entry in entries(&storage.root)? {
                let Some(timeline) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                for file in entries(&entry.path())? {
                    let Some(chunk) = file.file_name().to_str().and_then(chunk_number) else { continue };
                    let about = match file.metadata() {
                        // Removed while we looked.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        about => about.map_err(StorageError::io("look at", file.path()))?,
                    };
                    // `st_blocks` counts units of 512 bytes, whatever the file system's own blocks are.
                    found.push(ChunkFile {
                        timeline,
                        chunk,
                        len: about.len(),
                        allocated: about.blocks() * 512,
                    });
                }
            }
            Ok(found)
        })
        .await
    }

    /// Where a chunk file lies.
    pub fn chunk_path(&self, timeline: TimelineId, chunk: u32) -> PathBuf {
        self.directory(timeline).join(format!("{chunk:06}.mp4"))
    }

    fn directory(&self, timeline: TimelineId) -> PathBuf {
        self.root.join(timeline.to_string())
    }
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, StorageError> {
    let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match listed {
        // Not a directory, or removed while we looked.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => {
            Ok(Vec::new())
        }
        listed => listed.map_err(StorageError::io("list", directory)),
    }
}

fn chunk_number(name: &str) -> Option<u32> {
    name.strip_suffix(".mp4").filter(|digits| digits.len() >= 6)?.parse().ok()
}

/// Makes the names in a directory durable: a file whose name is lost is lost.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StorageError::io("sync", path))
}
