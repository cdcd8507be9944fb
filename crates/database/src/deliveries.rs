//! The queue of deliveries: who may attempt what, and what came of it.
//!
//! What always holds: of one webhook and subject at most the oldest unsettled delivery is pending,
//! the others wait; a delivery is attempted by whoever holds its lease, and each attempt number is
//! recorded once. Leases live in [`crate::queue`]: claiming writes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_model::webhook::Disabled;
use mediahooks_model::{DeliveryId, Timestamp, Webhook, WebhookId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::outbox::number;
use crate::queue::{After, Lease, Queue, Turn};
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{
    Attempt, ClaimedDelivery, Database, DeliveryState, HealthChange, Result, Room, Settled, Settlement,
    health, webhooks,
};

/// Pending deliveries of a webhook that are due from a moment on, as they fall due. Read as far as needed.
pub(crate) const PENDING: &str = "SELECT next_us, id FROM delivery
     WHERE webhook = ?1 AND state = 1 AND next_us >= ?2 ORDER BY next_us, id";

/// Whether a webhook has anything pending.
pub(crate) const OWED: &str = "SELECT 1 FROM delivery WHERE webhook = ?1 AND state = 1 LIMIT 1";

/// When a webhook is asked for again that has no room though nothing of it is leased.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Makes the oldest unsettled delivery of a webhook and subject due.
pub(crate) const PROMOTE: &str = "UPDATE delivery SET state = 1, next_us = ?3 WHERE id =
     (SELECT id FROM delivery WHERE webhook = ?1 AND subject = ?2 AND state <= 1 ORDER BY id LIMIT 1)";

/// What is owed of events that happened before a moment.
pub(crate) const OVERDUE: &str = "SELECT d.id, d.webhook, d.subject, d.state = 1
     FROM event e JOIN delivery d ON d.event = e.seq
     WHERE e.timestamp_us < ?1 AND d.state <= 1 ORDER BY e.timestamp_us";

/// Stores what an attempt came to, unless its number was recorded before.
pub(crate) const RECORD: &str = "UPDATE delivery
     SET state = ?2, next_us = ?3, attempts = ?4, settled_us = ?5, probes = probes + ?6
     WHERE id = ?1 AND attempts = ?4 - 1 AND state = 1 RETURNING webhook, subject";

/// What a claimed delivery says.
pub(crate) const TAKE: &str = "SELECT d.attempts, e.id, e.timestamp_us, e.kind, e.body, d.probes,
     (SELECT started_us FROM attempt WHERE delivery = d.id AND number = d.attempts AND d.attempts > 0)
     FROM delivery d JOIN event e ON e.seq = d.event WHERE d.id = ?1";

impl Database {
    /// Leases due deliveries to `owner` for `lease`: at most `total`, oldest first per webhook, taking
    /// turns between webhooks, none of a disabled one. `room` says how many more of a webhook may be leased,
    /// of which so many are; it is asked on the writer's thread, once per turn. Of a webhook whose suspension is over,
    /// one is leased at most, due or not, to find out whether its endpoint is back.
    ///
    /// Nothing is written: after a crash nothing is leased.
    pub async fn claim_deliveries(
        &self,
        owner: &str,
        now: Timestamp,
        lease: Duration,
        room: impl Fn(&Arc<Webhook>, u32) -> Room + Send + 'static,
        total: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        let claim = Claim { owner: owner.into(), now, until: now.plus(lease), room, total };
        self.write(move |tx| claim.carry_out(tx)).await
    }

    /// Records attempts, what follows from them, and what they told about their endpoints. One whose lease
    /// `owner` lost to another, or whose number was recorded before, is ignored. The next event of a subject
    /// becomes due when the one before it is delivered or exhausted.
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

    /// When there will be something to claim, as far as claims and commits have found out: a delivery is due,
    /// its lease has run out, or the suspension of its webhook has. Never before `now`; early at worst, and then
    /// the claim that finds nothing puts it right.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let writer = self.inner.writer.as_ref()?;
        writer.queue().next().map(|at| at.max(now))
    }

    /// Whether any delivery is being attempted.
    pub fn has_leases(&self) -> bool {
        self.inner.writer.as_ref().is_some_and(|writer| writer.queue().has_leases())
    }

    /// Gives up leases of `owner` that it makes no attempt under: they may be claimed again.
    pub async fn return_leases(&self, owner: &str, ids: Vec<DeliveryId>) -> Result<()> {
        let owner = owner.to_owned();
        self.write(move |tx| {
            let mut queue = tx.queue();
            for id in ids {
                let lease = queue.lease(id).filter(|lease| *lease.owner == *owner);
                if let Some(webhook) = lease.map(|lease| lease.webhook) {
                    queue.set(id, None);
                    queue.look(webhook, Timestamp::EPOCH);
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives up every lease of `owner`, when it ends and when it begins anew: what it had leased may be
    /// claimed again.
    pub async fn release_leases(&self, owner: &str) -> Result<()> {
        let owner = owner.to_owned();
        self.write(move |tx| {
            tx.queue().release(&owner);
            Ok(())
        })
        .await
    }
}

/// Tells the queue whom something is owed, if its memory is less than what is stored.
pub(crate) fn look_at_all(connection: &Connection, queue: &mut Queue) -> Result<()> {
    let mut owed = connection.prepare_cached(OWED)?;
    for webhook in webhooks::ids(connection)? {
        if owed.exists([Sql(webhook)])? {
            queue.look(webhook, Timestamp::EPOCH);
            queue.renew(webhook);
        }
    }
    queue.set_sure(true);
    Ok(())
}

/// A claim, about to be carried out.
struct Claim<F> {
    owner: Arc<str>,
    now: Timestamp,
    until: Timestamp,
    room: F,
    total: u32,
}

/// A delivery that is to be leased.
struct Due {
    /// How many of the same webhook come before it.
    turn: usize,
    since: Timestamp,
    id: DeliveryId,
    webhook: Arc<Webhook>,
}

impl<F: Fn(&Arc<Webhook>, u32) -> Room> Claim<F> {
    fn carry_out(&self, tx: &Writing<'_>) -> Result<Vec<ClaimedDelivery>> {
        // Whose turn it is while this fails is not in the queue.
        tx.queue().set_sure(false);
        tx.queue().advance(self.now);
        let mut claimed: HashMap<WebhookId, usize> = HashMap::new();
        let mut due = Vec::new();
        let mut left = self.total;
        loop {
            let turns = tx.queue().turns();
            if left == 0 || turns == 0 {
                break;
            }
            // Everybody's turn comes, and the fewer they are the more each gets.
            let share = (left / u32::try_from(turns).unwrap_or(u32::MAX)).max(1);
            for _ in 0..turns {
                let Some(turn) = tx.queue().next_turn() else { break };
                let (taken, after) = self.take_turn(tx, turn, share.min(left))?;
                left = left.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
                let before = claimed.entry(turn.webhook).or_default();
                for (webhook, since, id) in taken {
                    due.push(Due { turn: *before, since, id, webhook });
                    *before += 1;
                }
                tx.queue().put_back(turn.webhook, after, self.now);
                if left == 0 {
                    break;
                }
            }
        }
        // Turn by turn; within a turn whoever has waited longest.
        due.sort_unstable_by_key(|due| (due.turn, due.since, due.id));
        let claimed = due.into_iter().map(|due| take(tx, due)).collect::<Result<_>>()?;
        tx.queue().set_sure(true);
        Ok(claimed)
    }

    /// Leases what one webhook may get now, at most `share`; also says when its turn comes again.
    fn take_turn(&self, tx: &Writing<'_>, turn: Turn, share: u32) -> Result<(Vec<Chosen>, After)> {
        let nothing = |after| Ok((Vec::new(), after));
        let Some(webhook) = webhooks::kept(tx, turn.webhook)? else { return nothing(After::Nothing) };
        let probe = match &webhook.disabled {
            None => false,
            Some(Disabled { until: Some(until), .. }) if *until <= self.now => true,
            Some(Disabled { until, .. }) => return nothing(After::Full(*until)),
        };
        let Room { more, at } = (self.room)(&webhook, turn.leased);
        let more = if probe { more.min(1u32.saturating_sub(turn.leased)) } else { more };
        if more == 0 {
            let ask_again = || (turn.leased == 0).then(|| self.now.plus(ASK_AGAIN));
            return nothing(After::Full(at.or_else(ask_again)));
        }
        self.lease(tx, &webhook, turn, more.min(share), probe)
    }

    fn lease(
        &self,
        tx: &Writing<'_>,
        webhook: &Arc<Webhook>,
        turn: Turn,
        most: u32,
        probe: bool,
    ) -> Result<(Vec<Chosen>, After)> {
        let from = if probe { Timestamp::EPOCH } else { turn.from };
        let mut statement = tx.prepare_cached(PENDING)?;
        let mut rows = statement.query(params![Sql(webhook.id), Sql(from)])?;
        let mut chosen = Vec::new();
        let mut queue = tx.queue();
        while let Some(row) = rows.next()? {
            let (Sql(since), Sql(id)): (Sql<Timestamp>, Sql<DeliveryId>) = (row.get(0)?, row.get(1)?);
            if queue.is_leased(id) {
                continue;
            }
            if (since > self.now && !probe) || chosen.len() == most as usize {
                return Ok((chosen, After::Due(since)));
            }
            let (owner, until) = (self.owner.clone(), self.until);
            queue.set(id, Some(Lease { owner, webhook: webhook.id, until, over: false }));
            chosen.push((webhook.clone(), since, id));
        }
        Ok((chosen, After::Nothing))
    }
}

/// A delivery that was leased in a turn, and when it fell due.
type Chosen = (Arc<Webhook>, Timestamp, DeliveryId);

/// Reads what a leased delivery says.
fn take(tx: &Connection, due: Due) -> Result<ClaimedDelivery> {
    let Due { id, webhook, .. } = due;
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
    let unheld = || tracing::debug!(delivery = %id, attempt = attempt.number, "an attempt without its lease is not recorded");
    if tx.queue().lease(*id).is_none_or(|lease| &*lease.owner != owner) {
        unheld();
        return Ok(());
    }
    let (state, next) = match settled {
        Settled::Delivered => (DeliveryState::Delivered, None),
        Settled::Exhausted => (DeliveryState::Exhausted, None),
        Settled::Retry { at } => (DeliveryState::Pending, Some(*at)),
    };
    let over = next.is_none();
    let recorded: Option<(Sql<WebhookId>, String)> = tx
        .prepare_cached(RECORD)?
        .query_row(
            params![Sql(*id), number(state), next.map(Sql), attempt.number, over.then_some(Sql(now)), probe,],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((Sql(webhook), subject)) = recorded else {
        unheld();
        return Ok(());
    };
    record(tx, *id, attempt)?;
    if let Some(at) = next {
        tx.queue().look(webhook, at);
    }
    tx.queue().set(*id, None);
    if over { promote(tx, webhook, &subject, now) } else { Ok(()) }
}

/// Gives up at most `limit` deliveries whose event is older than `before`; returns how many.
pub(crate) fn expire(tx: &Writing<'_>, before: Timestamp, now: Timestamp, limit: u32) -> Result<usize> {
    let mut statement = tx.prepare_cached(OVERDUE)?;
    let rows = statement.query_map([Sql(before)], |row| {
        let (Sql(id), Sql(webhook)) = (row.get::<_, Sql<DeliveryId>>(0)?, row.get::<_, Sql<WebhookId>>(1)?);
        Ok((id, webhook, row.get::<_, String>(2)?, row.get::<_, bool>(3)?))
    })?;
    let unleased = rows.filter(|row| !row.as_ref().is_ok_and(|(id, ..)| tx.queue().is_leased(*id)));
    let overdue: Vec<_> = unleased.take(limit as usize).collect::<Result<_, _>>()?;
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
pub(crate) fn promote(tx: &Writing<'_>, webhook: WebhookId, subject: &str, now: Timestamp) -> Result<()> {
    let due = tx.first_attempt(now);
    let promoted = tx.prepare_cached(PROMOTE)?.execute(params![Sql(webhook), subject, Sql(due)])?;
    if promoted > 0 {
        tx.queue().look(webhook, due);
    }
    Ok(())
}
