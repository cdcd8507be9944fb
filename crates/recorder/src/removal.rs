//! Marks assets for removal, by request or when their time is over, and frees what nothing refers
//! to any more.
//!
//! What always holds: bytes are freed after the database has noted durably that they can be, and the
//! note goes after they were. A crash in between frees them once more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use mediahooks_database::{
    Asset, AssetChange, AssetQuery, AssetSort, Change, DatabaseError, FreedRange, Retention,
};
use mediahooks_model::{AssetInput, AssetStatus, AssetType, MediaAssetId, TimelineId, chain};
use tokio_util::sync::CancellationToken;

use crate::clip;
use crate::disk;
use crate::error::{DeleteRefused, RecorderError};
use crate::recovery;
use crate::state::Shared;
use crate::tidy::{self, ChunkUse};

/// How often the sweeper looks without being told.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often it goes on at once where a sweep has left assets to the next one, before it looks after other things.
const MORE_MAX: u32 = 256;

/// How often, in sweeps, it looks for what failed half-way, and prunes.
const HOUSEKEEPING_EVERY: u64 = 30;

/// How often, in sweeps, it looks through all files for those that no row knows. That reads the index
/// of all segments, seconds for a month of many streams, and such files are rare.
const TIDY_EVERY: u64 = 3600;

/// Assets, freed ranges or timelines that one sweep takes at a time.
const BATCH: u32 = 256;

/// Assets that are marked at once, so that the database makes them durable together.
const MARKED_AT_ONCE: usize = 32;

/// Assets that are removed at once. Feeds that commit meanwhile wait for one transaction of each at most.
const REMOVED_AT_ONCE: usize = 8;

/// See [`crate::Recorder::delete_assets`].
pub(crate) async fn delete(
    shared: &Shared,
    ids: &[MediaAssetId],
) -> Result<Vec<(MediaAssetId, Result<(), DeleteRefused>)>, RecorderError> {
    let marking = ids.iter().copied().map(|id| async move { Ok((id, mark(shared, id).await?)) });
    let outcomes = futures::stream::iter(marking).buffered(MARKED_AT_ONCE).try_collect().await;
    shared.sweep.notify_one();
    outcomes
}

pub(crate) async fn mark(
    shared: &Shared,
    id: MediaAssetId,
) -> Result<Result<(), DeleteRefused>, RecorderError> {
    let change =
        AssetChange { id, input: AssetInput::Delete, recipe: None, stop_time: None, expiration: None };
    let mut changes = vec![Change::StepAsset(Box::new(change))];
    let asset = of_open_request(shared, id).await?;
    // One at a time: each adds to what is noted of the others.
    let noting = if asset.is_some() { Some(shared.noting_deleted.lock().await) } else { None };
    if let Some(asset) = &asset {
        changes.extend(clip::note_deleted(shared, asset).await?);
    }
    let marked = shared.database.commit(changes, shared.now()).await;
    drop(noting);
    match marked {
        Ok(_) => {
            shared.files.forget(id);
            Ok(Ok(()))
        }
        Err(DatabaseError::NotFound) => Ok(Err(DeleteRefused::NotFound)),
        Err(DatabaseError::Refused(refused)) => Ok(Err(match refused.from {
            AssetStatus::Deleted => DeleteRefused::NotFound,
            AssetStatus::Processing => DeleteRefused::BeingReceived,
            _ => DeleteRefused::Refused(refused),
        })),
        Err(error) => Err(error.into()),
    }
}

/// The asset, if more clips may be made of its request: one that is over is never open again.
async fn of_open_request(shared: &Shared, id: MediaAssetId) -> Result<Option<Asset>, RecorderError> {
    let Some(asset) = shared.database.asset(id).await? else { return Ok(None) };
    let Some(request) = asset.request else { return Ok(None) };
    Ok(shared.database.open_clip_request(request).await?.map(|_| asset))
}

