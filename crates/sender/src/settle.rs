//! Decides what follows attempts, and writes both down.
//!
//! The dispatcher's attempts hand in what they came to; those that arrive while one write is on its way go
//! together in the next. What always holds: an attempt counts as claimed until its record is durable, or it is
//! certain that it cannot be written. Even then nothing is lost: a delivery without a record
//! is due again when its lease runs out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Attempt, ClaimedDelivery, Database, DatabaseError, HealthChange, Settlement};
use mediahooks_delivery::Verdict;
use mediahooks_model::{WebhookId, chain};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::attempt::Finished;
use crate::config::SenderConfig;
use crate::health::{Endpoints, Judged};
use crate::lanes::SharedLanes;
use crate::surroundings::{Clock, Dice};
use crate::telemetry;

/// Records in one write at most.
const BATCH_MAX: usize = 256;

/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Where records are written: the database, for one owner of leases.
pub(crate) trait Ledger {
    /// Writes all of `settlements` and what they told about endpoints, or none of it.
    fn write(
        &self,
        settlements: Vec<Settlement>,
        changes: Vec<HealthChange>,
    ) -> impl Future<Output = Result<(), DatabaseError>> + Send;
}

/// [`Database::settle`] in one owner's name.
pub(crate) struct Leases {
    database: Database,
    owner: String,
    clock: Clock,
}

impl Ledger for Leases {
    async fn write(
        &self,
        settlements: Vec<Settlement>,
        changes: Vec<HealthChange>,
    ) -> Result<(), DatabaseError> {
        self.database.settle(settlements, changes, &self.owner, self.clock.now()).await
    }
}

/// Takes finished attempts until their records are written.
pub(crate) struct Settler<L> {
    ledger: L,
    endpoints: Arc<Endpoints>,
    clock: Clock,
    dice: Dice,
    pause: Duration,
    /// Pauses that are made once no more attempts can come.
    last_pauses: u32,
    finished: UnboundedReceiver<Finished>,
    lanes: Arc<SharedLanes>,
}

/// Records that are written together.
#[derive(Default)]
struct Batch {
    settlements: Vec<Settlement>,
    /// Whom they are about.
    webhooks: BTreeSet<WebhookId>,
}

impl Settler<Leases> {
    pub(crate) fn new(
        database: Database,
        config: &SenderConfig,
        endpoints: Arc<Endpoints>,
        (clock, dice): (Clock, Dice),
        finished: UnboundedReceiver<Finished>,
        lanes: Arc<SharedLanes>,
    ) -> Self {
        let ledger = Leases { database, owner: config.owner.clone(), clock };
        let last_pauses = u32::try_from(config.grace.as_secs()).unwrap_or(u32::MAX);
        Self { ledger, endpoints, clock, dice, pause: PAUSE, last_pauses, finished, lanes }
    }
}

impl<L: Ledger> Settler<L> {
    /// Ends when nobody is left who could finish an attempt and everything is written.
    pub(crate) async fn run(mut self) {
        let (mut finished, mut batch) = (Vec::new(), Batch::default());
        while self.finished.recv_many(&mut finished, BATCH_MAX).await > 0 {
            finished.drain(..).for_each(|finished| self.judge(finished, &mut batch));
            self.write(&mut batch).await;
            batch.webhooks.clear();
            let recorded = batch.settlements.drain(..);
            self.lanes.recorded(recorded.map(|settlement| (settlement.id, settlement.attempt.number)));
        }
    }

    /// Decides what follows an attempt and adds its record to `batch`.
    fn judge(&self, finished: Finished, batch: &mut Batch) {
        let Finished { delivery, outcome, stale, attempt } = finished;
        let error = attempt.error.as_deref();
        let judged = Judged { delivery: &delivery, outcome: &outcome, error, stale };
        let now = self.clock.now();
        let verdict = self.endpoints.judge(&judged, now, self.dice.throw());
        log(&delivery, &attempt, verdict);
        telemetry::attempted(&delivery, &attempt, verdict);
        let settled = match verdict {
            Verdict::Delivered => mediahooks_database::Settled::Delivered,
            Verdict::Retry { at } => mediahooks_database::Settled::Retry { at },
            Verdict::Exhausted => mediahooks_database::Settled::Exhausted,
            // Held: its webhook is disabled with the same record.
            Verdict::Gone => mediahooks_database::Settled::Retry { at: now },
        };
        let probe = delivery.is_probe();
        batch.webhooks.insert(delivery.webhook.id);
        batch.settlements.push(Settlement { id: delivery.id, attempt, probe, settled });
    }

