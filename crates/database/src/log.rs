//! The delivery log: what webhooks were and are owed, and what came of it.
//!
//! What always holds: a question reads a bounded number of rows, by an index, however many there are. A page
//! may so be short, or empty, though there is more: it says where to go on.

use mediahooks_model::{DeliveryId, EventId, EventKind, Timestamp, WebhookId};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use crate::sql::Sql;
use crate::{
    Attempt, Database, DatabaseError, Delivery, DeliveryPage, DeliveryQuery, DeliveryState, Result, Timings,
};

/// What one question looks through at most. Takes about 50 ms.
const SCAN_MAX: u32 = 25_000;

/// In the order [`Line`] reads.
macro_rules! log {
    ($of:literal) => {
        concat!("SELECT d.id, e.id, e.kind, d.subject, e.timestamp_us, d.state, d.webhook, d.next_us ", $of)
    };
}

/// What a webhook was and is owed, newest first.
pub(crate) const OF_WEBHOOK: &str = log!(
    "FROM delivery d JOIN event e ON e.seq = d.event
     WHERE d.webhook = ?1 AND d.id < ?2 AND d.id >= ?3 ORDER BY d.id DESC"
);

/// The same of all webhooks.
pub(crate) const OF_ALL: &str = log!(
    "FROM delivery d JOIN event e ON e.seq = d.event
     WHERE d.id < ?1 AND d.id >= ?2 ORDER BY d.id DESC"
);

/// The same of one asset or feed, which has a few events.
pub(crate) const OF_SUBJECT: &str = log!(
    "FROM event e JOIN delivery d ON d.event = e.seq
     WHERE e.subject = ?1 AND d.id < ?2 ORDER BY d.id DESC"
);

/// The first delivery of an event that happened at a moment or later. Reads as many entries of two indexes as
/// there are such events and deliveries: neither is in order of time, as clocks are set.
pub(crate) const FIRST_SINCE: &str = "SELECT min(id) FROM delivery WHERE event >=
     (SELECT min(seq) FROM event WHERE timestamp_us >= ?1)";

/// Behind which delivery others of a webhook and subject wait.
pub(crate) const HEAD: &str =
    "SELECT id FROM delivery WHERE webhook = ?1 AND subject = ?2 AND state <= 1 ORDER BY id LIMIT 1";

impl Database {
    /// Answers a question to the delivery log, newest delivery first.
    pub async fn delivery_log(&self, query: DeliveryQuery) -> Result<DeliveryPage> {
        let mut page = self.read(move |tx| page(tx, &query)).await?;
        if let Some(writer) = &self.inner.writer {
            let queue = writer.queue();
            for delivery in page.deliveries.iter_mut().filter(|delivery| queue.is_leased(delivery.id)) {
                (delivery.is_attempted, delivery.next_attempt) = (true, None);
            }
        }
        Ok(page)
    }

    /// A page of a webhook's delivery log, newest first, before the delivery given.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let query = DeliveryQuery { webhook: Some(webhook), before, limit, ..DeliveryQuery::default() };
        Ok(self.delivery_log(query).await?.deliveries)
    }
}

fn page(tx: &Connection, query: &DeliveryQuery) -> Result<DeliveryPage> {
    let before = query.before.unwrap_or(DeliveryId(i64::MAX));
    let Some(first) = query.since.map_or(Ok(Some(DeliveryId(0))), |since| first_since(tx, since))? else {
        return Ok(DeliveryPage::default());
    };
    match (&query.subject, query.webhook) {
        (Some(subject), _) => {
            collect(tx, query, tx.prepare_cached(OF_SUBJECT)?.query(params![subject, Sql(before)])?)
        }
        (None, Some(webhook)) => {
            let mut statement = tx.prepare_cached(OF_WEBHOOK)?;
            collect(tx, query, statement.query(params![Sql(webhook), Sql(before), Sql(first)])?)
        }
        (None, None) => {
            collect(tx, query, tx.prepare_cached(OF_ALL)?.query(params![Sql(before), Sql(first)])?)
        }
    }
}

fn first_since(tx: &Connection, since: Timestamp) -> Result<Option<DeliveryId>> {
    let first: Option<Sql<DeliveryId>> =
        tx.prepare_cached(FIRST_SINCE)?.query_row([Sql(since)], |row| row.get(0))?;
    Ok(first.map(|first| first.0))
}

/// Keeps what was asked for, until the page is full or enough was looked through.
fn collect(tx: &Connection, query: &DeliveryQuery, mut rows: Rows<'_>) -> Result<DeliveryPage> {
    let mut page = DeliveryPage::default();
    for _ in 0..SCAN_MAX {
        let Some(row) = rows.next()? else {
            page.next = None;
            return Ok(page);
        };
        if page.deliveries.len() >= query.limit as usize {
            return Ok(page);
        }
        let Sql(id) = row.get(0)?;
        page.next = Some(id);
        if is_wanted(query, row)? {
            page.deliveries.push(stored(tx, row)?);
        }
    }
    Ok(page)
}

fn is_wanted(query: &DeliveryQuery, row: &Row<'_>) -> Result<bool> {
    let Sql(webhook) = row.get(6)?;
    let Sql(happened): Sql<Timestamp> = row.get(4)?;
    let kind = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(query.webhook.is_none_or(|wanted| wanted == webhook)
        && query.since.is_none_or(|since| happened >= since)
        && query.until.is_none_or(|until| happened <= until)
        && (query.states.is_empty() || query.states.contains(&state(row)?))
        && (query.kinds.is_empty()
            || query.kinds.iter().any(|wanted| names(*wanted) == kind.split_once('.'))))
}

fn names(kind: EventKind) -> Option<(&'static str, &'static str)> {
    Some((kind.type_name(), kind.event_name()))
}

fn state(row: &Row<'_>) -> Result<DeliveryState> {
    Ok(match row.get(5)? {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Pending,
        2 => DeliveryState::Delivered,
        3 => DeliveryState::Exhausted,
        4 => DeliveryState::Expired,
        other => return Err(DatabaseError::corrupt(format!("state {other} of a delivery"))),
    })
}

/// Reads a row; whether it is being attempted is not stored.
fn stored(tx: &Connection, row: &Row<'_>) -> Result<Delivery> {
    let Sql(id) = row.get(0)?;
    let Sql(event): Sql<EventId> = row.get(1)?;
    let (state, Sql(webhook)) = (state(row)?, row.get(6)?);
    let subject: String = row.get(3)?;
    let behind = if state == DeliveryState::Waiting { head(tx, webhook, &subject)? } else { None };
    Ok(Delivery {
        id,
        webhook,
        event,
        kind: row.get(2)?,
        subject,
        timestamp: row.get::<_, Sql<_>>(4)?.0,
        state,
        behind,
        is_attempted: false,
        next_attempt: row.get::<_, Option<Sql<_>>>(7)?.map(|at| at.0),
        attempts: attempts(tx, id)?,
    })
}

fn head(tx: &Connection, webhook: WebhookId, subject: &str) -> Result<Option<DeliveryId>> {
    let mut statement = tx.prepare_cached(HEAD)?;
    Ok(statement
        .query_row(params![Sql(webhook), subject], |row| Ok(row.get::<_, Sql<_>>(0)?.0))
        .optional()?)
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
