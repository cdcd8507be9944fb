//! The queue of deliveries: who may attempt what, and what came of it.

use crate::{ClaimedDelivery, Database, DatabaseError, Delivery, Result, Settlement};
use mediahooks_model::{DeliveryId, Timestamp, WebhookId};
use std::time::Duration;

impl Database {
    /// Leases due deliveries to `owner` for `lease`: at most `total`, oldest first per webhook, taking
    /// turns between webhooks, none of a disabled one. `busy` says how many each webhook has in flight
    /// already, which counts against `per_webhook_max`.
    pub async fn claim_deliveries(
        &self,
        owner: &str,
        now: Timestamp,
        lease: Duration,
        per_webhook_max: u32,
        busy: &[(WebhookId, u32)],
        total: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        unimplemented!()
    }

    /// Records attempts and what follows from them. One whose lease `owner` lost to another, or whose
    /// number was recorded before, is ignored. The next event of a subject becomes due when the one
    /// before it is delivered or exhausted.
    pub async fn settle(&self, settlements: Vec<Settlement>, owner: &str, now: Timestamp) -> Result<()> {
        unimplemented!()
    }

    /// When the next delivery, of a webhook that is not disabled then, is due or its lease runs out.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        unimplemented!()
    }

    /// A page of a webhook's delivery log, newest first, before the delivery given.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        unimplemented!()
    }

    /// Gives up every lease of `owner`, at a clean shutdown and at the start after a crash: what it
    /// had leased is due now.
    pub async fn release_leases(&self, owner: &str, now: Timestamp) -> Result<()> {
        unimplemented!()
    }
}
