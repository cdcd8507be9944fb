//! Writes a file that is put together elsewhere as one object, by the kernel as far as it goes.
//!
//! Stored ranges go in with `copy_file_range`: file systems that share blocks (XFS, Btrfs) share those that are
//! aligned, the others copy within the kernel. Where it refuses, the bytes go through memory, which the result
//! tells. What always holds: under its name there is a whole, durable file or none; what a crash leaves has a
//! name of its own and goes at the next start ([`ExportDirectory::tidy`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{XattrFlags, copy_file_range, fgetxattr, fsetxattr};
use rustix::io::Errno;

use crate::disk::sync_directory;
use crate::files::{Files, Space, SystemFiles};
use crate::reader::ChunkReader;
use crate::{StorageError, blocking};

/// What the names of unfinished objects begin with. No finished one begins with a dot.
const UNFINISHED: &str = ".mediahooks-export-";

/// Where a finished object carries its entity tag, on file systems that keep such attributes.
const ETAG_ATTRIBUTE: &str = "user.mediahooks.etag";

/// Bytes that are copied at a time where the kernel does not copy.
const COPY_PIECE: usize = 1 << 20;

/// Where objects are written. It belongs to one server.
#[derive(Debug, Clone)]
pub struct ExportDirectory {
    path: PathBuf,
}

/// Room for objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportRoom {
    /// On the file system of the directory.
    pub space: Space,
    /// Whether it is the file system of the other directory, too.
    pub shares_disk: bool,
}

/// An object that is being written; dropped before it is finished, it is taken away.
#[derive(Debug)]
pub struct ExportWriter {
    file: Arc<File>,
    directory: PathBuf,
    /// Its name until it is finished.
    unfinished: PathBuf,
    len: u64,
    /// Whether the kernel copied all ranges; absent before the first one.
    by_kernel: Option<bool>,
}

/// A finished object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedObject {
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub len: u64,
    /// Whether ranges were copied, all of them by the kernel.
    pub by_kernel: bool,
}

impl ExportDirectory {
    /// Objects go into `path`, which is made when the first one comes.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes away what a crash left unfinished.
    ///
    /// Errors: [`StorageError::Io`]; a directory that is not there is fine.
    pub async fn tidy(&self) -> Result<(), StorageError> {
        let path = self.path.clone();
        blocking(move || {
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(StorageError::io("list", &path)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(StorageError::io("list", &path))?;
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    fs::remove_file(entry.path()).map_err(StorageError::io("remove", entry.path()))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// How much room there is for objects, and whether it is also that of `other`. The directory is made if need
    /// be.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn room(&self, other: &Path) -> Result<ExportRoom, StorageError> {
        let (path, other) = (self.path.clone(), other.to_owned());
        blocking(move || {
            make(&path)?;
            let space = SystemFiles.space(&path).map_err(StorageError::io("ask for the room of", &path))?;
            let device = |path: &Path| fs::metadata(path).map(|about| about.dev());
            let own = device(&path).map_err(StorageError::io("look at", &path))?;
            let shares_disk = device(&other).is_ok_and(|other| other == own);
            Ok(ExportRoom { space, shares_disk })
        })
        .await
    }

    /// The object `name` if it is finished, as long and of this entity tag. Where the file system keeps no
    /// attributes there is never one.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn find(&self, name: &str, len: u64, etag: &str) -> Result<Option<PathBuf>, StorageError> {
        let (path, etag) = (self.object(name)?, etag.to_owned());
        blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(StorageError::io("open", &path)(error)),
            };
            let is_as_long = file.metadata().map_err(StorageError::io("look at", &path))?.len() == len;
            let mut found = vec![0; etag.len() + 1];
            let is_tagged = fgetxattr(&file, ETAG_ATTRIBUTE, &mut found[..])
                .is_ok_and(|size| found.get(..size) == Some(etag.as_bytes()));
            Ok((is_as_long && is_tagged).then_some(path))
        })
        .await
    }

    /// Begins an object. `id` tells it from others that are being written.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn begin(&self, id: &str) -> Result<ExportWriter, StorageError> {
        let directory = self.path.clone();
        let unfinished = self.object(&format!("{UNFINISHED}{id}"))?;
        blocking(move || {
            make(&directory)?;
            let file = File::create(&unfinished).map_err(StorageError::io("create", &unfinished))?;
            Ok(ExportWriter { file: Arc::new(file), directory, unfinished, len: 0, by_kernel: None })
        })
        .await
    }

    /// Where an object of this name lies: in the directory, whatever the name says.
    fn object(&self, name: &str) -> Result<PathBuf, StorageError> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(std::path::Component::Normal(only)), None) if only == name => Ok(self.path.join(only)),
            _ => Err(StorageError::io("use", name)(io::ErrorKind::InvalidFilename.into())),
        }
    }
}

