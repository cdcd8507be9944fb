//! The world outside: endpoints, and what must be true of the requests that reach them.
//!
//! What is checked at every arrival: the event was committed, it is the one that its subject is owed next or
//! a repeat of the last one, its id is the same every time, and it was not acknowledged before on record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use mediahooks_database::ClaimedDelivery;
use mediahooks_delivery::{AttemptResult, FailureKind, SignatureHeaders};
use mediahooks_model::{Timestamp, WebhookId};
use mediahooks_sender::{Clock, Exchanged, Transport};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::Notify;

/// The time of a whole exchange, as in the sender's default.
const DEADLINE: Duration = Duration::from_secs(15);

/// A request, as an endpoint decides on it.
pub struct Request<'a> {
    pub webhook: WebhookId,
    pub subject: &'a str,
    pub now: Timestamp,
}

/// What an endpoint does with a request.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Accept,
    /// Takes it over, but the answer never arrives.
    AcceptSilently,
    Refuse(u16, Option<Duration>),
    /// Says nothing until the deadline.
    Hang,
    /// Says 200 and then a byte now and then until the deadline.
    Drip,
    /// Closes the connection.
    Reset,
    /// Its name does not resolve.
    NoName,
}

type Manners = dyn FnMut(&Request<'_>, &mut StdRng) -> Reply + Send;

/// One subject at one endpoint.
#[derive(Debug, Default)]
struct Line {
    /// Number of the newest event that arrived.
    seq: u64,
    id: String,
    /// Set when it was answered with 2xx.
    accepted: Option<Accepted>,
}

impl Line {
    /// Whether its newest event was accepted and is not sent again in this life.
    fn is_settled(&self, life: u32) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.recorded || accepted.life == life)
    }
}

#[derive(Debug)]
struct Accepted {
    /// In which life of the process.
    life: u32,
    /// Whether the record of it survived that life.
    recorded: bool,
}

/// One delivery, accepted.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub webhook: WebhookId,
    pub at: Timestamp,
    /// Since its event.
    pub took: Duration,
}

pub struct State {
    dice: StdRng,
    manners: Box<Manners>,
    /// Committed events by subject.
    committed: HashMap<String, u64>,
    lines: HashMap<(WebhookId, String), Line>,
    life: u32,
    in_flight: HashMap<WebhookId, u32>,
    /// Chance that the process dies as a request arrives, and as its answer does.
    pub death: f64,
    pub keeps_latencies: bool,
    pub latencies: Vec<Latency>,
    pub requests: u64,
    pub accepted: u64,
    pub repeats: u64,
    /// The most requests at one time, by webhook, since this was last emptied.
    pub in_flight_max: HashMap<WebhookId, u32>,
}

/// Everything outside the process. Clones share it.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    pub clock: Clock,
    /// The process has to die now.
    pub death: Arc<Notify>,
    /// Something was accepted.
    pub progress: Arc<Notify>,
}

