//! Writes the file of an asset as one object, for those who need one: a customer's disk, a tool that cannot
//! read from a link.
//!
//! Long stored pieces are copied by the kernel, the others are put together as for a download; so it is the download,
//! byte for byte, and has its entity tag. An export runs on its own: who asks again while it runs joins it, and
//! who asks again later is told where the object lies. While it runs, nothing that it reads is freed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mediahooks_model::{MediaAssetId, chain};
use mediahooks_storage::ExportDirectory;
use tokio::sync::{Semaphore, watch};

use crate::download::{self, Download};
use crate::error::{ExportError, RecorderError};
use crate::state::Shared;

/// Exports that write at one time; more of them would only make the disk seek.
const AT_ONCE: usize = 2;

/// Exports that run or wait.
const RUNNING_MAX: usize = 64;

/// Bytes of a file system's name at most, on all that are in use.
const NAME_BYTES_MAX: usize = 255;

/// How far an export is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportProgress {
    /// The object's name in the export directory.
    pub file_name: String,
    /// Where it lies, or will.
    pub path: PathBuf,
    /// Bytes of the whole file.
    pub len: u64,
    /// Bytes written so far.
    pub written: u64,
    /// The file's entity tag, in its quotes: the download has the same.
    pub etag: String,
    /// Once it is there: how it came to be.
    pub done: Option<ExportDone>,
}

/// How an object came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportDone {
    /// The kernel copied the stored bytes, but for those that lie in pieces too short to ask it.
    CopiedByKernel,
    /// The kernel refused some of them (most often because the export directory lies on another file system), or
    /// there are none but short ones: they went through memory.
    CopiedThroughMemory,
    /// It was there already.
    WasThere,
}

/// What runs, and where it goes.
pub(crate) struct Exports {
    directory: ExportDirectory,
    running: Mutex<HashMap<MediaAssetId, Arc<Running>>>,
    slots: Semaphore,
}

/// An export that runs, as those who wait for it see it.
struct Running {
    file: Target,
    written: AtomicU64,
    outcome: watch::Receiver<Option<Result<ExportDone, ExportError>>>,
}

/// What is written where.
#[derive(Clone)]
struct Target {
    name: String,
    path: PathBuf,
    len: u64,
    etag: String,
}

impl Target {
    fn progress(&self, written: u64, done: Option<ExportDone>) -> ExportProgress {
        ExportProgress {
            file_name: self.name.clone(),
            path: self.path.clone(),
            len: self.len,
            written,
            etag: self.etag.clone(),
            done,
        }
    }
}

