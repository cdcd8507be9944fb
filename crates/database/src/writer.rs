//! The one thread that writes.
//!
//! Operations arrive as closures in a bounded queue. Whatever has queued up while the last commit
//! reached the disk goes into the next transaction, each operation in a savepoint of its own, and
//! every caller is answered after the commit: one fsync serves them all. An operation can be patient: while many such
//! come, it waits for others to share its transaction with, until one comes that is not.
//!
//! What always holds: an operation that was answered `Ok` is durable; one that failed or panicked
//! leaves nothing behind and harms no other; when the commit fails, all of its operations fail.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mediahooks_model::{EventKind, StreamName, TimelineId, Timestamp, Webhook, WebhookId};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{DatabaseError, Result};
use crate::inline::{Inline, Moment};
use crate::queue::Queue;
use crate::segments::Places;
use crate::{deliveries, telemetry, webhooks};

/// Operations of one transaction at most, so that the first one does not wait for a whole queue.
const BATCH_MAX: usize = 256;

/// With fewer patient operations per second nobody waits: not enough would come to make a difference.
const PATIENT_MIN: f64 = 80.0;

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
    webhooks: &'a RefCell<Option<KeptWebhooks>>,
    webhooks_changed: Cell<bool>,
    queue: &'a Mutex<Queue>,
    events: RefCell<Vec<EventKind>>,
    places: &'a Places,
    /// Timelines with the segment below which their segments are in pages now.
    moved: RefCell<Vec<(TimelineId, u64)>>,
    first_attempt_after: Duration,
}

/// Webhooks, oldest first, with their filters compiled.
pub(crate) type Webhooks = Arc<[Arc<Webhook>]>;

/// What is kept of the webhooks until one of them changes.
struct KeptWebhooks {
    all: Webhooks,
    /// Whose filter lets a stream pass.
    by_stream: HashMap<StreamName, Webhooks>,
}

/// Streams of which it is kept who wants to hear of them; beyond that it is found out anew.
const STREAMS_KEPT: usize = 1024;

impl Writing<'_> {
    /// Every webhook, as this operation sees them. Read once and kept until one of them changes: each
    /// event asks.
    pub(crate) fn webhooks(&self) -> Result<Webhooks> {
        Ok(self.kept()?.all.clone())
    }

    /// Those whose filter lets a stream pass. Kept too: a server has few streams, and may have many filters.
    pub(crate) fn webhooks_of(&self, stream: &StreamName) -> Result<Webhooks> {
        let mut kept = self.kept()?;
        if let Some(known) = kept.by_stream.get(stream) {
            return Ok(known.clone());
        }
        let passes =
            |webhook: &&Arc<Webhook>| webhook.filter.as_ref().is_none_or(|filter| filter.passes(stream));
        let found: Webhooks = kept.all.iter().filter(passes).cloned().collect();
        if kept.by_stream.len() >= STREAMS_KEPT {
            kept.by_stream.clear();
        }
        kept.by_stream.insert(stream.clone(), found.clone());
        Ok(found)
    }

    fn kept(&self) -> Result<RefMut<'_, KeptWebhooks>> {
        if self.webhooks.borrow().is_none() {
            let all = webhooks::all(self)?.into_iter().map(Arc::new).collect();
            *self.webhooks.borrow_mut() = Some(KeptWebhooks { all, by_stream: HashMap::new() });
        }
        let kept = RefMut::filter_map(self.webhooks.borrow_mut(), Option::as_mut);
        kept.map_err(|_| DatabaseError::internal("the webhooks were not kept"))
    }

    /// Has to be called after a webhook was written.
    pub(crate) fn webhook_changed(&self, id: WebhookId) {
        self.webhooks_changed.set(true);
        self.webhooks.take();
        self.queue().renew(id);
    }

    /// Who attempts what, and which webhook has something due. Held for moments.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first attempt of a delivery that may begin at `now` is due.
    pub(crate) fn first_attempt(&self, now: Timestamp) -> Timestamp {
        now.plus(self.first_attempt_after)
    }

    /// Where in the tail segments are.
    pub(crate) fn places(&self) -> &Places {
        self.places
    }

    /// Has to be called after the segments of a timeline below `below` moved into pages.
    pub(crate) fn moved_into_pages(&self, timeline: TimelineId, below: u64) {
        self.moved.borrow_mut().push((timeline, below));
    }

    /// Tells followers of events, once this is durable, that there is one more.
    pub(crate) fn wake_followers(&self, kind: EventKind) {
        self.events.borrow_mut().push(kind);
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
    /// Who asked for it.
    fn name(&self) -> &'static str;
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

    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
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

    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation { work: Some(work), outcome: None, reply });
        self.send(Message::Work(job)).await?;
        answer.await.unwrap_or(Err(DatabaseError::Closed))
    }

    /// As [`Writer::run`], for an operation that can wait for a moment.
    pub(crate) async fn run_patiently<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation { work: Some(work), outcome: None, reply });
        self.send(Message::PatientWork(job)).await?;
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

