//! The unfinished file: its bytes, and the note beside it that says what they are.
//!
//! Invariant: the note never vouches for bytes that are not synced. After a power cut the file may be longer
//! than what is good, so reading begins from the note, not from the length. A lock on the file
//! keeps two downloads of one path apart.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::error::DownloadError;

/// How many bytes may be received again after a crash; syncing more often would slow the transfer.
const CHECKPOINT_BYTES: u64 = 32 << 20;

/// A note is two short members; more is not ours.
const NOTE_BYTES_MAX: u64 = 4096;

/// What is known about the bytes of the part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The strong ETag of the file that they belong to. Without one they cannot be continued.
    etag: Option<String>,
    /// Length of the whole file.
    total_bytes: Option<u64>,
    /// How many of them are synced.
    synced_bytes: u64,
}

pub(super) struct PartFile {
    target: PathBuf,
    part: PathBuf,
    note_path: PathBuf,
    file: tokio::fs::File,
    note: Note,
    len: u64,
}

impl PartFile {
    /// Opens or creates the part of `target` and takes over what is usable in it.
    pub(super) async fn open(target: &Path) -> Result<Self, DownloadError> {
        let target = target.to_owned();
        blocking(move || open_locked(target)).await
    }

    /// Good bytes on disk.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The ETag for `If-Range`.
    pub(super) fn validator(&self) -> Option<&str> {
        self.note.etag.as_deref()
    }

    /// Drops all bytes; those that follow belong to the file with this `etag`.
    pub(super) async fn restart(
        &mut self,
        etag: Option<String>,
        total_bytes: Option<u64>,
    ) -> Result<(), DownloadError> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.seek(SeekFrom::Start(0)).await
        };
        emptied.await.map_err(failed("empty", &self.part))?;
        self.len = 0;
        self.note = Note { etag, total_bytes, synced_bytes: 0 };
        self.write_note().await
    }

    /// Adds bytes at the end.
    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(bytes).await.map_err(failed("write", &self.part))?;
        self.len += bytes.len() as u64;
        if self.len.saturating_sub(self.note.synced_bytes) >= CHECKPOINT_BYTES {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Syncs what is there and vouches for it, if it can be continued at all.
    pub(super) async fn checkpoint(&mut self) -> Result<(), DownloadError> {
        if self.note.etag.is_none() || self.len == self.note.synced_bytes {
            return Ok(());
        }
        let synced = async {
            self.file.flush().await?;
            self.file.sync_data().await
        };
        synced.await.map_err(failed("sync", &self.part))?;
        self.note.synced_bytes = self.len;
        self.write_note().await
    }

    async fn write_note(&self) -> Result<(), DownloadError> {
        let note = serde_json::to_vec(&self.note).map_err(io::Error::other);
        let written = match note {
            // A note that a crash cut short is no JSON, and the transfer begins anew.
            Ok(note) => tokio::fs::write(&self.note_path, note).await,
            Err(error) => Err(error),
        };
        written.map_err(failed("write", &self.note_path))
    }

    /// Makes the part the file at the final path. Returns its length.
    pub(super) async fn publish(mut self, replace: bool) -> Result<u64, DownloadError> {
        let synced = async {
            self.file.flush().await?;
            self.file.sync_all().await
        };
        synced.await.map_err(failed("sync", &self.part))?;
        let len = self.len;
        blocking(move || {
            put_in_place(&self.part, &self.target, replace)?;
            remove(&self.note_path)?;
            sync_folder(&self.target)
        })
        .await?;
        Ok(len)
    }

    /// Keeps for another run what that can continue; removes what it cannot.
    pub(super) async fn put_aside(mut self) -> Result<(), DownloadError> {
        self.checkpoint().await?;
        if self.note.synced_bytes > 0 { Ok(()) } else { self.discard().await }
    }

    /// Removes part and note.
    pub(super) async fn discard(self) -> Result<(), DownloadError> {
        blocking(move || {
            remove(&self.note_path)?;
            remove(&self.part)
        })
        .await
    }
}

