//! Pages: rows that hold many segments of one timeline, run and chunk file, without a hole.

use bytes::Bytes;
use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::packed::{self, PageKey};
use super::{Entry, PAGE, damaged};
use crate::sql::Sql;
use crate::{Result, Segment};

/// Narrows to the pages of timeline `?1` with segments from `?2` to `?3`. Pages do not overlap, so the first of them is
/// the last that begins at or before `?2`.
macro_rules! range {
    () => {
        "FROM segment_page WHERE timeline = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2
             AND first_sequence >= coalesce((SELECT first_sequence FROM segment_page
                 WHERE timeline = ?1 AND first_sequence <= ?2 ORDER BY first_sequence DESC LIMIT 1), 0)
         ORDER BY first_sequence"
    };
}

const KEYS: &str = concat!("SELECT first_sequence, last_sequence, run, chunk ", range!());
const FIELDS: &str = concat!("SELECT first_sequence, last_sequence, run, chunk, fields ", range!());
const WHOLE: &str = concat!("SELECT first_sequence, last_sequence, run, chunk, fields, tables ", range!());
const NUMBERED: &str = concat!("SELECT first_sequence, last_sequence, run, chunk, fields, id ", range!());

const LENGTHS: &str =
    concat!("SELECT first_sequence, last_sequence, run, chunk, fields, len_bytes ", range!());

const NEWEST: &str = "SELECT first_sequence, last_sequence, run, chunk, fields, tables FROM segment_page
     WHERE timeline = ?1 ORDER BY first_sequence DESC LIMIT 1";

const NEWEST_SEQUENCE: &str =
    "SELECT last_sequence FROM segment_page WHERE timeline = ?1 ORDER BY first_sequence DESC LIMIT 1";

pub(crate) const BY_WALL: &str = "SELECT first_sequence, last_sequence, run, chunk, fields FROM segment_page
     WHERE timeline = ?1 AND wall_end_us > ?2 AND wall_start_us < ?3 AND (?4 IS NULL OR run = ?4)
     ORDER BY first_sequence";

/// The nearest page, going back, with a segment that decoding can begin with.
const SYNC: &str = "SELECT first_sequence, last_sequence, run, chunk, fields FROM segment_page
     WHERE timeline = ?1 AND first_sequence <= ?3 AND run = ?2 AND first_sync IS NOT NULL AND first_sync <= ?3
     ORDER BY first_sequence DESC LIMIT 1";

const OF_CHUNK: &str = "SELECT 1 FROM segment_page WHERE timeline = ?1 AND chunk = ?2 LIMIT 1";

/// Statements that run all the time, or over many rows.
#[cfg(test)]
pub(crate) const HOT: [&str; 9] =
    [KEYS, FIELDS, WHOLE, NUMBERED, LENGTHS, NEWEST, NEWEST_SEQUENCE, SYNC, OF_CHUNK];

/// Stores segments in pages; they are of one timeline, in order.
pub(super) fn put(tx: &Connection, segments: &[Segment]) -> Result<()> {
    let goes_on = |before: &Segment, after: &Segment| {
        before.run == after.run && before.chunk == after.chunk && before.sequence + 1 == after.sequence
    };
    for stretch in segments.chunk_by(goes_on) {
        for page in stretch.chunks(PAGE as usize) {
            put_one(tx, page)?;
        }
    }
    Ok(())
}

fn put_one(tx: &Connection, page: &[Segment]) -> Result<()> {
    let [first, ..] = page else { return Ok(()) };
    let packed = packed::pack(page);
    let first_sync =
        page.iter().find(|segment| segment.starts_with_sync).map(|segment| Sql(segment.sequence));
    tx.prepare_cached(
        "INSERT INTO segment_page (timeline, first_sequence, last_sequence, run, chunk, end_bytes, len_bytes,
             wall_start_us, wall_end_us, first_sync, fields, tables)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        Sql(first.timeline),
        Sql(first.sequence),
        Sql(first.sequence + (page.len() as u64 - 1)),
        first.run,
        first.chunk,
        page.iter().map(|segment| Sql(segment.offset.saturating_add(segment.len))).max_by_key(|end| end.0),
        Sql(page.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.len))),
        page.iter().map(Segment::wall_start).min().map(Sql),
        page.iter().map(Segment::wall_end).max().map(Sql),
        first_sync,
        packed.fields,
        packed.tables,
    ])?;
    Ok(())
}

fn key(row: &Row<'_>, timeline: TimelineId) -> rusqlite::Result<PageKey> {
    Ok(PageKey {
        timeline,
        first: row.get::<_, Sql<_>>(0)?.0,
        last: row.get::<_, Sql<_>>(1)?.0,
        run: row.get(2)?,
        chunk: row.get(3)?,
    })
}

fn fields(row: &Row<'_>, timeline: TimelineId) -> Result<Vec<(Entry, usize)>> {
    let key = key(row, timeline)?;
    packed::unpack(&key, row.get_ref(4)?.as_blob().unwrap_or_default()).ok_or_else(|| page_damaged(&key))
}

fn whole(row: &Row<'_>, timeline: TimelineId) -> Result<Vec<Segment>> {
    let key = key(row, timeline)?;
    let tables: Vec<u8> = row.get(5)?;
    let fields = row.get_ref(4)?.as_blob().unwrap_or_default();
    packed::unpack_whole(&key, fields, Bytes::from(tables)).ok_or_else(|| page_damaged(&key))
}

fn page_damaged(key: &PageKey) -> crate::DatabaseError {
    damaged(key.timeline, format_args!("segments {} to {}", key.first, key.last))
}

