//! Feeds, timelines and runs as they are read.

use mediahooks_model::{FeedId, TimelineId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sql::Sql;
use crate::{ClippableTimeline, Database, DatabaseError, Feed, Result, Run, Timeline, TimelineQuery, assets};

const FEED: &str =
    "f.id, f.token, f.stream_name, f.source_id, f.simulcast_id, f.priority, f.target_kbps, f.remote,
     f.started_us, f.ended_us";

/// Clips end where they were asked to, and there may be very many: the engine has to look at them in this order.
pub(crate) const SHOWN_UNTIL: &str =
    "SELECT max(r.stop_us) FROM timeline t CROSS JOIN asset a CROSS JOIN recipe r
     WHERE t.id = ?1 AND a.feed = t.feed AND a.asset_type IN ('recording', 'timeline')
         AND r.asset = a.id AND r.timeline = ?1 AND r.run = ?2";

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
            let mut statement = tx.prepare_cached(&clippable())?;
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
                        asset: row.get::<_, Sql<_>>(7)?.0,
                        part: assets::part(row, 0)?,
                        feed: stored_feed(row, 8)?,
                    })
                },
            )?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Until when the last picture of a run is known to have been on screen, in microseconds of its media clock, as the
    /// recording or the timeline tells that shows it; `None` where that is no longer than its samples tell.
    pub async fn shown_until_us(&self, timeline: TimelineId, run: u32) -> Result<Option<i64>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(SHOWN_UNTIL)?;
            Ok(statement.query_row(params![Sql(timeline), run], |row| row.get(0))?)
        })
        .await
    }

    /// One run.
    pub async fn run(&self, timeline: TimelineId, number: u32) -> Result<Option<Run>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, number, tracks, earlier FROM run WHERE timeline = ?1 AND number = ?2",
            )?;
            statement.query_row(params![Sql(timeline), number], stored_run).optional()?.transpose()
        })
        .await
    }

    /// Every run of a timeline, in order.
    pub async fn runs(&self, timeline: TimelineId) -> Result<Vec<Run>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, number, tracks, earlier FROM run WHERE timeline = ?1 ORDER BY number",
            )?;
            let rows = statement.query_map([Sql(timeline)], stored_run)?;
            rows.map(|row| row?).collect()
        })
        .await
    }
}

/// Timelines that clips can be cut from. `?4` says whether the three-valued `?5` narrows at all.
pub(crate) fn clippable() -> String {
    format!(
        "SELECT r.timeline, r.run, r.first_segment, r.last_segment, r.start_us, r.stop_us, r.late_us, a.id, {FEED}
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
    )
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
    let (tracks, earlier): (String, String) = (row.get(2)?, row.get(3)?);
    Ok(match (serde_json::from_str(&tracks), serde_json::from_str(&earlier)) {
        (Ok(tracks), Ok(earlier)) => Ok(Run { timeline, number, tracks, earlier }),
        _ => Err(DatabaseError::corrupt(format!("tracks of run {number} of timeline {timeline}"))),
    })
}
