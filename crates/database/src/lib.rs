//! All SQL: the domain's operations on SQLite.
//!
//! One writer thread runs every operation that writes and commits whole batches of them; a small
//! pool of connections reads. What always holds: an operation returns after its outcome is durable,
//! stands or falls as a whole, and no asset changes its state without the event and the deliveries
//! that tell of it. Nothing of SQL or of the engine shows outside this crate.

mod account;
mod assets;
mod clip_requests;
mod commit;
mod cover;
mod deliveries;
mod error;
mod events;
mod health;
mod inline;
mod log;
mod outbox;
#[cfg(test)]
mod plans;
mod prune;
mod queue;
mod readers;
mod removal;
mod replay;
mod schema;
mod segments;
mod sql;
mod steps;
mod telemetry;
mod timelines;
mod tokens;
mod types;
mod verify;
mod webhooks;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mediahooks_model::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, watch};

pub use account::ApiSecret;
pub use error::{Conflict, DatabaseError, Result};
pub use inline::{Fate, Inline, Moment, Step};
pub use prune::{Pruned, Retention};
pub use segments::SegmentReader;
pub use telemetry::{Figures, Owed, WebhookQueue, describe_metrics};
pub use types::*;
pub use writer::WriterStats;

use readers::Readers;
use segments::{Places, SharedTables};
use writer::{PatientRate, Writer, WriterSettings, Writing};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections that read at the same time; default 4.
    pub readers: usize,
    /// Writing operations that may wait for the writer before callers wait too; default 1024.
    pub queue: usize,
    /// Segments that the removal of an asset frees in one transaction; default 1024. Other writers
    /// wait for it, about 6 µs per segment.
    pub removal_batch: u32,
    /// How long after its event, or after the delivery it waited for, the first attempt of a delivery
    /// is due; default: at once. See the retry schedule.
    pub first_attempt_after: Duration,
    /// How long a commit that can wait does so at most, for others to share its transaction with, while many such
    /// come; default 50 ms. See [`Database::commit_patiently`].
    pub patience: Duration,
    /// Runs everything on its callers and asks a simulation what happens at each commit; default absent.
    pub inline: Option<Inline>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            queue: 1024,
            removal_batch: 1024,
            first_attempt_after: Duration::ZERO,
            patience: Duration::from_millis(50),
            inline: None,
        }
    }
}

/// One thread has the connection that writes: it needs no lock of the engine's.
const WRITER: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE
    .union(OpenFlags::SQLITE_OPEN_CREATE)
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The database of one server. Clones share it; the last one dropped ends the writer thread.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Absent when opened for reading only.
    writer: Option<Writer>,
    readers: Readers,
    places: Arc<Places>,
    shared_tables: Arc<SharedTables>,
    removal_batch: u32,
    /// Turns of those that end a feed.
    ending: Semaphore,
    /// How many replays were begun.
    replays: watch::Sender<u64>,
    /// Keeps other processes out. Declared last, so that it is let go after the connections.
    _lock: Option<File>,
}

impl Database {
    /// Opens the database file at `path`, creates it when there is none, and brings its schema up to
    /// date. Blocks for as long as the disk takes: call it at start-up.
    ///
    /// Errors: [`DatabaseError::InUse`] while another process has it open;
    /// [`DatabaseError::NewerSchema`] when a newer version of this program wrote it.
    pub fn open(path: &Path, options: Options) -> Result<Database> {
        let lock = lock_exclusively(path)?;
        let mut connection =
            Connection::open_with_flags(path, WRITER).map_err(|error| DatabaseError::from(error).at(path))?;
        schema::configure(&connection)?;
        if options.inline.is_some() {
            // Only this process dies in a simulation, never the machine.
            connection.pragma_update(None, "synchronous", "OFF")?;
        }
        schema::migrate(&mut connection)?;
        let places = Arc::new(segments::load(&connection)?);
        segments::shrink(&connection, &places)?;
        let settings = WriterSettings {
            queue: options.queue,
            first_attempt_after: options.first_attempt_after,
            patience: options.patience,
            inline: options.inline.clone(),
            patient: PatientRate::default(),
            places: Arc::clone(&places),
        };
        let writer = Writer::start(connection, settings)?;
        let readers = Readers::new(path, options.readers, options.inline);
        Ok(Database {
            inner: Arc::new(Inner {
                writer: Some(writer),
                readers,
                places,
                shared_tables: Arc::default(),
                removal_batch: options.removal_batch.max(1),
                ending: Semaphore::new(commit::ENDING_MAX),
                replays: watch::Sender::default(),
                _lock: Some(lock),
            }),
        })
    }

