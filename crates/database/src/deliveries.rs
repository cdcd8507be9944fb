//! The queue of deliveries: who may attempt what, and what came of it.
//!
//! What always holds: of one webhook and subject at most the oldest unsettled delivery is pending,
//! the others wait; a delivery is attempted by whoever holds its lease, and each attempt number is
//! recorded once. A lease that ran out is a due delivery again: `next_us` is its end.

use std::sync::Arc;
use std::time::Duration;

use mediahooks_model::webhook::Disabled;
use mediahooks_model::{DeliveryId, EventId, Timestamp, Webhook, WebhookId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::outbox::number;
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{
    Attempt, ClaimedDelivery, Database, DatabaseError, Delivery, DeliveryState, HealthChange, Result,
    Settled, Settlement, Timings, health, webhooks,
};

/// Due deliveries of a webhook.
pub(crate) const OLDEST_DUE: &str =
    "SELECT next_us, id FROM delivery WHERE webhook = ?1 AND state = 1 AND next_us <= ?2
     ORDER BY next_us, id LIMIT ?3";

/// What a disabled endpoint is probed with: whatever was not attempted for longest, due or not.
pub(crate) const PROBE: &str =
    "SELECT next_us, id FROM delivery WHERE webhook = ?1 AND state = 1 AND lease_owner IS NULL
     ORDER BY next_us, id LIMIT 1";

/// When a webhook's first delivery is due.
pub(crate) const FIRST_DUE: &str =
    "SELECT next_us FROM delivery WHERE webhook = ?1 AND state = 1 ORDER BY next_us LIMIT 1";

/// A page of a webhook's delivery log.
pub(crate) const LOG: &str = "SELECT d.id, e.id, e.kind, d.subject, e.timestamp_us, d.state,
     CASE WHEN d.lease_owner IS NULL THEN d.next_us END
     FROM delivery d JOIN event e ON e.seq = d.event
     WHERE d.webhook = ?1 AND d.id < ?2 ORDER BY d.id DESC LIMIT ?3";

/// Makes the oldest unsettled delivery of a webhook and subject due.
pub(crate) const PROMOTE: &str = "UPDATE delivery SET state = 1, next_us = ?3 WHERE id =
     (SELECT id FROM delivery WHERE webhook = ?1 AND subject = ?2 AND state <= 1 ORDER BY id LIMIT 1)";

/// What is owed of events that happened before a moment.
pub(crate) const OVERDUE: &str = "SELECT d.id, d.webhook, d.subject, d.state = 1
     FROM event e JOIN delivery d ON d.event = e.seq
     WHERE e.timestamp_us < ?1 AND d.state <= 1 AND d.lease_owner IS NULL
     ORDER BY e.timestamp_us LIMIT ?2";

/// Gives up the leases of an owner.
pub(crate) const RELEASE: &str =
    "UPDATE delivery SET lease_owner = NULL, next_us = ?2 WHERE lease_owner = ?1";

/// What a claimed delivery says.
pub(crate) const TAKE: &str = "SELECT d.attempts, e.id, e.timestamp_us, e.kind, e.body, d.probes,
     (SELECT started_us FROM attempt WHERE delivery = d.id AND number = d.attempts AND d.attempts > 0)
     FROM delivery d JOIN event e ON e.seq = d.event WHERE d.id = ?1";

impl Database {
    /// Leases due deliveries to `owner` for `lease`: at most `total`, oldest first per webhook, taking
    /// turns between webhooks, none of a disabled one. `room` says how many more each webhook may have in
    /// flight; of one whose suspension is over, one is leased at most, due or not, to find out whether its
    /// endpoint is back.
    pub async fn claim_deliveries(
        &self,
        owner: &str,
        now: Timestamp,
        lease: Duration,
        room: impl Fn(&Arc<Webhook>) -> u32 + Send + 'static,
        total: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        let owner = owner.to_owned();
        self.write(move |tx| {
            let mut due = Vec::new();
            let webhooks = tx.webhooks()?;
            for webhook in webhooks.iter().filter(|webhook| is_enabled(webhook, now)) {
                due.extend(oldest_due(tx, webhook, now, room(webhook).min(total))?);
            }
            // Turn by turn; within a turn whoever has waited longest.
            due.sort_unstable_by_key(|due| (due.turn, due.since, due.id));
            due.truncate(total as usize);
            due.into_iter().map(|due| take(tx, due, &owner, now.plus(lease))).collect()
        })
        .await
    }

    /// Records attempts, what follows from them, and what they told about their endpoints. One whose lease `owner` lost to another, or whose
    /// number was recorded before, is ignored. The next event of a subject becomes due when the one
    /// before it is delivered or exhausted.
    pub async fn settle(
        &self,
        settlements: Vec<Settlement>,
        changes: Vec<HealthChange>,
        owner: &str,
        now: Timestamp,
    ) -> Result<()> {
        let owner = owner.to_owned();
        let settled = self.write(move |tx| {
            settlements.iter().try_for_each(|settlement| settle(tx, settlement, &owner, now))?;
            let mut enabled = Vec::new();
            for change in &changes {
                if health::apply(tx, change)? {
                    enabled.push(change.webhook);
                }
            }
            Ok(enabled)
        });
        for webhook in settled.await? {
            self.make_due(webhook, now).await?;
        }
        Ok(())
    }

    /// When there will be something to claim, if nothing changes until then: a delivery is due, its
    /// lease has run out, or the suspension of its webhook has. Never before `now`. `counts` says which
    /// webhooks to look at.
    pub async fn next_due(
        &self,
        now: Timestamp,
        counts: impl Fn(&Webhook) -> bool + Send + 'static,
    ) -> Result<Option<Timestamp>> {
        self.read(move |tx| {
            let mut earliest = None;
            for webhook in webhooks::all(tx)?.into_iter().filter(|webhook| counts(webhook)) {
                let due = match webhook.disabled {
                    Some(Disabled { until: None, .. }) => None,
                    Some(Disabled { until: Some(until), .. }) => {
                        first_due(tx, PROBE, webhook.id)?.map(|_| until.max(now))
                    }
                    None => first_due(tx, FIRST_DUE, webhook.id)?.map(|due| due.max(now)),
                };
                earliest = earliest.into_iter().chain(due).min();
            }
            Ok(earliest)
        })
        .await
    }

    /// Whether any delivery is being attempted.
    pub async fn has_leases(&self) -> Result<bool> {
        self.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE lease_owner IS NOT NULL)")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// A page of a webhook's delivery log, newest first, before the delivery given.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(LOG)?;
            let before = before.unwrap_or(DeliveryId(i64::MAX));
            let rows = statement.query_map(params![Sql(webhook), Sql(before), limit], stored)?;
            rows.map(|row| {
                let delivery = row??;
                Ok(Delivery { attempts: attempts(tx, delivery.id)?, ..delivery })
            })
            .collect()
        })
        .await
    }

    /// Gives up every lease of `owner`, at a clean shutdown and at the start after a crash: what it
    /// had leased is due now.
    pub async fn release_leases(&self, owner: &str, now: Timestamp) -> Result<()> {
        let owner = owner.to_owned();
        self.write(move |tx| {
            let released = tx.prepare_cached(RELEASE)?.execute(params![owner, Sql(now)])?;
            if released > 0 {
                tx.wake_sender();
            }
            Ok(())
        })
        .await
    }
}

