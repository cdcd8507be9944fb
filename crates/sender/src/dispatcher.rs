//! Claims what is due and starts attempts.
//!
//! One loop; it wakes when the database says that something is due, when there is room again, when the moment
//! comes at which something falls due, and every few seconds in case that the clock was set. The database hands
//! out only the oldest unsettled delivery of each webhook and subject, so order is its to keep; which endpoint
//! gets how much is decided by `lanes` and `health`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mediahooks_database::{Database, DatabaseError, Room};
use mediahooks_model::{Timestamp, Webhook, chain};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempter;
use crate::config::SenderConfig;
use crate::health::Endpoints;
use crate::lanes::SharedLanes;
use crate::surroundings::Clock;
use crate::transport::Transport;

/// The longest time without looking for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Deliveries claimed at once at most, so that nobody who writes waits for long.
const CLAIM_MAX: u32 = 256;

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
    /// How long after its claim a delivery may still be attempted within its lease.
    start_within: Duration,
    lanes: Arc<SharedLanes>,
    endpoints: Arc<Endpoints>,
    attempter: Arc<Attempter<T>>,
    attempts: JoinSet<()>,
}

impl<T: Transport> Dispatcher<T> {
    pub(crate) fn new(
        database: Database,
        config: &SenderConfig,
        endpoints: Arc<Endpoints>,
        attempter: Attempter<T>,
    ) -> Self {
        Self {
            database,
            clock: attempter.clock,
            owner: config.owner.clone(),
            lease: config.lease,
            grace: config.grace,
            start_within: config.lease.saturating_sub(config.deadline),
            lanes: attempter.lanes.clone(),
            endpoints,
            attempter: Arc::new(attempter),
            attempts: JoinSet::new(),
        }
    }

    /// Runs until `shutdown` or the end of the database, then waits for attempts in flight.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        if shutdown.run_until_cancelled(self.take_over()).await.is_some() {
            self.dispatch(&shutdown).await;
        }
        self.lanes.lock().close();
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
            tracing::warn!(
                error = chain(&error),
                "what the process before this one left cannot be taken over yet"
            );
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
                    tracing::error!(error = chain(&error), "due webhooks cannot be read; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                changed = due.changed() => if changed.is_err() { return },
                () = self.lanes.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Claims everything due that there is room for, and starts what may be started; returns how long nothing
    /// else falls due, as far as is known.
    async fn claim_all(&mut self, due: &mut Due) -> Result<Duration, DatabaseError> {
        loop {
            self.start_all();
            let (room, returned) = {
                let mut lanes = self.lanes.lock();
                (lanes.room(), lanes.take_returned())
            };
            if !returned.is_empty() {
                self.database.return_leases(&self.owner, returned).await?;
            }
            let now = self.clock.now();
            match *due.borrow_and_update() {
                // Rounded up: a timer that fires a moment early finds nothing and looks again at once.
                Some(at) if at > now => return Ok((at.since(now) + Duration::from_millis(1)).min(LOOK_EVERY)),
                Some(_) if room > 0 => {}
                _ => return Ok(LOOK_EVERY),
            }
            let (most, room) = (room.min(CLAIM_MAX), self.room(room, now));
            let claimed = self.database.claim_deliveries(&self.owner, now, self.lease, room, most).await?;
            let start_by = now.plus(self.start_within);
            let mut lanes = self.lanes.lock();
            for delivery in claimed {
                self.endpoints.claimed(delivery.webhook.id);
                lanes.push(delivery, start_by);
            }
        }
    }

    /// Starts what there are slots for.
    fn start_all(&mut self) {
        while self.attempts.try_join_next().is_some() {}
        let now = self.clock.now();
        loop {
            let Some(delivery) = self.lanes.lock().next(now) else { break };
            let attempter = self.attempter.clone();
            self.attempts.spawn(async move { attempter.work(delivery).await });
        }
    }

    /// How many more deliveries of each webhook may be claimed.
    fn room(&self, claimed_max: u32, now: Timestamp) -> impl Fn(&Arc<Webhook>, u32) -> Room + Send + 'static {
        let endpoints = self.endpoints.clone();
        // Claimed before this claim: one that has several turns is granted more than its requests say.
        let before = Mutex::new(HashMap::new());
        move |webhook, claimed| {
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            let granted = claimed.saturating_sub(*before.entry(webhook.id).or_insert(claimed));
            let room = endpoints.room(webhook, (claimed, granted), now);
            // As many as are left for all others.
            let more = room.requests.min(claimed_max.saturating_sub(claimed));
            Room { more, at: room.more_at }
        }
    }
}