    /// Opens an existing database to look at it; every write fails with [`DatabaseError::Closed`].
    ///
    /// Errors: as [`Database::open`]; [`DatabaseError::Unavailable`] when there is no such file.
    pub fn open_read_only(path: &Path) -> Result<Database> {
        let lock = lock_shared(path)?;
        let Options { readers, removal_batch, .. } = Options::default();
        let readers = Readers::new(path, readers, None);
        let connection = readers.open()?;
        schema::check(&connection)?;
        let places = Arc::new(segments::load(&connection)?);
        Ok(Database {
            inner: Arc::new(Inner {
                writer: None,
                readers,
                places,
                shared_tables: Arc::default(),
                removal_batch,
                ending: Semaphore::new(commit::ENDING_MAX),
                replays: watch::Sender::default(),
                _lock: lock,
            }),
        })
    }

    /// Finishes what was asked for so far, moves the write-ahead log into the database file and ends
    /// the writer. Later writes fail with [`DatabaseError::Closed`]; reads go on.
    pub async fn close(&self) -> Result<()> {
        match &self.inner.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }

    /// Writes a row and waits until it is durable: whether this server can do its work.
    pub async fn ping(&self) -> Result<()> {
        self.write(|tx| {
            tx.prepare_cached("UPDATE ping SET count = count + 1")?.execute([])?;
            Ok(())
        })
        .await
    }

    /// When there may be deliveries to claim: absent while there are none, in the past when there are some
    /// now. Changes after the commit or the claim that changes it. Waiting for a change fails once the
    /// database is closed.
    pub fn subscribe_due(&self) -> watch::Receiver<Option<Timestamp>> {
        match &self.inner.writer {
            Some(writer) => writer.subscribe(),
            None => watch::channel(None).1,
        }
    }

    /// Changes whenever events became durable, as [`Database::subscribe_due`] does for deliveries.
    pub fn subscribe_events(&self) -> watch::Receiver<u64> {
        match &self.inner.writer {
            Some(writer) => writer.subscribe_events(),
            None => watch::channel(0).1,
        }
    }

    /// How much the writer has done since the database was opened.
    pub fn stats(&self) -> WriterStats {
        self.inner.writer.as_ref().map(Writer::stats).unwrap_or_default()
    }

    /// Runs `operation` on the writer thread, alone, in a transaction; returns once it is durable.
    async fn write<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.inner.writer.as_ref().ok_or(DatabaseError::Closed)?.run(operation).await
    }

    /// The same, for what can wait for a moment.
    async fn write_patiently<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.inner.writer.as_ref().ok_or(DatabaseError::Closed)?.run_patiently(operation).await
    }

    /// Runs `query` on a reading connection, on one snapshot of the database.
    async fn read<R: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.inner.readers.run(query).await
    }
}

/// The file whose lock says who has the database open. SQLite's own locks cannot: they let several
/// processes write in turn, and two servers on one directory would each hold leases of the other.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn lock_exclusively(path: &Path) -> Result<File> {
    let unavailable = |error| DatabaseError::unavailable("open the database", error).at(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(lock_path(path))
        .map_err(unavailable)?;
    file.try_lock().map_err(|error| in_use(error, path))?;
    Ok(file)
}

/// Absent when the database was never opened for writing on this machine, a copied backup say.
fn lock_shared(path: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(lock_path(path)) else { return Ok(None) };
    file.try_lock_shared().map_err(|error| in_use(error, path))?;
    Ok(Some(file))
}

fn in_use(error: TryLockError, path: &Path) -> DatabaseError {
    match error {
        TryLockError::WouldBlock => DatabaseError::InUse { path: path.to_owned() },
        TryLockError::Error(error) => DatabaseError::unavailable("lock the database", error).at(path),
    }
}
