//! Reads ranges of one chunk file, or has the kernel send them.
//!
//! What the page cache holds is read where it is asked for, without a thread that may block; only the rest
//! goes to one. So a file that many fetch costs no context switches, and a slow disk holds up nobody else.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};

use crate::StorageError;
use crate::gather::{Part, gather};

/// An open chunk file. It can be read to the end even if the file is removed meanwhile.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    pub(crate) file: Arc<File>,
    pub(crate) path: Arc<PathBuf>,
}

impl ChunkReader {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StorageError> {
        let file = File::open(&path).map_err(StorageError::io("open", &path))?;
        Ok(Self { file: Arc::new(file), path: Arc::new(path) })
    }

    /// Reads exactly `len` bytes from `offset`; the caller bounds `len`.
    ///
    /// Errors: [`StorageError::TooShort`]; [`StorageError::Io`].
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        self.range(offset, len as u64).read().await
    }

    /// `len` bytes from `offset`, whether they are cached or not.
    pub fn range(&self, offset: u64, len: u64) -> StoredRange {
        StoredRange { reader: self.clone(), offset, len }
    }

    /// Fills `buffer` from `offset`, where it may block.
    pub(crate) fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> Result<(), StorageError> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.too_short(offset + buffer.len() as u64))
            }
            Err(error) => Err(StorageError::io("read", self.path.as_ref())(error)),
        }
    }

    /// `len` bytes from `offset` as a range that can be sent without waiting for the disk: the page cache has
    /// the first and the last of them. Absent otherwise, and where the file system cannot tell.
    pub fn cached(&self, offset: u64, len: u64) -> Option<StoredRange> {
        let last = offset.checked_add(len.checked_sub(1)?)?;
        let has = |at| {
            let flags = ReadWriteFlags::NOWAIT;
            preadv2(&self.file, &mut [IoSliceMut::new(&mut [0])], at, flags).is_ok_and(|read| read == 1)
        };
        (has(offset) && has(last)).then(|| self.range(offset, len))
    }

    pub(crate) fn too_short(&self, wanted: u64) -> StorageError {
        StorageError::TooShort { path: self.path.as_ref().clone(), wanted }
    }
}

/// Bytes of a chunk file.
#[derive(Debug, Clone)]
pub struct StoredRange {
    pub(crate) reader: ChunkReader,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl StoredRange {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads all of it.
    ///
    /// Errors: as [`ChunkReader::read`].
    pub async fn read(&self) -> Result<Bytes, StorageError> {
        gather(vec![Part::Stored(self.clone())]).await
    }

    /// Has the kernel send what follows the first `skip` bytes to a socket, at most `max` bytes, from the page
    /// cache and without a copy here. Returns how many it took. They are on their way as pages of the file: what
    /// is freed or cut off before they have arrived may arrive as zeros.
    ///
    /// Errors: what the operating system says, [`io::ErrorKind::WouldBlock`] of a socket that takes none now
    /// included; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    pub fn send(&self, socket: impl AsFd, skip: u64, max: u64) -> io::Result<usize> {
        let wanted = max.min(self.len.saturating_sub(skip));
        let mut at = self.offset + skip;
        match rustix::fs::sendfile(
            socket,
            &self.reader.file,
            Some(&mut at),
            usize::try_from(wanted).unwrap_or(usize::MAX),
        )? {
            0 if wanted > 0 => {
                let error = self.reader.too_short(self.offset + self.len);
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))
            }
            sent => Ok(sent),
        }
    }
}
