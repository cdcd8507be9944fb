//! Connections that read, used from the runtime's blocking threads.
//!
//! Every query runs in a transaction of its own: it sees one snapshot, which holds at least
//! everything that was answered as committed before the query began.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{DatabaseError, Result};
use crate::inline::Inline;
use crate::schema;

#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    /// Connections nobody uses now. Opened when first needed; one whose query panicked is not
    /// put back, and the next query opens another.
    idle: Arc<Mutex<Vec<Connection>>>,
    /// In a simulation queries run on whoever calls.
    inline: Option<Inline>,
}

impl Readers {
    pub(crate) fn new(path: &Path, connections: usize, inline: Option<Inline>) -> Readers {
        Readers {
            path: path.to_owned(),
            permits: Arc::new(Semaphore::new(connections.max(1))),
            idle: Arc::default(),
            inline,
        }
    }

    pub(crate) async fn run<R: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let turn = self.turn().await?;
        if self.inline.is_some() {
            return turn.query(query);
        }
        let task = tokio::task::spawn_blocking(move || turn.query(query));
        task.await.unwrap_or_else(|error| Err(DatabaseError::internal(format!("a query failed: {error}"))))
    }

    /// Waits until there is a connection for another one who reads.
    pub(crate) async fn turn(&self) -> Result<ReadTurn> {
        let permit = if let Some(inline) = &self.inline {
            inline.alive().await;
            None
        } else {
            Some(self.permits.clone().acquire_owned().await.map_err(|_| DatabaseError::Closed)?)
        };
        Ok(ReadTurn { path: self.path.clone(), idle: self.idle.clone(), _permit: permit })
    }

    /// A connection of its own.
    pub(crate) fn open(&self) -> Result<Connection> {
        open(&self.path)
    }
}

/// Somebody's turn to read, until dropped.
#[derive(Debug)]
pub(crate) struct ReadTurn {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ReadTurn {
    /// Runs a query on this thread.
    pub(crate) fn query<R>(&self, query: impl FnOnce(&Connection) -> Result<R>) -> Result<R> {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = taken.map_or_else(|| open(&self.path), Ok)?;
        let outcome = query(&*connection.transaction()?);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        outcome
    }
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| DatabaseError::from(error).at(path))?;
    schema::configure_reader(&connection)?;
    Ok(connection)
}
