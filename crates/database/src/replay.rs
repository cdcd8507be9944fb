//! Sending once more: single deliveries, and all events of a time.
//!
//! A replay walks the events of its time in the order in which they happened and owes each to its webhook
//! once more, behind what the webhook is owed for the same subject already. What always holds: the place
//! of the walk is stored in the transaction that owes what was passed, so that each event is owed exactly
//! once per replay, whatever crashes; at most [`OWED_MAX`] deliveries of a replay are unsettled at one
//! time, so that what happens meanwhile does not queue up behind all of it.

use mediahooks_model::{DeliveryId, EventKind, ReplayId, Timestamp, WebhookId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::outbox::{number, owe, stream_name};
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{
    Database, DatabaseError, DeliveryState, NewReplay, Replay, ReplayState, ReplayStep, Resent, Result,
    deliveries, webhooks,
};

/// Unsettled deliveries of one replay. More would make new events of the same webhook wait longer, fewer
/// would leave a fast endpoint idle between two steps.
const OWED_MAX: u32 = 256;

/// Deliveries made in one transaction, so that other writers hardly notice.
const STEP_OWED_MAX: u32 = 64;

/// Events looked at in one step, however few match.
const STEP_EXAMINED_MAX: u32 = 2000;

/// Events of a replay's time behind its place.
pub(crate) const NEXT: &str = "SELECT timestamp_us, seq, kind, stream_name, token, subject FROM event
     WHERE (timestamp_us, seq) > (?1, ?2) AND timestamp_us < ?3 ORDER BY timestamp_us, seq LIMIT ?4";

/// Whether an event was given up for a webhook, and nothing else became or may become of it.
pub(crate) const GIVEN_UP: &str =
    "SELECT coalesce(min(state), 0) >= 3 FROM delivery WHERE event = ?1 AND webhook = ?2";

/// What became of a replay's deliveries.
pub(crate) const TALLY: &str = "SELECT state, count(*) FROM delivery WHERE replay = ?1 GROUP BY state";

/// What of a replay can be withdrawn, those that wait first.
pub(crate) const WITHDRAWABLE: &str = "SELECT id, subject, state, attempts FROM delivery
     WHERE replay = ?1 AND state <= 1 ORDER BY state, id";

/// Replays that have something left to look at.
pub(crate) const RUNNING: &str = "SELECT id FROM replay WHERE state = 0 ORDER BY id";

const COLUMNS: &str = "id, webhook, since_us, until_us, kinds, failed_only, state, total, examined, matched,
     created_us, ended_us";

/// How states are stored: whether all was looked at is stored, whether all was delivered is counted.
const WALKING: i64 = 0;
const WALKED: i64 = 1;
const CANCELLED: i64 = 2;

impl Database {
    /// Owes the event of a delivery once more, behind what the webhook is owed for the same subject.
    ///
    /// Errors: [`DatabaseError::NotFound`] when the webhook has no such delivery.
    pub async fn resend(&self, webhook: WebhookId, delivery: DeliveryId, now: Timestamp) -> Result<Resent> {
        self.write(move |tx| {
            webhooks::kept(tx, webhook)?.ok_or(DatabaseError::NotFound)?;
            let (event, subject, is_settled): (i64, String, bool) = tx
                .prepare_cached(
                    "SELECT event, subject, state >= 2 FROM delivery WHERE id = ?1 AND webhook = ?2",
                )?
                .query_row(params![Sql(delivery), Sql(webhook)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            if is_settled {
                owe(tx, webhook, event, &subject, now)?;
                return Ok(Resent::Again(DeliveryId(tx.last_insert_rowid())));
            }
            if !tx.queue().is_leased(delivery) {
                tx.prepare_cached(
                    "UPDATE delivery SET next_us = ?2 WHERE id = ?1 AND state = 1 AND next_us > ?2",
                )?
                .execute(params![Sql(delivery), Sql(now)])?;
                tx.queue().look(webhook, now);
            }
            Ok(Resent::StillOwed(delivery))
        })
        .await
    }

    /// Begins a replay of the events that are durable now. [`Database::step_replay`] carries it out.
    ///
    /// Errors: [`DatabaseError::NotFound`] when there is no such webhook.
    pub async fn create_replay(&self, asked: NewReplay, now: Timestamp) -> Result<Replay> {
        let (since, until) = (asked.since, asked.until);
        // Counted by a reader: it may be a million.
        let (total, last): (Sql<u64>, i64) = self
            .read(move |tx| {
                let last = tx
                    .prepare_cached("SELECT coalesce(max(seq), 0) FROM event")?
                    .query_row([], |row| row.get(0))?;
                let total = tx
                    .prepare_cached(
                        "SELECT count(*) FROM event WHERE timestamp_us >= ?1 AND timestamp_us < ?2",
                    )?
                    .query_row(params![Sql(since), Sql(until)], |row| row.get(0))?;
                Ok((total, last))
            })
            .await?;
        let replay = self
            .write(move |tx| {
                webhooks::kept(tx, asked.webhook)?.ok_or(DatabaseError::NotFound)?;
                tx.prepare_cached(
                    "INSERT INTO replay (webhook, since_us, until_us, kinds, failed_only, last_seq, state,
                         total, examined, matched, at_us, at_seq, created_us)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?2, -1, ?9)",
                )?
                .execute(params![
                    Sql(asked.webhook),
                    Sql(asked.since),
                    Sql(asked.until),
                    Sql(serde_json::json!(asked.kinds)),
                    asked.failed_only,
                    last,
                    WALKING,
                    total,
                    Sql(now),
                ])?;
                replay(tx, ReplayId(tx.last_insert_rowid()))?.ok_or(DatabaseError::NotFound)
            })
            .await?;
        self.inner.replays.send_modify(|count| *count = count.wrapping_add(1));
        Ok(replay)
    }

    /// Changes whenever a replay was begun.
    pub fn subscribe_replays(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.replays.subscribe()
    }

    /// A webhook's replay of this number.
    pub async fn replay(&self, webhook: WebhookId, id: ReplayId) -> Result<Option<Replay>> {
        self.read(move |tx| Ok(replay(tx, id)?.filter(|replay| replay.asked.webhook == webhook))).await
    }

    /// A page of a webhook's replays, newest first, before the one given.
    pub async fn replays(
        &self,
        webhook: WebhookId,
        before: Option<ReplayId>,
        limit: u32,
    ) -> Result<Vec<Replay>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM replay WHERE webhook = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ))?;
            let before = before.map_or(i64::MAX, |before| before.0);
            let rows = statement.query_map(params![Sql(webhook), before, limit], stored)?;
            rows.map(|row| tallied(tx, row??)).collect()
        })
        .await
    }

    /// Replays that [`Database::step_replay`] has to go on with.
    pub async fn running_replays(&self) -> Result<Vec<ReplayId>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(RUNNING)?;
            let rows = statement.query_map([], |row| Ok(ReplayId(row.get(0)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Goes on with a replay: looks at some events and owes those that match.
    pub async fn step_replay(&self, id: ReplayId, now: Timestamp) -> Result<ReplayStep> {
        let Some((walk, found)) = self.read(move |tx| look(tx, id)).await? else {
            return Ok(ReplayStep::Over);
        };
        match found {
            Found::NoWebhook => {
                self.write(move |tx| {
                    tx.prepare_cached("DELETE FROM replay WHERE id = ?1")?.execute([id.0])?;
                    Ok(ReplayStep::Over)
                })
                .await
            }
            Found::NoRoom => Ok(ReplayStep::Full),
            Found::Events(events) => self.write(move |tx| advance(tx, id, walk, events, now)).await,
        }
    }

    /// Stops a replay and withdraws what of it was not attempted; what was is given up, unless it is
    /// under way. One that is over stays as it is. Absent when the webhook has no such replay.
    pub async fn cancel_replay(
        &self,
        webhook: WebhookId,
        id: ReplayId,
        now: Timestamp,
    ) -> Result<Option<Replay>> {
        self.write(move |tx| {
            let Some(found) = replay(tx, id)?.filter(|replay| replay.asked.webhook == webhook) else {
                return Ok(None);
            };
            if found.state == ReplayState::Running {
                tx.prepare_cached("UPDATE replay SET state = ?2, ended_us = ?3 WHERE id = ?1")?
                    .execute(params![id.0, CANCELLED, Sql(now)])?;
                withdraw(tx, webhook, id, now)?;
            }
            replay(tx, id)
        })
        .await
    }
}

/// Where a replay is: behind this event.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    at_us: i64,
    at_seq: i64,
}

/// What a step found.
enum Found {
    NoWebhook,
    NoRoom,
    Events(Examined),
}

/// Events that were looked at.
struct Examined {
    count: u64,
    place: Place,
    /// Sequence numbers and subjects of those that match.
    matching: Vec<(i64, String)>,
    is_last: bool,
}

/// Looks for what a replay has to owe next; absent when it is over.
fn look(tx: &Connection, id: ReplayId) -> Result<Option<(Place, Found)>> {
    let mut statement =
        tx.prepare_cached("SELECT at_us, at_seq, last_seq FROM replay WHERE id = ?1 AND state = 0")?;
    let walk = statement.query_row([id.0], |row| {
        Ok((Place { at_us: row.get(0)?, at_seq: row.get(1)? }, row.get::<_, i64>(2)?))
    });
    let Some((place, last_seq)) = walk.optional()? else { return Ok(None) };
    let Some(Replay { asked, owed, .. }) = replay(tx, id)? else { return Ok(None) };
    let Some(webhook) = webhooks::webhook(tx, asked.webhook)? else {
        return Ok(Some((place, Found::NoWebhook)));
    };
    let room = OWED_MAX.saturating_sub(u32::try_from(owed).unwrap_or(u32::MAX)).min(STEP_OWED_MAX);
    if room == 0 {
        return Ok(Some((place, Found::NoRoom)));
    }
    let mut found = Examined { count: 0, place, matching: Vec::new(), is_last: true };
    let mut statement = tx.prepare_cached(NEXT)?;
    let mut rows =
        statement.query(params![place.at_us, place.at_seq, Sql(asked.until), STEP_EXAMINED_MAX + 1])?;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        if scanned == STEP_EXAMINED_MAX || found.matching.len() == room as usize {
            found.is_last = false;
            break;
        }
        scanned += 1;
        found.place = Place { at_us: row.get(0)?, at_seq: row.get(1)? };
        let seq = found.place.at_seq;
        // What happened after the replay was asked for was told then.
        if seq > last_seq {
            continue;
        }
        found.count += 1;
        let kind = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let kind = EventKind::parse(kind)
            .ok_or_else(|| DatabaseError::corrupt(format!("an event of the kind `{kind}`")))?;
        let is_wanted = if asked.failed_only {
            tx.prepare_cached(GIVEN_UP)?.query_row(params![seq, Sql(asked.webhook)], |row| row.get(0))?
        } else {
            let (stream, token): (_, Option<Sql<_>>) = (stream_name(row, 3)?, row.get(4)?);
            webhook.wants(kind, stream.as_ref(), token.map(|token| token.0))
        };
        if is_wanted && (asked.kinds.is_empty() || asked.kinds.contains(&kind)) {
            found.matching.push((seq, row.get(5)?));
        }
    }
    Ok(Some((place, Found::Events(found))))
}

