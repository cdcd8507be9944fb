//! Claims what is due and starts attempts.
//!
//! One loop; it wakes when a commit made something due, when a slot was given back, when the database
//! says that something falls due, and every few seconds for what no signal tells (a clock that was set,
//! a row that another tool changed). The database hands out only the oldest unsettled delivery of each
//! webhook and subject, so order is its to keep; which endpoint gets how much is decided by `slots`.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{ClaimedDelivery, Database, DatabaseError};
use mediahooks_model::{Timestamp, Webhook};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempter;
use crate::config::SenderConfig;
use crate::health::Endpoints;
use crate::keys::Keys;
use crate::settle::Settled;
use crate::slots::Slots;
use crate::surroundings::Clock;
use crate::transport::Transport;

/// The longest time without looking for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same when something is due that was not claimed, though there is room for it: its record is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The pause after a claim that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The loop and its state.
pub(crate) struct Dispatcher<T> {
    database: Database,
    clock: Clock,
    owner: String,
    lease: Duration,
    grace: Duration,
    slots: Slots,
    endpoints: Arc<Endpoints>,
    keys: Keys,
    attempter: Arc<Attempter<T>>,
    attempts: JoinSet<()>,
    settled: UnboundedReceiver<Settled>,
}

impl<T: Transport> Dispatcher<T> {
    pub(crate) fn new(
        database: Database,
        config: &SenderConfig,
        endpoints: Arc<Endpoints>,
        attempter: Attempter<T>,
        settled: UnboundedReceiver<Settled>,
    ) -> Self {
        Self {
            database,
            clock: attempter.clock,
            owner: config.owner.clone(),
            lease: config.lease,
            grace: config.grace,
            slots: Slots::new(config.per_webhook, config.total),
            endpoints,
            keys: Keys::default(),
            attempter: Arc::new(attempter),
            attempts: JoinSet::new(),
            settled,
        }
    }

    /// Runs until `shutdown` or the end of the database, then waits for attempts in flight.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        if shutdown.run_until_cancelled(self.take_over()).await.is_some() {
            self.dispatch(&shutdown).await;
        }
        let ended = async { while self.attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, ended).await.is_err() {
            let cut = self.attempts.len();
            tracing::info!(cut, "webhook requests were cut by the shutdown; they will be sent again");
            self.attempts.shutdown().await;
        }
    }

    /// Takes up what the process before this one knew, and makes due now what it had leased.
    async fn take_over(&self) {
        while let Err(error) = self.remember().await {
            tracing::warn!(%error, "what the process before this one left cannot be taken over yet");
            if matches!(error, DatabaseError::Closed) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn remember(&self) -> Result<(), DatabaseError> {
        self.endpoints.remember(self.database.webhook_health().await?);
        self.database.release_leases(&self.owner, self.clock.now()).await
    }

    async fn dispatch(&mut self, shutdown: &CancellationToken) {
        let mut committed = self.database.subscribe_committed();
        while !shutdown.is_cancelled() {
            committed.mark_unchanged();
            let wait = match self.claim_all().await {
                Ok(claimed) => self.until_due(claimed).await,
                Err(DatabaseError::Closed) => {
                    return tracing::debug!("the database is closed: no more webhooks are sent");
                }
                Err(error) => {
                    tracing::error!(%error, "due webhooks cannot be read; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                changed = committed.changed() => if changed.is_err() { return },
                Some(settled) = self.settled.recv() => self.free(settled),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts an attempt of everything due that there are slots for; returns the time it was due by.
    async fn claim_all(&mut self) -> Result<Timestamp, DatabaseError> {
        let mut now = self.clock.now();
        while let Some(offer) = self.slots.offer() {
            let room = self.room(offer.per_webhook_max, now);
            let claimed =
                self.database.claim_deliveries(&self.owner, now, self.lease, room, offer.total).await?;
            let more = u32::try_from(claimed.len()).is_ok_and(|claimed| claimed == offer.total);
            claimed.into_iter().for_each(|delivery| self.start(delivery));
            if !more {
                break;
            }
            now = self.clock.now();
        }
        Ok(now)
    }

    /// How many more requests may be made to each webhook.
    fn room(&self, in_flight_max: u32, now: Timestamp) -> impl Fn(&Arc<Webhook>) -> u32 + Send + 'static {
        let (endpoints, busy) = (self.endpoints.clone(), self.slots.busy());
        move |webhook| {
            let in_flight = busy.get(&webhook.id).copied().unwrap_or(0);
            endpoints.room(webhook, in_flight, now).min(in_flight_max.saturating_sub(in_flight))
        }
    }

    /// How long there is nothing to claim, as far as is known, after all that was due by `claimed` was claimed.
    async fn until_due(&self, claimed: Timestamp) -> Duration {
        // Whoever has no room gets some when an attempt ends, which is told, or with time.
        let (endpoints, busy) = (self.endpoints.clone(), self.slots.busy());
        let has_room = move |webhook: &Webhook| {
            let in_flight = busy.get(&webhook.id).copied().unwrap_or(0);
            endpoints.has_room(webhook.id, in_flight, claimed)
        };
        match self.database.next_due(claimed, has_room).await {
            Ok(Some(due)) if due <= claimed => LOOK_AGAIN,
            Ok(due) => match due.into_iter().chain(self.endpoints.more_room_at(claimed)).min() {
                // Rounded up: a timer that fires a moment early finds nothing and looks again at once.
                Some(at) => (at.since(self.clock.now()) + Duration::from_millis(1)).min(LOOK_EVERY),
                None => LOOK_EVERY,
            },
            Err(error) => {
                tracing::warn!(%error, "the time of the next due webhook cannot be read");
                PAUSE
            }
        }
    }

    fn start(&mut self, delivery: ClaimedDelivery) {
        if !self.slots.take(delivery.id, delivery.attempt, delivery.webhook.id) {
            return;
        }
        let key = self.keys.get(&delivery.webhook, self.clock.now());
        self.endpoints.started(delivery.webhook.id);
        let attempter = self.attempter.clone();
        self.attempts.spawn(async move { attempter.attempt(delivery, key).await });
    }

    /// Gives back the slot of `settled` and of whatever else was settled with it.
    fn free(&mut self, settled: Settled) {
        self.slots.free(settled.delivery, settled.attempt);
        while let Ok(settled) = self.settled.try_recv() {
            self.slots.free(settled.delivery, settled.attempt);
        }
        while self.attempts.try_join_next().is_some() {}
    }
}
