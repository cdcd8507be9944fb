//! Pages: rows that hold many segments of one timeline, run and chunk file, without a hole.

use bytes::Bytes;
use mediahooks_model::{TimelineId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::packed::{self, Columns, PageKey, Tables};
use super::{Entry, NEWEST, PAGE, SharedTables, damaged, or_damaged, paged_below};
use crate::sql::Sql;
use crate::{DatabaseError, FreedRange, Result, Segment};

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

/// What a page's row says of its segments, in the order in which [`columns`] reads it.
macro_rules! columns {
    () => {
        "SELECT timeline, first_sequence, last_sequence, run, chunk, end_bytes, len_bytes, wall_start_us, wall_end_us,
             first_sync, checksum, id"
    };
}

const KEYS: &str = concat!("SELECT timeline, first_sequence, last_sequence, run, chunk ", range!());
const FIELDS: &str = concat!(columns!(), ", fields ", range!());
const WHOLE: &str = concat!(columns!(), ", fields, tables ", range!());

const NEWEST_PAGE: &str = concat!(
    columns!(),
    ", fields, tables FROM segment_page WHERE timeline = ?1 ORDER BY first_sequence DESC LIMIT 1"
);

const NEWEST_SEQUENCE: &str =
    "SELECT last_sequence FROM segment_page WHERE timeline = ?1 ORDER BY first_sequence DESC LIMIT 1";

/// Which pages these are is found in the index alone, of which an entry of 40 bytes for every later page is read: asked
/// for in one, the engine looked at the rows of these as well.
pub(crate) const BY_WALL: &str = concat!(
    columns!(),
    ", fields FROM segment_page
     WHERE id IN (SELECT id FROM segment_page WHERE timeline = ?1 AND wall_end_us > ?2 AND wall_start_us < ?3)
         AND (?4 IS NULL OR run = ?4)
     ORDER BY first_sequence"
);

/// The nearest page, going back, with a segment that decoding can begin with.
const SYNC: &str = concat!(
    columns!(),
    ", fields FROM segment_page
     WHERE timeline = ?1 AND first_sequence <= ?3 AND run = ?2 AND first_sync IS NOT NULL AND first_sync <= ?3
     ORDER BY first_sequence DESC LIMIT 1"
);

/// Found in the index alone.
const USES_CHUNK: &str = "SELECT 1 FROM segment_page WHERE timeline = ?1 AND chunk = ?2 LIMIT 1";

/// What is known of every page of a timeline without a look at its segments.
const OF_TIMELINE: &str =
    concat!(columns!(), " FROM segment_page WHERE timeline = ?1 ORDER BY first_sequence");

/// Every page, for who checks them.
const ALL_FIELDS: &str = concat!(columns!(), ", fields FROM segment_page ORDER BY timeline, first_sequence");
const ALL: &str = concat!(columns!(), ", fields, tables FROM segment_page ORDER BY timeline, first_sequence");

/// Statements that run all the time, or over many rows.
#[cfg(test)]
pub(crate) const HOT: [&str; 8] =
    [KEYS, FIELDS, WHOLE, NEWEST_PAGE, NEWEST_SEQUENCE, SYNC, OF_TIMELINE, USES_CHUNK];

/// Stores segments in pages; they are of one timeline, in order.
pub(super) fn put(tx: &Connection, segments: &[Segment], tables: Tables) -> Result<()> {
    let goes_on = |before: &Segment, after: &Segment| {
        before.run == after.run && before.chunk == after.chunk && before.sequence + 1 == after.sequence
    };
    for stretch in segments.chunk_by(goes_on) {
        for page in stretch.chunks(PAGE as usize) {
            put_one(tx, page, tables)?;
        }
    }
    Ok(())
}

fn put_one(tx: &Connection, page: &[Segment], tables: Tables) -> Result<()> {
    let entries: Vec<Entry> = page.iter().map(Entry::from).collect();
    let Some(columns) = Columns::of(&entries) else { return Ok(()) };
    let packed = packed::pack(page, tables);
    let key = columns.key;
    tx.prepare_cached(
        "INSERT INTO segment_page (timeline, first_sequence, last_sequence, run, chunk, end_bytes, len_bytes,
             wall_start_us, wall_end_us, first_sync, checksum, fields, tables)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        Sql(key.timeline),
        Sql(key.first),
        Sql(key.last),
        key.run,
        key.chunk,
        Sql(columns.end),
        Sql(columns.len),
        columns.wall_start_us,
        columns.wall_end_us,
        columns.first_sync.map(Sql),
        columns.checksum(),
        packed.fields,
        packed.tables,
    ])?;
    Ok(())
}

