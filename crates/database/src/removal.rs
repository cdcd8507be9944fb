//! The end of an asset, and of the segments nobody needs any more.
//!
//! What always holds: a segment goes in the transaction that removes the last recipe that covers
//! it, and its bytes are named to the caller only after that transaction is durable.

use mediahooks_model::{AssetInput, AssetState, MediaAssetId, TimelineId, Timestamp};
use rusqlite::params;

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, DatabaseError, FreedRange, Recipe, Result, assets, timelines};

impl Database {
    /// Removes an asset that is marked for removal, with every segment that no other asset uses.
    /// Returns where their bytes were, adjacent ones joined; free them after this returns.
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`DatabaseError::Refused`] unless it is `deleting`.
    pub async fn remove_asset(&self, id: MediaAssetId, now: Timestamp) -> Result<Vec<FreedRange>> {
        self.write(move |tx| {
            let asset = assets::asset(tx, id)?.ok_or(DatabaseError::NotFound)?;
            let step = asset.state.step(asset.asset_type, AssetInput::Remove, now)?;
            store_removed(tx, id, &step.next)?;
            match asset.recipe {
                Some(recipe) => release(tx, &recipe),
                None => Ok(Vec::new()),
            }
        })
        .await
    }
}

/// The row stays as a tombstone; its custom path becomes free for others.
fn store_removed(tx: &Writing<'_>, id: MediaAssetId, state: &AssetState) -> Result<()> {
    tx.prepare_cached("DELETE FROM recipe WHERE asset = ?1")?.execute([Sql(id)])?;
    tx.prepare_cached("UPDATE asset SET status = ?2, custom_path = NULL WHERE id = ?1")?
        .execute(params![Sql(id), Sql(state.status())])?;
    Ok(())
}

/// Removes what no recipe covers after `removed` is gone.
///
/// While the feed is live, only what `removed` covered: newer segments may be about to get their
/// recipe. Afterwards the whole timeline is swept, so that nothing a narrowed recipe let go stays.
fn release(tx: &Writing<'_>, removed: &Recipe) -> Result<Vec<FreedRange>> {
    let timeline = removed.timeline;
    let over = is_over(tx, timeline)?;
    let within = if over { (0, u64::MAX) } else { (removed.first, removed.last.unwrap_or(u64::MAX)) };
    let mut freed = Vec::new();
    for (first, last) in uncovered(tx, timeline, within)? {
        free(tx, timeline, first, last, &mut freed)?;
    }
    if over {
        tidy(tx, timeline)?;
    }
    Ok(freed)
}

fn is_over(tx: &Writing<'_>, timeline: TimelineId) -> Result<bool> {
    let Sql(feed) = tx
        .prepare_cached("SELECT feed FROM timeline WHERE id = ?1")?
        .query_row([Sql(timeline)], |row| row.get(0))?;
    Ok(timelines::feed(tx, feed)?.is_none_or(|feed| feed.ended.is_some()))
}

/// The ranges (ends included) inside `within` that no recipe of the timeline covers, in order.
fn uncovered(tx: &Writing<'_>, timeline: TimelineId, within: (u64, u64)) -> Result<Vec<(u64, u64)>> {
    let mut statement = tx.prepare_cached(
        "SELECT first_segment, last_segment FROM recipe WHERE timeline = ?1 ORDER BY first_segment",
    )?;
    let mut rows = statement.query([Sql(timeline)])?;
    let (mut from, to) = within;
    let mut gaps = Vec::new();
    while let Some(row) = rows.next()? {
        let Sql(first): Sql<u64> = row.get(0)?;
        let last: Option<Sql<u64>> = row.get(1)?;
        if first > to {
            break;
        }
        if first > from {
            gaps.push((from, first - 1));
        }
        // An open recipe covers everything from its first segment on.
        let Some(Sql(last)) = last else { return Ok(gaps) };
        from = from.max(last.saturating_add(1));
    }
    if from <= to {
        gaps.push((from, to));
    }
    Ok(gaps)
}

/// Removes the segments `first..=last`; appends where they were to `freed`.
fn free(
    tx: &Writing<'_>,
    timeline: TimelineId,
    first: u64,
    last: u64,
    freed: &mut Vec<FreedRange>,
) -> Result<()> {
    let highest = i64::MAX.unsigned_abs();
    let range = params![Sql(timeline), Sql(first.min(highest)), Sql(last.min(highest))];
    let mut statement = tx.prepare_cached(
        "SELECT chunk, offset_bytes, len_bytes FROM segment WHERE timeline = ?1 AND sequence BETWEEN ?2 AND ?3
         ORDER BY sequence",
    )?;
    let mut rows = statement.query(range)?;
    while let Some(row) = rows.next()? {
        let next = FreedRange {
            timeline,
            chunk: row.get(0)?,
            offset: row.get::<_, Sql<_>>(1)?.0,
            len: row.get::<_, Sql<_>>(2)?.0,
        };
        match freed.last_mut() {
            Some(before) if before.chunk == next.chunk && before.offset + before.len == next.offset => {
                before.len += next.len;
            }
            _ => freed.push(next),
        }
    }
    tx.prepare_cached("DELETE FROM segment WHERE timeline = ?1 AND sequence BETWEEN ?2 AND ?3")?
        .execute(range)?;
    Ok(())
}

/// Removes the runs without segments, and the timeline once it has neither segments nor recipes.
fn tidy(tx: &Writing<'_>, timeline: TimelineId) -> Result<()> {
    // The runs in use are a handful of distinct numbers, found by one pass over the segments left.
    tx.prepare_cached(
        "DELETE FROM run WHERE timeline = ?1
             AND number NOT IN (SELECT run FROM segment WHERE timeline = ?1)
             AND number NOT IN (SELECT run FROM recipe WHERE timeline = ?1)",
    )?
    .execute([Sql(timeline)])?;
    tx.prepare_cached(
        "DELETE FROM timeline WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM run WHERE timeline = ?1)
             AND NOT EXISTS (SELECT 1 FROM recipe WHERE timeline = ?1)",
    )?
    .execute([Sql(timeline)])?;
    Ok(())
}