/// A delivery that may be claimed.
struct Due {
    /// How many of the same webhook come before it.
    turn: usize,
    since: Timestamp,
    id: DeliveryId,
    webhook: Arc<Webhook>,
}

/// Whether a webhook may be sent to now.
fn is_enabled(webhook: &Webhook, now: Timestamp) -> bool {
    webhook.disabled.as_ref().is_none_or(|disabled| disabled.until.is_some_and(|until| until <= now))
}

fn oldest_due(tx: &Connection, webhook: &Arc<Webhook>, now: Timestamp, room: u32) -> Result<Vec<Due>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let due = |row: &Row<'_>| Ok((row.get::<_, Sql<_>>(0)?.0, row.get::<_, Sql<_>>(1)?.0));
    let mut statement = tx.prepare_cached(if webhook.disabled.is_some() { PROBE } else { OLDEST_DUE })?;
    let rows = match webhook.disabled {
        Some(_) => statement.query_map([Sql(webhook.id)], due)?,
        None => statement.query_map(params![Sql(webhook.id), Sql(now), room], due)?,
    };
    rows.enumerate()
        .map(|(turn, row)| {
            let (since, id) = row?;
            Ok(Due { turn, since, id, webhook: webhook.clone() })
        })
        .collect()
}

fn take(tx: &Connection, due: Due, owner: &str, until: Timestamp) -> Result<ClaimedDelivery> {
    let Due { id, webhook, .. } = due;
    tx.prepare_cached("UPDATE delivery SET lease_owner = ?2, next_us = ?3 WHERE id = ?1")?
        .execute(params![Sql(id), owner, Sql(until)])?;
    let mut statement = tx.prepare_cached(TAKE)?;
    let claimed = statement.query_row([Sql(id)], |row| {
        Ok(ClaimedDelivery {
            id,
            webhook,
            attempt: row.get::<_, u32>(0)?.saturating_add(1),
            probes: row.get(5)?,
            previous: row.get::<_, Option<Sql<_>>>(6)?.map(|at| at.0),
            event: row.get::<_, Sql<_>>(1)?.0,
            timestamp: row.get::<_, Sql<_>>(2)?.0,
            kind: row.get(3)?,
            body: row.get(4)?,
        })
    })?;
    Ok(claimed)
}