/// Maps an IO error to what was tried on which file.
fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DownloadError + 'a {
    move |source| DownloadError::File { action, path: path.to_owned(), source }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DownloadError> + Send + 'static,
) -> Result<T, DownloadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            let source = io::Error::other(error);
            Err(DownloadError::File { action: "work on", path: PathBuf::new(), source })
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn open_locked(target: PathBuf) -> Result<PartFile, DownloadError> {
    let part = with_suffix(&target, ".part");
    let note_path = with_suffix(&target, ".part.state");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&part)
        .map_err(failed("open", &part))?;
    match file.try_lock() {
        Ok(()) => {}
        // Some network file systems have no locks: no worse than programs that never ask.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::WouldBlock) => return Err(DownloadError::Busy { path: target }),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &part)(error)),
    }
    // Between opening and locking, another download may have finished and renamed the very file.
    if !is_still_at(&file, &part).map_err(failed("look at", &part))? {
        return Err(DownloadError::Busy { path: target });
    }
    let length = file.metadata().map_err(failed("look at", &part))?.len();
    let note = read_note(&note_path).filter(|note| note.etag.is_some() && note.synced_bytes <= length);
    let note = note.unwrap_or_default();
    let len = note.synced_bytes;
    let prepared = file.set_len(len).and_then(|()| io::Seek::seek(&mut file, SeekFrom::Start(len)));
    prepared.map_err(failed("prepare", &part))?;
    Ok(PartFile { target, part, note_path, file: tokio::fs::File::from_std(file), note, len })
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot be renamed away.
#[cfg(not(unix))]
fn is_still_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

fn read_note(path: &Path) -> Option<Note> {
    if std::fs::metadata(path).ok()?.len() > NOTE_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn put_in_place(part: &Path, target: &Path, replace: bool) -> Result<(), DownloadError> {
    let renamed = if replace { std::fs::rename(part, target) } else { rename_new(part, target) };
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DownloadError::TargetExists { path: target.to_owned() })
        }
        renamed => renamed.map_err(failed("rename to", target)),
    }
}

/// Renames unless something is there, in one step where the system can.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_new(part: &Path, target: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, part, CWD, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_checked(part, target),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_new(part: &Path, target: &Path) -> io::Result<()> {
    rename_checked(part, target)
}

fn rename_checked(part: &Path, target: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(target).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(part, target)
}

fn remove(path: &Path) -> Result<(), DownloadError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the rename itself survive a power cut.
#[cfg(unix)]
fn sync_folder(target: &Path) -> Result<(), DownloadError> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

/// Elsewhere a folder cannot be opened for syncing.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), DownloadError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_bytes_that_the_note_vouches_for_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("clip.mp4");
        let mut part = PartFile::open(&target).await.unwrap();
        part.restart(Some("\"v1\"".into()), Some(10)).await.unwrap();
        part.append(b"12345").await.unwrap();
        part.checkpoint().await.unwrap();
        part.append(b"67").await.unwrap();
        part.file.flush().await.unwrap();
        drop(part);

        let part = PartFile::open(&target).await.unwrap();
        assert_eq!((part.len(), part.validator()), (5, Some("\"v1\"")));
    }

    #[tokio::test]
    async fn bytes_without_a_readable_note_are_dropped() {
        for note in ["", "{", "[]", r#"{"etag":null,"total_bytes":9,"synced_bytes":3}"#] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("clip.mp4");
            std::fs::write(with_suffix(&target, ".part"), b"123").unwrap();
            std::fs::write(with_suffix(&target, ".part.state"), note).unwrap();
            let part = PartFile::open(&target).await.unwrap();
            assert_eq!((part.len(), part.validator()), (0, None), "{note}");
        }
    }

    #[tokio::test]
    async fn a_note_that_promises_more_than_there_is_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("clip.mp4");
        std::fs::write(with_suffix(&target, ".part"), b"123").unwrap();
        let note = r#"{"etag":"\"v1\"","total_bytes":9,"synced_bytes":4}"#;
        std::fs::write(with_suffix(&target, ".part.state"), note).unwrap();
        assert_eq!(PartFile::open(&target).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn two_downloads_of_one_path_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("clip.mp4");
        let first = PartFile::open(&target).await.unwrap();
        assert!(matches!(PartFile::open(&target).await, Err(DownloadError::Busy { .. })));
        drop(first);
        assert!(PartFile::open(&target).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("clip.mp4");
        let mut part = PartFile::open(&target).await.unwrap();
        part.append(b"new").await.unwrap();
        std::fs::write(&target, b"old").unwrap();
        assert!(matches!(part.publish(false).await, Err(DownloadError::TargetExists { .. })));
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
    }
}