fn key(row: &Row<'_>) -> Result<PageKey> {
    let key = PageKey {
        timeline: row.get::<_, Sql<_>>(0)?.0,
        first: row.get::<_, Sql<_>>(1)?.0,
        last: row.get::<_, Sql<_>>(2)?.0,
        run: row.get(3)?,
        chunk: row.get(4)?,
    };
    if key.last < key.first { Err(page_damaged(&key)) } else { Ok(key) }
}

fn columns(row: &Row<'_>) -> Result<Columns> {
    let key = key(row)?;
    let columns = Columns {
        key,
        end: row.get::<_, Sql<_>>(5)?.0,
        len: row.get::<_, Sql<_>>(6)?.0,
        wall_start_us: row.get(7)?,
        wall_end_us: row.get(8)?,
        first_sync: row.get::<_, Option<Sql<_>>>(9)?.map(|first_sync| first_sync.0),
    };
    let is_sound = row.get::<_, i64>(10)? == i64::from(columns.checksum()) && columns.len <= columns.end;
    if is_sound { Ok(columns) } else { Err(page_damaged(&key)) }
}

fn fields(row: &Row<'_>) -> Result<Vec<(Entry, usize)>> {
    let Columns { key, .. } = columns(row)?;
    packed::unpack(&key, row.get_ref(12)?.as_blob().unwrap_or_default()).ok_or_else(|| page_damaged(&key))
}

fn entries_of(row: &Row<'_>) -> Result<Vec<Entry>> {
    Ok(fields(row)?.into_iter().map(|(entry, _)| entry).collect())
}

fn whole(row: &Row<'_>) -> Result<Vec<Segment>> {
    whole_with(row, Bytes::copy_from_slice)
}

/// As [`whole`], with sample tables in the buffer that `tables` puts them into.
fn whole_with(row: &Row<'_>, tables: impl FnOnce(&[u8]) -> Bytes) -> Result<Vec<Segment>> {
    let Columns { key, .. } = columns(row)?;
    let fields = row.get_ref(12)?.as_blob().unwrap_or_default();
    let stored = row.get_ref(13)?.as_blob().unwrap_or_default();
    packed::unpack_whole(&key, fields, tables(stored)).ok_or_else(|| page_damaged(&key))
}

fn page_damaged(key: &PageKey) -> DatabaseError {
    damaged(key.timeline, format_args!("segments {} to {}", key.first, key.last))
}

/// Which segments the pages with any of `first..=last` hold, in order; no more pages than hold `enough`.
pub(super) fn keys(
    tx: &Connection,
    timeline: TimelineId,
    (first, last): (u64, u64),
    enough: u64,
) -> Result<Vec<PageKey>> {
    let mut statement = tx.prepare_cached(KEYS)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let (mut found, mut held) = (Vec::new(), 0u64);
    while held < enough
        && let Some(row) = rows.next()?
    {
        let key = key(row)?;
        held = held.saturating_add(key.last.min(last) - key.first.max(first)).saturating_add(1);
        found.push(key);
    }
    Ok(found)
}

/// The segments `first..=last` that are in pages, in order, without sample tables.
pub(super) fn entries(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<Entry>> {
    let mut statement = tx.prepare_cached(FIELDS)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let entries = entries_of(row)?.into_iter();
        found.extend(entries.filter(|entry| (first..=last).contains(&entry.span.sequence)));
    }
    Ok(found)
}

/// Hands over the segments `first..=last` that are in pages, in order, page by page. The sample tables of those of one
/// page share a buffer, which holds no others.
pub(super) fn each(
    tx: &Connection,
    timeline: TimelineId,
    (first, last): (u64, u64),
    shared: &SharedTables,
    mut each: impl FnMut(Segment),
) -> Result<()> {
    let mut statement = tx.prepare_cached(WHOLE)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    while let Some(row) = rows.next()? {
        let key = key(row)?;
        if first <= key.first && key.last <= last {
            let id = row.get(11)?;
            whole_with(row, |tables| shared.share(id, tables))?.into_iter().for_each(&mut each);
        } else {
            let mut segments = whole(row)?;
            segments.retain(|segment| (first..=last).contains(&segment.sequence));
            packed::detach(&mut segments);
            segments.into_iter().for_each(&mut each);
        }
    }
    Ok(())
}

