//! The segments of one timeline as a transaction sees them: those in pages, and behind them those in the tail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::Connection;

use super::{Entry, NEWEST, Places, damaged, paged_below, pages, tail};
use crate::error::Result;
use crate::sql::Sql;
use crate::{ChunkExtent, Segment};

/// See the module.
pub(crate) struct Stored<'a> {
    tx: &'a Connection,
    timeline: TimelineId,
    /// Where in the tail its segments may be.
    places: BTreeMap<u64, i64>,
}

/// Segments of one run, without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub first: u64,
    pub last: u64,
    pub run: u32,
}

impl<'a> Stored<'a> {
    /// To be made before the first statement of a transaction that reads; see [`Places::of`].
    pub(crate) fn new(tx: &'a Connection, places: &Places, timeline: TimelineId) -> Self {
        Self { tx, timeline, places: places.of(timeline) }
    }

    /// The same of every timeline that may have segments in the tail.
    pub(crate) fn all(tx: &'a Connection, places: &Places) -> HashMap<TimelineId, Self> {
        let places = places.all().into_iter();
        places.map(|(timeline, places)| (timeline, Self { tx, timeline, places })).collect()
    }

    /// A timeline of which nothing is in the tail.
    pub(crate) fn paged(tx: &'a Connection, timeline: TimelineId) -> Self {
        Self { tx, timeline, places: BTreeMap::new() }
    }

    /// The segments `first..=last` that are in the tail, in order.
    pub(crate) fn tail(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        let Some(wanted) = self.of_tail(first, last)? else { return Ok(Vec::new()) };
        let slots: BTreeSet<i64> = self.places.range(wanted.clone()).map(|(_, slot)| *slot).collect();
        let mut found = Vec::new();
        for slot in slots {
            found.append(&mut tail::find(self.tx, slot, self.timeline, &wanted)?);
        }
        found.sort_unstable_by_key(|segment| segment.sequence);
        Ok(found)
    }