/// See [`crate::Recorder::delete_assets_of_type`].
pub(crate) async fn delete_type(
    shared: &Shared,
    asset_type: AssetType,
) -> Result<(u64, Vec<(MediaAssetId, DeleteRefused)>), RecorderError> {
    let (mut deleted, mut refused, mut after) = (0, Vec::new(), None);
    loop {
        let query = AssetQuery {
            types: vec![asset_type],
            statuses: vec![AssetStatus::Processing, AssetStatus::Complete, AssetStatus::Error],
            sort: AssetSort::StartTime,
            // Neither what is marked by now nor what was refused is read again.
            after,
            limit: BATCH,
            ..AssetQuery::default()
        };
        let page = shared.database.assets(query).await?;
        let Some(last) = page.last() else { return Ok((deleted, refused)) };
        after = Some((last.start_time, last.id));
        let ids: Vec<MediaAssetId> = page.iter().map(|asset| asset.id).collect();
        for (id, outcome) in delete(shared, &ids).await? {
            match outcome {
                Ok(()) => deleted += 1,
                Err(reason) => refused.push((id, reason)),
            }
        }
    }
}

/// See [`crate::Recorder::run_sweeper`].
pub(crate) async fn sweep(shared: &Arc<Shared>, shutdown: CancellationToken) {
    let mut sweeper = Sweeper::new(shared);
    for round in 1u64.. {
        sweeper.sweep_once(round).await;
        for _ in 0..MORE_MAX {
            if !sweeper.has_more() || shutdown.is_cancelled() {
                break;
            }
            sweeper.remove_some().await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.sweep.notified() => {}
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

/// What the sweeper remembers from one sweep to the next.
struct Sweeper {
    shared: Arc<Shared>,
    /// Freed ranges up to this number have been seen to; housekeeping begins again at the first.
    freed_until: i64,
    /// Up to where it got, when there were more than one sweep takes: what cannot be marked or removed yet keeps none of
    /// the others.
    expired_until: Option<MediaAssetId>,
    removed_until: Option<MediaAssetId>,
}

impl Sweeper {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), freed_until: 0, expired_until: None, removed_until: None }
    }

    /// Takes every step, whatever becomes of the others: one that fails is tried again by a later
    /// sweep.
    async fn sweep_once(&mut self, round: u64) {
        self.remove_some().await;
        let shared = Arc::clone(&self.shared);
        if round.is_multiple_of(HOUSEKEEPING_EVERY) {
            self.freed_until = 0;
            tell("what failed half-way was not taken up", recovery::take_up(&shared).await);
            let retention = Retention { history: shared.limits.history, ..Retention::default() };
            let pruned = shared.database.prune(shared.now(), retention).await;
            tell("old history was not pruned", pruned.map(drop).map_err(RecorderError::from));
            tell("disk space was not freed", self.free().await);
        }
        if round.is_multiple_of(TIDY_EVERY) {
            tell("stray chunk files were not looked for", tidy::remove_unknown(&shared).await);
        }
    }

    /// Marks and removes some of what is to go, and frees its bytes.
    async fn remove_some(&mut self) {
        let shared = Arc::clone(&self.shared);
        tell("the disk's room was not asked for", disk::look(&shared).await);
        tell("expired assets were not looked for", self.expire().await);
        tell("marked assets were not removed", self.remove_marked().await);
        let swept = shared.database.sweep_timelines(BATCH).await;
        tell("what assets left was not removed", swept.map_err(RecorderError::from));
        tell("disk space was not freed", self.free().await);
    }

    /// Whether there was more than one sweep takes.
    fn has_more(&self) -> bool {
        self.expired_until.is_some() || self.removed_until.is_some()
    }

    async fn expire(&mut self) -> Result<(), RecorderError> {
        let shared = &self.shared;
        let after = self.expired_until.take();
        let found = shared.database.expiring_assets(shared.now(), after, BATCH).await?;
        self.expired_until = last_of_many(&found);
        let marking = found.into_iter().map(async |id| match mark(shared, id).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                tracing::warn!(asset = %id, %reason, "an expired asset was not removed");
                Ok(())
            }
            Err(error) => pass_over(id, error),
        });
        futures::stream::iter(marking).buffer_unordered(MARKED_AT_ONCE).try_collect().await
    }

    async fn remove_marked(&mut self) -> Result<(), RecorderError> {
        let shared = &self.shared;
        let after = self.removed_until.take();
        let found = shared.database.deleting_assets(after, BATCH).await?;
        self.removed_until = last_of_many(&found);
        let removing = found.into_iter().map(async |id| {
            // From here on nobody is given the file without a look at the asset. Who marked it may not have got to that
            // yet, or have hung up before.
            shared.files.forget(id);
            // A download that is under way finishes first.
            if shared.readers.read_asset(id) {
                return Ok(());
            }
            match shared.database.remove_asset(id, shared.now()).await {
                Ok(()) => Ok(()),
                Err(error) => pass_over(id, error.into()),
            }
        });
        futures::stream::iter(removing).buffer_unordered(REMOVED_AT_ONCE).try_collect().await
    }

    /// Gives the bytes of removed segments back to the file system.
    async fn free(&mut self) -> Result<(), RecorderError> {
        loop {
            let noted = self.shared.database.freed_ranges(self.freed_until, BATCH).await?;
            let Some(&(last, _)) = noted.last() else { return Ok(()) };
            let settled = free_noted(&self.shared, noted).await;
            if !settled.is_empty() {
                self.shared.database.forget_freed(settled).await?;
            }
            self.freed_until = last;
        }
    }
}