/// What the writer thread takes from its queue.
struct Inbox {
    queue: mpsc::Receiver<Message>,
    batch: Vec<Box<dyn Job>>,
    closing: Vec<oneshot::Sender<Result<()>>>,
}

impl Inbox {
    /// Takes a message in; tells whether it can wait.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Work(job) => self.batch.push(job),
            Message::PatientWork(job) => {
                self.batch.push(job);
                return true;
            }
            Message::Close(reply) => {
                // Senders fail from here on; what is queued already is still carried out.
                self.queue.close();
                self.closing.push(reply);
            }
        }
        false
    }

    /// Takes in what has queued up, as far as there is room; tells whether all of it can wait.
    fn take_waiting(&mut self) -> bool {
        let mut can_wait = true;
        while self.has_room()
            && let Ok(message) = self.queue.try_recv()
        {
            can_wait &= self.take(message);
        }
        can_wait
    }

    fn has_room(&self) -> bool {
        self.batch.len() < BATCH_MAX
    }
}

/// How many patient operations come.
#[derive(Debug, Default)]
pub(crate) struct PatientRate {
    since: Option<Instant>,
    counted: usize,
    per_second: f64,
}

impl PatientRate {
    fn is_high(&self) -> bool {
        self.per_second >= PATIENT_MIN
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    /// So many more came. Each second is told from the one before.
    fn note(&mut self, count: usize, now: Instant) {
        self.counted += count;
        let elapsed = now.duration_since(*self.since.get_or_insert(now)).as_secs_f64();
        if elapsed >= 1.0 {
            self.per_second = self.counted as f64 / elapsed;
            (self.since, self.counted) = (Some(now), 0);
        }
    }
}

/// What lives on the writer thread.
struct Worker {
    connection: Connection,
    wake: watch::Sender<Option<Timestamp>>,
    told: watch::Sender<u64>,
    queue: Arc<Mutex<Queue>>,
    /// As of the running operation; absent before they are first asked for, and after each change.
    webhooks: RefCell<Option<KeptWebhooks>>,
    places: Arc<Places>,
    counters: Arc<Counters>,
    first_attempt_after: Duration,
    /// Set in a simulation.
    inline: Option<Inline>,
}

impl Worker {
    fn serve(
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
    fn carry_out(&mut self, batch: &mut Vec<Box<dyn Job>>) {
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
                tracing::error!(error = %error, operations = batch.len(), "a database commit failed");
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

    fn checkpoint(&self) -> Result<()> {
        self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use mediahooks_model::DeliveryId;

    use super::*;
    use crate::queue::{After, Lease};

    fn table() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::schema::migrate(&mut connection).unwrap();
        connection.execute_batch("CREATE TABLE t (n BIGINT PRIMARY KEY)").unwrap();
        connection
    }

    fn settings() -> WriterSettings {
        WriterSettings {
            queue: 16,
            first_attempt_after: Duration::ZERO,
            patience: Duration::ZERO,
            patient: PatientRate::default(),
            inline: None,
            places: Arc::default(),
        }
    }

    fn writer(connection: Connection) -> Arc<Writer> {
        Arc::new(Writer::start(connection, settings()).unwrap())
    }

    fn insert(n: i64) -> impl FnOnce(&Writing<'_>) -> Result<()> + Send {
        move |tx| Ok(tx.execute("INSERT INTO t (n) VALUES (?1)", [n]).map(drop)?)
    }

    async fn stored(writer: &Writer) -> Vec<i64> {
        let read = |tx: &Writing<'_>| {
            let mut statement = tx.prepare("SELECT n FROM t ORDER BY n")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        writer.run(read).await.unwrap()
    }

    /// Holds the writer up until `queue` is done queueing, so that all of it shares a transaction.
    async fn in_one_batch(writer: &Arc<Writer>, queue: Vec<Boxed>) -> Vec<Result<()>> {
        let (release, held) = std_mpsc::channel::<()>();
        let hold: Boxed = Box::new(move |_| {
            held.recv().unwrap();
            Ok(())
        });
        let work = std::iter::once(hold).chain(queue);
        let mut operations: Vec<_> = work.map(|work| Box::pin(writer.run(work))).collect();
        for operation in &mut operations {
            start(operation.as_mut()).await;
        }
        release.send(()).unwrap();
        let mut outcomes = Vec::new();
        for operation in operations.into_iter().skip(1) {
            outcomes.push(operation.await);
        }
        outcomes
    }

    /// The first poll of an operation puts it in the queue.
    async fn start<T>(mut operation: std::pin::Pin<&mut impl Future<Output = T>>) {
        std::future::poll_fn(|context| {
            assert!(operation.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }

    type Boxed = Box<dyn FnOnce(&Writing<'_>) -> Result<()> + Send>;

    #[tokio::test]
    async fn a_panic_is_undone_told_and_survived() {
        let writer = writer(table());
        let outcomes = in_one_batch(
            &writer,
            vec![
                Box::new(insert(1)),
                Box::new(|tx| {
                    insert(2)(tx)?;
                    panic!("on purpose")
                }),
                Box::new(insert(3)),
            ],
        )
        .await;
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        let Err(DatabaseError::Internal { what }) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert!(what.contains("on purpose"), "{what}");
        assert_eq!(stored(&writer).await, [1, 3]);
    }

    #[tokio::test]
    async fn when_the_transaction_is_lost_everyone_in_it_is_told() {
        let writer = writer(table());
        // Ends the transaction as a full disk does.
        let full: Boxed = Box::new(|tx| {
            tx.execute_batch("ROLLBACK")?;
            Err(DatabaseError::NotFound)
        });
        let outcomes = in_one_batch(&writer, vec![Box::new(insert(1)), full, Box::new(insert(2))]).await;
        assert!(matches!(outcomes[0], Err(DatabaseError::Unavailable { .. })), "{outcomes:?}");
        assert!(matches!(outcomes[1], Err(DatabaseError::NotFound)), "{outcomes:?}");
        assert!(matches!(outcomes[2], Err(DatabaseError::Unavailable { .. })), "{outcomes:?}");
        assert_eq!(stored(&writer).await, Vec::<i64>::new());
        writer.run(insert(4)).await.unwrap();
        assert_eq!(stored(&writer).await, [4]);
    }

    #[tokio::test]
    async fn kept_webhooks_are_those_that_are_stored() {
        let writer = writer(table());
        let add = |tx: &Writing<'_>| {
            tx.execute(
                "INSERT INTO webhook (url, secret, subscriptions, disabled)
                 VALUES ('', '', '{\"isFeedHooks\":true}', 0)",
                [],
            )?;
            tx.webhook_changed(WebhookId(tx.last_insert_rowid()));
            Ok(tx.webhooks()?.len())
        };
        let kept = async || writer.run(|tx| Ok(tx.webhooks()?.len())).await.unwrap();
        assert_eq!(kept().await, 0);
        assert_eq!(writer.run(add).await.unwrap(), 1);
        let undone: Result<usize> = writer
            .run(move |tx| {
                assert_eq!(add(tx)?, 2);
                Err(DatabaseError::NotFound)
            })
            .await;
        assert!(matches!(undone, Err(DatabaseError::NotFound)));
        assert_eq!(kept().await, 1);
        let lost: Boxed = Box::new(move |tx| {
            assert_eq!(add(tx)?, 2);
            Ok(())
        });
        let end: Boxed = Box::new(|tx| Ok(tx.execute_batch("ROLLBACK")?));
        in_one_batch(&writer, vec![lost, end]).await;
        assert_eq!(kept().await, 1);
    }

    #[tokio::test]
    async fn what_was_claimed_in_a_lost_transaction_can_be_claimed_again() {
        let writer = writer(table());
        let lease = |tx: &Writing<'_>| {
            let webhook = WebhookId(1);
            tx.queue().look(webhook, Timestamp::EPOCH);
            tx.queue().advance(Timestamp::EPOCH);
            assert!(tx.queue().next_turn().is_some());
            let lease = Lease { owner: "me".into(), webhook, until: Timestamp::from_millis(1), over: false };
            tx.queue().set(DeliveryId(1), Some(lease));
            tx.queue().put_back(webhook, After::Nothing, Timestamp::EPOCH);
            Ok(())
        };
        let leased = async || writer.run(|tx| Ok(tx.queue().is_leased(DeliveryId(1)))).await.unwrap();
        let failed: Boxed = Box::new(move |tx| lease(tx).and(Err(DatabaseError::NotFound)));
        in_one_batch(&writer, vec![failed]).await;
        assert!(!leased().await && writer.queue().next() == Some(Timestamp::EPOCH));
        let end: Boxed = Box::new(|tx| Ok(tx.execute_batch("ROLLBACK")?));
        in_one_batch(&writer, vec![Box::new(lease), end]).await;
        assert!(!leased().await && writer.queue().next() == Some(Timestamp::EPOCH));
        writer.run(lease).await.unwrap();
        assert!(leased().await);
    }

    #[tokio::test]
    async fn patient_operations_share_a_transaction_until_somebody_cannot_wait() {
        let patient = PatientRate { per_second: PATIENT_MIN, ..PatientRate::default() };
        let settings = WriterSettings { patience: Duration::from_secs(3600), patient, ..settings() };
        let writer = Writer::start(table(), settings).unwrap();
        let mut first = Box::pin(writer.run_patiently(insert(1)));
        let mut second = Box::pin(writer.run_patiently(insert(2)));
        start(first.as_mut()).await;
        start(second.as_mut()).await;
        writer.run(insert(3)).await.unwrap();
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(writer.stats().transactions, 1);
        assert_eq!(stored(&writer).await, [1, 2, 3]);
        // Closing waits for nobody either.
        let mut last = Box::pin(writer.run_patiently(insert(4)));
        start(last.as_mut()).await;
        writer.close().await.unwrap();
        last.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_patient_alone() {
        let settings = WriterSettings { patience: Duration::from_secs(3600), ..settings() };
        let writer = Writer::start(table(), settings).unwrap();
        writer.run_patiently(insert(1)).await.unwrap();
        assert_eq!(stored(&writer).await, [1]);
    }

    #[test]
    fn each_second_tells_how_many_come_in_the_next() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut rate = PatientRate::default();
        for ms in 0..1000 {
            rate.note(1, at(ms));
        }
        assert!(!rate.is_high());
        rate.note(1, at(1000));
        assert!(rate.is_high());
        rate.note(10, at(1500));
        rate.note(10, at(2000));
        assert!(!rate.is_high());
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_that_a_retry_can_cure() {
        let connection = table();
        connection.execute_batch("CREATE TABLE big (b BLOB); PRAGMA max_page_count = 200;").unwrap();
        let writer = writer(connection);
        let fill =
            |tx: &Writing<'_>| Ok(tx.execute("INSERT INTO big VALUES (zeroblob(1000000))", []).map(drop)?);
        let full = writer.run(fill).await.unwrap_err();
        assert!(full.is_transient(), "{full:?}");
        writer.run(insert(1)).await.unwrap();
        assert_eq!(stored(&writer).await, [1]);
    }

    #[tokio::test]
    async fn closing_carries_out_what_is_queued() {
        let writer = writer(table());
        let (release, held) = std_mpsc::channel::<()>();
        let mut hold = Box::pin(writer.run(move |_| {
            held.recv().unwrap();
            Ok(())
        }));
        let mut work = Box::pin(writer.run(insert(1)));
        let mut close = Box::pin(writer.close());
        start(hold.as_mut()).await;
        start(work.as_mut()).await;
        start(close.as_mut()).await;
        release.send(()).unwrap();
        close.await.unwrap();
        hold.await.unwrap();
        work.await.unwrap();
        assert!(matches!(writer.run(insert(2)).await, Err(DatabaseError::Closed)));
    }
}