    /// The last of the segments up to `last` in the tail that is `wanted`; looks no further than it has to.
    fn last_of_tail(&self, last: u64, wanted: impl Fn(&Segment) -> bool) -> Result<Option<Segment>> {
        let Some(range) = self.of_tail(0, last)? else { return Ok(None) };
        for (sequence, slot) in self.places.range(range).rev() {
            let found = tail::find(self.tx, *slot, self.timeline, &(*sequence..=*sequence))?;
            if let Some(segment) = found.into_iter().find(&wanted) {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    /// As much of `first..=last` as the tail can hold.
    fn of_tail(&self, first: u64, last: u64) -> Result<Option<RangeInclusive<u64>>> {
        if self.places.last_key_value().is_none_or(|(newest, _)| *newest < first) {
            return Ok(None);
        }
        let below = paged_below(self.tx, self.timeline)?;
        Ok(below.map(|below| first.max(below)..=last).filter(|range| !range.is_empty()))
    }

    /// Whether a segment is in the tail.
    pub(crate) fn holds_in_tail(&self, sequence: u64) -> Result<bool> {
        Ok(!self.tail(sequence, sequence)?.is_empty())
    }

    /// The segments `first..=last`, in order.
    pub(crate) fn segments(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        let last = last.min(NEWEST);
        let mut found = pages::segments(self.tx, self.timeline, first, last)?;
        found.append(&mut self.tail(first, last)?);
        Ok(found)
    }

    /// The segments `first..=last`, in order, without sample tables.
    pub(crate) fn entries(&self, first: u64, last: u64) -> Result<Vec<Entry>> {
        let last = last.min(NEWEST);
        let mut found = pages::entries(self.tx, self.timeline, first, last)?;
        found.extend(self.tail(first, last)?.iter().map(Entry::from));
        Ok(found)
    }

    /// Segments of any run, or one, that hold media captured in `from..to`, in order.
    pub(crate) fn by_wall(&self, run: Option<u32>, from: Timestamp, to: Timestamp) -> Result<Vec<Entry>> {
        let mut found = pages::by_wall(self.tx, self.timeline, run, (from, to))?;
        let tail = self.tail(0, NEWEST)?;
        let wanted = |segment: &&Segment| {
            segment.wall_end() > from && segment.wall_start() < to && run.is_none_or(|run| run == segment.run)
        };
        found.extend(tail.iter().filter(wanted).map(Entry::from));
        Ok(found)
    }

    /// Which of the segments `first..=last` there are, in order.
    pub(crate) fn stretches(&self, first: u64, last: u64) -> Result<Vec<Stretch>> {
        let last = last.min(NEWEST);
        let keys = pages::keys(self.tx, self.timeline, first, last)?;
        let paged = keys.iter().map(|key| Stretch {
            first: key.first.max(first),
            last: key.last.min(last),
            run: key.run,
        });
        let tail = self.tail(first, last)?;
        let in_tail = tail.iter().map(|segment| Stretch {
            first: segment.sequence,
            last: segment.sequence,
            run: segment.run,
        });
        Ok(paged.chain(in_tail).collect())
    }

    /// Bytes of the segments `first..=last`.
    pub(crate) fn bytes(&self, first: u64, last: u64) -> Result<u64> {
        let last = last.min(NEWEST);
        let tail: u64 = self.tail(first, last)?.iter().map(|segment| segment.len).sum();
        Ok(pages::bytes(self.tx, self.timeline, first, last)?.saturating_add(tail))
    }

    /// The number of the newest segment.
    pub(crate) fn newest_sequence(&self) -> Result<Option<u64>> {
        match self.last_of_tail(NEWEST, |_| true)? {
            Some(newest) => Ok(Some(newest.sequence)),
            None => pages::newest_sequence(self.tx, self.timeline),
        }
    }

    /// The newest segment.
    pub(crate) fn newest(&self) -> Result<Option<Segment>> {
        match self.last_of_tail(NEWEST, |_| true)? {
            Some(newest) => Ok(Some(newest)),
            None => pages::newest(self.tx, self.timeline),
        }
    }

    /// The last segment of a run, at `sequence` or before it, that decoding can begin with.
    pub(crate) fn sync_at_or_before(&self, run: u32, sequence: u64) -> Result<Option<u64>> {
        let sequence = sequence.min(NEWEST);
        match self.last_of_tail(sequence, |segment| segment.run == run && segment.starts_with_sync)? {
            Some(segment) => Ok(Some(segment.sequence)),
            None => pages::sync(self.tx, self.timeline, run, sequence),
        }
    }

    /// Whether a segment points into a chunk file.
    pub(crate) fn uses_chunk(&self, chunk: u32) -> Result<bool> {
        Ok(pages::is_chunk_used(self.tx, self.timeline, chunk)?
            || self.last_of_tail(NEWEST, |segment| segment.chunk == chunk)?.is_some())
    }
}

/// Where the last segment in each chunk file ends.
pub(crate) fn chunk_extents(tx: &Connection, places: &Places) -> Result<Vec<ChunkExtent>> {
    let tails = Stored::all(tx, places);
    let mut ends: BTreeMap<(TimelineId, u32), u64> = BTreeMap::new();
    let mut statement = tx.prepare_cached(
        "SELECT timeline, chunk, max(end_bytes) FROM segment_page GROUP BY timeline, chunk",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (Sql(timeline), Sql(end)) = (row.get(0)?, row.get(2)?);
        ends.insert((timeline, row.get(1)?), end);
    }
    for tail in tails.values() {
        for segment in tail.tail(0, NEWEST)? {
            let end = segment
                .offset
                .checked_add(segment.len)
                .ok_or_else(|| damaged(segment.timeline, format_args!("segment {}", segment.sequence)))?;
            let known = ends.entry((segment.timeline, segment.chunk)).or_default();
            *known = end.max(*known);
        }
    }
    let extents = ends.into_iter().map(|((timeline, chunk), end)| ChunkExtent { timeline, chunk, end });
    Ok(extents.collect())
}
