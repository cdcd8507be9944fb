//! What is known of each endpoint, and how much it may be sent now.
//!
//! The settler tells what attempts came to, the dispatcher asks for room; both decisions are made by
//! `delivery`. What always holds: this follows the database. A webhook that somebody else enabled, disabled or
//! moved to another URL is taken as it is there, and what was known of the endpoint before is forgotten.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mediahooks_database::{ClaimedDelivery, HealthChange, WebhookHealth};
use mediahooks_delivery::{Ended, Health, HealthPolicy, Outcome, Pace, RetryPolicy, Room, Verdict};
use mediahooks_model::webhook::Disabled;
use mediahooks_model::{Timestamp, Webhook, WebhookId};

/// Deliveries that are claimed ahead of a quick endpoint, for each request that may be in flight to it: they
/// wait for their turn and for the disk. Enough that it is not waited for transactions of some milliseconds.
const AHEAD_PER_SLOT: u32 = 7;

/// Every endpoint that anything is known of.
#[derive(Debug)]
pub(crate) struct Endpoints {
    retry: RetryPolicy,
    health: HealthPolicy,
    per_webhook: u32,
    known: Mutex<HashMap<WebhookId, Endpoint>>,
}

#[derive(Debug, Default)]
struct Endpoint {
    /// As last seen in the database.
    webhook: Option<Arc<Webhook>>,
    /// How it is disabled there, with what was written since.
    stored: Option<Disabled>,
    health: Health,
    pace: Pace,
    /// Deliveries that may be claimed beyond those that may be in flight: one more with each that is accepted,
    /// none after one that fails, so that an endpoint that hangs keeps nothing claimed.
    ahead: u32,
    /// Whether `health` is known here only.
    changed: bool,
}

/// What an attempt came to.
pub(crate) struct Judged<'a> {
    pub(crate) delivery: &'a ClaimedDelivery,
    pub(crate) outcome: &'a Outcome,
    pub(crate) error: Option<&'a str>,
    /// [`crate::Exchanged::stale`]
    pub(crate) stale: bool,
}

impl Endpoints {
    pub(crate) fn new(retry: RetryPolicy, health: HealthPolicy, per_webhook: u32) -> Self {
        Self { retry, health, per_webhook, known: Mutex::default() }
    }

    /// Takes up what was known when the process before this one ended.
    pub(crate) fn remember(&self, stored: Vec<(WebhookId, WebhookHealth)>) {
        let mut known = self.known();
        for (webhook, stored) in stored {
            let WebhookHealth { failures, failing_since, last_success, suspensions } = stored;
            let health = Health { failures, failing_since, last_success, suspensions, disabled: None };
            known.insert(webhook, Endpoint { health, ..Endpoint::default() });
        }
    }

    /// How many more deliveries of a webhook may be claimed, as it is in the database now; `claimed` are, of which
    /// the second number by the same claim.
    pub(crate) fn room(&self, webhook: &Arc<Webhook>, claimed: (u32, u32), now: Timestamp) -> Room {
        let mut known = self.known();
        let endpoint = known.entry(webhook.id).or_default();
        endpoint.look(webhook);
        // One with a rate limit is not claimed from faster than it may be sent to.
        let ahead = if webhook.rate_limit.is_none() { endpoint.ahead } else { 0 };
        endpoint.pace.room(&endpoint.health, self.per_webhook + ahead, webhook.rate_limit, claimed, now)
    }

    /// A delivery to it was claimed.
    pub(crate) fn claimed(&self, webhook: WebhookId) {
        if let Some(endpoint) = self.known().get_mut(&webhook) {
            endpoint.pace.started();
        }
    }

