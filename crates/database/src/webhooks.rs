//! Webhooks.

use std::sync::Arc;

use mediahooks_model::webhook::{Disabled, PreviousSecret, StreamFilter, WebhookTls};
use mediahooks_model::{Timestamp, Webhook, WebhookId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, DatabaseError, Result, health};

/// Deliveries of a removed webhook that go in one transaction.
const DELETE_BATCH: u32 = 2000;

/// In the order [`stored`] reads.
const COLUMNS: &str =
    "id, url, secret, previous_secret, previous_secret_until_us, subscriptions, events, filter,
     token_ids, headers, rate_limit, include_download, client_certificate, client_key, ca_certificate,
     disabled, disabled_until_us, disabled_reason";

/// Removes unsettled deliveries of a webhook.
pub(crate) const FORGET: &str = "DELETE FROM delivery WHERE id IN
     (SELECT id FROM delivery WHERE webhook = ?1 AND state <= 1 ORDER BY subject, id LIMIT ?2)";

/// Numbers of removed webhooks that unsettled deliveries still name. Steps through the index from one
/// webhook to the next, however many deliveries each has.
pub(crate) const REMOVED_BUT_OWED: &str = "WITH RECURSIVE owed (webhook) AS (
     SELECT (SELECT webhook FROM delivery WHERE state <= 1 ORDER BY webhook LIMIT 1)
     UNION ALL
     SELECT (SELECT d.webhook FROM delivery d
     WHERE d.state <= 1 AND d.webhook > owed.webhook ORDER BY d.webhook LIMIT 1)
     FROM owed WHERE owed.webhook IS NOT NULL)
     SELECT webhook FROM owed WHERE webhook IS NOT NULL AND webhook NOT IN (SELECT id FROM webhook)";

/// Makes what a webhook is owed due, except what is being attempted.
pub(crate) const MAKE_DUE: &str = "UPDATE delivery SET next_us = ?2 WHERE id IN
     (SELECT id FROM delivery
     WHERE webhook = ?1 AND state = 1 AND next_us > ?2 LIMIT ?3)";

