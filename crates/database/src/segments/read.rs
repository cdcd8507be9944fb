//! Segments as they are read.

use std::sync::Arc;

use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{
    Entry, NEWEST, Places, SharedTables, Stored, Stretch, WithTables, chunk_extents, or_damaged, tail,
};
use crate::readers::ReadTurn;
use crate::sql::Sql;
use crate::{ChunkExtent, Database, Result, Segment, SegmentSpan};

impl Database {
    /// Segments `first` to `last` (included; absent: to the newest), in order.
    pub async fn segments(
        &self,
        timeline: TimelineId,
        first: u64,
        last: Option<u64>,
    ) -> Result<Vec<Segment>> {
        self.read_segments(timeline, move |stored| stored.segments(first, last.unwrap_or(NEWEST))).await
    }

    /// Waits until segments can be read on a thread of the caller's.
    pub async fn segment_reader(&self) -> Result<SegmentReader> {
        let turn = self.inner.readers.turn().await?;
        let (places, shared) = (Arc::clone(&self.inner.places), Arc::clone(&self.inner.shared_tables));
        Ok(SegmentReader { turn, places, shared })
    }

    /// Segments of any run, or one, that hold media captured in `from..to` (wall clock), in order.
    pub async fn segments_in(
        &self,
        timeline: TimelineId,
        run: Option<u32>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SegmentSpan>> {
        self.fold_segments_in(timeline, run, (from, to), Vec::new(), |found, span| found.push(span)).await
    }

    /// Adds to `sum` what `each` makes of the segments of any run, or one, that hold media captured in `from..to` (wall
    /// clock), in order: those of many hours are never in memory together.
    pub async fn fold_segments_in<T: Send + 'static>(
        &self,
        timeline: TimelineId,
        run: Option<u32>,
        range: (Timestamp, Timestamp),
        mut sum: T,
        mut each: impl FnMut(&mut T, SegmentSpan) + Send + 'static,
    ) -> Result<T> {
        self.read_segments(timeline, move |stored| {
            stored.by_wall(run, range, |entry| each(&mut sum, entry.span))?;
            Ok(sum)
        })
        .await
    }

    /// Segments `first` to `last` (included; absent: to the newest), in order, without their sample
    /// tables.
    pub async fn segment_spans(
        &self,
        timeline: TimelineId,
        first: u64,
        last: Option<u64>,
    ) -> Result<Vec<SegmentSpan>> {
        let last = last.unwrap_or(NEWEST);
        self.read_segments(timeline, move |stored| Ok(spans(stored.entries(first, last)?))).await
    }

    /// Mean bitrate of what a timeline holds of `from..to` (wall clock), in kbit/s; 0 when that is nothing, or
    /// damaged.
    pub async fn mean_kbps(&self, timeline: TimelineId, from: Timestamp, to: Timestamp) -> Result<u64> {
        self.read_segments(timeline, move |stored| {
            let (mut bytes, mut us) = (0i128, 0i128);
            let read = or_damaged(stored.by_wall(None, (from, to), |entry| {
                bytes += i128::from(entry.len);
                us += i128::from(entry.span.wall_end().micros_since(entry.span.wall_start()));
            }))?;
            if read.is_none() {
                return Ok(0);
            }
            Ok(u64::try_from(bytes * 8000 / us.max(1)).unwrap_or(0))
        })
        .await
    }

    /// Whether a chunk file holds any segment.
    pub async fn chunk_in_use(&self, timeline: TimelineId, chunk: u32) -> Result<bool> {
        self.read_segments(timeline, move |stored| stored.uses_chunk(chunk)).await
    }

    /// The last segment of a run, at `sequence` or before it, that decoding can begin with.
    pub async fn sync_segment_at_or_before(
        &self,
        timeline: TimelineId,
        run: u32,
        sequence: u64,
    ) -> Result<Option<u64>> {
        self.read_segments(timeline, move |stored| stored.sync_at_or_before(run, sequence)).await
    }

    /// The newest segment of a timeline.
    pub async fn last_segment(&self, timeline: TimelineId) -> Result<Option<Segment>> {
        self.read_segments(timeline, |stored| stored.newest()).await
    }