    /// Takes an attempt into account, in the order in which attempts are recorded.
    pub(crate) fn judge(&self, judged: &Judged<'_>, now: Timestamp, jitter: f64) -> Verdict {
        let Judged { delivery, outcome, error, stale } = *judged;
        let counted = delivery.attempt.saturating_sub(delivery.probes + u32::from(delivery.is_probe()));
        let ended = Ended {
            outcome,
            error,
            // A probe of what was never attempted otherwise is judged like a first attempt.
            number: NonZeroU32::new(counted).unwrap_or(NonZeroU32::MIN),
            previous: delivery.previous,
            probe: delivery.is_probe(),
        };
        let mut known = self.known();
        let endpoint = known.entry(delivery.webhook.id).or_default();
        if endpoint.webhook.as_ref().is_some_and(|seen| seen.url != delivery.webhook.url) {
            // The webhook moved meanwhile: its new endpoint has not failed, and is owed this one at once.
            return if outcome.delivered() { Verdict::Delivered } else { Verdict::Retry { at: now } };
        }
        if stale {
            // This says nothing about the endpoint, and the next attempt makes a connection of its own.
            return Verdict::Retry { at: now };
        }
        let before = endpoint.health.clone();
        let verdict = endpoint.health.judge(&self.retry, &self.health, ended, now, jitter);
        let delivered = verdict == Verdict::Delivered;
        let ahead_max = self.per_webhook.saturating_mul(AHEAD_PER_SLOT);
        endpoint.ahead = if delivered { (endpoint.ahead + 1).min(ahead_max) } else { 0 };
        endpoint.pace.ended(&endpoint.health, delivered, before.disabled.is_some(), self.per_webhook);
        // An endpoint that is well stays so with every success: that is nothing to write down.
        let still_well = delivered && before.failures == 0 && before.disabled.is_none();
        endpoint.changed |= !still_well;
        if before.disabled != endpoint.health.disabled {
            tell(delivery.webhook.id, endpoint.health.disabled.as_ref());
        }
        verdict
    }

    /// What is to be written down of a webhook to which attempts were made.
    pub(crate) fn change(&self, webhook: WebhookId) -> Option<HealthChange> {
        let known = self.known();
        let endpoint = known.get(&webhook).filter(|endpoint| endpoint.changed)?;
        let Health { failures, failing_since, last_success, suspensions, ref disabled } = endpoint.health;
        Some(HealthChange {
            webhook,
            url: endpoint.webhook.as_ref()?.url.clone(),
            health: WebhookHealth { failures, failing_since, last_success, suspensions },
            before: endpoint.stored.clone(),
            after: disabled.clone(),
        })
    }

    /// `change` was written down.
    pub(crate) fn written(&self, change: HealthChange) {
        if let Some(endpoint) = self.known().get_mut(&change.webhook) {
            endpoint.changed = false;
            endpoint.stored = change.after;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<WebhookId, Endpoint>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    /// Follows what others did to the webhook.
    fn look(&mut self, webhook: &Arc<Webhook>) {
        if self.webhook.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, webhook)) {
            return;
        }
        let moved = self.webhook.as_ref().is_some_and(|seen| seen.url != webhook.url);
        let (is, was) = (&webhook.disabled, &self.stored);
        if self.webhook.is_none() {
            self.health.disabled = is.clone();
        } else if moved || (is != was && *is != self.health.disabled) {
            self.health = Health { disabled: is.clone(), ..Health::default() };
            self.changed = false;
            self.pace.restart();
        }
        self.stored = is.clone();
        self.webhook = Some(webhook.clone());
    }
}

fn tell(webhook: WebhookId, disabled: Option<&Disabled>) {
    match disabled {
        None => tracing::info!(%webhook, "a webhook's endpoint is back: what it is owed is sent"),
        Some(Disabled { until: Some(until), reason }) => {
            let reason = reason.as_deref().unwrap_or_default();
            tracing::warn!(%webhook, %until, reason, "a webhook is suspended: what it is owed is held");
        }
        Some(Disabled { until: None, reason }) => {
            let reason = reason.as_deref().unwrap_or_default();
            tracing::warn!(%webhook, reason, "a webhook is disabled until somebody enables it");
        }
    }
}
