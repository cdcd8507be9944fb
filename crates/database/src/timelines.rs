//! Feeds, timelines, runs and segments as they are read.

use mediahooks_model::{FeedId, TimelineId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sql::Sql;
use crate::{
    ClippableTimeline, Database, DatabaseError, Feed, Result, Run, Segment, SegmentSpan, Timeline,
    TimelineQuery, assets,
};

const FEED: &str =
    "f.id, f.token, f.stream_name, f.source_id, f.simulcast_id, f.priority, f.target_kbps, f.remote,
     f.started_us, f.ended_us";

/// Every column of a segment, in the order [`stored_segment`] reads.
pub(crate) const SEGMENT: &str =
    "timeline, sequence, run, chunk, offset_bytes, len_bytes, media_start_us, media_end_us,
     wall_offset_us, starts_with_sync, sample_table";

/// Segments that hold media of a span of wall clock.
pub(crate) const SEGMENTS_IN: &str =
    "SELECT timeline, sequence, run, media_start_us, media_end_us, wall_offset_us, starts_with_sync
     FROM segment
     WHERE timeline = ?1 AND wall_end_us > ?2 AND wall_start_us < ?3 AND (?4 IS NULL OR run = ?4)
     ORDER BY sequence";

/// Bytes and microseconds of segments that hold media of a span of wall clock.
pub(crate) const MEAN_BITRATE: &str =
    "SELECT coalesce(sum(len_bytes), 0), coalesce(sum(wall_end_us - wall_start_us), 0)
     FROM segment WHERE timeline = ?1 AND wall_end_us > ?2 AND wall_start_us < ?3";

/// The nearest segment, going back, that decoding can begin with.
pub(crate) const SYNC_SEGMENT: &str = "SELECT sequence FROM segment
     WHERE timeline = ?1 AND sequence <= ?3 AND run = ?2 AND starts_with_sync = 1
     ORDER BY sequence DESC LIMIT 1";

impl Database {
    /// Feeds that have not ended, oldest first.
    pub async fn live_feeds(&self) -> Result<Vec<Feed>> {
        self.read(|tx| {
            let sql = format!("SELECT {FEED} FROM feed f WHERE ended_us IS NULL ORDER BY started_us");
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map([], |row| stored_feed(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The feed of this id.
    pub async fn feed(&self, id: FeedId) -> Result<Option<Feed>> {
        self.read(move |tx| feed(tx, id)).await
    }

    /// The timeline of this id.
    pub async fn timeline(&self, id: TimelineId) -> Result<Option<Timeline>> {
        self.read(move |tx| {
            let mut statement =
                tx.prepare_cached("SELECT id, feed, created_us FROM timeline WHERE id = ?1")?;
            let timeline = statement.query_row([Sql(id)], |row| {
                Ok(Timeline {
                    id: row.get::<_, Sql<_>>(0)?.0,
                    feed: row.get::<_, Sql<_>>(1)?.0,
                    created: row.get::<_, Sql<_>>(2)?.0,
                })
            });
            Ok(timeline.optional()?)
        })
        .await
    }

    /// Timeline assets in `processing` or `complete` that clips can be cut from, oldest first.
    pub async fn clippable_timelines(&self, query: TimelineQuery) -> Result<Vec<ClippableTimeline>> {
        self.read(move |tx| {
            // `?4` says whether the three-valued `?5` narrows at all.
            let mut statement = tx.prepare_cached(&format!(
                "SELECT r.timeline, r.run, r.first_segment, r.last_segment, r.start_us, r.stop_us, a.id, {FEED}
                 FROM asset a JOIN recipe r ON r.asset = a.id
                     JOIN timeline t ON t.id = r.timeline JOIN feed f ON f.id = t.feed
                 WHERE a.stream_name = ?1 AND a.asset_type = 'timeline'
                     AND a.status IN ('processing', 'complete')
                     AND (?2 IS NULL OR a.token = ?2)
                     AND (?3 IS NULL OR a.source_id = ?3)
                     AND (NOT ?4 OR a.simulcast_id IS ?5)
                     AND (?6 IS NULL OR a.priority = ?6)
                     AND (?7 IS NULL OR a.start_us < ?7)
                     AND (?8 IS NULL OR a.stop_us IS NULL OR a.stop_us > ?8)
                 ORDER BY a.start_us, a.id"
            ))?;
            let rows = statement.query_map(
                params![
                    query.stream_name,
                    query.token.map(Sql),
                    query.source_id,
                    query.simulcast_id.is_some(),
                    query.simulcast_id.flatten(),
                    query.priority,
                    query.before.map(Sql),
                    query.after.map(Sql)
                ],
                |row| {
                    Ok(ClippableTimeline {
                        asset: row.get::<_, Sql<_>>(6)?.0,
                        part: assets::part(row, 0)?,
                        feed: stored_feed(row, 7)?,
                    })
                },
            )?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One run.
    pub async fn run(&self, timeline: TimelineId, number: u32) -> Result<Option<Run>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, number, tracks FROM run WHERE timeline = ?1 AND number = ?2",
            )?;
            statement.query_row(params![Sql(timeline), number], stored_run).optional()?.transpose()
        })
        .await
    }

    /// Every run of a timeline, in order.
    pub async fn runs(&self, timeline: TimelineId) -> Result<Vec<Run>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, number, tracks FROM run WHERE timeline = ?1 ORDER BY number",
            )?;
            let rows = statement.query_map([Sql(timeline)], stored_run)?;
            rows.map(|row| row?).collect()
        })
        .await
    }

    /// Segments `first` to `last` (included; absent: to the newest), in order.
    pub async fn segments(
        &self,
        timeline: TimelineId,
        first: u64,
        last: Option<u64>,
    ) -> Result<Vec<Segment>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {SEGMENT} FROM segment WHERE timeline = ?1 AND sequence BETWEEN ?2 AND ?3
                 ORDER BY sequence"
            ))?;
            let last = last.unwrap_or(i64::MAX.unsigned_abs());
            let rows = statement.query_map(params![Sql(timeline), Sql(first), Sql(last)], stored_segment)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Segments of any run, or one, that hold media captured in `from..to` (wall clock), in order.
    pub async fn segments_in(
        &self,
        timeline: TimelineId,
        run: Option<u32>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SegmentSpan>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(SEGMENTS_IN)?;
            let rows = statement.query_map(params![Sql(timeline), Sql(from), Sql(to), run], stored_span)?;
            Ok(rows.collect::<Result<_, _>>()?)
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
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, sequence, run, media_start_us, media_end_us, wall_offset_us, starts_with_sync
                 FROM segment WHERE timeline = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence",
            )?;
            let last = last.unwrap_or(i64::MAX.unsigned_abs());
            let rows = statement.query_map(params![Sql(timeline), Sql(first), Sql(last)], stored_span)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Mean bitrate of what a timeline holds of `from..to` (wall clock), in kbit/s; 0 when that is nothing.
    pub async fn mean_kbps(&self, timeline: TimelineId, from: Timestamp, to: Timestamp) -> Result<u64> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(MEAN_BITRATE)?;
            let (bytes, us): (i64, i64) = statement
                .query_row(params![Sql(timeline), Sql(from), Sql(to)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let kbps = i128::from(bytes) * 8000 / i128::from(us.max(1));
            Ok(u64::try_from(kbps).unwrap_or(0))
        })
        .await
    }

    /// Whether a chunk file holds any segment.
    pub async fn chunk_in_use(&self, timeline: TimelineId, chunk: u32) -> Result<bool> {
        self.read(move |tx| {
            let mut statement = tx
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM segment WHERE timeline = ?1 AND chunk = ?2)")?;
            Ok(statement.query_row(params![Sql(timeline), chunk], |row| row.get(0))?)
        })
        .await
    }

    /// The last segment of a run, at `sequence` or before it, that decoding can begin with.
    pub async fn sync_segment_at_or_before(
        &self,
        timeline: TimelineId,
        run: u32,
        sequence: u64,
    ) -> Result<Option<u64>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(SYNC_SEGMENT)?;
            let found = statement
                .query_row(params![Sql(timeline), run, Sql(sequence)], |row| Ok(row.get::<_, Sql<_>>(0)?.0));
            Ok(found.optional()?)
        })
        .await
    }

    /// The newest segment of a timeline.
    pub async fn last_segment(&self, timeline: TimelineId) -> Result<Option<Segment>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {SEGMENT} FROM segment WHERE timeline = ?1 ORDER BY sequence DESC LIMIT 1"
            ))?;
            Ok(statement.query_row([Sql(timeline)], stored_segment).optional()?)
        })
        .await
    }
}

