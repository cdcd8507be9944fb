//! The end of an asset, and of the segments nobody needs any more.
//!
//! What always holds: a segment goes in the transaction after which no recipe covers it, and where
//! its bytes were is noted in that same transaction, until somebody has freed them: nothing that
//! breaks off in between loses them. A long asset goes piece by piece, its recipe shrinking from the
//! front, so that feeds do not wait for the writer meanwhile; a removal that broke off goes on where
//! it stopped when it is asked for again.

use std::sync::Arc;

use mediahooks_model::{AssetInput, AssetState, MediaAssetId, TimelineId, Timestamp};
use rusqlite::{Connection, params};

use crate::segments::Stored;
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, DatabaseError, FreedRange, RecipePart, Result, assets, segments, timelines};

/// Notes of freed ranges, in order.
pub(crate) const FREED: &str =
    "SELECT id, timeline, chunk, offset_bytes, len_bytes FROM freed WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Complete timelines, oldest first, with a part of their recipe. One that a single other recipe covers whole is
/// passed over at once: most are, by their recording.
pub(crate) const RECLAIMABLE: &str =
    "SELECT a.id, r.timeline, r.first_segment, r.last_segment FROM asset a JOIN recipe r ON r.asset = a.id
     WHERE a.asset_type = 'timeline' AND a.status = 'complete' AND r.last_segment IS NOT NULL
         AND NOT EXISTS (
             SELECT 1 FROM recipe o
             WHERE o.timeline = r.timeline AND o.asset <> r.asset AND o.first_segment <= r.first_segment
                 AND (o.last_segment IS NULL OR o.last_segment >= r.last_segment))
     ORDER BY a.start_us, a.id";

impl Database {
    /// Complete timelines, oldest first, that free at least `wanted` bytes together when they go, or all
    /// there are, and how many bytes each frees by itself.
    pub async fn reclaimable_timelines(&self, wanted: u64) -> Result<Vec<(MediaAssetId, u64)>> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| {
            let tails = Stored::all(tx, &places);
            let mut statement = tx.prepare_cached(RECLAIMABLE)?;
            let mut rows = statement.query([])?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while bytes < wanted
                && let Some(row) = rows.next()?
            {
                let (Sql(id), Sql(timeline)): (Sql<MediaAssetId>, Sql<TimelineId>) =
                    (row.get(0)?, row.get(1)?);
                let (Sql(first), Sql(last)): (Sql<u64>, Sql<u64>) = (row.get(2)?, row.get(3)?);
                let paged = Stored::paged(tx, timeline);
                let stored = tails.get(&timeline).unwrap_or(&paged);
                let ranges = uncovered(tx, timeline, (first, last), Some(id))?;
                let freed =
                    ranges.into_iter().map(|(first, last)| stored.bytes(first, last)).sum::<Result<u64>>();
                // Of one that is damaged it is not known how much.
                let freed = segments::or_damaged(freed)?.unwrap_or(1);
                if freed > 0 {
                    found.push((id, freed));
                    bytes += freed;
                }
            }
            Ok(found)
        })
        .await
    }

    /// Removes an asset that is marked for removal, with every segment that no other asset uses.
    /// Where their bytes were is told by [`Database::freed_ranges`].
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`DatabaseError::Refused`] unless it is `deleting`.
    pub async fn remove_asset(&self, id: MediaAssetId, now: Timestamp) -> Result<()> {
        let batch = self.inner.removal_batch;
        while !self.write(move |tx| remove_piece(tx, id, now, batch)).await? {}
        Ok(())
    }

    /// Ranges of bytes that no row points at any more and that nobody has freed yet, oldest first:
    /// those whose number is above `after`, at most `limit`. Adjacent segments that went together are
    /// one range. Numbers rise and are never used again.
    pub async fn freed_ranges(&self, after: i64, limit: u32) -> Result<Vec<(i64, FreedRange)>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(FREED)?;
            let rows = statement.query_map(params![after, limit], |row| {
                let range = FreedRange {
                    timeline: row.get::<_, Sql<_>>(1)?.0,
                    chunk: row.get(2)?,
                    offset: row.get::<_, Sql<_>>(3)?.0,
                    len: row.get::<_, Sql<_>>(4)?.0,
                };
                Ok((row.get(0)?, range))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Drops the notes of ranges whose bytes were given back; unknown numbers are passed over.
    pub async fn forget_freed(&self, numbers: Vec<i64>) -> Result<()> {
        self.write(move |tx| {
            let mut statement = tx.prepare_cached("DELETE FROM freed WHERE id = ?1")?;
            for number in numbers {
                statement.execute([number])?;
            }
            Ok(())
        })
        .await
    }
}

/// One transaction of a removal; tells whether it was the last one.
fn remove_piece(tx: &Writing<'_>, id: MediaAssetId, now: Timestamp, batch: u32) -> Result<bool> {
    let asset = assets::asset(tx, id)?.ok_or(DatabaseError::NotFound)?;
    let step = asset.state.step(asset.asset_type, AssetInput::Remove, now)?;
    let Some(part) = asset.recipe.first() else {
        store_removed(tx, id, &step.next)?;
        return Ok(true);
    };
    let Some(rest) = first_after(tx, part, batch)? else {
        let is_last = asset.recipe.len() == 1;
        if is_last {
            store_removed(tx, id, &step.next)?;
        } else {
            forget_first_part(tx, id)?;
        }
        release(tx, part)?;
        return Ok(is_last);
    };
    tx.prepare_cached(
        "UPDATE recipe SET first_segment = ?2
         WHERE asset = ?1 AND part = (SELECT min(part) FROM recipe WHERE asset = ?1)",
    )?
    .execute(params![Sql(id), Sql(rest)])?;
    free_uncovered(tx, part.timeline, (part.first, rest - 1))?;
    Ok(false)
}

fn forget_first_part(tx: &Writing<'_>, id: MediaAssetId) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM recipe WHERE asset = ?1 AND part = (SELECT min(part) FROM recipe WHERE asset = ?1)",
    )?
    .execute([Sql(id)])?;
    Ok(())
}

