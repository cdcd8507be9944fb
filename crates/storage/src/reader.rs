//! Reads ranges of one chunk file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::{StorageError, blocking};

/// An open chunk file. It can be read to the end even if the file is removed meanwhile.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    file: Arc<File>,
    path: Arc<PathBuf>,
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
        let reader = self.clone();
        blocking(move || {
            let mut buffer = vec![0; len];
            match reader.file.read_exact_at(&mut buffer, offset) {
                Ok(()) => Ok(buffer.into()),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(StorageError::TooShort {
                        path: reader.path.as_ref().clone(),
                        wanted: offset + len as u64,
                    })
                }
                Err(error) => Err(StorageError::io("read", reader.path.as_ref())(error)),
            }
        })
        .await
    }
}
