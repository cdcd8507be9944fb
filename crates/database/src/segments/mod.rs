//! The index of segments: every segment's place, times and sample table.
//!
//! A segment is first written to the **tail**, which all feeds fill together ([`tail`]): so many of them share a
//! page of the database, whichever feeds they are of. [`PAGE`] of one feed later they move into one row, a **page**
//! ([`pages`]), and so does what is left when the feed ends. What always holds: a segment is in a page or in
//! the tail, and which of the two is said by `timeline.paged_below`, in the same transaction; pages of a timeline do
//! not overlap; what is read sees both as one ([`stored`]).

mod adopt;
mod packed;
mod pages;
mod places;
mod read;
mod shared;
mod stored;
mod tail;

use bytes::Bytes;
use mediahooks_model::{FeedId, TimelineId};
use rusqlite::{OptionalExtension, params};

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Conflict, DatabaseError, FreedRange, Result, Segment, SegmentSpan};

pub(crate) use adopt::{adopt, room_needed};
use packed::Tables;
pub(crate) use pages::WithTables;
#[cfg(test)]
pub(crate) use pages::{BY_WALL, HOT};
pub(crate) use places::Places;
pub use read::SegmentReader;
pub(crate) use shared::SharedTables;
pub(crate) use stored::Stored;
pub(crate) use stored::Stretch;
use stored::chunk_extents;
pub(crate) use tail::{load, shrink};

/// Above every sequence.
pub(crate) const NEWEST: u64 = i64::MAX.unsigned_abs();

/// Segments of a page at most. Each takes part of a page's row with its sample table (about 400 bytes at 30 pictures
/// a second), and a part of the tail until there are that many.
pub(crate) const PAGE: u64 = 128;

/// A segment without its sample table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub span: SegmentSpan,
    pub chunk: u32,
    pub offset: u64,
    pub len: u64,
}

impl Entry {
    fn place(&self) -> FreedRange {
        FreedRange { timeline: self.span.timeline, chunk: self.chunk, offset: self.offset, len: self.len }
    }

    fn with_table(self, index: Bytes) -> Segment {
        let SegmentSpan { timeline, sequence, run, media_start_us, media_end_us, wall_offset_us, .. } =
            self.span;
        Segment {
            timeline,
            sequence,
            run,
            chunk: self.chunk,
            offset: self.offset,
            len: self.len,
            media_start_us,
            media_end_us,
            wall_offset_us,
            starts_with_sync: self.span.starts_with_sync,
            index,
        }
    }
}

impl From<&Segment> for Entry {
    fn from(segment: &Segment) -> Self {
        let span = SegmentSpan {
            timeline: segment.timeline,
            sequence: segment.sequence,
            run: segment.run,
            media_start_us: segment.media_start_us,
            media_end_us: segment.media_end_us,
            wall_offset_us: segment.wall_offset_us,
            starts_with_sync: segment.starts_with_sync,
        };
        Self { span, chunk: segment.chunk, offset: segment.offset, len: segment.len }
    }
}

/// What is stored of a timeline, as an operation that writes sees it.
pub(crate) fn of<'a>(tx: &'a Writing<'_>, timeline: TimelineId) -> Stored<'a> {
    Stored::new(tx, tx.places(), timeline)
}

/// Adds a segment behind all others of its timeline.
///
/// Errors: [`DatabaseError::NotFound`] without its run; [`Conflict::Exists`].
pub(crate) fn add(tx: &Writing<'_>, segment: &Segment) -> Result<()> {
    let Sql(paged_below): Sql<u64> = tx
        .prepare_cached(
            "SELECT t.paged_below FROM timeline t JOIN run r ON r.timeline = t.id
             WHERE t.id = ?1 AND r.number = ?2",
        )?
        .query_row(params![Sql(segment.timeline), segment.run], |row| row.get(0))?;
    let sequence = segment.sequence;
    let timeline = segment.timeline;
    let is_there = tx.places().has(timeline, sequence) && of(tx, timeline).holds_in_tail(sequence)?;
    if sequence < paged_below || is_there {
        return Err(Conflict::Exists.into());
    }
    tail::append(tx, segment)?;
    // Not all at once where feeds began together: each has places of its own to turn the page. One that passed its
    // place over, because a commit failed, does not wait for ever.
    let phase = timeline.0.as_u128() as u64;
    if sequence.wrapping_add(phase) % PAGE == PAGE - 1 || sequence - paged_below >= 2 * PAGE {
        move_into_pages(tx, timeline)?;
    }
    Ok(())
}