fn make(directory: &Path) -> Result<(), StorageError> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(StorageError::io("create", directory))?;
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

impl ExportWriter {
    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes that were made.
    ///
    /// Errors: [`StorageError::Io`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        let (file, path, at) = (Arc::clone(&self.file), self.unfinished.clone(), self.len);
        self.len += bytes.len() as u64;
        blocking(move || file.write_all_at(&bytes, at).map_err(StorageError::io("write", path))).await
    }

    /// Appends `len` stored bytes from `offset` of a chunk file.
    ///
    /// Errors: [`StorageError::TooShort`]; [`StorageError::Io`].
    pub async fn copy(&mut self, from: &ChunkReader, offset: u64, len: u64) -> Result<(), StorageError> {
        let (file, path, at) = (Arc::clone(&self.file), self.unfinished.clone(), self.len);
        let (from, try_kernel) = (from.clone(), self.by_kernel != Some(false));
        self.len += len;
        let by_kernel = blocking(move || {
            let copied = if try_kernel { copy_by_kernel(&from, offset, &file, at, len) } else { Ok(0) };
            let copied = copied.map_err(|errno| StorageError::io("write", &path)(errno.into()))?;
            if copied < len {
                copy_through_memory(&from, offset + copied, &file, at + copied, len - copied, &path)?;
            }
            Ok(copied == len)
        })
        .await?;
        self.by_kernel = Some(by_kernel);
        Ok(())
    }

    /// Makes the object durable and gives it its name; one that has it already is replaced.
    ///
    /// Errors: [`StorageError::Io`]; under its name there is what was there before, then.
    pub async fn finish(self, name: &str, etag: &str) -> Result<ExportedObject, StorageError> {
        let path = ExportDirectory::new(&self.directory).object(name)?;
        let etag = etag.to_owned();
        blocking(move || {
            // Not every file system keeps attributes. Without one it is written again the next time.
            let _ = fsetxattr(&self.file, ETAG_ATTRIBUTE, etag.as_bytes(), XattrFlags::empty());
            self.file.sync_all().map_err(StorageError::io("sync", &self.unfinished))?;
            fs::rename(&self.unfinished, &path).map_err(StorageError::io("rename", &self.unfinished))?;
            sync_directory(&self.directory)?;
            Ok(ExportedObject { path, len: self.len, by_kernel: self.by_kernel == Some(true) })
        })
        .await
    }
}

impl Drop for ExportWriter {
    fn drop(&mut self) {
        // Fails once it has its own name, as it should.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Returns how much the kernel copied: less than `len` where it does not copy between these files, or where the
/// source ends.
fn copy_by_kernel(
    from: &ChunkReader,
    mut offset: u64,
    to: &File,
    mut at: u64,
    len: u64,
) -> Result<u64, Errno> {
    let mut copied = 0;
    while copied < len {
        let wanted = usize::try_from(len - copied).unwrap_or(usize::MAX);
        match copy_file_range(&from.file, Some(&mut offset), to, Some(&mut at), wanted) {
            Ok(0) => break,
            Ok(more) => copied += more as u64,
            Err(Errno::INTR) => {}
            // Another file system, an old kernel, or a file system that cannot: whoever refuses says so in one
            // of these ways.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::IO) => {
                break;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(copied)
}

fn copy_through_memory(
    from: &ChunkReader,
    offset: u64,
    to: &File,
    at: u64,
    len: u64,
    path: &Path,
) -> Result<(), StorageError> {
    let mut buffer = vec![0; COPY_PIECE.min(usize::try_from(len).unwrap_or(COPY_PIECE))];
    let mut copied = 0;
    while copied < len {
        let piece = buffer.len().min(usize::try_from(len - copied).unwrap_or(COPY_PIECE));
        from.read_blocking(&mut buffer[..piece], offset + copied)?;
        to.write_all_at(&buffer[..piece], at + copied).map_err(StorageError::io("write", path))?;
        copied += piece as u64;
    }
    Ok(())
}