fn settle(tx: &Writing<'_>, settlement: &Settlement, owner: &str, now: Timestamp) -> Result<()> {
    let Settlement { id, attempt, probe, settled } = settlement;
    let held: Option<(Sql<WebhookId>, String)> = tx
        .prepare_cached(
            "SELECT webhook, subject FROM delivery
             WHERE id = ?1 AND lease_owner = ?2 AND attempts = ?3 - 1 AND state = 1",
        )?
        .query_row(params![Sql(*id), owner, attempt.number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((Sql(webhook), subject)) = held else {
        tracing::debug!(delivery = %id, attempt = attempt.number, "an attempt without its lease is not recorded");
        return Ok(());
    };
    record(tx, *id, attempt)?;
    let (state, next) = match settled {
        Settled::Delivered => (DeliveryState::Delivered, None),
        Settled::Exhausted => (DeliveryState::Exhausted, None),
        Settled::Retry { at } => (DeliveryState::Pending, Some(*at)),
    };
    let over = next.is_none();
    tx.prepare_cached(
        "UPDATE delivery SET state = ?2, next_us = ?3, lease_owner = NULL, attempts = ?4, settled_us = ?5,
             probes = probes + ?6
         WHERE id = ?1",
    )?
    .execute(params![
        Sql(*id),
        number(state),
        next.map(Sql),
        attempt.number,
        over.then_some(Sql(now)),
        probe,
    ])?;
    if over { promote(tx, webhook, &subject, now) } else { Ok(()) }
}

/// Gives up at most `limit` deliveries whose event is older than `before`; returns how many.
pub(crate) fn expire(tx: &Writing<'_>, before: Timestamp, now: Timestamp, limit: u32) -> Result<usize> {
    let mut statement = tx.prepare_cached(OVERDUE)?;
    let rows = statement.query_map(params![Sql(before), limit], |row| {
        let (Sql(id), Sql(webhook)) = (row.get::<_, Sql<DeliveryId>>(0)?, row.get::<_, Sql<WebhookId>>(1)?);
        Ok((id, webhook, row.get::<_, String>(2)?, row.get::<_, bool>(3)?))
    })?;
    let overdue: Vec<_> = rows.collect::<Result<_, _>>()?;
    for (id, webhook, subject, was_head) in &overdue {
        tx.prepare_cached("UPDATE delivery SET state = ?2, next_us = NULL, settled_us = ?3 WHERE id = ?1")?
            .execute(params![Sql(*id), number(DeliveryState::Expired), Sql(now)])?;
        if *was_head {
            promote(tx, *webhook, subject, now)?;
        }
    }
    Ok(overdue.len())
}

fn record(tx: &Connection, id: DeliveryId, attempt: &Attempt) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO attempt (delivery, number, started_us, duration_us, status, error, response,
             dns_us, connect_us, tls_us, first_byte_us, request)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        Sql(id),
        attempt.number,
        Sql(attempt.started),
        Sql(attempt.duration_us),
        attempt.status,
        attempt.error,
        attempt.response,
        attempt.timings.dns_us.map(Sql),
        attempt.timings.connect_us.map(Sql),
        attempt.timings.tls_us.map(Sql),
        attempt.timings.first_byte_us.map(Sql),
        attempt.request,
    ])?;
    Ok(())
}