/// Moves what the tail holds of a feed into pages: nothing is added to them any more.
pub(crate) fn close(tx: &Writing<'_>, feed: FeedId) -> Result<()> {
    let mut statement = tx.prepare_cached("SELECT id FROM timeline WHERE feed = ?1")?;
    let timelines = statement.query_map([Sql(feed)], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
    let timelines: Vec<TimelineId> = timelines.collect::<Result<_, _>>()?;
    for timeline in timelines {
        if move_if_sound(tx, timeline)? {
            // Also the places of what was never committed.
            tx.moved_into_pages(timeline, NEWEST);
        }
    }
    Ok(())
}

/// Moves what the tail holds of a timeline into pages. Where that cannot be, because something is damaged, it stays and
/// this is false.
pub(crate) fn move_if_sound(tx: &Writing<'_>, timeline: TimelineId) -> Result<bool> {
    tx.execute_batch("SAVEPOINT moving")?;
    let moved = or_damaged(move_into_pages(tx, timeline))?.is_some();
    if !moved {
        tx.execute_batch("ROLLBACK TO moving")?;
    }
    tx.execute_batch("RELEASE moving")?;
    Ok(moved)
}

/// Moves what the tail holds of a timeline into pages. What cannot be read is left behind.
fn move_into_pages(tx: &Writing<'_>, timeline: TimelineId) -> Result<()> {
    let stored::Tail { segments, lost, damaged: slots } = of(tx, timeline).look_at_tail(0, NEWEST)?;
    slots.iter().for_each(|slot| tx.places().set_aside(*slot));
    if !lost.is_empty() {
        tracing::error!(%timeline, ?lost, ?slots, "segments cannot be found any more: slots of the newest segments are damaged; run `mediahooks check`");
    }
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(()) };
    if pages::newest_sequence(tx, timeline)?.is_some_and(|newest| newest >= first.sequence) {
        return Err(damaged(timeline, format_args!("segments before {}", first.sequence)));
    }
    let paged_below = last.sequence + 1;
    pages::put(tx, &segments, Tables::Sound)?;
    tx.prepare_cached("UPDATE timeline SET paged_below = ?2 WHERE id = ?1")?
        .execute(params![Sql(timeline), Sql(paged_below)])?;
    tx.moved_into_pages(timeline, paged_below);
    Ok(())
}

/// Removes the segments `first..=last`; returns where they were, in their order.
pub(crate) fn remove(
    tx: &Writing<'_>,
    timeline: TimelineId,
    first: u64,
    last: u64,
) -> Result<Vec<FreedRange>> {
    let (first, last) = (first.min(NEWEST), last.min(NEWEST));
    if paged_below(tx, timeline)?.is_some_and(|below| last >= below) {
        move_if_sound(tx, timeline)?;
    }
    pages::take_out(tx, timeline, first, last)
}

/// Looks at the whole index and tells what is wrong, a sentence each.
pub(crate) fn check(tx: &rusqlite::Connection, with: WithTables) -> Result<Vec<String>> {
    let mut problems = pages::check(tx, with)?;
    problems.append(&mut tail::check(tx)?);
    Ok(problems)
}

/// Tells of what is damaged, for who goes on without it.
pub(crate) fn or_damaged<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error @ DatabaseError::Corrupt { .. }) => {
            tracing::error!(%error, "going on without it: run `mediahooks check`");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn damaged(timeline: TimelineId, what: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::corrupt(format!("the index of {what} of timeline {timeline} is damaged"))
}

/// Up to which segment a timeline's are in pages, not included. None: there is no such timeline.
fn paged_below(tx: &rusqlite::Connection, timeline: TimelineId) -> Result<Option<u64>> {
    let mut statement = tx.prepare_cached("SELECT paged_below FROM timeline WHERE id = ?1")?;
    let found: Option<Sql<u64>> = statement.query_row([Sql(timeline)], |row| row.get(0)).optional()?;
    Ok(found.map(|Sql(below)| below))
}
