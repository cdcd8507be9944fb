//! Moves what version 2 of the schema kept, a row per segment, into pages.

use rusqlite::{Connection, Row, params};

use super::packed::Tables;
use super::{PAGE, pages};
use crate::sql::Sql;
use crate::{Result, Segment};

/// Bytes that a row of a segment takes beside its sample table, with its entries in indexes.
const ROW_BYTES: u64 = 150;

/// Bytes of disk that [`adopt`] takes: the pages grow beside the rows, and all of it goes through the write-ahead log.
pub(crate) fn room_needed(connection: &Connection) -> Result<u64> {
    let (Sql(count), Sql(tables)): (Sql<u64>, Sql<u64>) = connection.query_row(
        "SELECT count(*), coalesce(sum(length(sample_table)), 0) FROM segment",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if count > 0 {
        tracing::info!(
            segments = count,
            "moving the index of segments into pages: some twenty seconds per million"
        );
    }
    Ok(tables.saturating_add(count.saturating_mul(ROW_BYTES)).saturating_mul(5) / 2)
}

/// Part of the migration to version 3. Reads and writes the whole index: some twenty seconds per million segments.
pub(crate) fn adopt(tx: &Connection) -> Result<()> {
    {
        let mut statement = tx.prepare(
            "SELECT timeline, sequence, run, chunk, offset_bytes, len_bytes, media_start_us, media_end_us,
                 wall_offset_us, starts_with_sync, sample_table
             FROM segment ORDER BY timeline, sequence",
        )?;
        let mut rows = statement.query([])?;
        let mut page: Vec<Segment> = Vec::new();
        while let Some(row) = rows.next()? {
            let segment = stored(row)?;
            let of = |segment: &Segment| (segment.timeline, segment.run, segment.chunk);
            if page.len() as u64 == PAGE || page.last().is_some_and(|last| of(last) != of(&segment)) {
                store(tx, &std::mem::take(&mut page))?;
            }
            page.push(segment);
        }
        store(tx, &page)?;
    }
    tx.execute("DROP TABLE segment", [])?;
    Ok(())
}

fn store(tx: &Connection, page: &[Segment]) -> Result<()> {
    let Some(last) = page.last() else { return Ok(()) };
    pages::put(tx, page, Tables::Sound)?;
    tx.prepare_cached("UPDATE timeline SET paged_below = ?2 WHERE id = ?1")?
        .execute(params![Sql(last.timeline), Sql(last.sequence + 1)])?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(Segment {
        timeline: row.get::<_, Sql<_>>(0)?.0,
        sequence: row.get::<_, Sql<_>>(1)?.0,
        run: row.get(2)?,
        chunk: row.get(3)?,
        offset: row.get::<_, Sql<_>>(4)?.0,
        len: row.get::<_, Sql<_>>(5)?.0,
        media_start_us: row.get(6)?,
        media_end_us: row.get(7)?,
        wall_offset_us: row.get(8)?,
        starts_with_sync: row.get(9)?,
        index: row.get::<_, Vec<u8>>(10)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use mediahooks_model::TimelineId;
    use uuid::Uuid;

    use super::super::{NEWEST, Stored};
    use super::*;
    use crate::schema;

    #[test]
    fn what_version_2_kept_in_rows_is_found_in_pages() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::configure(&connection).unwrap();
        schema::at_version_2(&connection);
        connection
            .execute_batch(
                "INSERT INTO feed (id, token, stream_name, remote, started_us, last_event_us)
                     VALUES (x'02', 1, 'stage', '::1', 0, 0);
                 INSERT INTO timeline VALUES (zeroblob(16), x'02', 0);
                 INSERT INTO run (timeline, number, tracks) VALUES (zeroblob(16), 0, '[]'), (zeroblob(16), 1, '[]');
                 WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
                 INSERT INTO segment
                     SELECT zeroblob(16), i, i / 150, i / 40, i * 10, 10, i * 1000, i * 1000 + 1000, 7, i * 1000 + 7,
                         i * 1000 + 1007, i % 2, x'0102' FROM n WHERE i <> 100;",
            )
            .unwrap();
        schema::migrate(&mut connection).unwrap();
        let timeline = TimelineId(Uuid::nil());
        let expected: Vec<Segment> = (0..200u32)
            .filter(|number| *number != 100)
            .map(|number| Segment {
                timeline,
                sequence: number.into(),
                run: number / 150,
                chunk: number / 40,
                offset: u64::from(number) * 10,
                len: 10,
                media_start_us: i64::from(number) * 1000,
                media_end_us: i64::from(number) * 1000 + 1000,
                wall_offset_us: 7,
                starts_with_sync: number % 2 == 1,
                index: vec![1, 2].into(),
            })
            .collect();
        assert_eq!(Stored::paged(&connection, timeline).segments(0, NEWEST).unwrap(), expected);
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        // Five chunk files, one hole, one run that ends within a file.
        assert_eq!(count("SELECT count(*) FROM segment_page"), 7);
        assert_eq!(count("SELECT paged_below FROM timeline"), 200);
    }
}
