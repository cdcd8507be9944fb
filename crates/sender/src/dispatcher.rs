//! Claims what is due and starts attempts.
//!
//! One loop; it wakes when the database says that something is due, when a slot was given back, when the
//! moment comes at which something falls due, and every few seconds in case that the clock was set. The database hands out only the oldest unsettled delivery of each
//! webhook and subject, so order is its to keep; which endpoint gets how much is decided by `slots`.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{ClaimedDelivery, Database, DatabaseError, Room};
use mediahooks_model::{Timestamp, Webhook};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
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

/// The pause after a claim that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// When there may be something to claim.
type Due = watch::Receiver<Option<Timestamp>>;

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
        self.database.release_leases(&self.owner).await
    }

    async fn dispatch(&mut self, shutdown: &CancellationToken) {
        let mut due = self.database.subscribe_due();
        while !shutdown.is_cancelled() {
            let wait = match self.claim_all(&mut due).await {
                Ok(wait) => wait,
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
                changed = due.changed() => if changed.is_err() { return },
                Some(settled) = self.settled.recv() => self.free(settled),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts an attempt of everything due that there are slots for; returns how long nothing else falls due,
    /// as far as is known.
    async fn claim_all(&mut self, due: &mut Due) -> Result<Duration, DatabaseError> {
        while let Some(offer) = self.slots.offer() {
            let now = self.clock.now();
            match *due.borrow_and_update() {
                None => break,
                // Rounded up: a timer that fires a moment early finds nothing and looks again at once.
                Some(at) if at > now => return Ok((at.since(now) + Duration::from_millis(1)).min(LOOK_EVERY)),
                Some(_) => {}
            }
            let room = self.room(offer.per_webhook_max, now);
            let claimed =
                self.database.claim_deliveries(&self.owner, now, self.lease, room, offer.total).await?;
            claimed.into_iter().for_each(|delivery| self.start(delivery));
        }
        Ok(LOOK_EVERY)
    }

    /// How many more requests may be made to each webhook.
    fn room(
        &self,
        in_flight_max: u32,
        now: Timestamp,
    ) -> impl Fn(&Arc<Webhook>, u32) -> Room + Send + 'static {
        let endpoints = self.endpoints.clone();
        move |webhook, in_flight| {
            let room = endpoints.room(webhook, in_flight, now);
            let more = room.requests.min(in_flight_max.saturating_sub(in_flight));
            Room { more, at: room.more_at }
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