impl World {
    /// To be made inside a paused runtime.
    pub fn seeded(
        seed: u64,
        manners: impl FnMut(&Request<'_>, &mut StdRng) -> Reply + Send + 'static,
    ) -> Self {
        let state = State {
            dice: StdRng::seed_from_u64(seed),
            manners: Box::new(manners),
            committed: HashMap::new(),
            lines: HashMap::new(),
            life: 0,
            in_flight: HashMap::new(),
            death: 0.0,
            keeps_latencies: false,
            latencies: Vec::new(),
            requests: 0,
            accepted: 0,
            repeats: 0,
            in_flight_max: HashMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            clock: Clock::simulated("2026-01-01T00:00:00Z".parse().unwrap()),
            death: Arc::default(),
            progress: Arc::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A failed check poisons it; the first failure is the one to see.
        self.state.lock().unwrap_or_else(|_| panic!("a check of the world failed before"))
    }

    pub fn random<T>(&self, throw: impl FnOnce(&mut StdRng) -> T) -> T {
        throw(&mut self.state().dice)
    }

    /// Other manners from now on.
    pub fn behave(&self, manners: impl FnMut(&Request<'_>, &mut StdRng) -> Reply + Send + 'static) {
        self.state().manners = Box::new(manners);
    }

    /// `count` events of `subject` are durable.
    pub fn committed(&self, subject: &str, count: u64) {
        self.state().committed.insert(subject.to_owned(), count);
    }

    /// A new life begins: what was in flight is gone.
    pub fn begin_life(&self) {
        let mut state = self.state();
        state.life += 1;
        state.in_flight.clear();
    }

    /// The record of what `subject` was last acknowledged by `webhook` with is durable.
    pub fn recorded(&self, webhook: WebhookId, subject: &str, seq: u64) {
        if let Some(line) = self.state().lines.get_mut(&(webhook, subject.to_owned()))
            && line.seq == seq
            && let Some(accepted) = &mut line.accepted
        {
            accepted.recorded = true;
        }
    }

    /// Acknowledgements whose record is not known to be durable.
    pub fn unrecorded(&self) -> usize {
        let state = self.state();
        let unrecorded = |line: &&Line| line.accepted.as_ref().is_some_and(|accepted| !accepted.recorded);
        state.lines.values().filter(unrecorded).count()
    }

    /// Whether all that was committed of each subject was accepted by `per_subject` webhooks, and on record or in
    /// this life.
    pub fn is_all_accepted(&self, per_subject: usize) -> bool {
        let state = self.state();
        let lines = state.lines.iter().filter(|((_, subject), line)| {
            line.is_settled(state.life) && state.committed.get(subject) == Some(&line.seq)
        });
        lines.count() == state.committed.len() * per_subject
    }

    /// The same of one subject at one webhook.
    pub fn is_accepted(&self, webhook: WebhookId, subject: &str) -> bool {
        let state = self.state();
        let key = (webhook, subject.to_owned());
        let line = state.lines.get(&key);
        line.is_some_and(|line| {
            line.is_settled(state.life) && state.committed.get(subject) == Some(&line.seq)
        })
    }

    fn die_now_and_then(&self) {
        let mut state = self.state();
        let chance = state.death;
        if chance > 0.0 && state.dice.random_bool(chance) {
            self.death.notify_one();
        }
    }
}

impl State {
    fn arrive(&mut self, delivery: &ClaimedDelivery, headers: &SignatureHeaders, subject: &str, seq: u64) {
        self.requests += 1;
        let webhook = delivery.webhook.id;
        let id = headers.named()[0].1;
        let what = format!("event {seq} of {subject} to webhook {webhook}, attempt {}", delivery.attempt);
        assert_eq!(id, delivery.event.to_string(), "{what}");
        let committed = self.committed.get(subject).copied().unwrap_or(0);
        assert!(seq <= committed, "{what}: a phantom, {committed} were committed");
        let line = self.lines.entry((webhook, subject.to_owned())).or_default();
        assert!(seq >= line.seq, "{what}: an inversion, {} arrived before", line.seq);
        if seq == line.seq {
            assert_eq!(line.id, id, "{what}: its id has changed");
            if let Some(accepted) = &line.accepted {
                assert!(accepted.life < self.life, "{what}: was acknowledged in this life");
                assert!(!accepted.recorded, "{what}: was acknowledged, on record");
                self.repeats += 1;
            }
        } else {
            assert_eq!(seq, line.seq + 1, "{what}: a hole");
            assert!(line.accepted.is_some() || line.seq == 0, "{what}: overtook the one before it");
            *line = Line { seq, id: id.to_owned(), accepted: None };
        }
        let in_flight = self.in_flight.entry(webhook).or_default();
        *in_flight += 1;
        let highest = self.in_flight_max.entry(webhook).or_default();
        *highest = (*highest).max(*in_flight);
    }

    fn accept(&mut self, delivery: &ClaimedDelivery, subject: &str, now: Timestamp) {
        let life = self.life;
        let webhook = delivery.webhook.id;
        if let Some(line) = self.lines.get_mut(&(webhook, subject.to_owned())) {
            line.accepted = Some(Accepted { life, recorded: false });
        }
        self.accepted += 1;
        if self.keeps_latencies {
            self.latencies.push(Latency { webhook, at: now, took: now.since(delivery.timestamp) });
        }
    }

    fn leave(&mut self, webhook: WebhookId) {
        if let Some(in_flight) = self.in_flight.get_mut(&webhook) {
            *in_flight = in_flight.saturating_sub(1);
        }
    }
}

impl Transport for World {
    async fn send(&self, delivery: &ClaimedDelivery, headers: &SignatureHeaders, body: Bytes) -> Exchanged {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let data = &body["data"];
        let subject = data["mediaAssetId"].as_str().unwrap();
        let seq = data["seq"].as_u64().unwrap();
        let (reply, latency) = {
            let mut state = self.state();
            let state = &mut *state;
            let request = Request { webhook: delivery.webhook.id, subject, now: self.clock.now() };
            let reply = (state.manners)(&request, &mut state.dice);
            if !matches!(reply, Reply::NoName) {
                state.arrive(delivery, headers, subject, seq);
            }
            (reply, Duration::from_micros(state.dice.random_range(2_000..20_000)))
        };
        self.die_now_and_then();
        let failed = |kind: FailureKind| Exchanged::failed(kind, kind.to_string());
        let answered = |code, retry_after| Exchanged::new(AttemptResult::Status { code, retry_after });
        tokio::time::sleep(latency).await;
        let exchanged = match reply {
            Reply::Accept => answered(204, None),
            Reply::AcceptSilently | Reply::Hang => {
                tokio::time::sleep(DEADLINE).await;
                failed(FailureKind::Timeout)
            }
            Reply::Drip => {
                tokio::time::sleep(DEADLINE).await;
                answered(200, None)
            }
            Reply::Refuse(code, retry_after) => {
                let error = Some(format!("the endpoint answered {code}"));
                Exchanged { error, ..answered(code, retry_after) }
            }
            Reply::Reset => failed(FailureKind::Io),
            Reply::NoName => return failed(FailureKind::Dns),
        };
        {
            let mut state = self.state();
            state.leave(delivery.webhook.id);
            if matches!(exchanged.result, AttemptResult::Status { code: 200..=299, .. }) {
                state.accept(delivery, subject, self.clock.now());
                self.progress.notify_one();
            }
        }
        self.die_now_and_then();
        exchanged
    }
}
