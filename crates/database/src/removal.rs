//! The end of an asset, and of the segments nobody needs any more.
//!
//! What always holds: a segment goes in the transaction after which no recipe covers it, and where
//! its bytes were is noted in that same transaction, until somebody has freed them: nothing that
//! breaks off in between loses them. A long asset goes piece by piece, its recipe shrinking from the
//! front, so that feeds do not wait for the writer meanwhile; a removal that broke off goes on where
//! it stopped when it is asked for again. What a piece costs depends on what it frees, not on how many
//! assets its timeline has or had.
//!
//! Segments can be left that no recipe holds without one of them going: while a feed is live, what an asset turns out not
//! to need stays. Its timeline is marked then (`timeline.sweep_from`), in the transaction that ends the feed, and swept.

use std::sync::Arc;

use mediahooks_model::{AssetInput, AssetState, FeedId, MediaAssetId, TimelineId, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::cover::{Cover, Gaps};
use crate::segments::{Stored, Stretch};
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, DatabaseError, FreedRange, RecipePart, Result, assets, segments, steps, timelines};

/// Notes of freed ranges, in order.
pub(crate) const FREED: &str =
    "SELECT id, timeline, chunk, offset_bytes, len_bytes FROM freed WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Complete timelines, oldest first, with a part of their recipe.
pub(crate) const RECLAIMABLE: &str =
    "SELECT a.id, r.timeline, r.first_segment, r.last_segment FROM asset a JOIN recipe r ON r.asset = a.id
     WHERE a.asset_type = 'timeline' AND a.status = 'complete' AND r.last_segment IS NOT NULL
     ORDER BY a.start_us, a.id";

/// Timelines with segments that no recipe may hold.
pub(crate) const TO_SWEEP: &str = "SELECT id FROM timeline WHERE sweep_from IS NOT NULL ORDER BY id LIMIT ?1";

/// Gaps between recipes, and stretches of recipes, that one transaction looks at. Where many clips are left of what is
/// removed, each gap takes a part out of a page.
const STEPS: usize = 32;

/// Segments that go in the transaction that lets them go; a sweep removes the others.
const LET_GO_BATCH: u32 = 1024;