/// The segment of a part that comes `batch` after its first; absent when it has no more than that.
fn first_after(tx: &Writing<'_>, part: &RecipePart, batch: u32) -> Result<Option<u64>> {
    let mut missing = u64::from(batch);
    let last = part.last.unwrap_or(segments::NEWEST);
    let stored = segments::of(tx, part.timeline);
    let Some(stretches) = segments::or_damaged(stored.stretches(part.first, last, missing + 1))? else {
        return Ok(None);
    };
    for stretch in stretches {
        let count = stretch.count();
        if missing < count {
            return Ok(Some(stretch.first + missing));
        }
        missing -= count;
    }
    Ok(None)
}

/// The row stays as a tombstone; its custom path becomes free for others.
fn store_removed(tx: &Writing<'_>, id: MediaAssetId, state: &AssetState) -> Result<()> {
    tx.prepare_cached("DELETE FROM recipe WHERE asset = ?1")?.execute([Sql(id)])?;
    tx.prepare_cached("UPDATE asset SET status = ?2, custom_path = NULL WHERE id = ?1")?
        .execute(params![Sql(id), Sql(state.status())])?;
    Ok(())
}

/// Removes what no recipe covers after the part `removed` is gone.
///
/// While the feed is live, only what `removed` covered: newer segments may be about to get their
/// recipe. Afterwards the whole timeline is swept, so that nothing a narrowed recipe let go stays.
fn release(tx: &Writing<'_>, removed: &RecipePart) -> Result<()> {
    let timeline = removed.timeline;
    let over = is_over(tx, timeline)?;
    let within = if over { (0, u64::MAX) } else { (removed.first, removed.last.unwrap_or(u64::MAX)) };
    free_uncovered(tx, timeline, within)?;
    if over {
        segments::move_if_sound(tx, timeline)?;
        tidy(tx, timeline)?;
    }
    Ok(())
}

/// Removes what no recipe covers after one that was `before` has become `after`, unless its feed is live: then a removal
/// sweeps it later. Where the assets that a timeline began with are gone, none might come.
pub(crate) fn let_go(tx: &Writing<'_>, before: &[RecipePart], after: &[RecipePart]) -> Result<()> {
    let is_kept = |part: &&RecipePart| {
        let covers = |other: &RecipePart| {
            (other.timeline, other.first) == (part.timeline, part.first) && other.last >= part.last
        };
        part.last.is_some() && after.iter().any(covers)
    };
    let mut released = Vec::new();
    for part in before.iter().filter(|part| !is_kept(part)) {
        // One that was released is swept, and may be gone.
        if released.contains(&part.timeline) || !is_over(tx, part.timeline)? {
            continue;
        }
        let last = match part.last {
            Some(last) => last,
            None => segments::of(tx, part.timeline).newest_sequence()?.unwrap_or(part.first),
        };
        if !uncovered(tx, part.timeline, (part.first, last), None)?.is_empty() {
            release(tx, part)?;
            released.push(part.timeline);
        }
    }
    Ok(())
}

fn free_uncovered(tx: &Writing<'_>, timeline: TimelineId, within: (u64, u64)) -> Result<()> {
    let mut freed = Vec::new();
    for (first, last) in uncovered(tx, timeline, within, None)? {
        for range in segments::remove(tx, timeline, first, last)? {
            join(&mut freed, range);
        }
    }
    let mut note = tx.prepare_cached(
        "INSERT INTO freed (timeline, chunk, offset_bytes, len_bytes) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for range in freed {
        note.execute(params![Sql(range.timeline), range.chunk, Sql(range.offset), Sql(range.len)])?;
    }
    Ok(())
}

fn is_over(tx: &Writing<'_>, timeline: TimelineId) -> Result<bool> {
    let Sql(feed) = tx
        .prepare_cached("SELECT feed FROM timeline WHERE id = ?1")?
        .query_row([Sql(timeline)], |row| row.get(0))?;
    Ok(timelines::feed(tx, feed)?.is_none_or(|feed| feed.ended.is_some()))
}

/// The ranges (ends included) inside `within` that no recipe of the timeline covers, in order; that of the asset
/// `except` does not count.
fn uncovered(
    tx: &Connection,
    timeline: TimelineId,
    within: (u64, u64),
    except: Option<MediaAssetId>,
) -> Result<Vec<(u64, u64)>> {
    let mut statement = tx.prepare_cached(
        "SELECT first_segment, last_segment FROM recipe WHERE timeline = ?1 AND (?2 IS NULL OR asset <> ?2)
         ORDER BY first_segment",
    )?;
    let mut rows = statement.query(params![Sql(timeline), except.map(Sql)])?;
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
        if from > to {
            return Ok(gaps);
        }
    }
    if from <= to {
        gaps.push((from, to));
    }
    Ok(gaps)
}

/// Appends a range, or lengthens the last one when it ends where this begins.
fn join(freed: &mut Vec<FreedRange>, next: FreedRange) {
    match freed.last_mut() {
        Some(before) if before.chunk == next.chunk && before.offset + before.len == next.offset => {
            before.len += next.len;
        }
        _ => freed.push(next),
    }
}

/// Removes the runs without segments, and the timeline once it has neither segments nor recipes.
fn tidy(tx: &Writing<'_>, timeline: TimelineId) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM run WHERE timeline = ?1
             AND number NOT IN (SELECT run FROM segment_page WHERE timeline = ?1)
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
