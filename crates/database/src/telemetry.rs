//! What the database knows in numbers: what it counts as it happens, and what it counts when asked.
//!
//! The queue is counted from the indexes of unsettled deliveries alone. That still takes about 0.2 s per
//! million of them: whoever asks often keeps the answer for a while.

use std::collections::BTreeMap;

use mediahooks_model::{EventKind, Timestamp, WebhookId};
use metrics::{Unit, counter, describe_counter};
use rusqlite::{Connection, OptionalExtension as _};

use crate::sql::Sql;
use crate::{Database, Result, webhooks};

/// Deliveries of each webhook that wait for another one, and the first of them.
pub(crate) const WAITING: &str =
    "SELECT webhook, count(*), min(id) FROM delivery WHERE state = 0 GROUP BY webhook";

/// Those that wait for nothing but their time.
pub(crate) const PENDING: &str =
    "SELECT webhook, count(*), min(id) FROM delivery WHERE state = 1 GROUP BY webhook";

/// Feeds that are live.
pub(crate) const LIVE: &str = "SELECT count(*) FROM feed WHERE ended_us IS NULL";

/// What is owed and what is going on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// One entry per webhook.
    pub webhooks: Vec<WebhookQueue>,
    /// Feeds that are live.
    pub feeds_live: u64,
}

/// What one webhook is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookQueue {
    /// Which webhook.
    pub id: WebhookId,
    /// Whether nothing is sent to it now.
    pub suspended: bool,
    /// Deliveries behind an earlier one of the same subject.
    pub waiting: Owed,
    /// Deliveries due now or later, those under way included.
    pub pending: Owed,
}

/// Unsettled deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owed {
    /// How many.
    pub count: u64,
    /// When the event of the oldest one happened.
    pub oldest: Option<Timestamp>,
}

impl Owed {
    /// These and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let oldest = self.oldest.into_iter().chain(other.oldest).min();
        Self { count: self.count + other.count, oldest }
    }
}

impl Database {
    /// Counts what is owed. Costs about 0.2 s of a reading connection per million unsettled deliveries.
    pub async fn figures(&self, now: Timestamp) -> Result<Figures> {
        self.read(move |tx| {
            let mut waiting = owed(tx, WAITING)?;
            let mut pending = owed(tx, PENDING)?;
            let queue = webhooks::all(tx)?.into_iter().map(|webhook| {
                let suspended = webhook.disabled.is_some_and(|off| off.until.is_none_or(|until| until > now));
                let waiting = waiting.remove(&webhook.id).unwrap_or_default();
                let pending = pending.remove(&webhook.id).unwrap_or_default();
                WebhookQueue { id: webhook.id, suspended, waiting, pending }
            });
            let webhooks = queue.collect();
            let Sql(feeds_live) = tx.prepare_cached(LIVE)?.query_row([], |row| row.get(0))?;
            Ok(Figures { webhooks, feeds_live })
        })
        .await
    }
}

/// By webhook.
fn owed(tx: &Connection, sql: &str) -> Result<BTreeMap<WebhookId, Owed>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (Sql(webhook), Sql(count)) = (row.get(0)?, row.get(1)?);
        Ok((webhook, count, row.get(2)?))
    })?;
    rows.map(|row| {
        let (webhook, count, first) = row?;
        Ok((webhook, Owed { count, oldest: happened(tx, first)? }))
    })
    .collect()
}

/// When the event of a delivery happened.
fn happened(tx: &Connection, delivery: i64) -> Result<Option<Timestamp>> {
    let mut statement = tx.prepare_cached(
        "SELECT e.timestamp_us FROM delivery d JOIN event e ON e.seq = d.event WHERE d.id = ?1",
    )?;
    Ok(statement.query_row([delivery], |row| Ok(row.get::<_, Sql<_>>(0)?.0)).optional()?)
}

/// Says what this crate's metrics mean; call it once, after the recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        "mediahooks_events_total",
        Unit::Count,
        "Events that became durable, by kind (type.event)."
    );
}

/// Counts an event whose transaction is durable.
pub(crate) fn event_committed(kind: EventKind) {
    counter!("mediahooks_events_total", "kind" => kind.to_string()).increment(1);
}