    /// Writes `batch`, however long it takes; what is finished meanwhile joins it.
    async fn write(&mut self, batch: &mut Batch) {
        let mut failures = 0u32;
        while let Err(error) = self.write_once(&batch.settlements, &batch.webhooks).await {
            if !error.is_transient() {
                return self.write_each(batch, &error).await;
            }
            if failures == 0 {
                let attempts = batch.settlements.len();
                tracing::warn!(error = chain(&error), attempts, "attempts cannot be recorded yet; trying on");
            }
            failures += 1;
            if self.finished.is_closed() && failures > self.last_pauses {
                return abandon(&batch.settlements, &error);
            }
            tokio::time::sleep(self.pause).await;
            while batch.settlements.len() < BATCH_MAX
                && let Ok(finished) = self.finished.try_recv()
            {
                self.judge(finished, batch);
            }
        }
    }

    async fn write_once(
        &self,
        settlements: &[Settlement],
        webhooks: &BTreeSet<WebhookId>,
    ) -> Result<(), DatabaseError> {
        let changes: Vec<_> = webhooks.iter().filter_map(|webhook| self.endpoints.change(*webhook)).collect();
        self.ledger.write(settlements.to_vec(), changes.clone()).await?;
        changes.into_iter().for_each(|change| self.endpoints.written(change));
        Ok(())
    }

    /// Finds the one record that the database does not take, so that it costs no other its own.
    async fn write_each(&self, batch: &Batch, error: &DatabaseError) {
        if matches!(error, DatabaseError::Closed) {
            return abandon(&batch.settlements, error);
        }
        for settlement in &batch.settlements {
            if let Err(error) = self.write_once(std::slice::from_ref(settlement), &batch.webhooks).await {
                abandon(std::slice::from_ref(settlement), &error);
            }
        }
    }
}

fn log(delivery: &ClaimedDelivery, attempt: &Attempt, verdict: Verdict) {
    let ClaimedDelivery { webhook, event, kind, .. } = delivery;
    let webhook = webhook.id;
    let Attempt { number, error, .. } = attempt;
    match (verdict, error) {
        (Verdict::Exhausted, Some(error)) => {
            tracing::warn!(%webhook, %event, kind, attempt = number, error, "a webhook was given up");
        }
        (_, Some(error)) => {
            tracing::info!(%webhook, %event, kind, attempt = number, error, "a webhook failed")
        }
        (_, None) => tracing::debug!(%webhook, %event, kind, attempt = number, "a webhook was delivered"),
    }
}

fn abandon(batch: &[Settlement], error: &DatabaseError) {
    for settlement in batch {
        tracing::error!(
            error = chain(error),
            delivery = %settlement.id,
            attempt = settlement.attempt.number,
            "an attempt could not be recorded; it is made again when its lease has run out"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use mediahooks_database::Timings;
    use mediahooks_delivery::{AttemptResult, HealthPolicy, Outcome, RetryPolicy};
    use mediahooks_model::webhook::Subscriptions;
    use mediahooks_model::{DeliveryId, EventId, Timestamp, Webhook};
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
        async fn write(
            &self,
            settlements: Vec<Settlement>,
            _: Vec<HealthChange>,
        ) -> Result<(), DatabaseError> {
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

    fn finished(id: i64) -> Finished {
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
        let webhook = Webhook::new("https://example.com/", "", Subscriptions::default());
        let delivery = ClaimedDelivery {
            id: DeliveryId(id),
            webhook: Arc::new(webhook),
            attempt: 1,
            probes: 0,
            previous: None,
            event: EventId(uuid::Uuid::from_u128(1)),
            timestamp: Timestamp::EPOCH,
            kind: "media.completed".into(),
            body: "{}".into(),
        };
        let result = AttemptResult::Status { code: 200, retry_after: None };
        Finished { delivery, outcome: Outcome { result, duration: Duration::ZERO }, stale: false, attempt }
    }

    /// Settles deliveries 1 to 3, handed in before the settler runs; all of them are let go.
    async fn settle_three(ledger: &Scripted) {
        let (finished, to_settle) = mpsc::unbounded_channel();
        let lanes = Arc::new(SharedLanes::new(16, 16));
        let room = lanes.lock().room();
        for id in 1..=3 {
            lanes.lock().push(self::finished(id).delivery, Timestamp::EPOCH);
            finished.send(self::finished(id)).unwrap();
        }
        drop(finished);
        let endpoints = Arc::new(Endpoints::new(RetryPolicy::default(), HealthPolicy::default(), 16));
        let settler = Settler {
            ledger,
            endpoints,
            clock: Clock::default(),
            dice: Dice::default(),
            pause: Duration::ZERO,
            last_pauses: 3,
            finished: to_settle,
            lanes: lanes.clone(),
        };
        settler.run().await;
        assert_eq!(lanes.lock().room(), room);
    }

    #[tokio::test]
    async fn what_is_finished_together_is_written_together() {
        let ledger = Scripted::default();
        settle_three(&ledger).await;
        assert_eq!(*ledger.written.lock().unwrap(), [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_failing_disk_is_waited_for() {
        let ledger =
            Scripted { failures: Mutex::new(vec![unavailable(), unavailable()]), ..Scripted::default() };
        settle_three(&ledger).await;
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
        settle_three(&ledger).await;
        assert_eq!(*ledger.written.lock().unwrap(), [[1], [3]]);
    }
}