impl Database {
    /// Stores a new webhook under a number of its own; the `id` it came with is ignored.
    pub async fn create_webhook(&self, mut webhook: Webhook) -> Result<Webhook> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO webhook (url, secret, subscriptions, disabled) VALUES ('', '', '', 0)",
            )?
            .execute([])?;
            webhook.id = WebhookId(tx.last_insert_rowid());
            store(tx, &webhook)?;
            Ok(webhook)
        })
        .await
    }

    /// The webhook of this number.
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>> {
        self.read(move |tx| webhook(tx, id)).await
    }

    /// Webhooks in the order they were added (or the reverse), from `starting_id` on, included.
    pub async fn webhooks(&self, starting_id: Option<i64>, count: u32, desc: bool) -> Result<Vec<Webhook>> {
        self.read(move |tx| {
            let (compare, direction, edge) =
                if desc { ("<=", "DESC", i64::MAX) } else { (">=", "ASC", i64::MIN) };
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM webhook WHERE id {compare} ?1 ORDER BY id {direction} LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![starting_id.unwrap_or(edge), count], stored)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Changes a webhook as `change` says, and returns it. Nothing can happen to it between the two: `change`
    /// sees it as it is, suspended say, and keeps what it does not touch. With a new URL, when it is enabled
    /// thereby, and with `drain`, everything it is owed is due at once.
    ///
    /// Errors: [`DatabaseError::NotFound`]; inside, those of `change`, after which nothing has changed.
    pub async fn update_webhook<E: Send + 'static>(
        &self,
        id: WebhookId,
        drain: bool,
        now: Timestamp,
        change: impl FnOnce(&mut Webhook) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<Webhook, E>> {
        let changed = self.write(move |tx| {
            let old = webhook(tx, id)?.ok_or(DatabaseError::NotFound)?;
            let mut new = old.clone();
            if let Err(refused) = change(&mut new) {
                return Ok(Err(refused));
            }
            new.id = id;
            store(tx, &new)?;
            let enabled = old.disabled.is_some() && new.disabled.is_none();
            let renewed = enabled || drain || old.url != new.url;
            if renewed {
                health::forget(tx, id)?;
            }
            Ok(Ok((new, renewed)))
        });
        match changed.await? {
            Ok((webhook, renewed)) => {
                if renewed {
                    self.make_due(id, now).await?;
                }
                Ok(Ok(webhook))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Stops sending to a webhook; what it is owed is held.
    ///
    /// Errors: [`DatabaseError::NotFound`].
    pub async fn suspend_webhook(&self, id: WebhookId, disabled: Disabled) -> Result<()> {
        self.write(
            move |tx| if disable(tx, id, Some(&disabled))? { Ok(()) } else { Err(DatabaseError::NotFound) },
        )
        .await
    }

    /// Removes a webhook and everything it is still owed; false when there is none.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<bool> {
        let found = self
            .write(move |tx| {
                tx.webhook_changed(id);
                health::forget(tx, id)?;
                Ok(tx.prepare_cached("DELETE FROM webhook WHERE id = ?1")?.execute([Sql(id)])? > 0)
            })
            .await?;
        // Without its webhook a delivery is never claimed; pruning finishes this after a crash.
        while found && self.write(move |tx| forget_deliveries(tx, id, DELETE_BATCH)).await? > 0 {}
        Ok(found)
    }
}

/// The webhook of this number.
pub(crate) fn webhook(tx: &Connection, id: WebhookId) -> Result<Option<Webhook>> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM webhook WHERE id = ?1"))?;
    Ok(statement.query_row([Sql(id)], stored).optional()?)
}

/// The webhook of this number, from those that the writer keeps.
pub(crate) fn kept(tx: &Writing<'_>, id: WebhookId) -> Result<Option<Arc<Webhook>>> {
    let webhooks = tx.webhooks()?;
    Ok(webhooks.binary_search_by_key(&id, |webhook| webhook.id).ok().map(|at| webhooks[at].clone()))
}

/// The numbers of all webhooks.
pub(crate) fn ids(tx: &Connection) -> Result<Vec<WebhookId>> {
    let mut statement = tx.prepare_cached("SELECT id FROM webhook ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Every webhook, oldest first.
pub(crate) fn all(tx: &Connection) -> Result<Vec<Webhook>> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM webhook ORDER BY id"))?;
    let rows = statement.query_map([], stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Disables a webhook, or enables it; false when there is none.
pub(crate) fn disable(tx: &Writing<'_>, id: WebhookId, disabled: Option<&Disabled>) -> Result<bool> {
    let (until, reason) = disabled.map(|disabled| (disabled.until, disabled.reason.as_deref())).unzip();
    let changed = tx
        .prepare_cached(
            "UPDATE webhook SET disabled = ?2, disabled_until_us = ?3, disabled_reason = ?4 WHERE id = ?1",
        )?
        .execute(params![Sql(id), disabled.is_some(), until.flatten().map(Sql), reason.flatten()])?;
    tx.webhook_changed(id);
    Ok(changed > 0)
}

/// Drops the secret before the newest one.
pub(crate) fn forget_previous_secret(tx: &Writing<'_>, id: WebhookId) -> Result<()> {
    tx.prepare_cached(
        "UPDATE webhook SET previous_secret = NULL, previous_secret_until_us = NULL WHERE id = ?1",
    )?
    .execute([Sql(id)])?;
    tx.webhook_changed(id);
    Ok(())
}

/// Removes up to `limit` unsettled deliveries of a webhook; returns how many.
pub(crate) fn forget_deliveries(tx: &Connection, id: WebhookId, limit: u32) -> Result<usize> {
    let removed = tx.prepare_cached(FORGET)?.execute(params![Sql(id), limit])?;
    Ok(removed)
}

/// Numbers of removed webhooks that unsettled deliveries still name.
pub(crate) fn removed_but_owed(tx: &Connection) -> Result<Vec<WebhookId>> {
    let mut statement = tx.prepare_cached(REMOVED_BUT_OWED)?;
    let rows = statement.query_map([], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Stores every member of a webhook that exists.
fn store(tx: &Writing<'_>, webhook: &Webhook) -> Result<()> {
    let previous = webhook.previous_secret.as_ref();
    let tls = webhook.tls.as_ref();
    let disabled = webhook.disabled.as_ref();
    tx.prepare_cached(
        "UPDATE webhook SET url = ?2, secret = ?3, previous_secret = ?4, previous_secret_until_us = ?5,
             subscriptions = ?6, events = ?7, filter = ?8, token_ids = ?9, headers = ?10, rate_limit = ?11,
             include_download = ?12, client_certificate = ?13, client_key = ?14, ca_certificate = ?15,
             disabled = ?16, disabled_until_us = ?17, disabled_reason = ?18
         WHERE id = ?1",
    )?
    .execute(params![
        Sql(webhook.id),
        webhook.url,
        webhook.secret,
        previous.map(|previous| &previous.secret),
        previous.map(|previous| Sql(previous.until)),
        Sql(json!(webhook.subscriptions)),
        Sql(json!(webhook.events)),
        webhook.filter.as_ref().map(StreamFilter::as_str),
        Sql(json!(webhook.token_ids)),
        Sql(json!(webhook.headers)),
        webhook.rate_limit,
        webhook.include_download,
        tls.and_then(|tls| tls.client_certificate.as_ref()),
        tls.and_then(|tls| tls.client_key.as_ref()),
        tls.and_then(|tls| tls.ca_certificate.as_ref()),
        disabled.is_some(),
        disabled.and_then(|disabled| disabled.until).map(Sql),
        disabled.and_then(|disabled| disabled.reason.as_ref()),
    ])?;
    tx.webhook_changed(webhook.id);
    Ok(())
}

/// Reads a row of [`COLUMNS`].
fn stored(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let Sql(id) = row.get(0)?;
    let previous_secret = match (row.get(3)?, row.get(4)?) {
        (Some(secret), Some(Sql(until))) => Some(PreviousSecret { secret, until }),
        _ => None,
    };
    let tls = WebhookTls {
        client_certificate: row.get(12)?,
        client_key: row.get(13)?,
        ca_certificate: row.get(14)?,
    };
    let disabled = if row.get(15)? {
        Some(Disabled { until: row.get::<_, Option<Sql<_>>>(16)?.map(|at| at.0), reason: row.get(17)? })
    } else {
        None
    };
    Ok(Webhook {
        id,
        url: row.get(1)?,
        secret: row.get(2)?,
        previous_secret,
        subscriptions: json_column(row, 5)?,
        events: json_column(row, 6)?,
        filter: row.get::<_, Option<String>>(7)?.map(StreamFilter::stored),
        token_ids: json_column(row, 8)?,
        headers: json_column(row, 9)?,
        rate_limit: row.get(10)?,
        include_download: row.get(11)?,
        tls: Some(tls).filter(|tls| *tls != WebhookTls::default()),
        disabled,
    })
}

/// Reads a value that is stored as JSON.
fn json_column<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let Sql(value): Sql<serde_json::Value> = row.get(index)?;
    serde_json::from_value(value)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into()))
}
