//! Events as a feed: read from a cursor on, in the order in which they became durable.
//!
//! What always holds: no event ever appears at or below a cursor that was handed out before. There is one
//! writer, numbers rise within and between its transactions, and a reader sees whole transactions. (On
//! PostgreSQL, where transactions overlap, numbers have to be drawn under one lock held until the commit.)
//!
//! Up to the horizon events are forgotten or about to be, and are not shown. Above it none is ever removed.

use mediahooks_model::{EventKind, Timestamp, Webhook};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sql::Sql;
use crate::{
    Database, DatabaseError, EventCursor, EventFilter, EventGap, EventPage, EventStart, Result, StoredEvent,
    outbox, webhooks,
};

/// Rows looked at in one read, however few the filter lets through.
const SCANNED_MAX: u32 = 2000;

/// Events behind a cursor.
pub(crate) const BEHIND: &str =
    "SELECT seq, id, kind, subject, stream_name, token, timestamp_us, body FROM event
     WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// The first event above the horizon that is young enough to be kept.
pub(crate) const YOUNG: &str =
    "SELECT seq FROM event WHERE seq > ?1 AND timestamp_us >= ?2 ORDER BY seq LIMIT 1";

impl Database {
    /// Up to `limit` events from `start` on, or why there are none. Looks at a bounded number of rows: a
    /// page may be empty although there is [more](EventPage::more).
    ///
    /// Errors: [`DatabaseError::NotFound`] when the filter names a webhook that is not there.
    pub async fn events(
        &self,
        start: EventStart,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<std::result::Result<EventPage, EventGap>> {
        let filter = filter.clone();
        self.read(move |tx| {
            let webhook = match filter.webhook {
                Some(id) => Some(webhooks::webhook(tx, id)?.ok_or(DatabaseError::NotFound)?),
                None => None,
            };
            let oldest = horizon(tx)?;
            let after = match start {
                EventStart::Oldest => oldest,
                EventStart::Latest => {
                    return Ok(Ok(EventPage { events: Vec::new(), next: latest(tx)?, more: false }));
                }
                EventStart::After(after) if after < oldest => return Ok(Err(EventGap::Forgotten { oldest })),
                EventStart::After(after) => after,
            };
            let page = page(tx, after, &filter, webhook.as_ref(), limit)?;
            if page.next == after && !page.more {
                let latest = latest(tx)?;
                if after > latest {
                    return Ok(Err(EventGap::NeverGiven { latest }));
                }
            }
            Ok(Ok(page))
        })
        .await
    }

    /// Moves the horizon up to the first event that is not older than `before`. Events are removed only
    /// below it, so nobody reads across a gap without being told.
    pub(crate) async fn move_event_horizon(&self, before: Timestamp) -> Result<()> {
        let (from, to) = self
            .read(move |tx| {
                let from = horizon(tx)?;
                let mut statement = tx.prepare_cached(YOUNG)?;
                let young: Option<i64> =
                    statement.query_row(params![from.0, Sql(before)], |row| row.get(0)).optional()?;
                let to = young.map_or_else(|| latest(tx), |young| Ok(EventCursor(young - 1)))?;
                Ok((from, to))
            })
            .await?;
        if to > from {
            self.write(move |tx| {
                tx.prepare_cached("UPDATE event_horizon SET seq = ?1 WHERE seq < ?1")?.execute([to.0])?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

fn page(
    tx: &Connection,
    after: EventCursor,
    filter: &EventFilter,
    webhook: Option<&Webhook>,
    limit: u32,
) -> Result<EventPage> {
    let mut page = EventPage { events: Vec::new(), next: after, more: false };
    let mut statement = tx.prepare_cached(BEHIND)?;
    // One more than is looked at, to know whether there is more.
    let mut rows = statement.query(params![after.0, SCANNED_MAX + 1])?;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        if scanned == SCANNED_MAX || page.events.len() == limit as usize {
            page.more = true;
            break;
        }
        scanned += 1;
        let kind = kind(row)?;
        page.next = EventCursor(row.get(0)?);
        if passes(row, kind, filter, webhook)? {
            page.events.push(stored(row, kind)?);
        }
    }
    Ok(page)
}

/// Whether a row of [`BEHIND`] is wanted. Reads no body.
fn passes(row: &Row<'_>, kind: EventKind, filter: &EventFilter, webhook: Option<&Webhook>) -> Result<bool> {
    let is = |column, wanted: &Option<String>| match wanted {
        Some(wanted) => Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()? == wanted),
        None => Ok(true),
    };
    let wanted = filter.kinds.is_empty() || filter.kinds.contains(&kind);
    if !wanted || !is(3, &filter.subject)? || !is(4, &filter.stream_name)? {
        return Ok(false);
    }
    let Some(webhook) = webhook else { return Ok(true) };
    let (stream, token): (_, Option<Sql<_>>) = (outbox::stream_name(row, 4)?, row.get(5)?);
    Ok(webhook.wants(kind, stream.as_ref(), token.map(|token| token.0)))
}

fn kind(row: &Row<'_>) -> Result<EventKind> {
    let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    EventKind::parse(text).ok_or_else(|| DatabaseError::corrupt(format!("an event of the kind `{text}`")))
}

fn stored(row: &Row<'_>, kind: EventKind) -> Result<StoredEvent> {
    Ok(StoredEvent {
        cursor: EventCursor(row.get(0)?),
        id: row.get::<_, Sql<_>>(1)?.0,
        kind,
        subject: row.get(3)?,
        stream_name: outbox::stream_name(row, 4)?,
        token: row.get::<_, Option<Sql<_>>>(5)?.map(|token| token.0),
        timestamp: row.get::<_, Sql<_>>(6)?.0,
        body: row.get(7)?,
    })
}

/// Up to here events are forgotten or about to be.
fn horizon(tx: &Connection) -> Result<EventCursor> {
    let seq = tx.prepare_cached("SELECT seq FROM event_horizon")?.query_row([], |row| row.get(0))?;
    Ok(EventCursor(seq))
}

/// The highest cursor that was ever handed out.
fn latest(tx: &Connection) -> Result<EventCursor> {
    let newest: Option<i64> =
        tx.prepare_cached("SELECT max(seq) FROM event")?.query_row([], |row| row.get(0))?;
    Ok(newest.map_or(EventCursor(0), EventCursor).max(horizon(tx)?))
}