/// Runs that go in one transaction.
const RUNS: u32 = 256;

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
                let gaps = Cover::of(tx, timeline, Some(id))?.gaps((first, last), usize::MAX)?;
                let freed = gaps
                    .found
                    .into_iter()
                    .map(|(first, last)| stored.bytes(first, last))
                    .sum::<Result<u64>>();
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

    /// Removes an asset that is marked for removal, with every segment of it that no other asset uses.
    /// Where their bytes were is told by [`Database::freed_ranges`]. Where it was the last one of a timeline that is over,
    /// [`Database::sweep_timelines`] may have to remove others that are left.
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`DatabaseError::Refused`] unless it is `deleting`.
    pub async fn remove_asset(&self, id: MediaAssetId, now: Timestamp) -> Result<()> {
        let batch = self.inner.removal_batch;
        while !self.write(move |tx| remove_piece(tx, id, now, batch)).await? {}
        Ok(())
    }

    /// Removes the segments that no recipe holds of timelines that are over and may have such, `limit` timelines at most.
    pub async fn sweep_timelines(&self, limit: u32) -> Result<()> {
        let marked = self
            .read(move |tx| {
                let mut statement = tx.prepare_cached(TO_SWEEP)?;
                let rows = statement.query_map([limit], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
                Ok(rows.collect::<Result<Vec<TimelineId>, _>>()?)
            })
            .await?;
        let mut swept = Ok(());
        for timeline in marked {
            // One that fails keeps none of the others.
            swept = swept.and(self.sweep(timeline).await);
        }
        swept
    }

    async fn sweep(&self, timeline: TimelineId) -> Result<()> {
        let batch = self.inner.removal_batch;
        while !self.write(move |tx| sweep_piece(tx, timeline, batch)).await? {}
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
    let number: u32 = tx
        .prepare_cached("SELECT min(part) FROM recipe WHERE asset = ?1")?
        .query_row([Sql(id)], |row| row.get(0))?;
    tx.prepare_cached("DELETE FROM recipe WHERE asset = ?1 AND part = ?2")?
        .execute(params![Sql(id), number])?;
    let is_over = is_over(tx, part.timeline)?;
    let range = (part.first, part.last.unwrap_or(segments::NEWEST));
    if let Some(rest) = free_uncovered(tx, part.timeline, range, is_over, batch)? {
        steps::put_part(tx, id, number, &RecipePart { first: rest, ..part.clone() })?;
        return Ok(false);
    }
    let is_last = asset.recipe.len() == 1;
    if is_last {
        store_removed(tx, id, &step.next)?;
    }
    if is_over && !has_recipes(tx, part.timeline)? {
        mark(tx, part.timeline, 0)?;
        sweep_piece(tx, part.timeline, batch)?;
    }
    Ok(is_last)
}

/// The row stays as a tombstone; its custom path becomes free for others.
fn store_removed(tx: &Writing<'_>, id: MediaAssetId, state: &AssetState) -> Result<()> {
    tx.prepare_cached("DELETE FROM recipe WHERE asset = ?1")?.execute([Sql(id)])?;
    tx.prepare_cached("UPDATE asset SET status = ?2, custom_path = NULL WHERE id = ?1")?
        .execute(params![Sql(id), Sql(state.status())])?;
    Ok(())
}

/// Removes what no recipe covers after one that was `before` has become `after`, unless its feed is live: then that is
/// looked for when it ends. Where the assets that a timeline began with are gone, no other removal might come.
pub(crate) fn let_go(tx: &Writing<'_>, before: &[RecipePart], after: &[RecipePart]) -> Result<()> {
    let is_kept = |part: &&RecipePart| {
        let covers = |other: &RecipePart| {
            (other.timeline, other.first) == (part.timeline, part.first) && other.last >= part.last
        };
        part.last.is_some() && after.iter().any(covers)
    };
    for part in before.iter().filter(|part| !is_kept(part)) {
        let timeline = part.timeline;
        // One of which all is let go may be gone by its first part.
        if !is_over(tx, timeline)? {
            continue;
        }
        let range = (part.first, part.last.unwrap_or(segments::NEWEST));
        if let Some(rest) = free_uncovered(tx, timeline, range, true, LET_GO_BATCH)? {
            mark(tx, timeline, rest)?;
        }
        if !has_recipes(tx, timeline)? {
            mark(tx, timeline, 0)?;
            sweep_piece(tx, timeline, LET_GO_BATCH)?;
        }
    }
    Ok(())
}

/// Marks the timelines of a feed that ends, if they have segments that no recipe holds.
pub(crate) fn mark_leftovers(tx: &Writing<'_>, feed: FeedId) -> Result<()> {
    let mut statement = tx.prepare_cached("SELECT id FROM timeline WHERE feed = ?1")?;
    let timelines = statement.query_map([Sql(feed)], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
    for timeline in timelines.collect::<Result<Vec<TimelineId>, _>>()? {
        let stored = segments::of(tx, timeline);
        let newest = stored.newest_sequence()?.unwrap_or(0);
        let Gaps { found, mut rest } = Cover::of(tx, timeline, None)?.gaps((0, newest), STEPS)?;
        for (first, last) in found.into_iter().rev() {
            let stretches = segments::or_damaged(stored.stretches(first, last, 1))?;
            if stretches.is_none_or(|stretches| !stretches.is_empty()) {
                rest = Some(first);
            }
        }
        if let Some(rest) = rest {
            mark(tx, timeline, rest)?;
        }
    }
    Ok(())
}

/// Has a timeline looked through from a segment on.
fn mark(tx: &Writing<'_>, timeline: TimelineId, from: u64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE timeline SET sweep_from = ?2 WHERE id = ?1 AND (sweep_from IS NULL OR sweep_from > ?2)",
    )?
    .execute(params![Sql(timeline), Sql(from)])?;
    Ok(())
}

/// One transaction of a sweep; tells whether it was the last one. The timeline goes with its last segment.
fn sweep_piece(tx: &Writing<'_>, timeline: TimelineId, batch: u32) -> Result<bool> {
    let from: Option<Option<Sql<u64>>> = tx
        .prepare_cached("SELECT sweep_from FROM timeline WHERE id = ?1")?
        .query_row([Sql(timeline)], |row| row.get(0))
        .optional()?;
    let Some(Some(Sql(from))) = from else { return Ok(true) };
    if let Some(rest) = free_uncovered(tx, timeline, (from, segments::NEWEST), true, batch)? {
        tx.prepare_cached("UPDATE timeline SET sweep_from = ?2 WHERE id = ?1")?
            .execute(params![Sql(timeline), Sql(rest)])?;
        return Ok(false);
    }
    if has_recipes(tx, timeline)? {
        tx.prepare_cached("UPDATE timeline SET sweep_from = NULL WHERE id = ?1")?.execute([Sql(timeline)])?;
        return Ok(true);
    }
    // What is damaged goes with the last of the others, and where nobody can tell which bytes were meant, with their file.
    note(tx, segments::remove(tx, timeline, 0, segments::NEWEST)?)?;
    tx.prepare_cached("DELETE FROM segment_page WHERE timeline = ?1")?.execute([Sql(timeline)])?;
    segments::move_if_sound(tx, timeline)?;
    let runs = tx
        .prepare_cached(
            "DELETE FROM run WHERE timeline = ?1
                 AND number IN (SELECT number FROM run WHERE timeline = ?1 ORDER BY number LIMIT ?2)",
        )?
        .execute(params![Sql(timeline), RUNS])?;
    if runs == RUNS as usize {
        return Ok(false);
    }
    tx.prepare_cached("DELETE FROM timeline WHERE id = ?1")?.execute([Sql(timeline)])?;
    Ok(true)
}

/// Removes segments of `first..=last` that no recipe holds, `batch` at most; tells where to go on when that was not all.
/// Of a timeline that is over (`is_over`) those that lie around them unheld go, too, up to a page: a page that is damaged
/// goes with the last of its segments.
fn free_uncovered(
    tx: &Writing<'_>,
    timeline: TimelineId,
    (first, last): (u64, u64),
    is_over: bool,
    batch: u32,
) -> Result<Option<u64>> {
    let cover = Cover::of(tx, timeline, None)?;
    let Gaps { found, mut rest } = cover.gaps((first, last), STEPS)?;
    let (mut freed, mut missing) = (Vec::new(), u64::from(batch));
    for (from, mut to) in found {
        let stretches = segments::or_damaged(segments::of(tx, timeline).stretches(from, to, missing + 1))?;
        let next = stretches.and_then(|stretches| after(&stretches, &mut missing));
        if let Some(next) = next {
            (to, rest) = (next - 1, Some(next));
        }
        let (from, to) = match is_over {
            true if next.is_none() => cover.widened((from, to), segments::PAGE - 1)?,
            true => (cover.widened((from, to), segments::PAGE - 1)?.0, to),
            false => (from, to),
        };
        for range in segments::remove(tx, timeline, from, to)? {
            join(&mut freed, range);
        }
        if next.is_some() {
            break;
        }
    }
    note(tx, freed)?;
    Ok(rest)
}

/// The segment behind the next `count`, which becomes less by those that there are; absent when there are no more.
fn after(stretches: &[Stretch], count: &mut u64) -> Option<u64> {
    for stretch in stretches {
        if *count < stretch.count() {
            return Some(stretch.first + *count);
        }
        *count -= stretch.count();
    }
    None
}

/// Notes that bytes can be given back.
fn note(tx: &Writing<'_>, freed: Vec<FreedRange>) -> Result<()> {
    let mut note = tx.prepare_cached(
        "INSERT INTO freed (timeline, chunk, offset_bytes, len_bytes) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for range in freed {
        note.execute(params![Sql(range.timeline), range.chunk, Sql(range.offset), Sql(range.len)])?;
    }
    Ok(())
}

fn has_recipes(tx: &Writing<'_>, timeline: TimelineId) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM recipe WHERE timeline = ?1 LIMIT 1")?.exists([Sql(timeline)])?)
}

/// Whether the feed of a timeline has ended; also one that is gone is over.
fn is_over(tx: &Writing<'_>, timeline: TimelineId) -> Result<bool> {
    let feed: Option<Sql<FeedId>> = tx
        .prepare_cached("SELECT feed FROM timeline WHERE id = ?1")?
        .query_row([Sql(timeline)], |row| row.get(0))
        .optional()?;
    let Some(Sql(feed)) = feed else { return Ok(true) };
    Ok(timelines::feed(tx, feed)?.is_none_or(|feed| feed.ended.is_some()))
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