fn tell(what: &'static str, outcome: Result<(), RecorderError>) {
    if let Err(error) = outcome {
        tracing::error!(error = chain(&error), "{what}; it is tried again");
    }
}

/// Where to go on, when there may be more than these.
fn last_of_many(found: &[MediaAssetId]) -> Option<MediaAssetId> {
    found.last().copied().filter(|_| found.len() == BATCH as usize)
}

/// One asset that cannot be dealt with must not keep the others; a database that fails does.
fn pass_over(id: MediaAssetId, error: RecorderError) -> Result<(), RecorderError> {
    if error.is_transient() {
        return Err(error);
    }
    tracing::error!(asset = %id, error = chain(&error), "an asset cannot be removed; the others are");
    Ok(())
}

/// Frees ranges, file by file. Returns the numbers of those that are settled.
async fn free_noted(shared: &Shared, noted: Vec<(i64, FreedRange)>) -> Vec<i64> {
    let mut files: BTreeMap<(TimelineId, u32), (Vec<i64>, Vec<FreedRange>)> = BTreeMap::new();
    for (number, range) in noted {
        let (numbers, ranges) = files.entry((range.timeline, range.chunk)).or_default();
        numbers.push(number);
        ranges.push(range);
    }
    let mut settled = Vec::new();
    for ((timeline, chunk), (mut numbers, ranges)) in files {
        match free_in(shared, timeline, chunk, ranges).await {
            Ok(true) => settled.append(&mut numbers),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%timeline, chunk, error = chain(&error), "ranges of a chunk file cannot be freed; they are tried again");
            }
        }
    }
    settled
}

/// Frees ranges of one chunk file, or removes it when that was all. False: only a feed keeps the
/// file, or somebody reads it, and that has to be looked at again.
async fn free_in(
    shared: &Shared,
    timeline: TimelineId,
    chunk: u32,
    ranges: Vec<FreedRange>,
) -> Result<bool, RecorderError> {
    // The rows are gone: who begins to read after this look does not find the bytes.
    if shared.readers.read_chunk(timeline, chunk) {
        return Ok(false);
    }
    let needed = tidy::chunk_use(shared, timeline, chunk).await?;
    if needed == ChunkUse::Unused {
        shared.storage.remove_chunk(timeline, chunk).await?;
        return Ok(true);
    }
    for range in merge(ranges) {
        shared.storage.free(timeline, chunk, range.offset, range.len).await?;
    }
    Ok(needed == ChunkUse::Referred)
}

