//! The segments of one timeline as a transaction sees them: those in pages, and behind them those in the tail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::Connection;

use super::{Entry, NEWEST, Places, SharedTables, damaged, packed, paged_below, pages, tail};
use crate::error::Result;
use crate::sql::Sql;
use crate::{ChunkExtent, Segment};

/// See the module.
pub(crate) struct Stored<'a> {
    tx: &'a Connection,
    timeline: TimelineId,
    /// Where in the tail its segments may be.
    places: Arc<BTreeMap<u64, i64>>,
    /// The tail may have held others, which nobody can read.
    may_lack: bool,
}

/// What the tail holds of a timeline.
pub(crate) struct Tail {
    /// In order.
    pub segments: Vec<Segment>,
    /// Numbers of those that were there and cannot be read.
    pub lost: Vec<u64>,
    /// Slots that are damaged.
    pub damaged: BTreeSet<i64>,
}

/// Segments of one run, without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub first: u64,
    pub last: u64,
    pub run: u32,
}

impl Stretch {
    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl<'a> Stored<'a> {
    /// To be made before the first statement of a transaction that reads; see [`Places::of`].
    pub(crate) fn new(tx: &'a Connection, places: &Places, timeline: TimelineId) -> Self {
        Self { tx, timeline, places: places.of(timeline), may_lack: places.are_damaged() }
    }

    /// The same of every timeline that may have segments in the tail.
    pub(crate) fn all(tx: &'a Connection, places: &Places) -> HashMap<TimelineId, Self> {
        let may_lack = places.are_damaged();
        let places = places.all().into_iter();
        places.map(|(timeline, places)| (timeline, Self { tx, timeline, places, may_lack })).collect()
    }

    /// A timeline of which nothing is in the tail.
    pub(crate) fn paged(tx: &'a Connection, timeline: TimelineId) -> Self {
        Self { tx, timeline, places: Arc::default(), may_lack: false }
    }

    /// The segments `first..=last` that are in the tail, in order.
    ///
    /// Errors: [`DatabaseError::Corrupt`](crate::DatabaseError::Corrupt) when one of them cannot be read.
    fn tail(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        let Tail { segments, lost, .. } = self.look_at_tail(first, last)?;
        match lost.first() {
            None => Ok(segments),
            Some(lost) => Err(damaged(self.timeline, format_args!("segment {lost}"))),
        }
    }

    /// Those of them that can be read, for who asks for all that there are.
    pub(crate) fn readable_tail(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        Ok(self.look_at_tail(first, last)?.segments)
    }

    /// The segments `first..=last` in the tail.
    pub(crate) fn look_at_tail(&self, first: u64, last: u64) -> Result<Tail> {
        let mut tail = Tail { segments: Vec::new(), lost: Vec::new(), damaged: BTreeSet::new() };
        let Some(wanted) = self.of_tail(first, last)? else { return Ok(tail) };
        let places = || self.places.range(wanted.clone());
        for slot in places().map(|(_, slot)| *slot).collect::<BTreeSet<i64>>() {
            let mut found = tail::find(self.tx, slot, self.timeline, &wanted)?;
            tail.segments.append(&mut found.segments);
            if found.is_damaged {
                tail.damaged.insert(slot);
            }
        }
        tail.segments.sort_unstable_by_key(|segment| segment.sequence);
        let is_there =
            |sequence: &u64| tail.segments.binary_search_by_key(sequence, |segment| segment.sequence).is_ok();
        tail.lost = places()
            .filter(|(sequence, slot)| tail.damaged.contains(slot) && !is_there(sequence))
            .map(|(sequence, _)| *sequence)
            .collect();
        Ok(tail)
    }

    /// The last of the segments up to `last` in the tail that is `wanted`; looks no further than it has to. What cannot
    /// be read is passed over.
    fn last_of_tail(&self, last: u64, wanted: impl Fn(&Segment) -> bool) -> Result<Option<Segment>> {
        let Some(range) = self.of_tail(0, last)? else { return Ok(None) };
        for (sequence, slot) in self.places.range(range).rev() {
            let found = tail::find(self.tx, *slot, self.timeline, &(*sequence..=*sequence))?;
            if let Some(segment) = found.segments.into_iter().find(&wanted) {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    /// As much of `first..=last` as the tail can hold. Not what was written after the places were asked for: an earlier
    /// one could be missed beside it.
    fn of_tail(&self, first: u64, last: u64) -> Result<Option<RangeInclusive<u64>>> {
        let Some((newest, _)) = self.places.last_key_value().filter(|(newest, _)| **newest >= first) else {
            return Ok(None);
        };
        let below = paged_below(self.tx, self.timeline)?;
        let range = below.map(|below| first.max(below)..=last.min(*newest));
        Ok(range.filter(|range| !range.is_empty()))
    }

    /// Whether a segment is in the tail.
    pub(crate) fn holds_in_tail(&self, sequence: u64) -> Result<bool> {
        Ok(!self.readable_tail(sequence, sequence)?.is_empty())
    }

    /// The segments `first..=last`, in order.
    pub(crate) fn segments(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        let mut found = Vec::new();
        self.each(first, last, &SharedTables::default(), |segment| found.push(segment))?;
        Ok(found)
    }

    /// Hands over the segments `first..=last`, in order; no more than some dozens of them are read at a time. Those
    /// share a buffer with their sample tables, which holds no others.
    pub(crate) fn each(
        &self,
        first: u64,
        last: u64,
        shared: &SharedTables,
        mut each: impl FnMut(Segment),
    ) -> Result<()> {
        let (first, last) = (first.min(NEWEST), last.min(NEWEST));
        pages::each(self.tx, self.timeline, (first, last), shared, &mut each)?;
        let mut tail = self.tail(first, last)?;
        packed::detach(&mut tail);
        tail.into_iter().for_each(each);
        Ok(())
    }

    /// The segments `first..=last`, in order, without sample tables.
    pub(crate) fn entries(&self, first: u64, last: u64) -> Result<Vec<Entry>> {
        let (first, last) = (first.min(NEWEST), last.min(NEWEST));
        let mut found = pages::entries(self.tx, self.timeline, first, last)?;
        found.extend(self.tail(first, last)?.iter().map(Entry::from));
        Ok(found)
    }

    /// As [`Stored::segments`], but passes over what is damaged.
    pub(crate) fn readable(&self, first: u64, last: u64) -> Result<Vec<Segment>> {
        let (first, last) = (first.min(NEWEST), last.min(NEWEST));
        let mut found = pages::readable(self.tx, self.timeline, first, last)?;
        found.append(&mut self.readable_tail(first, last)?);
        Ok(found)
    }

    /// Hands over segments of any run, or one, that hold media captured in `from..to`, in order. One in the tail that
    /// cannot be read is missing: it cannot be told when it was captured.
    pub(crate) fn by_wall(
        &self,
        run: Option<u32>,
        (from, to): (Timestamp, Timestamp),
        mut each: impl FnMut(Entry),
    ) -> Result<()> {
        pages::by_wall(self.tx, self.timeline, run, (from, to), &mut each)?;
        let tail = self.readable_tail(0, NEWEST)?;
        let wanted = |segment: &&Segment| {
            segment.wall_end() > from && segment.wall_start() < to && run.is_none_or(|run| run == segment.run)
        };
        tail.iter().filter(wanted).map(Entry::from).for_each(each);
        Ok(())
    }

    /// Which of the segments `first..=last` there are, in order; not many more than `enough` of them.
    pub(crate) fn stretches(&self, first: u64, last: u64, enough: u64) -> Result<Vec<Stretch>> {
        let (first, last) = (first.min(NEWEST), last.min(NEWEST));
        let keys = pages::keys(self.tx, self.timeline, (first, last), enough)?;
        let paged = keys.iter().map(|key| Stretch {
            first: key.first.max(first),
            last: key.last.min(last),
            run: key.run,
        });
        let mut found: Vec<Stretch> = paged.collect();
        if found.iter().fold(0u64, |held, stretch| held.saturating_add(stretch.count())) >= enough {
            return Ok(found);
        }
        found.extend(self.readable_tail(first, last)?.iter().map(|segment| Stretch {
            first: segment.sequence,
            last: segment.sequence,
            run: segment.run,
        }));
        Ok(found)
    }

    /// Bytes of the segments `first..=last`.
    pub(crate) fn bytes(&self, first: u64, last: u64) -> Result<u64> {
        let (first, last) = (first.min(NEWEST), last.min(NEWEST));
        let tail: u64 = self.readable_tail(first, last)?.iter().map(|segment| segment.len).sum();
        Ok(pages::bytes(self.tx, self.timeline, first, last)?.saturating_add(tail))
    }

    /// The number of the newest segment, whether it can be read or not.
    pub(crate) fn newest_sequence(&self) -> Result<Option<u64>> {
        let range = self.of_tail(0, NEWEST)?;
        for (sequence, slot) in range.iter().flat_map(|range| self.places.range(range.clone())).rev() {
            let found = tail::find(self.tx, *slot, self.timeline, &(*sequence..=*sequence))?;
            if found.is_damaged || !found.segments.is_empty() {
                return Ok(Some(*sequence));
            }
        }
        pages::newest_sequence(self.tx, self.timeline)
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

    /// Whether a segment points into a chunk file, or may: what is damaged does not tell.
    pub(crate) fn uses_chunk(&self, chunk: u32) -> Result<bool> {
        if pages::may_use_chunk(self.tx, self.timeline, chunk)? {
            return Ok(true);
        }
        if self.may_lack && is_live(self.tx, self.timeline)? {
            return Ok(true);
        }
        let tail = self.look_at_tail(0, NEWEST)?;
        Ok(!tail.lost.is_empty() || tail.segments.iter().any(|segment| segment.chunk == chunk))
    }
}

/// Whether the feed of a timeline has not ended: all that was stored of others is in pages.
fn is_live(tx: &Connection, timeline: TimelineId) -> Result<bool> {
    let mut statement = tx.prepare_cached(
        "SELECT 1 FROM timeline t JOIN feed f ON f.id = t.feed WHERE t.id = ?1 AND f.ended_us IS NULL",
    )?;
    Ok(statement.exists([Sql(timeline)])?)
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
        for segment in tail.readable_tail(0, NEWEST)? {
            let end = segment.offset.saturating_add(segment.len);
            let known = ends.entry((segment.timeline, segment.chunk)).or_default();
            *known = end.max(*known);
        }
    }
    let extents = ends.into_iter().map(|((timeline, chunk), end)| ChunkExtent { timeline, chunk, end });
    Ok(extents.collect())
}

#[cfg(test)]
mod tests {
    use mediahooks_model::{FeedId, Timestamp};
    use rusqlite::Connection;
    use uuid::Uuid;

    use super::*;
    use crate::{Change, Database, Options};

    const TIMELINE: TimelineId = TimelineId(Uuid::nil());

    fn add(sequence: u64) -> Change {
        Change::AddSegment(Segment {
            timeline: TIMELINE,
            sequence,
            run: 0,
            chunk: 0,
            offset: sequence * 10,
            len: 10,
            media_start_us: 0,
            media_end_us: 1,
            wall_offset_us: 0,
            starts_with_sync: true,
            index: vec![7; 9].into(),
        })
    }

    fn end() -> Change {
        Change::EndFeed { feed: FeedId(Uuid::nil()), at: Timestamp::EPOCH }
    }

    async fn commit(db: &Database, changes: Vec<Change>) -> crate::Result<()> {
        db.commit(changes, Timestamp::EPOCH).await.map(drop)
    }

    /// A database with a live feed, and a connection beside its own.
    async fn live() -> (Database, Connection, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let db = Database::open(&path, Options::default()).unwrap();
        db.account_or_create("dkxfvY".parse().unwrap(), Timestamp::EPOCH).await.unwrap();
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO feed (id, token, stream_name, remote, started_us, last_event_us, event_count)
                     VALUES (zeroblob(16), 1, 'stage', '::1', 0, 0, 1);
                 INSERT INTO timeline (id, feed, created_us) VALUES (zeroblob(16), zeroblob(16), 0);
                 INSERT INTO run (timeline, number, tracks) VALUES (zeroblob(16), 0, '[]');",
            )
            .unwrap();
        (db, connection, directory)
    }

    #[tokio::test]
    async fn a_segment_is_not_seen_without_those_before_it() {
        let (db, connection, _directory) = live().await;
        commit(&db, vec![add(0)]).await.unwrap();
        let before = Stored::new(&connection, &db.inner.places, TIMELINE);
        // Into a slot that is known, while another one written meanwhile could go to one that is not.
        commit(&db, vec![add(1)]).await.unwrap();
        assert_eq!(before.segments(0, NEWEST).unwrap().len(), 1);
        let after = Stored::new(&connection, &db.inner.places, TIMELINE);
        assert_eq!(after.segments(0, NEWEST).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_feed_that_ended_leaves_no_places() {
        let (db, _connection, _directory) = live().await;
        commit(&db, vec![add(0)]).await.unwrap();
        let unknown = Change::EndFeed { feed: FeedId(Uuid::max()), at: Timestamp::EPOCH };
        commit(&db, vec![add(1), unknown]).await.unwrap_err();
        commit(&db, vec![end()]).await.unwrap();
        assert!(db.inner.places.are_none());
        // Nor one that is ended once more.
        commit(&db, vec![end()]).await.unwrap();
        assert_eq!(db.segment_count().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn who_reads_the_same_pages_shares_their_sample_tables() {
        let (db, _connection, _directory) = live().await;
        commit(&db, (0..300).map(add).chain([end()]).collect()).await.unwrap();
        let read = async |first, last| {
            let mut found = Vec::new();
            let reader = db.segment_reader().await.unwrap();
            reader.each(TIMELINE, (first, last), |segment| found.push(segment)).unwrap();
            found
        };
        let all = read(0, NEWEST).await;
        assert_eq!(all, db.segments(TIMELINE, 0, None).await.unwrap());
        let some = read(100, 280).await;
        assert_eq!(some, all[100..=280]);
        // Of a page that is not wanted whole, no more is kept than is.
        let shared = some.iter().filter(|of| of.index.as_ptr() == all[of.sequence as usize].index.as_ptr());
        let shared: Vec<u64> = shared.map(|segment| segment.sequence).collect();
        assert_eq!(shared, Vec::from_iter(128..256));
    }
}