/// Owes what was found, if the replay is still where it was.
fn advance(
    tx: &Writing<'_>,
    id: ReplayId,
    from: Place,
    found: Examined,
    now: Timestamp,
) -> Result<ReplayStep> {
    let webhook: Option<Sql<WebhookId>> = tx
        .prepare_cached(
            "SELECT webhook FROM replay WHERE id = ?1 AND state = 0 AND at_us = ?2 AND at_seq = ?3",
        )?
        .query_row(params![id.0, from.at_us, from.at_seq], |row| row.get(0))
        .optional()?;
    let Some(Sql(webhook)) = webhook else { return Ok(ReplayStep::Advanced) };
    let mut matched = 0;
    for (event, subject) in found.matching {
        // It may have been forgotten since it was looked at.
        if !tx.prepare_cached("SELECT 1 FROM event WHERE seq = ?1")?.exists([event])? {
            continue;
        }
        owe(tx, webhook, event, &subject, now)?;
        tx.prepare_cached("UPDATE delivery SET replay = ?2 WHERE id = ?1")?
            .execute([tx.last_insert_rowid(), id.0])?;
        matched += 1;
    }
    let state = if found.is_last { WALKED } else { WALKING };
    tx.prepare_cached(
        "UPDATE replay SET at_us = ?2, at_seq = ?3, examined = examined + ?4, matched = matched + ?5, state = ?6,
             ended_us = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        id.0,
        found.place.at_us,
        found.place.at_seq,
        Sql(found.count),
        matched,
        state,
        found.is_last.then_some(Sql(now)),
    ])?;
    Ok(if found.is_last { ReplayStep::Over } else { ReplayStep::Advanced })
}

