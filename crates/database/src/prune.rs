//! Forgetting what is too old to matter.

use std::time::Duration;

use mediahooks_model::Timestamp;
use rusqlite::params;
use rusqlite::types::Value;

use crate::sql::Sql;
use crate::{Database, Result, deliveries, webhooks};

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Replies to requests with an idempotency key; default 24 h.
    pub kept_replies: Duration,
    /// Events, settled deliveries with their attempts, and what is left of deleted assets, ended
    /// feeds; default 30 days.
    pub history: Duration,
    /// Rows removed in one transaction, so that other writers hardly notice; default 100.
    pub batch: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            kept_replies: Duration::from_secs(24 * 3600),
            history: Duration::from_secs(30 * 24 * 3600),
            batch: 100,
        }
    }
}

/// Rows that are looked for together.
const FOUND_AT_ONCE: u32 = 1000;

/// How many rows were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Kept replies.
    pub kept_replies: u64,
    /// Deliveries, without their attempts.
    pub deliveries: u64,
    /// Replays of which nothing is left.
    pub replays: u64,
    /// Events.
    pub events: u64,
    /// Timelines of ended feeds that have no media.
    pub timelines: u64,
    /// Ended feeds without timelines.
    pub feeds: u64,
    /// Deleted assets.
    pub assets: u64,
}

/// What is too old, and how one of it is removed.
pub(crate) struct Rule {
    /// Up to `?2` keys of rows that ended before `?1`, oldest first, each with the number of rows that go with it.
    pub(crate) find: &'static str,
    /// Removes the row of key `?1`, unless it is needed again by then.
    pub(crate) remove: &'static str,
    age: fn(&Retention) -> Duration,
    count: fn(&mut Pruned) -> &mut u64,
}

/// In this order: an event goes after its deliveries, a feed after its timelines.
pub(crate) const RULES: [Rule; 7] = [
    Rule {
        find: "SELECT key, 1 FROM kept_reply WHERE created_us < ?1 ORDER BY created_us LIMIT ?2",
        remove: "DELETE FROM kept_reply WHERE key = ?1",
        age: |retention| retention.kept_replies,
        count: |pruned| &mut pruned.kept_replies,
    },
    Rule {
        find: "SELECT id, 1 + attempts FROM delivery WHERE state >= 2 AND settled_us < ?1
               ORDER BY settled_us LIMIT ?2",
        remove: "DELETE FROM delivery WHERE id = ?1 AND state >= 2",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.deliveries,
    },
    Rule {
        find: "SELECT id, 1 FROM replay WHERE ended_us < ?1
                   AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.replay = replay.id)
               ORDER BY ended_us LIMIT ?2",
        remove: "DELETE FROM replay WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.replay = replay.id)",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.replays,
    },
    Rule {
        find: "SELECT seq, 1 FROM event WHERE timestamp_us < ?1
                   AND seq <= (SELECT seq FROM event_horizon WHERE one = 1)
                   AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = event.seq)
               ORDER BY timestamp_us LIMIT ?2",
        remove: "DELETE FROM event WHERE seq = ?1
                     AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = event.seq)",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.events,
    },
    Rule {
        find:
            "SELECT timeline.id, 1 FROM feed JOIN timeline ON timeline.feed = feed.id WHERE feed.ended_us < ?1
                   AND NOT EXISTS (SELECT 1 FROM segment_page WHERE segment_page.timeline = timeline.id)
                   AND NOT EXISTS (SELECT 1 FROM recipe WHERE recipe.timeline = timeline.id)
               ORDER BY feed.ended_us LIMIT ?2",
        remove: "DELETE FROM timeline WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM segment_page WHERE segment_page.timeline = ?1)
                     AND NOT EXISTS (SELECT 1 FROM recipe WHERE recipe.timeline = ?1)",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.timelines,
    },
    Rule {
        find: "SELECT id, 1 FROM feed WHERE ended_us < ?1
                   AND NOT EXISTS (SELECT 1 FROM timeline WHERE timeline.feed = feed.id)
               ORDER BY ended_us LIMIT ?2",
        remove: "DELETE FROM feed WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM timeline WHERE timeline.feed = feed.id)",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.feeds,
    },
    Rule {
        find: "SELECT id, 1 FROM asset WHERE status = 'deleted' AND marked_us < ?1 ORDER BY marked_us LIMIT ?2",
        remove: "DELETE FROM asset WHERE id = ?1 AND status = 'deleted'",
        age: |retention| retention.history,
        count: |pruned| &mut pruned.assets,
    },
];

