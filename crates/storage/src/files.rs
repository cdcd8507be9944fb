//! What the operating system does with chunk files, as far as it can fail.
//!
//! [`SystemFiles`] is the real one. Tests put another in its place, whose syncs fail or whose disk is small
//! or slow.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;

/// The operations that make bytes durable.
pub trait Files: Debug + Send + Sync + 'static {
    /// Appends some of `pieces` to `file`, which lies at `path`; returns how many bytes.
    ///
    /// Errors: what the operating system says.
    fn write(&self, path: &Path, file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes what was written to `file` survive a power cut.
    ///
    /// Errors: what the operating system says; nothing that was written since the last sync can be
    /// relied on then.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// How much room the file system of a directory has.
    ///
    /// Errors: what the operating system says.
    fn space(&self, directory: &Path) -> io::Result<Space>;
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What this process can still use, in bytes.
    pub free_bytes: u64,
}

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn write(&self, _: &Path, mut file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(pieces)
    }

    fn sync(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let about = rustix::fs::statvfs(directory)?;
        Ok(Space {
            total_bytes: about.f_blocks.saturating_mul(about.f_frsize),
            free_bytes: about.f_bavail.saturating_mul(about.f_frsize),
        })
    }
}