fn stored_span(row: &Row<'_>) -> rusqlite::Result<SegmentSpan> {
    Ok(SegmentSpan {
        timeline: row.get::<_, Sql<_>>(0)?.0,
        sequence: row.get::<_, Sql<_>>(1)?.0,
        run: row.get(2)?,
        media_start_us: row.get(3)?,
        media_end_us: row.get(4)?,
        wall_offset_us: row.get(5)?,
        starts_with_sync: row.get(6)?,
    })
}

/// The feed of this id.
pub(crate) fn feed(tx: &Connection, id: FeedId) -> Result<Option<Feed>> {
    let mut statement = tx.prepare_cached(&format!("SELECT {FEED} FROM feed f WHERE id = ?1"))?;
    Ok(statement.query_row([Sql(id)], |row| stored_feed(row, 0)).optional()?)
}

/// Reads a feed whose first column is at `at`.
fn stored_feed(row: &Row<'_>, at: usize) -> rusqlite::Result<Feed> {
    Ok(Feed {
        id: row.get::<_, Sql<_>>(at)?.0,
        token: row.get::<_, Sql<_>>(at + 1)?.0,
        stream_name: row.get::<_, Sql<_>>(at + 2)?.0,
        source_id: row.get(at + 3)?,
        simulcast_id: row.get(at + 4)?,
        priority: row.get(at + 5)?,
        target_kbps: row.get(at + 6)?,
        remote: row.get::<_, Sql<_>>(at + 7)?.0,
        started: row.get::<_, Sql<_>>(at + 8)?.0,
        ended: row.get::<_, Option<Sql<_>>>(at + 9)?.map(|ended| ended.0),
    })
}

fn stored_run(row: &Row<'_>) -> rusqlite::Result<Result<Run>> {
    let Sql(timeline) = row.get(0)?;
    let number = row.get(1)?;
    let tracks: String = row.get(2)?;
    Ok(match serde_json::from_str(&tracks) {
        Ok(tracks) => Ok(Run { timeline, number, tracks }),
        Err(_) => Err(DatabaseError::corrupt(format!("tracks of run {number} of timeline {timeline}"))),
    })
}

/// Reads a row of [`SEGMENT`].
pub(crate) fn stored_segment(row: &Row<'_>) -> rusqlite::Result<Segment> {
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
