//! Appends whole segments to one chunk file, durably.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mediahooks_model::TimelineId;

use crate::StorageError;
use crate::direct::Direct;
use crate::files::Files;
use crate::padding::padding;
use crate::turns::Turns;

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// First byte in the chunk file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// The end of one chunk file. There is one writer for a file, and a file is never reopened for
/// writing: after a restart the timeline is closed.
#[derive(Debug)]
pub struct ChunkWriter {
    files: Arc<dyn Files>,
    turns: Arc<Turns>,
    direct: Arc<Direct>,
    file: Arc<File>,
    path: PathBuf,
    timeline: TimelineId,
    chunk: u32,
    init_len: u64,
    end: u64,
    poisoned: bool,
}

impl ChunkWriter {
    pub(crate) fn create(
        files: &Arc<dyn Files>,
        turns: &Arc<Turns>,
        direct: &Arc<Direct>,
        path: PathBuf,
        timeline: TimelineId,
        chunk: u32,
        init: Vec<u8>,
    ) -> Result<Self, StorageError> {
        let file = File::options()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(StorageError::io("create", &path))?;
        let (files, init_len) = (Arc::clone(files), init.len() as u64);
        if let Err(error) = direct.append(files.as_ref(), &path, &file, 0, &[init.into()]) {
            discard(&path);
            return Err(StorageError::io("write", &path)(error));
        }
        let (turns, direct, file) = (Arc::clone(turns), Arc::clone(direct), Arc::new(file));
        Ok(Self {
            files,
            turns,
            direct,
            file,
            path,
            timeline,
            chunk,
            init_len,
            end: init_len,
            poisoned: false,
        })
    }

    /// The chunk file's number.
    pub fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Bytes so far, the init segment included.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether nothing was written, not even an init segment.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Appends `parts` one behind the other and returns once they survive a power cut.
    ///
    /// Errors: [`StorageError::Io`] when the write or the sync fails. The file is poisoned then: a
    /// later sync could succeed although the kernel has dropped what it could not write. What the
    /// failed append left is taken away, as far as the disk lets us: the file goes when nothing was
    /// appended before, else the torn tail.
    pub async fn append(&mut self, mut parts: Vec<Bytes>) -> Result<Appended, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned { timeline: self.timeline, chunk: self.chunk });
        }
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let padding = padding(len, self.end + len);
        parts.extend(padding.into_iter().flatten());
        let written: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let (files, file) = (Arc::clone(&self.files), Arc::clone(&self.file));
        let direct = Arc::clone(&self.direct);
        let (path, end) = (self.path.clone(), self.end);
        let is_first = end == self.init_len;
        // Until the write is known to have succeeded, also when this future is dropped half-way.
        self.poisoned = true;
        let append = move || {
            let appended = direct
                .append(files.as_ref(), &path, &file, end, &parts)
                .map_err(StorageError::io("write", &path))
                .and_then(|()| files.sync(&path, &file).map_err(StorageError::io("sync", &path)));
            if appended.is_err() {
                if is_first {
                    discard(&path);
                } else {
                    // Best effort: what stays is cut off at the next start.
                    let _ = file.set_len(end);
                }
            }
            appended
        };
        self.turns.take(append).await?;
        self.poisoned = false;
        let offset = self.end;
        self.end += written;
        Ok(Appended { offset, len })
    }
}

/// Takes away a chunk file that nothing will refer to, and its directory if it was the only one: on
/// a full disk every new attempt leaves one. Best effort: what stays is removed at the next start.
pub(crate) fn discard(path: &Path) {
    let _ = fs::remove_file(path);
    if let Some(directory) = path.parent() {
        // Fails when there are other files, as it should.
        let _ = fs::remove_dir(directory);
    }
}
