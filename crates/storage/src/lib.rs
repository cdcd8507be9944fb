//! Segment bytes on disk.
//!
//! A timeline is a directory of *chunk files*, each a playable fragmented MP4: an init segment and
//! then segments, appended whole, with a `free` box behind those that are large. What always holds: when [`ChunkWriter::append`] returns, the
//! bytes survive a power cut; bytes once appended are never changed, only freed.
//!
//! The database decides what exists. Bytes that no row points at are a crash's leavings, which
//! [`DiskStorage::cut_back`] and [`DiskStorage::remove_chunk`] take away at start. So a directory
//! with the wrong database loses everything: [`DiskStorage::identity`] tells whom it belongs to.

mod direct;
mod disk;
mod export;
mod files;
mod gather;
mod padding;
mod reader;
mod turns;
mod writer;

use std::path::PathBuf;

use mediahooks_model::TimelineId;

pub use disk::{ChunkFile, DiskStorage};
pub use export::{ExportDirectory, ExportRoom, ExportWriter, ExportedObject};
pub use files::{Files, Space, SystemFiles};
pub use gather::{Part, gather};
pub use reader::{ChunkReader, StoredRange};
pub use writer::{Appended, ChunkWriter};

/// What can go wrong with stored bytes.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// An earlier write or sync of this chunk file failed, after which the kernel may have dropped
    /// what it held: the file takes no more. Begin another chunk.
    #[error("chunk {chunk} of timeline {timeline} takes no more bytes after a failed write")]
    Poisoned {
        /// The timeline.
        timeline: TimelineId,
        /// The chunk file.
        chunk: u32,
    },
    /// A file is shorter than the rows about it say.
    #[error("{path} ends before byte {wanted}: the file was cut or replaced from outside")]
    TooShort {
        /// Which file.
        path: PathBuf,
        /// The end of what was asked for.
        wanted: u64,
    },
    /// The process is shutting down.
    #[error("storage is shutting down")]
    ShuttingDown,
}

impl StorageError {
    /// Whether the disk had no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull
            || source.kind() == std::io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::ShuttingDown),
        },
    }
}
