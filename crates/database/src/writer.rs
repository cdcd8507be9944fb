//! The one thread that writes.
//!
//! Operations arrive as closures in a bounded queue. Whatever has queued up while the last commit
//! reached the disk goes into the next transaction, each operation in a savepoint of its own, and
//! every caller is answered after the commit: one fsync serves them all.
//!
//! What always holds: an operation that was answered `Ok` is durable; one that failed or panicked
//! leaves nothing behind and harms no other; when the commit fails, all of its operations fail.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{DatabaseError, Result};

/// Operations of one transaction at most, so that the first one does not wait for a whole queue.
const BATCH_MAX: usize = 256;

/// What the writer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Operations that were carried out, whatever became of them.
    pub operations: u64,
    /// Transactions that became durable.
    pub transactions: u64,
}

/// The connection as one operation sees it: inside a transaction.
pub(crate) struct Writing<'a> {
    connection: &'a Connection,
    wakes: Cell<bool>,
}

impl Writing<'_> {
    /// Tells subscribers, once this is durable, that deliveries may be due.
    pub(crate) fn wake_sender(&self) {
        self.wakes.set(true);
    }
}

impl Deref for Writing<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// An operation on its way through the writer.
trait Job: Send {
    /// Carries it out inside its savepoint and keeps the outcome.
    fn run(&mut self, tx: &Writing<'_>) -> Kept;
    /// Answers the caller; `lost` when what was done did not become durable.
    fn answer(self: Box<Self>, lost: Option<DatabaseError>);
}

/// Whether an operation's changes are to be committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

struct Operation<F, R> {
    work: Option<F>,
    outcome: Option<Result<R>>,
    reply: oneshot::Sender<Result<R>>,
}

impl<F, R> Job for Operation<F, R>
where
    F: FnOnce(&Writing<'_>) -> Result<R> + Send,
    R: Send,
{
    fn run(&mut self, tx: &Writing<'_>) -> Kept {
        let Some(work) = self.work.take() else { return Kept::No };
        // The savepoint undoes what a panicking operation did, so nothing half-done is seen again.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|panic| {
            let what = panic_text(panic.as_ref());
            tracing::error!(panic = what, "a database operation panicked and was undone");
            Err(DatabaseError::internal(format!("an operation panicked: {what}")))
        });
        let kept = if outcome.is_ok() { Kept::Yes } else { Kept::No };
        self.outcome = Some(outcome);
        kept
    }

    fn answer(self: Box<Self>, lost: Option<DatabaseError>) {
        let outcome = match (self.outcome, lost) {
            (Some(Ok(_)) | None, Some(lost)) => Err(lost),
            (Some(outcome), _) => outcome,
            (None, None) => Err(DatabaseError::Closed),
        };
        // A caller that has gone away wants no answer.
        let _ = self.reply.send(outcome);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Why operations fail that shared a transaction with one that ended it.
#[derive(Debug, thiserror::Error)]
#[error("another operation of the same transaction met a full or failing disk")]
struct Undone;

enum Message {
    Work(Box<dyn Job>),
    Close(oneshot::Sender<Result<()>>),
}

/// Handle of the writer thread. Dropping it lets the thread finish its queue and waits for it.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    committed: watch::Receiver<u64>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    operations: AtomicU64,
    transactions: AtomicU64,
}

impl Writer {
    pub(crate) fn start(connection: Connection, queue: usize) -> Result<Writer> {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let (wake, committed) = watch::channel(0);
        let counters = Arc::new(Counters::default());
        let mut worker = Worker { connection, wake, counters: counters.clone() };
        let thread = std::thread::Builder::new()
            .name("database-writer".into())
            .spawn(move || worker.serve(receiver))
            .map_err(|error| DatabaseError::unavailable("start the database writer", error))?;
        Ok(Writer { queue: Some(sender), thread: Mutex::new(Some(thread)), committed, counters })
    }

    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation { work: Some(work), outcome: None, reply });
        self.send(Message::Work(job)).await?;
        answer.await.unwrap_or(Err(DatabaseError::Closed))
    }

    pub(crate) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        match self.send(Message::Close(reply)).await {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            // It was closed before.
            Err(_) => Ok(()),
        }
    }

    async fn send(&self, message: Message) -> Result<()> {
        let queue = self.queue.as_ref().ok_or(DatabaseError::Closed)?;
        queue.send(message).await.map_err(|_| DatabaseError::Closed)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    pub(crate) fn stats(&self) -> WriterStats {
        WriterStats {
            operations: self.counters.operations.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The file must be closed before whoever drops the database can open it again.
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the database writer panicked");
        }
    }
}

/// What lives on the writer thread.
struct Worker {
    connection: Connection,
    wake: watch::Sender<u64>,
    counters: Arc<Counters>,
}

impl Worker {
    fn serve(&mut self, mut queue: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(BATCH_MAX);
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Work(job) => batch.push(job),
                    Message::Close(reply) => {
                        // Senders fail from here on; what is queued already is still carried out.
                        queue.close();
                        closing.push(reply);
                    }
                }
                next = if batch.len() < BATCH_MAX { queue.try_recv().ok() } else { None };
            }
            self.carry_out(&mut batch);
        }
        let closed = self.checkpoint();
        for reply in closing {
            let _ = reply.send(closed.clone());
        }
    }

    /// Runs a batch in one transaction and answers everyone in it. Leaves it empty.
    fn carry_out(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        self.counters.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let (lost, wakes) = match self.transact(batch) {
            Ok(wakes) => (None, wakes),
            Err(error) => {
                // A full disk ends the transaction by itself, and then there is nothing to roll back.
                let _ = self.connection.execute_batch("ROLLBACK");
                tracing::error!(error = %error, operations = batch.len(), "a database commit failed");
                (Some(error), false)
            }
        };
        if wakes {
            self.wake.send_modify(|count| *count = count.wrapping_add(1));
        }
        for job in batch.drain(..) {
            job.answer(lost.clone());
        }
    }

    fn transact(&self, batch: &mut [Box<dyn Job>]) -> Result<bool> {
        let run = |sql| self.connection.prepare_cached(sql)?.execute([]);
        run("BEGIN IMMEDIATE")?;
        let mut wakes = false;
        for job in batch {
            run("SAVEPOINT operation")?;
            let tx = Writing { connection: &self.connection, wakes: Cell::new(false) };
            if job.run(&tx) == Kept::Yes {
                wakes |= tx.wakes.get();
            } else if self.connection.is_autocommit() {
                return Err(DatabaseError::unavailable(
                    "write: storage failed, everything was undone",
                    Undone,
                ));
            } else {
                run("ROLLBACK TO operation")?;
            }
            run("RELEASE operation")?;
        }
        run("COMMIT")?;
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(wakes)
    }

    fn checkpoint(&self) -> Result<()> {
        self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }
}