    /// Whether there is any segment.
    pub async fn has_segments(&self) -> Result<bool> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| {
            for tail in Stored::all(tx, &places).into_values() {
                if !tail.readable_tail(0, NEWEST)?.is_empty() {
                    return Ok(true);
                }
            }
            Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM segment_page)", [], |row| row.get(0))?)
        })
        .await
    }

    /// What every chunk file has to hold, in order. A file that is not listed holds nothing that is needed.
    pub async fn chunk_extents(&self) -> Result<Vec<ChunkExtent>> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| chunk_extents(tx, &places)).await
    }

    /// How many segments are stored.
    pub async fn segment_count(&self) -> Result<u64> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| {
            let tails = Stored::all(tx, &places);
            let Sql(mut count): Sql<u64> = tx
                .prepare_cached(
                    "SELECT coalesce(sum(last_sequence - first_sequence + 1), 0) FROM segment_page",
                )?
                .query_row([], |row| row.get(0))?;
            for tail in tails.values() {
                count += tail.readable_tail(0, NEWEST)?.len() as u64;
            }
            Ok(count)
        })
        .await
    }

    /// All segments that can be read, at most `limit` at a time, ordered by timeline and sequence: those after the one
    /// given. What is damaged is told by [`Database::check_index`].
    pub async fn segments_after(&self, after: Option<(TimelineId, u64)>, limit: u32) -> Result<Vec<Segment>> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| {
            let mut tails = Stored::all(tx, &places);
            let mut found = Vec::new();
            let mut next = match after {
                Some((timeline, sequence)) => Some((timeline, sequence.saturating_add(1))),
                None => timeline_after(tx, None)?,
            };
            while let Some((timeline, mut first)) = next {
                let stored = tails.remove(&timeline).unwrap_or_else(|| Stored::paged(tx, timeline));
                while first <= NEWEST {
                    let missing = u64::from(limit) - found.len() as u64;
                    if missing == 0 {
                        return Ok(found);
                    }
                    let stretches = or_damaged(stored.stretches(first, NEWEST, missing))?;
                    let last = until(&stretches.unwrap_or_default(), missing);
                    found.append(&mut stored.readable(first, last)?);
                    first = last + 1;
                }
                next = timeline_after(tx, Some(timeline))?;
            }
            Ok(found)
        })
        .await
    }

    /// Looks at the whole index of segments, with each segment's sample table, and tells what is wrong, one sentence each.
    ///
    /// Errors: [`DatabaseError`](crate::DatabaseError) when the database itself cannot be read.
    pub async fn check_index(&self) -> Result<Vec<String>> {
        self.read(|tx| super::check(tx, WithTables::Yes)).await
    }

    /// Whether the index can be believed in what it says of where segments are. Reads all of it but the sample tables.
    pub async fn is_index_sound(&self) -> Result<bool> {
        self.read(|tx| Ok(super::check(tx, WithTables::No)?.is_empty())).await
    }

    /// Accepts the loss of what slots of the newest segments held that are damaged; their other segments stay. Tells which
    /// slots they were, one sentence each. The index knows of it once the database is opened anew.
    pub async fn give_up_damaged_slots(&self) -> Result<Vec<String>> {
        self.write(|tx| tail::give_up_damaged(tx)).await
    }

    /// Runs `query` on what is stored of a timeline.
    async fn read_segments<R: Send + 'static>(
        &self,
        timeline: TimelineId,
        query: impl FnOnce(&Stored<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| query(&Stored::new(tx, &places, timeline))).await
    }
}

/// A turn to read segments; others wait for it while it exists.
#[derive(Debug)]
pub struct SegmentReader {
    turn: ReadTurn,
    places: Arc<Places>,
    shared: Arc<SharedTables>,
}

impl SegmentReader {
    /// Hands segments `first` to `last` (included) to `each`, in order: many are never in memory but for what is kept of
    /// them. The sample tables of some dozens share a buffer, which holds no others; one that is kept keeps it all. Who
    /// reads the same ones meanwhile may get the same buffer.
    ///
    /// Blocks for as long as the disk takes.
    pub fn each(
        &self,
        timeline: TimelineId,
        (first, last): (u64, u64),
        each: impl FnMut(Segment),
    ) -> Result<()> {
        self.turn.query(|tx| Stored::new(tx, &self.places, timeline).each(first, last, &self.shared, each))
    }

    /// Segments `first` to `last` (included), in order, without their sample tables; none where what holds them is damaged.
    ///
    /// Blocks likewise.
    pub fn readable_spans(
        &self,
        timeline: TimelineId,
        (first, last): (u64, u64),
    ) -> Result<Vec<SegmentSpan>> {
        self.turn.query(|tx| {
            let entries = or_damaged(Stored::new(tx, &self.places, timeline).entries(first, last))?;
            Ok(spans(entries.unwrap_or_default()))
        })
    }
}

fn spans(entries: Vec<Entry>) -> Vec<SegmentSpan> {
    entries.into_iter().map(|entry| entry.span).collect()
}

/// The beginning of the timeline whose id follows.
fn timeline_after(tx: &Connection, after: Option<TimelineId>) -> Result<Option<(TimelineId, u64)>> {
    // An empty key comes before every id.
    let after = after.map(|timeline| timeline.0.as_bytes().to_vec()).unwrap_or_default();
    let mut statement = tx.prepare_cached("SELECT id FROM timeline WHERE id > ?1 ORDER BY id LIMIT 1")?;
    let next = statement.query_row([after], |row| Ok((row.get::<_, Sql<_>>(0)?.0, 0))).optional()?;
    Ok(next)
}

/// The segment with which there are `count` of those that there are; the last one when there are fewer.
fn until(stretches: &[Stretch], mut count: u64) -> u64 {
    for stretch in stretches {
        let held = stretch.count();
        if count <= held {
            return stretch.first + count.saturating_sub(1);
        }
        count -= held;
    }
    NEWEST
}
