//! Appends whole segments to one chunk file, durably.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mediahooks_model::TimelineId;

use crate::{StorageError, blocking};

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
    file: Arc<File>,
    path: PathBuf,
    timeline: TimelineId,
    chunk: u32,
    end: u64,
    poisoned: bool,
}

impl ChunkWriter {
    pub(crate) fn create(
        path: PathBuf,
        timeline: TimelineId,
        chunk: u32,
        init: &[u8],
    ) -> Result<Self, StorageError> {
        let file = File::options()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(StorageError::io("create", &path))?;
        (&file).write_all(init).map_err(StorageError::io("write", &path))?;
        Ok(Self { file: Arc::new(file), path, timeline, chunk, end: init.len() as u64, poisoned: false })
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
    /// later sync could succeed although the kernel has dropped what it could not write.
    pub async fn append(&mut self, parts: Vec<Bytes>) -> Result<Appended, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned { timeline: self.timeline, chunk: self.chunk });
        }
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        // Until the write is known to have succeeded, also when this future is dropped half-way.
        self.poisoned = true;
        blocking(move || {
            write_all_vectored(&file, &parts).map_err(StorageError::io("write", &path))?;
            file.sync_data().map_err(StorageError::io("sync", &path))
        })
        .await?;
        self.poisoned = false;
        let offset = self.end;
        self.end += len;
        Ok(Appended { offset, len })
    }
}

/// One system call takes at most this many pieces (`UIO_MAXIOV` of Linux).
const PIECES_MAX: usize = 1024;

fn write_all_vectored(mut file: &File, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let pieces = rest.len().min(PIECES_MAX);
        match file.write_vectored(&rest[..pieces]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