/// The segments `first..=last` that are in pages, in order; passes over pages that are damaged.
pub(super) fn readable(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<Vec<Segment>> {
    let mut statement = tx.prepare_cached(WHOLE)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let segments = or_damaged(whole(row))?.unwrap_or_default().into_iter();
        found.extend(segments.filter(|segment| (first..=last).contains(&segment.sequence)));
    }
    Ok(found)
}

/// The newest segment in a page.
pub(super) fn newest(tx: &Connection, timeline: TimelineId) -> Result<Option<Segment>> {
    let mut statement = tx.prepare_cached(NEWEST_PAGE)?;
    let newest = statement.query_row([Sql(timeline)], |row| Ok(whole(row))).optional()?.transpose()?;
    Ok(newest.and_then(|mut segments| segments.pop()))
}

/// The number of the newest segment in a page.
pub(super) fn newest_sequence(tx: &Connection, timeline: TimelineId) -> Result<Option<u64>> {
    let mut statement = tx.prepare_cached(NEWEST_SEQUENCE)?;
    Ok(statement.query_row([Sql(timeline)], |row| Ok(row.get::<_, Sql<_>>(0)?.0)).optional()?)
}

/// Bytes of the segments `first..=last` that are in pages.
pub(super) fn bytes(tx: &Connection, timeline: TimelineId, first: u64, last: u64) -> Result<u64> {
    let mut statement = tx.prepare_cached(FIELDS)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
    let mut sum = 0u64;
    while let Some(row) = rows.next()? {
        let Columns { key, len, .. } = columns(row)?;
        let bytes = if first <= key.first && key.last <= last {
            len
        } else {
            let entries = entries_of(row)?;
            let held = entries.iter().filter(|entry| (first..=last).contains(&entry.span.sequence));
            held.map(|entry| entry.len).sum()
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
    mut each: impl FnMut(Entry),
) -> Result<()> {
    let mut statement = tx.prepare_cached(BY_WALL)?;
    let mut rows = statement.query(params![Sql(timeline), Sql(from), Sql(to), run])?;
    while let Some(row) = rows.next()? {
        let is_in = |entry: &Entry| entry.span.wall_end() > from && entry.span.wall_start() < to;
        entries_of(row)?.into_iter().filter(is_in).for_each(&mut each);
    }
    Ok(())
}

/// The last segment of a run in a page, at `sequence` or before it, that decoding can begin with.
pub(super) fn sync(tx: &Connection, timeline: TimelineId, run: u32, sequence: u64) -> Result<Option<u64>> {
    let mut statement = tx.prepare_cached(SYNC)?;
    let mut rows = statement.query(params![Sql(timeline), run, Sql(sequence)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let entries = entries_of(row)?;
    let mut spans = entries.iter().rev().map(|entry| entry.span);
    Ok(spans.find(|span| span.starts_with_sync && span.sequence <= sequence).map(|span| span.sequence))
}

/// Whether a page points into a chunk file, or may: one that is damaged does not tell. Where none seems to, a row of each
/// page (some 35 an hour) is read, and neither fields nor tables.
pub(super) fn may_use_chunk(tx: &Connection, timeline: TimelineId, chunk: u32) -> Result<bool> {
    if tx.prepare_cached(USES_CHUNK)?.exists(params![Sql(timeline), chunk])? {
        return Ok(true);
    }
    let mut statement = tx.prepare_cached(OF_TIMELINE)?;
    let mut rows = statement.query([Sql(timeline)])?;
    while let Some(row) = rows.next()? {
        if or_damaged(columns(row))?.is_none_or(|columns| columns.key.chunk == chunk) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the segments `first..=last` out of the pages and returns where they were, in order. What is left of a page is
/// stored anew.
///
/// A page whose fields are damaged stays until all of its segments are to go: until then nobody can tell which bytes are
/// whose. Then its columns say where they were; if those are damaged as well, the bytes are given back with their file.
pub(super) fn take_out(
    tx: &Connection,
    timeline: TimelineId,
    first: u64,
    last: u64,
) -> Result<Vec<FreedRange>> {
    let mut gone: Vec<i64> = Vec::new();
    let (mut taken, mut cut) = (Vec::new(), Vec::new());
    {
        let mut statement = tx.prepare_cached(FIELDS)?;
        let mut rows = statement.query(params![Sql(timeline), Sql(first), Sql(last)])?;
        while let Some(row) = rows.next()? {
            let (id, key) = (row.get(11)?, key(row));
            let is_whole = key.as_ref().is_ok_and(|key| first <= key.first && key.last <= last)
                || (first, last) == (0, NEWEST);
            match or_damaged(entries_of(row))? {
                Some(entries) => {
                    let goes = |entry: &&Entry| (first..=last).contains(&entry.span.sequence);
                    taken.extend(entries.iter().filter(goes).map(Entry::place));
                    if !is_whole {
                        cut.push(id);
                    }
                }
                None if is_whole => {
                    let place = |Columns { key, end, len, .. }: Columns| FreedRange {
                        timeline,
                        chunk: key.chunk,
                        offset: end - len,
                        len,
                    };
                    taken.extend(or_damaged(columns(row))?.map(place));
                }
                None => continue,
            }
            gone.push(id);
        }
    }
    let mut left = Vec::new();
    for id in cut {
        left.push(left_of(tx, id, first, last)?);
    }
    for id in gone {
        tx.prepare_cached("DELETE FROM segment_page WHERE id = ?1")?.execute([id])?;
    }
    // With a hole in the middle one becomes two pages.
    left.iter().try_for_each(|(segments, tables)| put(tx, segments, *tables))?;
    Ok(taken)
}

/// The segments of a page that are not among `first..=last`.
fn left_of(tx: &Connection, id: i64, first: u64, last: u64) -> Result<(Vec<Segment>, Tables)> {
    let mut statement =
        tx.prepare_cached(concat!(columns!(), ", fields, tables FROM segment_page WHERE id = ?1"))?;
    let (mut left, tables) = statement.query_row([id], |row| {
        let tables: Vec<u8> = row.get(13)?;
        Ok(columns(row).and_then(|Columns { key, .. }| {
            let fields = row.get_ref(12)?.as_blob().unwrap_or_default();
            packed::unpack_readable(&key, fields, Bytes::from(tables)).ok_or_else(|| page_damaged(&key))
        }))
    })??;
    left.retain(|segment| !(first..=last).contains(&segment.sequence));
    Ok((left, tables))
}

/// Looks at every page and tells what is wrong with each. Sample tables are most of the index and are read only `with`
/// them.
pub(super) fn check(tx: &Connection, with: WithTables) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut before: Option<PageKey> = None;
    let mut below: Option<(TimelineId, Option<u64>)> = None;
    let mut statement = tx.prepare(match with {
        WithTables::Yes => ALL,
        WithTables::No => ALL_FIELDS,
    })?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let found = match with {
            WithTables::Yes => whole(row).map(|segments| segments.iter().map(Entry::from).collect()),
            WithTables::No => entries_of(row),
        };
        let key = match found.and_then(|entries: Vec<Entry>| Ok((columns(row)?, Columns::of(&entries)))) {
            Ok((said, held)) if Some(said) == held => said.key,
            Ok((said, _)) => {
                problems.push(format!("{} and its columns differ", name(&said.key)));
                said.key
            }
            Err(DatabaseError::Corrupt { what }) => {
                problems.push(what);
                continue;
            }
            Err(error) => return Err(error),
        };
        if before.is_some_and(|before| before.timeline == key.timeline && before.last >= key.first) {
            problems.push(format!("{} overlaps the page before it", name(&key)));
        }
        before = Some(key);
        let below = match below {
            Some((timeline, below)) if timeline == key.timeline => below,
            _ => below.insert((key.timeline, paged_below(tx, key.timeline)?)).1,
        };
        match below {
            None => problems.push(format!("{} is of no timeline", name(&key))),
            Some(below) if key.last >= below => {
                problems.push(format!("{} is not below {below}, where its timeline's pages end", name(&key)));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

fn name(key: &PageKey) -> String {
    format!("the page of segments {} to {} of timeline {}", key.first, key.last, key.timeline)
}

/// Whether sample tables are read, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithTables {
    Yes,
    No,
}
