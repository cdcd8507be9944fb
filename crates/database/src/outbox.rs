//! The transactional outbox: an event and what is owed for it, in the transaction of its cause.

use mediahooks_model::{Event, EventId, StreamName, Timestamp, WebhookId};
use rusqlite::{Row, params};
use uuid::{NoContext, Uuid};

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{DatabaseError, DeliveryState, Result, webhooks};

/// How states are stored; the partial indexes of the schema name the numbers.
pub(crate) fn number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Pending => 1,
        DeliveryState::Delivered => 2,
        DeliveryState::Exhausted => 3,
        DeliveryState::Expired => 4,
    }
}

/// Whether something of a webhook and subject is unsettled.
pub(crate) const BEHIND: &str = "SELECT 1 FROM delivery WHERE webhook = ?1 AND subject = ?2 AND state <= 1";

/// Stores an event and one delivery per webhook that wants it now. A delivery is due as
/// soon as the schedule begins, or waits when an earlier one of the same webhook and subject is not settled.
pub(crate) fn record(tx: &Writing<'_>, event: &Event, now: Timestamp) -> Result<()> {
    let seq = store(tx, event)?;
    let webhooks = match &event.stream_name {
        Some(stream) => tx.webhooks_of(stream)?,
        None => tx.webhooks()?,
    };
    for webhook in webhooks.iter() {
        if webhook.wants(event.kind, event.stream_name.as_ref(), event.token) {
            owe(tx, webhook.id, seq, &event.subject, now)?;
        }
    }
    Ok(())
}

/// Stores an event that is owed to one webhook, whether it wants it or not.
pub(crate) fn record_for(tx: &Writing<'_>, event: &Event, webhook: WebhookId, now: Timestamp) -> Result<()> {
    webhooks::kept(tx, webhook)?.ok_or(DatabaseError::NotFound)?;
    let seq = store(tx, event)?;
    owe(tx, webhook, seq, &event.subject, now)
}

fn store(tx: &Writing<'_>, event: &Event) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO event (id, kind, subject, stream_name, token, timestamp_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        Sql(event.id),
        event.kind.to_string(),
        event.subject,
        // The column takes no NULL; no stream has an empty name.
        event.stream_name.as_ref().map_or("", StreamName::as_str),
        event.token.map(Sql),
        Sql(event.timestamp),
        event.body,
    ])?;
    tx.wake_followers(event.kind);
    Ok(tx.last_insert_rowid())
}

/// Owes an event to a webhook: due as soon as the schedule begins, or behind what the webhook is owed for
/// the same subject already. The delivery is the last row inserted.
pub(crate) fn owe(
    tx: &Writing<'_>,
    webhook: WebhookId,
    event: i64,
    subject: &str,
    now: Timestamp,
) -> Result<()> {
    let behind = tx.prepare_cached(BEHIND)?.exists(params![Sql(webhook), subject])?;
    let state = if behind { DeliveryState::Waiting } else { DeliveryState::Pending };
    let due = (!behind).then(|| Sql(tx.first_attempt(now)));
    tx.prepare_cached(
        "INSERT INTO delivery (webhook, event, subject, state, next_us, attempts) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    )?
    .execute(params![Sql(webhook), event, subject, number(state), due])?;
    if !behind {
        tx.queue().look(webhook, tx.first_attempt(now));
    }
    Ok(())
}

/// The stream of an event, as [`record`] stores it.
pub(crate) fn stream_name(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<StreamName>> {
    if row.get_ref(column)?.as_str()?.is_empty() {
        Ok(None)
    } else {
        Ok(Some(row.get::<_, Sql<_>>(column)?.0))
    }
}

/// A new event's id. Ids made later sort after it, to the millisecond of `now`.
pub(crate) fn new_id(now: Timestamp) -> EventId {
    let seconds = u64::try_from(now.as_seconds()).unwrap_or(0);
    let nanos = u32::try_from(now.as_micros().rem_euclid(1_000_000)).unwrap_or(0) * 1000;
    EventId(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos)))
}