/// Which segments the pages with any of `first..=last` hold, in order.
pub(super) fn keys(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<PageKey>> {
    let mut statement = tx.prepare_cached(KEYS)?;
    let rows =
        statement.query_map(params![Sql(timeline), Sql(first), Sql(last)], |row| key(row, timeline))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The segments `first..=last` that are in pages, in order, without sample tables.
pub(super) fn entries(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<Entry>> {
    let mut statement = tx.prepare_cached(FIELDS)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let entries = fields(row, timeline)?.into_iter().map(|(entry, _)| entry);
        found.extend(entries.filter(|entry| (first..=last).contains(&entry.span.sequence)));
    }
    Ok(found)
}

/// The segments `first..=last` that are in pages, in order.
pub(super) fn segments(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<Segment>> {
    let mut statement = tx.prepare_cached(WHOLE)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let segments = whole(row, timeline)?.into_iter();
        found.extend(segments.filter(|segment| (first..=last).contains(&segment.sequence)));
    }
    Ok(found)
}

/// The newest segment in a page.
pub(super) fn newest(tx: &Connection, timeline: TimelineId) -> Result<Option<Segment>> {
    let mut statement = tx.prepare_cached(NEWEST)?;
    let newest =
        statement.query_row([Sql(timeline)], |row| Ok(whole(row, timeline))).optional()?.transpose()?;
    Ok(newest.and_then(|mut segments| segments.pop()))
}

/// The number of the newest segment in a page.
pub(super) fn newest_sequence(tx: &Connection, timeline: TimelineId) -> Result<Option<u64>> {
    let mut statement = tx.prepare_cached(NEWEST_SEQUENCE)?;
    Ok(statement.query_row([Sql(timeline)], |row| Ok(row.get::<_, Sql<_>>(0)?.0)).optional()?)
}

/// Bytes of the segments `first..=last` that are in pages.
pub(super) fn bytes(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<u64> {
    let mut statement = tx.prepare_cached(LENGTHS)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut sum = 0u64;
    while let Some(row) = rows.next()? {
        let key = key(row, timeline)?;
        let bytes = if first <= key.first && key.last <= last {
            row.get::<_, Sql<u64>>(5)?.0
        } else {
            let entries = fields(row, timeline)?;
            let held = entries.iter().filter(|(entry, _)| (first..=last).contains(&entry.span.sequence));
            held.map(|(entry, _)| entry.len).sum()
        };
        sum = sum.saturating_add(bytes);
    }
    Ok(sum)
}

/// Segments in pages that hold media captured in `from..to`, of any run or one, in order.
pub(super) fn by_wall(
    tx: &Connection,
    timeline: TimelineId,
    run: Option<u32>,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Entry>> {
    let mut statement = tx.prepare_cached(BY_WALL)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(from), Sql(to), run])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let entries = fields(row, timeline)?.into_iter().map(|(entry, _)| entry);
        found.extend(entries.filter(|entry| entry.span.wall_end() > from && entry.span.wall_start() < to));
    }
    Ok(found)
}

/// The last segment of a run in a page, at `sequence` or before it, that decoding can begin with.
pub(super) fn sync(tx: &Connection, timeline: TimelineId, run: u32, sequence: u64) -> Result<Option<u64>> {
    let mut statement = tx.prepare_cached(SYNC)?;
    let mut rows = statement.query(params![Sql(timeline), run, Sql(sequence)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let entries = fields(row, timeline)?;
    let mut spans = entries.iter().rev().map(|(entry, _)| entry.span);
    Ok(spans.find(|span| span.starts_with_sync && span.sequence <= sequence).map(|span| span.sequence))
}

/// Whether a page points into a chunk file.
pub(super) fn is_chunk_used(tx: &Connection, timeline: TimelineId, chunk: u32) -> Result<bool> {
    Ok(tx.prepare_cached(OF_CHUNK)?.exists(params![Sql(timeline), chunk])?)
}

/// Takes the segments `first..=last` out of the pages and returns them, in order. What is left of a page is stored
/// anew.
pub(super) fn take_out(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<Entry>> {
    let mut touched: Vec<(i64, Vec<Entry>)> = Vec::new();
    {
        let mut statement = tx.prepare_cached(NUMBERED)?;
        let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
        while let Some(row) = rows.next()? {
            let entries = fields(row, timeline)?.into_iter().map(|(entry, _)| entry).collect();
            touched.push((row.get(5)?, entries));
        }
    }
    let mut taken = Vec::new();
    for (id, mut entries) in touched {
        let held = entries.len();
        entries.retain(|entry| (first..=last).contains(&entry.span.sequence));
        let left = if entries.len() < held { left_of(tx, timeline, id, first, last)? } else { Vec::new() };
        tx.prepare_cached("DELETE FROM segment_page WHERE id = ?1")?.execute([id])?;
        // With a hole in the middle these become two pages.
        put(tx, &left)?;
        taken.append(&mut entries);
    }
    Ok(taken)
}

/// The segments of a page that are not among `first..=last`.
fn left_of(tx: &Connection, timeline: TimelineId, id: i64, first: u64, last: u64) -> Result<Vec<Segment>> {
    let mut statement = tx.prepare_cached(
        "SELECT first_sequence, last_sequence, run, chunk, fields, tables FROM segment_page WHERE id = ?1",
    )?;
    let mut left = statement.query_row([id], |row| Ok(whole(row, timeline)))??;
    left.retain(|segment| !(first..=last).contains(&segment.sequence));
    Ok(left)
}
