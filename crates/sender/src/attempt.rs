//! One attempt: sign, send, hand in what it came to.
//!
//! Started by the dispatcher for a delivery it has leased; the task of an attempt goes on with whatever is to be
//! sent next. What always holds: every attempt that is not cut by the end of the process hands in exactly one
//! record.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use mediahooks_database::{Attempt, ClaimedDelivery};
use mediahooks_delivery::{
    AttemptResult, FailureKind, InvalidSecret, Outcome, SigningKey, signature_headers,
};
use mediahooks_model::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::downloads::DownloadLinks;
use crate::keys::Keys;
use crate::lanes::SharedLanes;
use crate::surroundings::Clock;
use crate::transport::{Exchanged, Transport};

/// What all attempts share.
pub(crate) struct Attempter<T> {
    pub(crate) transport: T,
    pub(crate) clock: Clock,
    pub(crate) keys: Mutex<Keys>,
    pub(crate) downloads: Option<DownloadLinks>,
    pub(crate) lanes: Arc<SharedLanes>,
    /// To the settler.
    pub(crate) finished: UnboundedSender<Finished>,
}

/// An attempt that was made.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) delivery: ClaimedDelivery,
    pub(crate) outcome: Outcome,
    /// [`Exchanged::stale`]
    pub(crate) stale: bool,
    pub(crate) attempt: Attempt,
}

impl<T: Transport> Attempter<T> {
    /// Makes the attempt that `first` asks for, and others in its slot for as long as there are any.
    pub(crate) async fn work(&self, first: ClaimedDelivery) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            let webhook = delivery.webhook.id;
            let well = self.attempt(delivery).await;
            next = self.lanes.ended(webhook, well, self.clock.now());
        }
    }

    /// Makes one attempt; whether the endpoint took it, or nothing is known of it.
    async fn attempt(&self, delivery: ClaimedDelivery) -> bool {
        let (started, begin) = (self.clock.now(), Instant::now());
        let key = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&delivery.webhook, started);
        let sending = self.send(&delivery, key, started);
        // An attempt that were to vanish would hold its slot, and its webhook's others, for ever.
        let exchanged = AssertUnwindSafe(sending).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(delivery = %delivery.id, "sending a webhook panicked");
            Exchanged::failed(FailureKind::Protocol, "internal error: the server's log says more".into())
        });
        let took = begin.elapsed();
        let Exchanged { result, error, timings, request, response, stale } = exchanged;
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
        let outcome = Outcome { result, duration: took };
        let well = stale || outcome.delivered();
        // The settler is gone only when everything is dropped at once.
        let _ = self.finished.send(Finished { delivery, outcome, stale, attempt });
        well
    }

    async fn send(
        &self,
        delivery: &ClaimedDelivery,
        key: Result<SigningKey, InvalidSecret>,
        started: Timestamp,
    ) -> Exchanged {
        let key = match key {
            Ok(key) => key,
            Err(invalid) => {
                return Exchanged::refused(&format_args!("{invalid}. Refresh the webhook's secret"));
            }
        };
        let linked = match &self.downloads {
            Some(downloads) => downloads.body(delivery).await,
            None => None,
        };
        let body = linked.unwrap_or_else(|| delivery.body.clone());
        let id = delivery.event.to_string();
        let headers = signature_headers(&key, &id, started.as_seconds(), body.as_bytes());
        self.transport.send(delivery, &headers, body.into()).await
    }
}

fn status_of(result: AttemptResult) -> Option<u16> {
    match result {
        AttemptResult::Status { code, .. } => Some(code),
        AttemptResult::Failed { .. } => None,
    }
}
