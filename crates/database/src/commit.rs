//! The one write path of the domain: feeds, timelines and segments here, assets in [`crate::steps`].
//!
//! What always holds: a state, its event and the deliveries of that event are one transaction, and
//! the events of one subject carry strictly rising times and are numbered 1, 2, 3 without a hole.

use mediahooks_model::event::{FeedFacts, StorageFacts, StorageRoom, event_time, feed_event, storage_event};
use mediahooks_model::{EventKind, FeedEvent, FeedId, StorageEvent, Timestamp};
use rusqlite::params;
use tokio::sync::SemaphorePermit;

use crate::account::account;
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{
    Asset, Change, Database, DatabaseError, Feed, KeptReply, Result, Run, Timeline, clip_requests, outbox,
    removal, segments, steps, timelines,
};

/// Feeds that may wait for the writer to end them. Their segments move into pages then, up to 256 of each: of hundreds
/// that end together, whoever writes something else waits for so many at most.
pub(crate) const ENDING_MAX: usize = 32;

impl Database {
    /// Applies `changes` in order at `now`, all of them or none, together with the events they
    /// cause and one delivery per webhook that wants them. Returns the assets that were created or
    /// stepped, in the order of the changes.
    ///
    /// Errors: [`DatabaseError::Refused`] when an asset does not take a step;
    /// [`DatabaseError::NotFound`] when a change is about something that does not exist;
    /// [`DatabaseError::KeyUsed`]; [`Conflict`](crate::Conflict) when an id or a custom path is
    /// taken, or a recipe asks for segments that are not stored (any more).
    pub async fn commit(&self, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Asset>> {
        let _turn = if ends_a_feed(&changes) { Some(self.turn_to_end().await?) } else { None };
        self.write(move |tx| apply_all(tx, changes, now)).await
    }

    /// The same for changes that nobody waits for, such as the segments of many feeds: while many such commits come they
    /// wait for each other ([`Options::patience`](crate::Options::patience)), so that a page of the database is written
    /// once for all of them, and a commit that does not wait takes them along.
    pub async fn commit_patiently(&self, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Asset>> {
        let apply = move |tx: &Writing<'_>, changes| apply_all(tx, changes, now);
        if !ends_a_feed(&changes) {
            return self.write_patiently(move |tx| apply(tx, changes)).await;
        }
        if let Ok(_turn) = self.inner.ending.try_acquire() {
            return self.write_patiently(move |tx| apply(tx, changes)).await;
        }
        // There are so many that they share transactions without waiting for each other.
        let _turn = self.turn_to_end().await?;
        self.write(move |tx| apply(tx, changes)).await
    }

    async fn turn_to_end(&self) -> Result<SemaphorePermit<'_>> {
        self.inner.ending.acquire().await.map_err(|_| DatabaseError::Closed)
    }
}

fn ends_a_feed(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::EndFeed { .. }))
}

fn apply_all(tx: &Writing<'_>, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Asset>> {
    let mut touched = Vec::new();
    for change in changes {
        touched.extend(apply(tx, change, now)?);
    }
    Ok(touched)
}

impl Database {
    /// What was told last of the room for media; `Recovered` before anything was.
    ///
    /// Errors: [`DatabaseError`].
    pub async fn storage_told(&self) -> Result<StorageEvent> {
        self.read(|tx| {
            let told: String =
                tx.prepare_cached("SELECT event FROM storage_told")?.query_row([], |row| row.get(0))?;
            match EventKind::parse(&format!("storage.{told}")) {
                Some(EventKind::Storage(event)) => Ok(event),
                _ => Err(DatabaseError::corrupt(format!("what was told of the storage is `{told}`"))),
            }
        })
        .await
    }
}

fn apply(tx: &Writing<'_>, change: Change, now: Timestamp) -> Result<Option<Asset>> {
    match change {
        Change::StartFeed(feed) => start_feed(tx, &feed, now)?,
        Change::EndFeed { feed, at } => end_feed(tx, feed, at, now)?,
        Change::OpenTimeline(timeline) => open_timeline(tx, &timeline)?,
        Change::PutRun(run) => put_run(tx, &run)?,
        Change::AddSegment(segment) => segments::add(tx, &segment)?,
        Change::CreateAsset(new) => return steps::create(tx, new.asset, now).map(Some),
        Change::StepAsset(change) => return steps::step(tx, *change, now).map(Some),
        Change::HoldAsset { id, until_us } => steps::hold(tx, id, until_us)?,
        Change::KeepReply(reply) => keep_reply(tx, &reply)?,
        Change::OpenClipRequest(open) => clip_requests::open(tx, &open)?,
        Change::ChangeClipRequest(open) => clip_requests::change(tx, &open)?,
        Change::CloseClipRequest(id) => clip_requests::close(tx, id)?,
        Change::TellStorage(event, room) => tell_storage(tx, event, room, now)?,
        Change::Emit(event) => outbox::record(tx, &event, now)?,
        Change::EmitTo(webhook, event) => outbox::record_for(tx, &event, webhook, now)?,
    }
    Ok(None)
}

