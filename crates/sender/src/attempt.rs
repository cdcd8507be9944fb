//! One attempt: sign, send, decide what follows, hand the record in.
//!
//! Started by the dispatcher for a delivery it has leased. What always holds: every attempt that is not
//! cut by the end of the process hands in exactly one record.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use mediahooks_database::{Attempt, ClaimedDelivery, Settled, Settlement};
use mediahooks_delivery::{
    AttemptResult, FailureKind, InvalidSecret, Outcome, RetryPolicy, SigningKey, Verdict, after_attempt,
    signature_headers,
};
use mediahooks_model::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::surroundings::{Clock, Dice};
use crate::telemetry;
use crate::transport::{Exchanged, Transport};

/// What all attempts share.
pub(crate) struct Attempter<T> {
    pub(crate) transport: T,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) retry: RetryPolicy,
    /// To the settler.
    pub(crate) finished: UnboundedSender<Settlement>,
}

impl<T: Transport> Attempter<T> {
    /// Makes the attempt that `delivery` asks for.
    pub(crate) async fn attempt(&self, delivery: ClaimedDelivery, key: Result<SigningKey, InvalidSecret>) {
        let (started, begin) = (self.clock.now(), Instant::now());
        let sending = send(&self.transport, &delivery, key, started);
        // An attempt that were to vanish would hold its slot, and its webhook's others, for ever.
        let exchanged = AssertUnwindSafe(sending).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(delivery = %delivery.id, "sending a webhook panicked");
            Exchanged::failed(FailureKind::Protocol, "internal error: the server's log says more".into())
        });
        let took = begin.elapsed();
        let Exchanged { result, error, timings, request, response, stale } = exchanged;
        let settled = match self.what_follows(&delivery, result, took) {
            Settled::Retry { .. } if stale => Settled::Retry { at: self.clock.now() },
            settled => settled,
        };
        let attempt = Attempt {
            number: delivery.attempt,
            started,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            status: status_of(result),
            timings,
            error,
            request,
            response,
        };
        let settlement = Settlement { id: delivery.id, attempt, settled };
        log(&delivery, &settlement);
        telemetry::attempted(&delivery, &settlement);
        // The settler is gone only when everything is dropped at once.
        let _ = self.finished.send(settlement);
    }

    fn what_follows(&self, delivery: &ClaimedDelivery, result: AttemptResult, took: Duration) -> Settled {
        let number = NonZeroU32::new(delivery.attempt).unwrap_or(NonZeroU32::MIN);
        let outcome = Outcome { result, duration: took };
        match after_attempt(&self.retry, number, &outcome, self.clock.now(), self.dice.throw()) {
            Verdict::Delivered => Settled::Delivered,
            Verdict::Retry { at } => Settled::Retry { at },
            Verdict::Exhausted => Settled::Exhausted,
            Verdict::Gone => Settled::Gone,
        }
    }
}

async fn send(
    transport: &impl Transport,
    delivery: &ClaimedDelivery,
    key: Result<SigningKey, InvalidSecret>,
    started: Timestamp,
) -> Exchanged {
    let key = match key {
        Ok(key) => key,
        Err(invalid) => return Exchanged::refused(&format_args!("{invalid}. Refresh the webhook's secret")),
    };
    let body = delivery.body.clone();
    let id = delivery.event.to_string();
    let headers = signature_headers(&key, &id, started.as_seconds(), body.as_bytes());
    transport.send(delivery, &headers, body.into()).await
}

fn status_of(result: AttemptResult) -> Option<u16> {
    match result {
        AttemptResult::Status { code, .. } => Some(code),
        AttemptResult::Failed { .. } => None,
    }
}

fn log(delivery: &ClaimedDelivery, settlement: &Settlement) {
    let ClaimedDelivery { webhook, event, kind, .. } = delivery;
    let webhook = webhook.id;
    let Attempt { number, error, .. } = &settlement.attempt;
    match (&settlement.settled, error) {
        (Settled::Exhausted | Settled::Gone, Some(error)) => {
            tracing::warn!(%webhook, %event, kind, attempt = number, error, "a webhook was given up");
        }
        (_, Some(error)) => {
            tracing::info!(%webhook, %event, kind, attempt = number, error, "a webhook failed")
        }
        (_, None) => tracing::debug!(%webhook, %event, kind, attempt = number, "a webhook was delivered"),
    }
}
