//! Writes down what attempts came to.
//!
//! The dispatcher's attempts hand their records in; those that arrive while one write is on its way go
//! together in the next. What always holds: a slot is given back only after its record is durable, or
//! after it is certain that it cannot be written. Even then nothing is lost: a delivery without a record
//! is due again when its lease runs out.

use std::time::Duration;

use mediahooks_database::{Database, DatabaseError, Settlement};
use mediahooks_model::DeliveryId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::config::SenderConfig;
use crate::surroundings::Clock;

/// Records in one write at most.
const BATCH_MAX: usize = 256;

/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// An attempt whose record is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) delivery: DeliveryId,
    pub(crate) attempt: u32,
}

/// Where records are written: the database, for one owner of leases.
pub(crate) trait Ledger {
    /// Writes all of `settlements` or none.
    fn write(&self, settlements: Vec<Settlement>) -> impl Future<Output = Result<(), DatabaseError>> + Send;
}

/// [`Database::settle`] in one owner's name.
pub(crate) struct Leases {
    database: Database,
    owner: String,
    clock: Clock,
}

impl Ledger for Leases {
    async fn write(&self, settlements: Vec<Settlement>) -> Result<(), DatabaseError> {
        self.database.settle(settlements, &self.owner, self.clock.now()).await
    }
}

/// Takes finished attempts and gives their slots back.
pub(crate) struct Settler<L> {
    ledger: L,
    pause: Duration,
    /// Pauses that are made once no more attempts can come.
    last_pauses: u32,
    finished: UnboundedReceiver<Settlement>,
    free: UnboundedSender<Settled>,
}

impl Settler<Leases> {
    pub(crate) fn new(
        database: Database,
        config: &SenderConfig,
        clock: Clock,
        finished: UnboundedReceiver<Settlement>,
        free: UnboundedSender<Settled>,
    ) -> Self {
        let ledger = Leases { database, owner: config.owner.clone(), clock };
        let last_pauses = u32::try_from(config.grace.as_secs()).unwrap_or(u32::MAX);
        Self { ledger, pause: PAUSE, last_pauses, finished, free }
    }
}

impl<L: Ledger> Settler<L> {
    /// Ends when nobody is left who could finish an attempt and everything is written.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.finished.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.write(&mut batch).await;
            for settlement in batch.drain(..) {
                let settled = Settled { delivery: settlement.id, attempt: settlement.attempt.number };
                // At shutdown nobody waits for slots any more.
                let _ = self.free.send(settled);
            }
        }
    }

    /// Writes `batch`, however long it takes; what is finished meanwhile joins it.
    async fn write(&mut self, batch: &mut Vec<Settlement>) {
        let mut failures = 0u32;
        while let Err(error) = self.ledger.write(batch.clone()).await {
            if !error.is_transient() {
                return self.write_each(batch, &error).await;
            }
            if failures == 0 {
                tracing::warn!(%error, attempts = batch.len(), "attempts cannot be recorded yet; trying on");
            }
            failures += 1;
            if self.finished.is_closed() && failures > self.last_pauses {
                return abandon(batch, &error);
            }
            tokio::time::sleep(self.pause).await;
            while batch.len() < BATCH_MAX
                && let Ok(settlement) = self.finished.try_recv()
            {
                batch.push(settlement);
            }
        }
    }

    /// Finds the one record that the database does not take, so that it costs no other its own.
    async fn write_each(&self, batch: &[Settlement], error: &DatabaseError) {
        if matches!(error, DatabaseError::Closed) {
            return abandon(batch, error);
        }
        for settlement in batch {
            if let Err(error) = self.ledger.write(vec![settlement.clone()]).await {
                abandon(std::slice::from_ref(settlement), &error);
            }
        }
    }
}

fn abandon(batch: &[Settlement], error: &DatabaseError) {
    for settlement in batch {
        tracing::error!(
            %error,
            delivery = %settlement.id,
            attempt = settlement.attempt.number,
            "an attempt could not be recorded; it is made again when its lease has run out"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use mediahooks_database::{Attempt, Timings};
    use mediahooks_model::Timestamp;
    use tokio::sync::mpsc;

    use super::*;

    /// Fails as scripted, then works, except for one delivery that it never takes.
    #[derive(Default)]
    struct Scripted {
        failures: Mutex<Vec<DatabaseError>>,
        poison: Option<DeliveryId>,
        written: Mutex<Vec<Vec<i64>>>,
    }

    impl Ledger for &Scripted {
        async fn write(&self, settlements: Vec<Settlement>) -> Result<(), DatabaseError> {
            if let Some(error) = self.failures.lock().unwrap().pop() {
                return Err(error);
            }
            if settlements.iter().any(|settlement| Some(settlement.id) == self.poison) {
                return Err(DatabaseError::Internal { what: "scripted".into() });
            }
            self.written.lock().unwrap().push(settlements.iter().map(|settlement| settlement.id.0).collect());
            Ok(())
        }
    }

    fn unavailable() -> DatabaseError {
        let source = std::sync::Arc::new(std::io::Error::other("disk full"));
        DatabaseError::Unavailable { doing: "write", path: None, source }
    }

    fn settlement(id: i64) -> Settlement {
        let attempt = Attempt {
            number: 1,
            started: Timestamp::EPOCH,
            duration_us: 0,
            timings: Timings::default(),
            status: Some(200),
            error: None,
            request: None,
            response: None,
        };
        Settlement { id: DeliveryId(id), attempt, settled: mediahooks_database::Settled::Delivered }
    }

    /// Settles deliveries 1 to 3, handed in before the settler runs; returns the slots given back.
    async fn settle_three(ledger: &Scripted) -> Vec<i64> {
        let (finished, to_settle) = mpsc::unbounded_channel();
        let (free, mut freed) = mpsc::unbounded_channel();
        (1..=3).for_each(|id| finished.send(settlement(id)).unwrap());
        drop(finished);
        Settler { ledger, pause: Duration::ZERO, last_pauses: 3, finished: to_settle, free }.run().await;
        let mut ids = Vec::new();
        while let Some(settled) = freed.recv().await {
            ids.push(settled.delivery.0);
        }
        ids
    }

    #[tokio::test]
    async fn what_is_finished_together_is_written_together() {
        let ledger = Scripted::default();
        assert_eq!(settle_three(&ledger).await, [1, 2, 3]);
        assert_eq!(*ledger.written.lock().unwrap(), [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_failing_disk_is_waited_for() {
        let ledger =
            Scripted { failures: Mutex::new(vec![unavailable(), unavailable()]), ..Scripted::default() };
        assert_eq!(settle_three(&ledger).await, [1, 2, 3]);
        assert_eq!(*ledger.written.lock().unwrap(), [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_disk_that_fails_through_the_shutdown_is_not_waited_for_for_ever() {
        let failures = Mutex::new((0..100).map(|_| unavailable()).collect());
        let ledger = Scripted { failures, ..Scripted::default() };
        settle_three(&ledger).await;
        assert!(ledger.written.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_record_that_cannot_be_written_costs_no_other() {
        let ledger = Scripted { poison: Some(DeliveryId(2)), ..Scripted::default() };
        assert_eq!(settle_three(&ledger).await, [1, 2, 3]);
        assert_eq!(*ledger.written.lock().unwrap(), [[1], [3]]);
    }
}
