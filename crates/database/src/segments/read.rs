//! Segments as they are read.

use std::sync::Arc;

use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{Entry, NEWEST, Stored, Stretch, chunk_extents};
use crate::sql::Sql;
use crate::{ChunkExtent, Database, Result, Segment, SegmentSpan};

impl Database {
    /// Segments `first` to `last` (included; absent: to the newest), in order. Their sample tables refer to a buffer
    /// that some dozens of them share: many are read at little cost, and one that is kept keeps its neighbours' too.
    pub async fn segments(
        &self,
        timeline: TimelineId,
        first: u64,
        last: Option<u64>,
    ) -> Result<Vec<Segment>> {
        self.read_segments(timeline, move |stored| stored.segments(first, last.unwrap_or(NEWEST))).await
    }

    /// Segments of any run, or one, that hold media captured in `from..to` (wall clock), in order.
    pub async fn segments_in(
        &self,
        timeline: TimelineId,
        run: Option<u32>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SegmentSpan>> {
        self.read_segments(timeline, move |stored| Ok(spans(stored.by_wall(run, from, to)?))).await
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

    /// Mean bitrate of what a timeline holds of `from..to` (wall clock), in kbit/s; 0 when that is nothing.
    pub async fn mean_kbps(&self, timeline: TimelineId, from: Timestamp, to: Timestamp) -> Result<u64> {
        self.read_segments(timeline, move |stored| {
            let entries = stored.by_wall(None, from, to)?;
            let bytes: i128 = entries.iter().map(|entry| i128::from(entry.len)).sum();
            let length =
                |entry: &Entry| i128::from(entry.span.wall_end().micros_since(entry.span.wall_start()));
            let us: i128 = entries.iter().map(length).sum();
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
                if !tail.tail(0, NEWEST)?.is_empty() {
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
                count += tail.tail(0, NEWEST)?.len() as u64;
            }
            Ok(count)
        })
        .await
    }

    /// All segments, at most `limit` at a time, ordered by timeline and sequence: those after the one given.
    pub async fn segments_after(&self, after: Option<(TimelineId, u64)>, limit: u32) -> Result<Vec<Segment>> {
        let places = Arc::clone(&self.inner.places);
        self.read(move |tx| {
            let mut tails = Stored::all(tx, &places);
            let mut found = Vec::new();
            let mut next = match after {
                Some((timeline, sequence)) => Some((timeline, sequence.saturating_add(1))),
                None => timeline_after(tx, None)?,
            };
            while let Some((timeline, first)) = next.filter(|_| found.len() < limit as usize) {
                let stored = tails.remove(&timeline).unwrap_or_else(|| Stored::paged(tx, timeline));
                let stretches = stored.stretches(first, NEWEST)?;
                let missing = u64::from(limit) - found.len() as u64;
                found.append(&mut stored.segments(first, until(&stretches, missing))?);
                next = timeline_after(tx, Some(timeline))?;
            }
            Ok(found)
        })
        .await
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
        let held = stretch.last - stretch.first + 1;
        if count <= held {
            return stretch.first + count.saturating_sub(1);
        }
        count -= held;
    }
    NEWEST
}