impl Database {
    /// Removes what is older than `retention` says, in small transactions, and what a removed
    /// webhook left behind.
    pub async fn prune(&self, now: Timestamp, retention: Retention) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        self.prune_unowned_deliveries(&retention, &mut pruned).await?;
        self.move_event_horizon(now.minus(retention.history)).await?;
        self.forget_expired_secrets(now).await?;
        for rule in &RULES {
            let before = now.minus((rule.age)(&retention));
            while let Some(removed) = self.prune_some(rule, before, retention.batch.max(1)).await? {
                *(rule.count)(&mut pruned) += removed;
            }
        }
        Ok(pruned)
    }

    /// Removes some of what a rule names, in transactions of `batch` rows; absent when there is no more. What is too old is
    /// looked for on a connection that reads, so that the writer is held up by no more than these, and much of it at once:
    /// what is old but needed may lie before it.
    async fn prune_some(&self, rule: &'static Rule, before: Timestamp, batch: u32) -> Result<Option<u64>> {
        let found = self
            .read(move |tx| {
                let mut statement = tx.prepare_cached(rule.find)?;
                let values = params![Sql(before), batch.max(FOUND_AT_ONCE)];
                let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<Vec<(Value, u32)>, _>>()?)
            })
            .await?;
        let (mut found, mut removed) = (found.into_iter().peekable(), 0);
        while found.peek().is_some() {
            let (mut keys, mut rows) = (Vec::new(), 0u32);
            // The first one goes in any case, however many attempts it took.
            while rows < batch
                && let Some((key, weight)) = found.next()
            {
                keys.push(key);
                rows = rows.saturating_add(weight);
            }
            removed += self
                .write(move |tx| {
                    let mut statement = tx.prepare_cached(rule.remove)?;
                    keys.into_iter()
                        .try_fold(0, |removed, key| Ok(removed + statement.execute([key])? as u64))
                })
                .await?;
        }
        Ok(Some(removed).filter(|removed| *removed > 0))
    }

    async fn forget_expired_secrets(&self, now: Timestamp) -> Result<()> {
        self.write(move |tx| {
            for webhook in tx.webhooks()?.iter() {
                if webhook.previous_secret.as_ref().is_some_and(|previous| previous.until <= now) {
                    webhooks::forget_previous_secret(tx, webhook.id)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives up what is owed of events before `before`, in transactions of `batch` rows: nobody waits for it any
    /// more, and it must not pile up for ever. What is being attempted is left alone. Returns how many.
    pub async fn expire_deliveries(&self, before: Timestamp, now: Timestamp, batch: u32) -> Result<u64> {
        let batch = batch.max(1);
        let mut expired = 0;
        loop {
            let gone = self.write(move |tx| deliveries::expire(tx, before, now, batch)).await?;
            expired += gone as u64;
            if gone < batch as usize {
                return Ok(expired);
            }
        }
    }

    async fn prune_unowned_deliveries(&self, retention: &Retention, pruned: &mut Pruned) -> Result<()> {
        let limit = retention.batch.max(1);
        for webhook in self.read(webhooks::removed_but_owed).await? {
            loop {
                let removed = self.write(move |tx| webhooks::forget_deliveries(tx, webhook, limit)).await?;
                pruned.deliveries += removed as u64;
                if removed == 0 {
                    break;
                }
            }
        }
        Ok(())
    }
}