impl Exports {
    pub(crate) fn new(directory: PathBuf) -> Self {
        // Those who are told where an object lies may work elsewhere.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        Self {
            directory: ExportDirectory::new(directory),
            running: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    /// Takes away what a crash left unfinished. A directory that cannot be read is no reason not to record: who
    /// exports is told.
    pub(crate) async fn tidy(&self) {
        if let Err(error) = self.directory.tidy().await {
            tracing::warn!(error = chain(&error), "unfinished exports of the last run could not be removed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MediaAssetId, Arc<Running>>> {
        // The map is whole after every statement that touches it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`crate::Recorder::export`].
pub(crate) async fn export(shared: &Arc<Shared>, id: MediaAssetId) -> Result<Export, ExportError> {
    if let Some(running) = shared.exports.lock().get(&id) {
        return Ok(Export(State::Running(Arc::clone(running))));
    }
    let download = download::open(shared, id).await?;
    let name = object_name(&download.file_name, id);
    let directory = &shared.exports.directory;
    let target =
        Target { path: directory.path().join(&name), name, len: download.len, etag: download.etag.clone() };
    if directory.find(&target.name, target.len, &target.etag).await?.is_some() {
        return Ok(Export(State::Over(target.progress(target.len, Some(ExportDone::WasThere)))));
    }
    let running = {
        let mut all = shared.exports.lock();
        if let Some(running) = all.get(&id) {
            return Ok(Export(State::Running(Arc::clone(running))));
        }
        if all.len() >= RUNNING_MAX {
            return Err(ExportError::TooMany { max: RUNNING_MAX });
        }
        let (tell, outcome) = watch::channel(None);
        let running = Arc::new(Running { file: target, written: AtomicU64::new(0), outcome });
        all.insert(id, Arc::clone(&running));
        let (shared, ours) = (Arc::clone(shared), Arc::clone(&running));
        let listed = Listed { shared: Arc::clone(&shared), id };
        // Over when the server stops: what is unfinished is taken away then.
        tokio::spawn(async move {
            let outcome = tokio::select! {
                // None begins any more then, however short it is.
                biased;
                () = shared.draining.cancelled() => Err(ExportError::Stopping),
                outcome = write(&shared, &ours, &download) => outcome,
            };
            drop(listed);
            if let Err(error) = &outcome {
                tracing::warn!(asset = %id, error = chain(error), "an export failed; what was written of it is removed");
            }
            // Nobody may be waiting any more.
            let _ = tell.send(Some(outcome));
        });
        running
    };
    Ok(Export(State::Running(running)))
}

/// Is listed as running until dropped.
struct Listed {
    shared: Arc<Shared>,
    id: MediaAssetId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.exports.lock().remove(&self.id);
    }
}

/// An export, running or over.
pub struct Export(State);

enum State {
    Running(Arc<Running>),
    Over(ExportProgress),
}

impl Export {
    /// How far it is.
    pub fn progress(&self) -> ExportProgress {
        match &self.0 {
            State::Running(running) => running.file.progress(running.written.load(Ordering::Relaxed), None),
            State::Over(progress) => progress.clone(),
        }
    }

    /// Resolves when it is over. Dropping this, or the future, does not end the export.
    ///
    /// Errors: [`ExportError`]; nothing is left of it then.
    pub async fn done(&self) -> Result<ExportProgress, ExportError> {
        let running = match &self.0 {
            State::Running(running) => running,
            State::Over(progress) => return Ok(progress.clone()),
        };
        let mut outcome = running.outcome.clone();
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let done = outcome.unwrap_or(Err(ExportError::Stopping))?;
        Ok(running.file.progress(running.file.len, Some(done)))
    }
}

async fn write(shared: &Shared, running: &Running, download: &Download) -> Result<ExportDone, ExportError> {
    // Closed never.
    let _slot = shared.exports.slots.acquire().await.map_err(|_| ExportError::Stopping)?;
    let (directory, file) = (&shared.exports.directory, &running.file);
    let room = directory.room(shared.storage.root()).await?;
    let reserve_bytes = if room.shares_disk { shared.disk_limits.reserve_bytes(room.space) } else { 0 };
    let no_room = |free_bytes| ExportError::NoRoom { needed_bytes: file.len, free_bytes, reserve_bytes };
    if room.space.free_bytes < file.len.saturating_add(reserve_bytes) {
        return Err(no_room(room.space.free_bytes));
    }
    // Others write to the disk, too.
    let full = |error: RecorderError| match error {
        RecorderError::Storage(error) if error.is_full() => no_room(0),
        error => error.into(),
    };
    let mut writer = directory.begin(&download.id.to_string()).await?;
    download
        .write_to(&mut writer, |written| running.written.store(written, Ordering::Relaxed))
        .await
        .map_err(full)?;
    let object = writer.finish(&file.name, &file.etag).await.map_err(|error| full(error.into()))?;
    Ok(if object.by_kernel { ExportDone::CopiedByKernel } else { ExportDone::CopiedThroughMemory })
}

/// The name of an asset's object: the name of its file, and its id, for names need not differ.
fn object_name(file_name: &str, id: MediaAssetId) -> String {
    let (stem, extension) = file_name.rsplit_once('.').unwrap_or((file_name, ""));
    let tail = format!(" {id}.{extension}");
    let mut stem = stem.trim_start_matches(['.', ' ']).to_owned();
    while stem.len() + tail.len() > NAME_BYTES_MAX {
        stem.pop();
    }
    if stem.is_empty() { tail.trim_start().to_owned() } else { stem + &tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_differ() {
        let id: MediaAssetId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let name = |file: &str| object_name(file, id);
        assert_eq!(name("show.mp4"), "show 0123456789abcdef0123456789abcdef.mp4");
        assert_eq!(name("...mp4"), "0123456789abcdef0123456789abcdef.mp4");
        assert_eq!(name(".hidden.webm"), "hidden 0123456789abcdef0123456789abcdef.webm");
        let long = name(&format!("{}.mp4", "ü".repeat(500)));
        assert!(
            long.len() <= NAME_BYTES_MAX && long.ends_with("ü 0123456789abcdef0123456789abcdef.mp4"),
            "{long}"
        );
    }
}
