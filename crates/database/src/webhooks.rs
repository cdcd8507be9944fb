//! Webhooks.

use crate::{Database, DatabaseError, Result};
use mediahooks_model::webhook::Disabled;
use mediahooks_model::{Timestamp, Webhook, WebhookId};

impl Database {
    /// Stores a new webhook under a number of its own; the `id` it came with is ignored.
    pub async fn create_webhook(&self, webhook: Webhook) -> Result<Webhook> {
        unimplemented!()
    }

    /// The webhook of this number.
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>> {
        unimplemented!()
    }

    /// Webhooks in the order they were added (or the reverse), from `starting_id` on, included.
    pub async fn webhooks(&self, starting_id: Option<i64>, count: u32, desc: bool) -> Result<Vec<Webhook>> {
        unimplemented!()
    }

    /// Stores every member of a webhook that exists. With a new URL, or when it was disabled and no
    /// longer is, everything it is owed is due at once.
    ///
    /// Errors: [`DatabaseError::NotFound`].
    pub async fn replace_webhook(&self, webhook: Webhook, now: Timestamp) -> Result<()> {
        unimplemented!()
    }

    /// Stops sending to a webhook; what it is owed is held.
    ///
    /// Errors: [`DatabaseError::NotFound`].
    pub async fn suspend_webhook(&self, id: WebhookId, disabled: Disabled) -> Result<()> {
        unimplemented!()
    }

    /// Removes a webhook and everything it is still owed; false when there is none.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<bool> {
        unimplemented!()
    }
}