/// Takes back what a replay made its webhook owed. A replay has [`OWED_MAX`] of them at most.
fn withdraw(tx: &Writing<'_>, webhook: WebhookId, id: ReplayId, now: Timestamp) -> Result<()> {
    let mut statement = tx.prepare_cached(WITHDRAWABLE)?;
    let rows = statement.query_map([id.0], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    })?;
    for (delivery, subject, state, attempts) in rows.collect::<Result<Vec<_>, _>>()? {
        if tx.queue().is_leased(DeliveryId(delivery)) {
            continue;
        }
        if attempts == 0 {
            tx.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([delivery])?;
        } else {
            tx.prepare_cached(
                "UPDATE delivery SET state = ?2, next_us = NULL, settled_us = ?3 WHERE id = ?1",
            )?
            .execute(params![delivery, number(DeliveryState::Exhausted), Sql(now)])?;
        }
        if state == number(DeliveryState::Pending) {
            deliveries::promote(tx, webhook, &subject, now)?;
        }
    }
    Ok(())
}

fn replay(tx: &Connection, id: ReplayId) -> Result<Option<Replay>> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM replay WHERE id = ?1"))?;
    let found = statement.query_row([id.0], stored).optional()?.transpose()?;
    found.map(|replay| tallied(tx, replay)).transpose()
}

