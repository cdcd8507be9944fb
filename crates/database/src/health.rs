//! What is known of endpoints: stored with the attempts it comes from.
//!
//! `sender` decides; this keeps it over restarts. What always holds: a webhook is disabled or enabled by an
//! attempt only if nobody else changed that, or its URL, since the attempt's maker last looked.

use mediahooks_model::{Timestamp, WebhookId};
use rusqlite::{Connection, params};

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, HealthChange, Result, WebhookHealth, webhooks};

/// Deliveries that are made due in one transaction.
const DUE_BATCH: u32 = 1000;

impl Database {
    /// What is known of every endpoint that has failed.
    pub async fn webhook_health(&self) -> Result<Vec<(WebhookId, WebhookHealth)>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT webhook, failures, failing_since_us, last_success_us, suspensions
                 FROM webhook_health ORDER BY webhook",
            )?;
            let moment = |at: Option<Sql<Timestamp>>| at.map(|at| at.0);
            let rows = statement.query_map([], |row| {
                let health = WebhookHealth {
                    failures: row.get(1)?,
                    failing_since: moment(row.get(2)?),
                    last_success: moment(row.get(3)?),
                    suspensions: row.get(4)?,
                };
                Ok((row.get::<_, Sql<_>>(0)?.0, health))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Makes what a webhook is owed due now, except what is being attempted. In small transactions: every
    /// delivery that was attempted may be due later.
    pub(crate) async fn make_due(&self, webhook: WebhookId, now: Timestamp) -> Result<()> {
        while self.write(move |tx| make_due(tx, webhook, now)).await? == DUE_BATCH as usize {}
        Ok(())
    }
}

/// Makes up to [`DUE_BATCH`] of what a webhook is owed due now; returns how many.
fn make_due(tx: &Writing<'_>, webhook: WebhookId, now: Timestamp) -> Result<usize> {
    tx.queue().look(webhook, now);
    tx.queue().renew(webhook);
    Ok(tx.prepare_cached(webhooks::MAKE_DUE)?.execute(params![Sql(webhook), Sql(now), DUE_BATCH])?)
}

/// Applies a change, unless somebody else changed the webhook meanwhile; whether it enabled the webhook.
pub(crate) fn apply(tx: &Writing<'_>, change: &HealthChange) -> Result<bool> {
    let HealthChange { webhook: id, url, health, before, after } = change;
    let Some(webhook) = webhooks::kept(tx, *id)? else { return Ok(false) };
    if webhook.url != *url || webhook.disabled != *before {
        tracing::debug!(webhook = %id, "a webhook was changed while it was attempted: its health begins anew");
        return Ok(false);
    }
    store(tx, *id, health)?;
    if before == after {
        return Ok(false);
    }
    webhooks::disable(tx, *id, after.as_ref())?;
    Ok(after.is_none())
}

fn store(tx: &Connection, webhook: WebhookId, health: &WebhookHealth) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO webhook_health (webhook, failures, failing_since_us, last_success_us, suspensions)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (webhook) DO UPDATE SET failures = excluded.failures,
             failing_since_us = excluded.failing_since_us, last_success_us = excluded.last_success_us,
             suspensions = excluded.suspensions",
    )?
    .execute(params![
        Sql(webhook),
        health.failures,
        health.failing_since.map(Sql),
        health.last_success.map(Sql),
        health.suspensions,
    ])?;
    Ok(())
}

/// Forgets what is known of an endpoint: it is another one now, or an operator says that it is well.
pub(crate) fn forget(tx: &Connection, webhook: WebhookId) -> Result<()> {
    tx.prepare_cached("DELETE FROM webhook_health WHERE webhook = ?1")?.execute([Sql(webhook)])?;
    Ok(())
}