/// Makes the next delivery of a webhook and subject due, if there is one.
fn promote(tx: &Writing<'_>, webhook: WebhookId, subject: &str, now: Timestamp) -> Result<()> {
    let promoted =
        tx.prepare_cached(PROMOTE)?.execute(params![Sql(webhook), subject, Sql(tx.first_attempt(now))])?;
    if promoted > 0 {
        tx.wake_sender();
    }
    Ok(())
}

fn first_due(tx: &Connection, sql: &str, webhook: WebhookId) -> Result<Option<Timestamp>> {
    let mut statement = tx.prepare_cached(sql)?;
    Ok(statement.query_row([Sql(webhook)], |row| Ok(row.get::<_, Sql<_>>(0)?.0)).optional()?)
}

fn attempts(tx: &Connection, id: DeliveryId) -> Result<Vec<Attempt>> {
    let mut statement = tx.prepare_cached(
        "SELECT number, started_us, duration_us, status, error, response,
             dns_us, connect_us, tls_us, first_byte_us, request
         FROM attempt WHERE delivery = ?1 ORDER BY number",
    )?;
    let rows = statement.query_map([Sql(id)], |row| {
        let micros =
            |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Sql<u64>>>(column)?.map(|us| us.0));
        Ok(Attempt {
            number: row.get(0)?,
            started: row.get::<_, Sql<_>>(1)?.0,
            duration_us: row.get::<_, Sql<_>>(2)?.0,
            status: row.get(3)?,
            timings: Timings {
                dns_us: micros(6)?,
                connect_us: micros(7)?,
                tls_us: micros(8)?,
                first_byte_us: micros(9)?,
            },
            error: row.get(4)?,
            request: row.get(10)?,
            response: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reads a line of the log without its attempts.
fn stored(row: &Row<'_>) -> rusqlite::Result<Result<Delivery>> {
    let Sql(id) = row.get(0)?;
    let Sql(event): Sql<EventId> = row.get(1)?;
    let state = match row.get(5)? {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Pending,
        2 => DeliveryState::Delivered,
        3 => DeliveryState::Exhausted,
        4 => DeliveryState::Expired,
        other => return Ok(Err(DatabaseError::corrupt(format!("state {other} of delivery {id}")))),
    };
    Ok(Ok(Delivery {
        id,
        event,
        kind: row.get(2)?,
        subject: row.get(3)?,
        timestamp: row.get::<_, Sql<_>>(4)?.0,
        state,
        next_attempt: row.get::<_, Option<Sql<_>>>(6)?.map(|at| at.0),
        attempts: Vec::new(),
    }))
}