/// Reads a replay without what became of its deliveries.
fn stored(row: &Row<'_>) -> rusqlite::Result<Result<Replay>> {
    let id = ReplayId(row.get(0)?);
    let Sql(kinds): Sql<serde_json::Value> = row.get(4)?;
    let Ok(kinds) = serde_json::from_value(kinds) else {
        return Ok(Err(DatabaseError::corrupt(format!("kinds of replay {id}"))));
    };
    let state = match row.get(6)? {
        WALKING => ReplayState::Running,
        WALKED => ReplayState::Done,
        CANCELLED => ReplayState::Cancelled,
        other => return Ok(Err(DatabaseError::corrupt(format!("state {other} of replay {id}")))),
    };
    let asked = NewReplay {
        webhook: row.get::<_, Sql<_>>(1)?.0,
        since: row.get::<_, Sql<_>>(2)?.0,
        until: row.get::<_, Sql<_>>(3)?.0,
        kinds,
        failed_only: row.get(5)?,
    };
    Ok(Ok(Replay {
        id,
        asked,
        state,
        total: row.get::<_, Sql<_>>(7)?.0,
        examined: row.get::<_, Sql<_>>(8)?.0,
        matched: row.get::<_, Sql<_>>(9)?.0,
        owed: 0,
        delivered: 0,
        failed: 0,
        created: row.get::<_, Sql<_>>(10)?.0,
        ended: row.get::<_, Option<Sql<_>>>(11)?.map(|ended| ended.0),
    }))
}

/// Adds what became of the deliveries. What was looked at to the end is done once all are settled.
fn tallied(tx: &Connection, mut replay: Replay) -> Result<Replay> {
    let mut statement = tx.prepare_cached(TALLY)?;
    let mut rows = statement.query([replay.id.0])?;
    while let Some(row) = rows.next()? {
        let (state, Sql(count)): (i64, Sql<u64>) = (row.get(0)?, row.get(1)?);
        match state {
            0 | 1 => replay.owed += count,
            2 => replay.delivered += count,
            _ => replay.failed += count,
        }
    }
    if replay.state == ReplayState::Done && replay.owed > 0 {
        replay.state = ReplayState::Running;
    }
    Ok(replay)
}