fn start_feed(tx: &Writing<'_>, feed: &Feed, now: Timestamp) -> Result<()> {
    let time = event_time(feed.started, None);
    tx.prepare_cached(
        "INSERT INTO feed (id, token, stream_name, source_id, simulcast_id, priority, target_kbps, remote,
             started_us, ended_us, last_event_us, event_count)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1)",
    )?
    .execute(params![
        Sql(feed.id),
        Sql(feed.token),
        Sql(feed.stream_name.clone()),
        feed.source_id,
        feed.simulcast_id,
        feed.priority,
        feed.target_kbps,
        Sql(feed.remote),
        Sql(feed.started),
        feed.ended.map(Sql),
        Sql(time),
    ])?;
    tell_feed(tx, FeedEvent::Started, feed, (time, 1), now)
}

fn end_feed(tx: &Writing<'_>, id: FeedId, at: Timestamp, now: Timestamp) -> Result<()> {
    let feed = timelines::feed(tx, id)?.ok_or(DatabaseError::NotFound)?;
    segments::close(tx, id)?;
    if feed.ended.is_some() {
        return Ok(());
    }
    removal::mark_leftovers(tx, id)?;
    let (Sql(last), Sql(count)): (Sql<Timestamp>, Sql<u64>) = tx
        .prepare_cached("SELECT last_event_us, event_count FROM feed WHERE id = ?1")?
        .query_row([Sql(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (time, seq) = (event_time(at, Some(last)), count + 1);
    tx.prepare_cached("UPDATE feed SET ended_us = ?2, last_event_us = ?3, event_count = ?4 WHERE id = ?1")?
        .execute(params![Sql(id), Sql(at), Sql(time), Sql(seq)])?;
    tell_feed(tx, FeedEvent::Ended, &feed, (time, seq), now)
}

fn tell_feed(
    tx: &Writing<'_>,
    kind: FeedEvent,
    feed: &Feed,
    (time, seq): (Timestamp, u64),
    now: Timestamp,
) -> Result<()> {
    let facts = FeedFacts {
        account: &account(tx)?,
        feed: feed.id,
        token: Some(feed.token),
        stream_name: &feed.stream_name,
        started: feed.started,
        priority: feed.priority,
        source_id: feed.source_id.as_deref(),
        simulcast_id: feed.simulcast_id.as_deref(),
        seq,
    };
    outbox::record(tx, &feed_event(outbox::new_id(now), kind, time, &facts), now)
}

fn tell_storage(tx: &Writing<'_>, event: StorageEvent, room: StorageRoom, now: Timestamp) -> Result<()> {
    let name = EventKind::Storage(event).event_name();
    let (told, Sql(count), last): (String, Sql<u64>, Option<Sql<Timestamp>>) = tx
        .prepare_cached("SELECT event, event_count, last_event_us FROM storage_told")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if told == name {
        return Ok(());
    }
    let (time, seq) = (event_time(now, last.map(|last| last.0)), count + 1);
    tx.prepare_cached("UPDATE storage_told SET event = ?1, event_count = ?2, last_event_us = ?3")?
        .execute(params![name, Sql(seq), Sql(time)])?;
    let facts = StorageFacts { account: &account(tx)?, room, seq };
    outbox::record(tx, &storage_event(outbox::new_id(now), event, time, &facts), now)
}

fn open_timeline(tx: &Writing<'_>, timeline: &Timeline) -> Result<()> {
    tx.prepare_cached("INSERT INTO timeline (id, feed, created_us) VALUES (?1, ?2, ?3)")?
        .execute(params![Sql(timeline.id), Sql(timeline.feed), Sql(timeline.created)])?;
    Ok(())
}

fn put_run(tx: &Writing<'_>, run: &Run) -> Result<()> {
    let unwritable = |_| DatabaseError::internal("a run's tracks cannot be written as JSON");
    let tracks = serde_json::to_value(&run.tracks).map_err(unwritable)?;
    let earlier = serde_json::to_value(&run.earlier).map_err(unwritable)?;
    tx.prepare_cached(
        "INSERT INTO run (timeline, number, tracks, earlier) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (timeline, number) DO UPDATE SET tracks = excluded.tracks, earlier = excluded.earlier",
    )?
    .execute(params![Sql(run.timeline), run.number, Sql(tracks), Sql(earlier)])?;
    Ok(())
}

fn keep_reply(tx: &Writing<'_>, reply: &KeptReply) -> Result<()> {
    let stored = tx
        .prepare_cached(
            "INSERT INTO kept_reply (key, fingerprint, reply, created_us) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![reply.key, reply.fingerprint, reply.reply, Sql(reply.created)])?;
    if stored == 1 { Ok(()) } else { Err(DatabaseError::KeyUsed) }
}
