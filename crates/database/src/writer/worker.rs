//! What runs on the writer thread: takes what has queued up, carries it out in one transaction and answers.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mediahooks_model::{EventKind, Timestamp, chain};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::inbox::{BATCH_MAX, Inbox, PatientRate};
use super::job::{Job, Kept, Undone};
use super::writing::KeptWebhooks;
use super::{Counters, Message, Writing};
use crate::error::{DatabaseError, Result};
use crate::inline::{Inline, Moment};
use crate::queue::Queue;
use crate::segments::Places;
use crate::{deliveries, telemetry};

/// What lives on the writer thread.
pub(super) struct Worker {
    pub(super) connection: Connection,
    pub(super) wake: watch::Sender<Option<Timestamp>>,
    pub(super) told: watch::Sender<u64>,
    pub(super) queue: Arc<Mutex<Queue>>,
    /// As of the running operation; absent before they are first asked for, and after each change.
    pub(super) webhooks: RefCell<Option<KeptWebhooks>>,
    pub(super) places: Arc<Places>,
    pub(super) counters: Arc<Counters>,
    pub(super) first_attempt_after: Duration,
    /// Set in a simulation.
    pub(super) inline: Option<Inline>,
}

impl Worker {
    pub(super) fn serve(
        &mut self,
        queue: mpsc::Receiver<Message>,
        timer: &Runtime,
        patience: Duration,
        patient: &mut PatientRate,
    ) {
        let mut inbox = Inbox { queue, batch: Vec::with_capacity(BATCH_MAX), closing: Vec::new() };
        while let Some(first) = inbox.queue.blocking_recv() {
            let mut is_patient = inbox.take(first) & inbox.take_waiting();
            let until = Instant::now() + patience;
            let waits = is_patient && patient.is_high();
            while waits && is_patient && inbox.has_room() {
                let next =
                    timer.block_on(async { tokio::time::timeout_at(until.into(), inbox.queue.recv()).await });
                let Ok(Some(next)) = next else { break };
                is_patient = inbox.take(next) & inbox.take_waiting();
            }
            if is_patient {
                patient.note(inbox.batch.len(), Instant::now());
            }
            if waits && inbox.batch.len() == 1 {
                // They all come from one who waits for each.
                patient.forget();
            }
            self.carry_out(&mut inbox.batch);
        }
        let closed = self.checkpoint();
        for reply in inbox.closing {
            let _ = reply.send(closed.clone());
        }
    }

    /// Runs a batch in one transaction and answers everyone in it. Leaves it empty.
    pub(super) fn carry_out(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        self.counters.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let (lost, events) = match self.transact(batch) {
            Ok(events) => (None, events),
            Err(error) => {
                // A full disk ends the transaction by itself, and then there is nothing to roll back.
                let _ = self.connection.execute_batch("ROLLBACK");
                self.webhooks.take();
                self.queue().lost();
                tracing::error!(error = chain(&error), operations = batch.len(), "a database commit failed");
                (Some(error), Vec::new())
            }
        };
        self.tell_due();
        if !events.is_empty() {
            self.told.send_modify(|count| *count = count.wrapping_add(events.len() as u64));
            events.into_iter().for_each(telemetry::event_committed);
        }
        for job in batch.drain(..) {
            job.answer(lost.clone());
        }
    }

    /// Returns the events that became durable.
    fn transact(&self, batch: &mut [Box<dyn Job>]) -> Result<Vec<EventKind>> {
        let run = |sql| self.connection.prepare_cached(sql)?.execute([]);
        run("BEGIN IMMEDIATE")?;
        if !self.queue().is_sure() {
            deliveries::look_at_all(&self.connection, &mut self.queue())?;
        }
        let (mut events, mut moved) = (Vec::new(), Vec::new());
        for job in batch.iter_mut() {
            run("SAVEPOINT operation")?;
            let mark = self.queue().mark();
            let tx = Writing {
                connection: &self.connection,
                webhooks: &self.webhooks,
                webhooks_changed: Cell::new(false),
                queue: &self.queue,
                events: RefCell::default(),
                places: &self.places,
                moved: RefCell::default(),
                first_attempt_after: self.first_attempt_after,
            };
            if job.run(&tx) == Kept::Yes {
                events.append(&mut tx.events.borrow_mut());
                moved.append(&mut tx.moved.borrow_mut());
            } else if self.connection.is_autocommit() {
                return Err(DatabaseError::unavailable(
                    "write: storage failed, everything was undone",
                    Undone,
                ));
            } else {
                run("ROLLBACK TO operation")?;
                if tx.webhooks_changed.get() {
                    self.webhooks.take();
                }
                self.queue().undo(mark);
            }
            run("RELEASE operation")?;
        }
        self.simulate(batch, Moment::BeforeCommit)?;
        run("COMMIT")?;
        self.queue().keep();
        for (timeline, below) in moved {
            self.places.moved(timeline, below);
        }
        // It is durable, whatever becomes of the process.
        let _ = self.simulate(batch, Moment::AfterCommit);
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(events)
    }

    /// Tells subscribers when something may be due, if that has changed.
    fn tell_due(&self) {
        let next = self.queue().next();
        self.wake.send_if_modified(|told| std::mem::replace(told, next) != next);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a simulation: what happens here.
    fn simulate(&self, batch: &[Box<dyn Job>], moment: Moment) -> Result<()> {
        let Some(inline) = &self.inline else { return Ok(()) };
        batch.iter().try_for_each(|job| inline.reach(job.name(), moment))
    }

    pub(super) fn checkpoint(&self) -> Result<()> {
        self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }
}