/// Joins ranges of one file that touch.
fn merge(mut ranges: Vec<FreedRange>) -> Vec<FreedRange> {
    ranges.sort_by_key(|range| range.offset);
    let mut merged: Vec<FreedRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.offset + last.len == range.offset => last.len += range.len,
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use mediahooks_database::{
        Change, Database, Feed, NewAsset, Options, RecipePart, Run, Segment, Timeline,
    };
    use mediahooks_model::{FeedId, Limits, Timestamp, TokenId};
    use mediahooks_storage::DiskStorage;
    use uuid::Uuid;

    use super::*;
    use crate::state::Read;

    /// What the sweeper works on, gone with its directory when dropped.
    pub(crate) struct Bench {
        pub(crate) shared: Arc<Shared>,
        directory: tempfile::TempDir,
    }

    impl Bench {
        pub(crate) async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let database = Database::open(&directory.path().join("test.db"), Options::default()).unwrap();
            database.account_or_create("dkxfvY".parse().unwrap(), Timestamp::EPOCH).await.unwrap();
            let storage = DiskStorage::open(directory.path().join("media")).unwrap();
            let shared = Arc::new(Shared::new(database, storage, Limits::default().into()));
            Self { shared, directory }
        }

        /// Stores a chunk file with one segment, and its rows with an asset that is not finished.
        pub(crate) async fn unfinished(&self, number: u128) {
            let mut writer =
                self.shared.storage.create_chunk(timeline(number), 0, b"init".to_vec()).await.unwrap();
            writer.append(vec!["media".into()]).await.unwrap();
            self.shared.database.commit(rows(number), Timestamp::EPOCH).await.unwrap();
        }

        /// Changes a byte, counted from 0, of the oldest row of a table.
        pub(crate) fn damage(&self, table: &str, column: &str, at: usize) {
            let connection = rusqlite::Connection::open(self.directory.path().join("test.db")).unwrap();
            let find = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1");
            let (id, mut bytes): (i64, Vec<u8>) =
                connection.query_row(&find, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            bytes[at] ^= 0x40;
            let change = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
            assert_eq!(connection.execute(&change, (bytes, id)).unwrap(), 1);
        }

        /// Stores a chunk file with one segment, and its rows with an asset that is marked for removal.
        async fn marked(&self, number: u128) {
            let mut writer =
                self.shared.storage.create_chunk(timeline(number), 0, b"init".to_vec()).await.unwrap();
            writer.append(vec!["media".into()]).await.unwrap();
            let mut changes = rows(number);
            for input in [AssetInput::Fail { reason: "no media".into() }, AssetInput::Delete] {
                let id = MediaAssetId(Uuid::from_u128(number));
                let step = AssetChange { id, input, recipe: None, stop_time: None, expiration: None };
                changes.push(Change::StepAsset(Box::new(step)));
            }
            self.shared.database.commit(changes, Timestamp::EPOCH).await.unwrap();
        }

        fn has_file(&self, number: u128) -> bool {
            self.shared.storage.chunk_path(timeline(number), 0).exists()
        }

        async fn notes(&self) -> usize {
            self.shared.database.freed_ranges(0, 9).await.unwrap().len()
        }
    }

    pub(crate) fn timeline(number: u128) -> TimelineId {
        TimelineId(Uuid::from_u128(number))
    }

    pub(crate) fn feed(number: u128) -> Feed {
        Feed {
            id: FeedId(Uuid::from_u128(number)),
            token: TokenId(1),
            stream_name: "stage".parse().unwrap(),
            source_id: None,
            simulcast_id: None,
            priority: None,
            target_kbps: None,
            remote: "127.0.0.1".parse().unwrap(),
            started: Timestamp::EPOCH,
            ended: None,
        }
    }

    fn rows(number: u128) -> Vec<Change> {
        let (timeline, feed) = (timeline(number), feed(number));
        let opened = Timeline { id: timeline, feed: feed.id, created: Timestamp::EPOCH };
        let track = r#"{"kind":"audio","timescale":48000,"codec":{"codec":"AAC","asc":"1190"}}"#;
        let tracks = vec![serde_json::from_str(track).unwrap()];
        let run = Run { timeline, number: 0, tracks, earlier: Vec::new() };
        let segment = Segment {
            timeline,
            sequence: 0,
            run: 0,
            chunk: 0,
            offset: 4,
            len: 5,
            media_start_us: 0,
            media_end_us: 1,
            wall_offset_us: 0,
            starts_with_sync: true,
            index: Bytes::new(),
        };
        let asset = Asset {
            token: Some(feed.token),
            recipe: vec![RecipePart {
                timeline,
                run: 0,
                first: 0,
                last: Some(0),
                start_us: None,
                stop_us: None,
                late_us: 0,
            }],
            ..Asset::new(
                MediaAssetId(Uuid::from_u128(number)),
                AssetType::Recording,
                feed.id,
                feed.stream_name.clone(),
                Timestamp::EPOCH,
            )
        };
        vec![
            Change::StartFeed(feed),
            Change::OpenTimeline(opened),
            Change::PutRun(run),
            Change::AddSegment(segment),
            Change::CreateAsset(Box::new(NewAsset { asset })),
        ]
    }

    #[tokio::test]
    async fn the_file_a_feed_has_open_is_spared_and_removed_after_the_feed() {
        let bench = Bench::new().await;
        bench.marked(1).await;
        let _entry = bench.shared.live.enter(feed(1), timeline(1), true).unwrap();
        let mut sweeper = Sweeper::new(&bench.shared);
        sweeper.sweep_once(1).await;
        assert!(bench.has_file(1));
        assert_eq!(bench.notes().await, 1);

        bench.shared.live.leave(feed(1).id);
        sweeper.sweep_once(2).await;
        assert!(bench.has_file(1), "it is asked for again by housekeeping only");
        sweeper.sweep_once(HOUSEKEEPING_EVERY).await;
        assert!(!bench.has_file(1));
        assert_eq!(bench.notes().await, 0);
    }

    /// A preview link shows what came later, too, which belongs to an asset of its own.
    #[tokio::test]
    async fn what_is_read_by_the_link_of_another_asset_is_freed_afterwards() {
        let bench = Bench::new().await;
        bench.unfinished(1).await;
        let shared = &bench.shared;
        let mut writer = shared.storage.create_chunk(timeline(1), 1, b"init".to_vec()).await.unwrap();
        writer.append(vec!["later".into()]).await.unwrap();
        let mut changes = Vec::new();
        for change in rows(1) {
            match change {
                Change::AddSegment(segment) => {
                    let segment =
                        Segment { sequence: 1, chunk: 1, media_start_us: 1, media_end_us: 2, ..segment };
                    changes.push(Change::AddSegment(segment));
                }
                Change::CreateAsset(new) => {
                    let linked = Asset {
                        id: MediaAssetId(Uuid::from_u128(2)),
                        asset_type: AssetType::Timeline,
                        ..new.asset.clone()
                    };
                    let part = RecipePart { first: 1, last: Some(1), ..new.asset.recipe[0].clone() };
                    let id = MediaAssetId(Uuid::from_u128(3));
                    let later = Asset { id, recipe: vec![part], ..new.asset };
                    changes.extend(
                        [linked, later].map(|asset| Change::CreateAsset(Box::new(NewAsset { asset }))),
                    );
                    for input in [AssetInput::Fail { reason: "no media".into() }, AssetInput::Delete] {
                        let step = AssetChange { id, input, recipe: None, stop_time: None, expiration: None };
                        changes.push(Change::StepAsset(Box::new(step)));
                    }
                }
                _ => {}
            }
        }
        shared.database.commit(changes, Timestamp::EPOCH).await.unwrap();

        let link = MediaAssetId(Uuid::from_u128(2));
        let read =
            crate::preview::open(shared, link, "1-1.m4s").await.unwrap_or_else(|error| panic!("{error}"));
        let mut sweeper = Sweeper::new(shared);
        sweeper.sweep_once(1).await;
        assert!(crate::preview::open(shared, link, "1-1.m4s").await.is_err(), "its rows are gone");
        let bytes: Vec<Bytes> = read.read(0..read.len).try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"later");
        drop(read);
        let file = shared.storage.chunk_path(timeline(1), 1);
        assert!(file.exists());
        sweeper.sweep_once(HOUSEKEEPING_EVERY).await;
        assert!(!file.exists() && bench.has_file(1));
    }

    /// Clients that read slowly, or not at all.
    #[tokio::test]
    async fn what_is_still_read_keeps_none_of_the_others() {
        let bench = Bench::new().await;
        bench.unfinished(1).await;
        let shared = &bench.shared;
        let ids: Vec<MediaAssetId> =
            (0..=u128::from(BATCH)).map(|number| MediaAssetId(Uuid::from_u128(100 + number))).collect();
        let mut changes = Vec::new();
        for id in &ids {
            let of = feed(1);
            let asset = Asset::new(*id, AssetType::Clip, of.id, of.stream_name, Timestamp::EPOCH);
            changes.push(Change::CreateAsset(Box::new(NewAsset { asset })));
            for input in [AssetInput::Fail { reason: "no media".into() }, AssetInput::Delete] {
                let step = AssetChange { id: *id, input, recipe: None, stop_time: None, expiration: None };
                changes.push(Change::StepAsset(Box::new(step)));
            }
        }
        shared.database.commit(changes, Timestamp::EPOCH).await.unwrap();
        let (last, others) = ids.split_last().unwrap();
        let reading: Vec<_> = others.iter().map(|id| shared.readers.enter(Read::Asset(*id))).collect();
        let mut sweeper = Sweeper::new(shared);
        sweeper.sweep_once(1).await;
        assert!(sweeper.has_more());
        sweeper.remove_some().await;
        assert!(!sweeper.has_more(), "those that are read are not looked at again at once");
        let left = shared.database.deleting_assets(None, 1000).await.unwrap();
        assert!(left == others && !left.contains(last));
        drop(reading);
        sweeper.sweep_once(2).await;
        assert!(shared.database.deleting_assets(None, 1000).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_freed_keeps_neither_the_rest_nor_itself_for_ever() {
        let bench = Bench::new().await;
        for number in [1, 2] {
            bench.marked(number).await;
        }
        // A directory in the file's place cannot be removed as a file, nor opened for writing.
        let bad = bench.shared.storage.chunk_path(timeline(1), 0);
        std::fs::remove_file(&bad).unwrap();
        std::fs::create_dir(&bad).unwrap();
        let mut sweeper = Sweeper::new(&bench.shared);
        sweeper.sweep_once(1).await;
        assert!(!bench.has_file(2));
        assert_eq!(bench.notes().await, 1);

        std::fs::remove_dir(&bad).unwrap();
        sweeper.sweep_once(HOUSEKEEPING_EVERY).await;
        assert_eq!(bench.notes().await, 0);
    }

    #[test]
    fn ranges_that_touch_are_joined() {
        let range = |offset, len| FreedRange { timeline: timeline(1), chunk: 0, offset, len };
        let merged = merge(vec![range(30, 5), range(0, 10), range(10, 10)]);
        assert_eq!(merged, [range(0, 20), range(30, 5)]);
    }
}
