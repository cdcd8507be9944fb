//! The one thread that writes.
//!
//! Operations arrive as closures in a bounded queue. Whatever has queued up while the last commit
//! reached the disk goes into the next transaction, each operation in a savepoint of its own, and
//! every caller is answered after the commit: one fsync serves them all. An operation can be patient: while many such
//! come, it waits for others to share its transaction with, until one comes that is not.
//!
//! What always holds: an operation that was answered `Ok` is durable; one that failed or panicked
//! leaves nothing behind and harms no other; when the commit fails, all of its operations fail.

mod inbox;
mod job;
#[cfg(test)]
mod tests;
mod worker;
mod writing;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mediahooks_model::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{DatabaseError, Result};
use crate::inline::Inline;
use crate::queue::Queue;
use crate::segments::Places;

pub(crate) use inbox::PatientRate;
use job::{Job, Operation};
use worker::Worker;
pub(crate) use writing::Writing;

/// What the writer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Operations that were carried out, whatever became of them.
    pub operations: u64,
    /// Transactions that became durable.
    pub transactions: u64,
}

enum Message {
    Work(Box<dyn Job>),
    /// Work that can wait a moment.
    PatientWork(Box<dyn Job>),
    Close(oneshot::Sender<Result<()>>),
}

/// How a writer works.
pub(crate) struct WriterSettings {
    /// See [`crate::Options`].
    pub queue: usize,
    pub first_attempt_after: Duration,
    pub patience: Duration,
    pub inline: Option<Inline>,
    /// What is known at the start.
    pub patient: PatientRate,
    pub places: Arc<Places>,
}

/// Handle of the writer thread. Dropping it lets the thread finish its queue and waits for it.
#[derive(Debug)]
pub(crate) struct Writer {
    work: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    inline: Option<InlineWriter>,
    due: watch::Receiver<Option<Timestamp>>,
    queue: Arc<Mutex<Queue>>,
    events: watch::Receiver<u64>,
    counters: Arc<Counters>,
}

/// In a simulation the worker runs on whoever calls; gone once it is closed.
struct InlineWriter {
    worker: Mutex<Option<Worker>>,
    inline: Inline,
}

impl std::fmt::Debug for InlineWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inline.fmt(f)
    }
}

impl InlineWriter {
    async fn take(&self, message: Message) -> Result<()> {
        self.inline.alive().await;
        {
            let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
            match message {
                Message::Work(job) | Message::PatientWork(job) => {
                    worker.as_mut().ok_or(DatabaseError::Closed)?.carry_out(&mut vec![job]);
                }
                Message::Close(reply) => {
                    let _ = reply.send(worker.take().map_or(Ok(()), |worker| worker.checkpoint()));
                }
            }
        }
        self.inline.alive().await;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Counters {
    operations: AtomicU64,
    transactions: AtomicU64,
}

impl Writer {
    pub(crate) fn start(connection: Connection, settings: WriterSettings) -> Result<Writer> {
        let WriterSettings { queue, first_attempt_after, patience, inline, mut patient, places } = settings;
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let queue = Arc::new(Mutex::new(Queue::default()));
        let (wake, due) = watch::channel(None);
        let (told, events) = watch::channel(0);
        let counters = Arc::new(Counters::default());
        let webhooks = RefCell::default();
        let mut worker = Worker {
            connection,
            wake,
            told,
            queue: queue.clone(),
            webhooks,
            places,
            counters: counters.clone(),
            first_attempt_after,
            inline: inline.clone(),
        };
        if let Some(inline) = inline {
            let inline = Some(InlineWriter { worker: Mutex::new(Some(worker)), inline });
            return Ok(Writer { work: None, thread: Mutex::default(), inline, due, queue, events, counters });
        }
        let cannot_start = |error| DatabaseError::unavailable("start the database writer", error);
        // Tells the thread the time while it waits; everything else it does blocks.
        let timer =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(cannot_start)?;
        let thread = std::thread::Builder::new()
            .name("database-writer".into())
            .spawn(move || worker.serve(receiver, &timer, patience, &mut patient))
            .map_err(cannot_start)?;
        let thread = Mutex::new(Some(thread));
        Ok(Writer { work: Some(sender), thread, inline: None, due, queue, events, counters })
    }

    /// Carries out an operation; see the module.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.ask(work, Message::Work).await
    }

    /// As [`Writer::run`], for an operation that can wait for a moment.
    pub(crate) async fn run_patiently<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.ask(work, Message::PatientWork).await
    }

    async fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
        message: fn(Box<dyn Job>) -> Message,
    ) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        self.send(message(Box::new(Operation { work: Some(work), outcome: None, reply }))).await?;
        answer.await.unwrap_or(Err(DatabaseError::Closed))
    }

    /// Carries out what is queued, and nothing more.
    pub(crate) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        match self.send(Message::Close(reply)).await {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            // It was closed before.
            Err(_) => Ok(()),
        }
    }

    async fn send(&self, message: Message) -> Result<()> {
        if let Some(inline) = &self.inline {
            return inline.take(message).await;
        }
        let work = self.work.as_ref().ok_or(DatabaseError::Closed)?;
        work.send(message).await.map_err(|_| DatabaseError::Closed)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Timestamp>> {
        self.due.clone()
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe_events(&self) -> watch::Receiver<u64> {
        self.events.clone()
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
        drop(self.work.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The file must be closed before whoever drops the database can open it again.
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the database writer panicked");
        }
    }
}
