//! The index of segments: whoever asks gets the same answer whether a segment is in the tail, in a page or was just
//! moved from one to the other.

use std::collections::{BTreeMap, BTreeSet};

use mediahooks_database::{Change, ChunkExtent, Database, DatabaseError, FreedRange, Options, Segment};
use mediahooks_model::{AssetInput, AssetType};
use proptest::prelude::*;

use crate::support::*;

const TIMELINES: u64 = 3;

/// What is done to the database.
#[derive(Debug, Clone)]
enum Act {
    /// Stores segments, one commit each.
    Add {
        timeline: u64,
        count: u64,
        run: bool,
        chunk: bool,
        sync: u64,
        table: usize,
    },
    /// Stores segments in a commit that fails.
    Fail {
        timeline: u64,
        count: u64,
    },
    /// Removes what a clip covers that nothing else does.
    Remove {
        timeline: u64,
        first: prop::sample::Index,
        count: u64,
    },
    End {
        timeline: u64,
    },
    /// As after a crash: nothing is closed.
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let add = (0..TIMELINES, 1..150u64, prop::bool::weighted(0.2), any::<bool>(), 1..5u64, 0..700usize)
        .prop_map(|(timeline, count, run, chunk, sync, table)| Act::Add {
            timeline,
            count,
            run,
            chunk,
            sync,
            table,
        });
    prop_oneof![
        8 => add,
        2 => (0..TIMELINES, 1..70u64).prop_map(|(timeline, count)| Act::Fail { timeline, count }),
        3 => (0..TIMELINES, any::<prop::sample::Index>(), 1..90u64)
            .prop_map(|(timeline, first, count)| Act::Remove { timeline, first, count }),
        1 => (0..TIMELINES).prop_map(|timeline| Act::End { timeline }),
        1 => Just(Act::Reopen),
    ]
}

/// What should be stored, in the simplest form.
#[derive(Default)]
struct Naive {
    timelines: BTreeMap<u64, BTreeMap<u64, Segment>>,
    /// The newest segment ever, and where its bytes end.
    newest: BTreeMap<u64, Segment>,
    ended: BTreeSet<u64>,
    clips: u64,
}

impl Naive {
    /// The segment that follows in a timeline.
    fn next(&self, timeline: u64, run: bool, chunk: bool, sync: u64, table: usize) -> Segment {
        let Some(before) = self.newest.get(&timeline) else {
            return Segment { index: vec![0; table].into(), ..segment(timeline, 0) };
        };
        let sequence = before.sequence + 1;
        let (offset, chunk) = match chunk || run {
            true => (40, before.chunk + 1),
            false => (before.offset + before.len, before.chunk),
        };
        // The clock is set now and then.
        let wall_offset_us = before.wall_offset_us + if sequence % 50 == 17 { -3_000_000 } else { 11 };
        Segment {
            sequence,
            run: before.run + u32::from(run),
            chunk,
            offset,
            len: 100 + sequence % 7,
            media_start_us: if run { 0 } else { before.media_end_us - 500 },
            media_end_us: if run { 1_000_000 } else { before.media_end_us + 1_000_000 },
            wall_offset_us,
            starts_with_sync: sequence % sync == 0,
            index: vec![sequence as u8; table].into(),
            ..before.clone()
        }
    }

    fn segments(&self, timeline: u64) -> Vec<Segment> {
        self.timelines.get(&timeline).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}

async fn add(db: &Database, naive: &mut Naive, act: &Act) {
    let Act::Add { timeline, count, run: new_run, chunk, sync, table } = *act else { return };
    for number in 0..count {
        let next = naive.next(timeline, new_run && number == 0, chunk && number == 0, sync, table);
        let mut changes = Vec::new();
        if naive.newest.get(&timeline).is_none_or(|before| before.run != next.run) {
            changes.push(Change::PutRun(run(timeline, next.run)));
        }
        changes.push(Change::AddSegment(next.clone()));
        db.commit(changes, at(0)).await.unwrap();
        naive.timelines.entry(timeline).or_default().insert(next.sequence, next.clone());
        naive.newest.insert(timeline, next);
    }
}

/// Adds segments in a commit of which nothing is stored.
async fn fail_to_add(db: &Database, naive: &Naive, timeline: u64, count: u64) {
    let mut changes = Vec::new();
    let first = naive.next(timeline, false, false, 1, 10);
    for sequence in first.sequence..first.sequence + count {
        changes.push(Change::AddSegment(Segment { sequence, ..first.clone() }));
    }
    changes.push(Change::EndFeed { feed: feed_id(99), at: at(0) });
    db.commit(changes, at(0)).await.unwrap_err();
}

async fn remove(db: &Database, naive: &mut Naive, timeline: u64, first: prop::sample::Index, count: u64) {
    let held = naive.segments(timeline);
    if held.is_empty() {
        return;
    }
    let first = &held[first.index(held.len())];
    let covered = held.iter().skip_while(|segment| segment.sequence < first.sequence).take(count as usize);
    // As far as a clip can go: one run, no hole.
    let covered: Vec<&Segment> = (first.sequence..)
        .zip(covered)
        .take_while(|(sequence, segment)| segment.sequence == *sequence && segment.run == first.run)
        .map(|(_, segment)| segment)
        .collect();
    let last = covered.last().unwrap().sequence;
    naive.clips += 1;
    let mut clip = asset(naive.clips, AssetType::Clip, Some(recipe(timeline, first.sequence, Some(last))));
    clip.recipe[0].run = first.run;
    let changes = vec![create(clip), step(naive.clips, fail()), step(naive.clips, AssetInput::Delete)];
    db.commit(changes, at(1)).await.unwrap();
    db.remove_asset(asset_id(naive.clips), at(1)).await.unwrap();
    // Of timelines that are over, nothing is held by any other asset here.
    db.sweep_timelines(10).await.unwrap();

    let over = naive.ended.clone();
    let goes = |of: u64, segment: &Segment| {
        over.contains(&of) || (of == timeline && (first.sequence..=last).contains(&segment.sequence))
    };
    let mut expected: Vec<FreedRange> = Vec::new();
    for (of, held) in &mut naive.timelines {
        held.retain(|_, segment| {
            let stays = !goes(*of, segment);
            if !stays {
                let timeline = timeline_id(*of);
                let (chunk, offset, len) = (segment.chunk, segment.offset, segment.len);
                join(&mut expected, FreedRange { timeline, chunk, offset, len });
            }
            stays
        });
    }
    let (numbers, mut noted): (Vec<i64>, Vec<FreedRange>) =
        db.freed_ranges(0, 10_000).await.unwrap().into_iter().unzip();
    // A long removal notes them piece by piece, and what nothing covers any more at last.
    noted.sort_by_key(|range| (range.timeline, range.chunk, range.offset));
    let mut freed = Vec::new();
    noted.into_iter().for_each(|range| join(&mut freed, range));
    assert_eq!(freed, expected);
    db.forget_freed(numbers).await.unwrap();
}

fn join(ranges: &mut Vec<FreedRange>, next: FreedRange) {
    match ranges.last_mut() {
        Some(last)
            if (last.timeline, last.chunk, last.offset + last.len)
                == (next.timeline, next.chunk, next.offset) =>
        {
            last.len += next.len;
        }
        _ => ranges.push(next),
    }
}

/// Asks everything that can be asked.
async fn agrees(db: &Database, naive: &Naive) -> Result<(), TestCaseError> {
    let (mut count, mut all, mut extents) = (0, Vec::new(), BTreeMap::new());
    for timeline in 0..TIMELINES {
        let (id, held) = (timeline_id(timeline), naive.segments(timeline));
        prop_assert_eq!(&db.segments(id, 0, None).await.unwrap(), &held);
        prop_assert_eq!(db.last_segment(id).await.unwrap(), held.last().cloned());
        count += held.len() as u64;
        all.extend(held.clone());
        for segment in &held {
            let end = extents.entry((id, segment.chunk)).or_insert(0);
            *end = (segment.offset + segment.len).max(*end);
        }
        let chunks = naive.newest.get(&timeline).map_or(0, |newest| newest.chunk + 1);
        for chunk in 0..=chunks {
            let used = held.iter().any(|segment| segment.chunk == chunk);
            prop_assert_eq!(db.chunk_in_use(id, chunk).await.unwrap(), used);
        }
        for from in (0..held.len()).step_by(1 + held.len() / 3) {
            let (first, last) = (held[from].sequence, held[from].sequence + 20);
            let part: Vec<&Segment> =
                held.iter().filter(|segment| (first..=last).contains(&segment.sequence)).collect();
            let found = db.segments(id, first, Some(last)).await.unwrap();
            prop_assert_eq!(&found.iter().collect::<Vec<_>>(), &part);
            let spans = db.segment_spans(id, first, Some(last)).await.unwrap();
            prop_assert_eq!(spans.len(), part.len());
            for (span, segment) in spans.iter().zip(&part) {
                prop_assert_eq!((span.sequence, span.run), (segment.sequence, segment.run));
                prop_assert_eq!(span.wall_start(), segment.wall_start());
            }

            let (run, begin, end) = (held[from].run, held[from].wall_start(), held[from].wall_end());
            for run in [None, Some(run), Some(run + 1)] {
                let expected = held.iter().filter(|segment| {
                    segment.wall_end() > begin
                        && segment.wall_start() < end
                        && run.is_none_or(|run| run == segment.run)
                });
                let found = db.segments_in(id, run, begin, end).await.unwrap();
                let found: Vec<u64> = found.iter().map(|span| span.sequence).collect();
                prop_assert_eq!(found, expected.map(|segment| segment.sequence).collect::<Vec<_>>());
            }
            let sync = held
                .iter()
                .rev()
                .find(|segment| segment.sequence <= first && segment.run == run && segment.starts_with_sync);
            let found = db.sync_segment_at_or_before(id, run, first).await.unwrap();
            prop_assert_eq!(found, sync.map(|segment| segment.sequence));
        }
    }
    prop_assert_eq!(db.segment_count().await.unwrap(), count);
    prop_assert_eq!(db.has_segments().await.unwrap(), count > 0);
    let expected: Vec<ChunkExtent> =
        extents.into_iter().map(|((timeline, chunk), end)| ChunkExtent { timeline, chunk, end }).collect();
    prop_assert_eq!(db.chunk_extents().await.unwrap(), expected);
    let mut found: Vec<Segment> = Vec::new();
    loop {
        let after = found.last().map(|last| (last.timeline, last.sequence));
        let page = db.segments_after(after, 37).await.unwrap();
        if page.is_empty() {
            break;
        }
        prop_assert!(page.len() <= 37);
        found.extend(page);
    }
    prop_assert_eq!(found, all);
    Ok(())
}

async fn run_through(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut fresh = Fresh::open_with(Options { removal_batch: 30, ..Options::default() }).await;
    let mut naive = Naive::default();
    for timeline in 0..TIMELINES {
        fresh.db.commit(timeline_with(timeline, 0), at(0)).await.unwrap();
    }
    for act in &acts {
        match act {
            Act::Add { timeline, .. } | Act::Fail { timeline, .. } if naive.ended.contains(timeline) => {}
            Act::Add { .. } => add(&fresh.db, &mut naive, act).await,
            Act::Fail { timeline, count } => fail_to_add(&fresh.db, &naive, *timeline, *count).await,
            Act::Remove { timeline, first, count } => {
                remove(&fresh.db, &mut naive, *timeline, *first, *count).await;
            }
            Act::End { timeline } => {
                let end = Change::EndFeed { feed: feed_id(*timeline), at: at(5) };
                fresh.db.commit(vec![end], at(5)).await.unwrap();
                naive.ended.insert(*timeline);
            }
            Act::Reopen => fresh = fresh.reopen(),
        }
        agrees(&fresh.db, &naive).await?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_does_not_depend_on_where_it_is(acts in prop::collection::vec(act(), 1..16)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run_through(acts))?;
    }
}

/// `MEDIAHOOKS_INDEX_CASES` runs more.
fn cases() -> u32 {
    std::env::var("MEDIAHOOKS_INDEX_CASES").map_or(12, |cases| cases.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_segments_move_misses_none() {
    const SEGMENTS: u64 = 300;
    let fresh = Fresh::open().await;
    for timeline in 0..TIMELINES {
        fresh.db.commit(timeline_with(timeline, 0), at(0)).await.unwrap();
    }
    let writing: Vec<_> = (0..TIMELINES)
        .map(|timeline| {
            let db = fresh.db.clone();
            let (stored, reached) = tokio::sync::watch::channel(0);
            let writer = tokio::spawn(async move {
                for sequence in 0..SEGMENTS {
                    db.commit(vec![Change::AddSegment(segment(timeline, sequence))], at(0)).await.unwrap();
                    stored.send_replace(sequence + 1);
                }
            });
            (timeline, writer, reached)
        })
        .collect();
    for (timeline, writer, reached) in writing {
        loop {
            let acknowledged = *reached.borrow();
            let found = fresh.db.segments(timeline_id(timeline), 0, None).await.unwrap();
            let expected: Vec<Segment> =
                (0..found.len() as u64).map(|sequence| segment(timeline, sequence)).collect();
            assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged}", found.len());
            assert_eq!(found, expected);
            let newest = fresh.db.last_segment(timeline_id(timeline)).await.unwrap();
            assert!(newest.map_or(0, |newest| newest.sequence + 1) >= acknowledged);
            if acknowledged == SEGMENTS {
                break;
            }
        }
        writer.await.unwrap();
    }
}

/// What stands at a place of the database, changed from outside.
fn damage(fresh: &Fresh, sql: &str) {
    let changed = rusqlite::Connection::open(fresh.path()).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}");
}

/// Changes a byte of a column, counted from 1.
fn damage_byte(fresh: &Fresh, table: &str, column: &str, at: u32) {
    let connection = rusqlite::Connection::open(fresh.path()).unwrap();
    let sql = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1");
    let (id, mut bytes): (i64, Vec<u8>) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    bytes[at as usize - 1] ^= 0x40;
    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
    assert_eq!(connection.execute(&sql, (bytes, id)).unwrap(), 1);
}

fn end(feed: u64) -> Change {
    Change::EndFeed { feed: feed_id(feed), at: at(5) }
}

fn is_corrupt<T: std::fmt::Debug>(outcome: Result<T, DatabaseError>) -> bool {
    matches!(outcome, Err(DatabaseError::Corrupt { .. }))
}

#[tokio::test]
async fn a_damaged_page_is_told_with_its_place() {
    let fresh = Fresh::open().await;
    // More than one page and less than two, whatever their places are.
    fresh.db.commit(timeline_with(1, 129), at(0)).await.unwrap();
    damage(&fresh, "UPDATE segment_page SET tables = zeroblob(length(tables) - 1) WHERE first_sequence = 0");
    let error = fresh.db.segments(timeline_id(1), 0, None).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Corrupt { what } if what.contains("segments 0 to ")), "{error}");
    // Who needs no sample table is not concerned.
    assert_eq!(fresh.db.segment_spans(timeline_id(1), 0, None).await.unwrap().len(), 129);
    assert!(fresh.db.is_index_sound().await.unwrap());
    assert_eq!(fresh.db.check_index().await.unwrap().len(), 1);

    damage(&fresh, "UPDATE segment_page SET fields = substr(fields, 1, 9)");
    assert!(is_corrupt(fresh.db.segment_spans(timeline_id(1), 0, None).await));
    assert!(!fresh.db.is_index_sound().await.unwrap());
    fresh.reopen();
}

#[tokio::test]
async fn every_column_of_a_page_is_checked() {
    for column in ["first_sequence", "last_sequence", "chunk", "end_bytes", "len_bytes"].into_iter().chain([
        "wall_start_us",
        "wall_end_us",
        "first_sync",
        "checksum",
    ]) {
        let fresh = Fresh::open().await;
        fresh.db.commit(timeline_with(1, 3), at(0)).await.unwrap();
        fresh.db.commit(vec![end(1)], at(0)).await.unwrap();
        assert_eq!(fresh.db.check_index().await.unwrap(), Vec::<String>::new());
        damage(&fresh, &format!("UPDATE segment_page SET {column} = {column} + 4"));
        assert!(!fresh.db.is_index_sound().await.unwrap(), "{column}");
        assert_eq!(fresh.db.check_index().await.unwrap().len(), 1, "{column}");
        assert!(fresh.db.chunk_in_use(timeline_id(1), 77).await.unwrap(), "{column}: any chunk may be meant");
    }
    let fresh = Fresh::open().await;
    fresh.db.commit(timeline_with(1, 3), at(0)).await.unwrap();
    fresh.db.commit(vec![end(1)], at(0)).await.unwrap();
    damage(&fresh, "UPDATE timeline SET paged_below = 2");
    assert!(!fresh.db.is_index_sound().await.unwrap());
}

#[tokio::test]
async fn no_two_pages_begin_with_one_segment() {
    let fresh = Fresh::open().await;
    fresh.db.commit(timeline_with(1, 3), at(0)).await.unwrap();
    fresh.db.commit(vec![end(1)], at(0)).await.unwrap();
    let connection = rusqlite::Connection::open(fresh.path()).unwrap();
    connection
        .execute("INSERT INTO segment_page SELECT 9, timeline, first_sequence, 7, run, 3, 9, 9, 1, 2, 3, 4, fields, tables FROM segment_page", [])
        .unwrap_err();
}

#[tokio::test]
async fn a_damaged_slot_costs_the_segment_in_it_and_is_kept() {
    let fresh = Fresh::open().await;
    for timeline in [1, 2] {
        fresh.db.commit(timeline_with(timeline, 5), at(0)).await.unwrap();
    }
    // The first segment of timeline 1; as after a kill.
    damage_byte(&fresh, "segment_tail", "segments", 30);
    let fresh = fresh.reopen();
    assert_eq!(fresh.db.segments(timeline_id(2), 0, None).await.unwrap().len(), 5);
    assert_eq!(fresh.db.segments(timeline_id(1), 0, None).await.unwrap().len(), 4);
    assert!(fresh.db.chunk_in_use(timeline_id(1), 77).await.unwrap(), "any chunk may be meant");
    for timeline in [1, 2] {
        fresh.db.commit(vec![end(timeline)], at(0)).await.unwrap();
    }
    fresh.db.commit(timeline_with(3, 200), at(0)).await.unwrap();
    fresh.db.commit(vec![end(3)], at(0)).await.unwrap();
    let fresh = fresh.reopen();
    assert_eq!(fresh.db.segment_count().await.unwrap(), 209);
    let problems = fresh.db.check_index().await.unwrap();
    assert!(problems.len() == 1 && problems[0].starts_with("slot 0 "), "{problems:?}");
    assert!(!fresh.db.is_index_sound().await.unwrap());
}

#[tokio::test]
async fn a_damaged_slot_can_be_given_up() {
    let fresh = Fresh::open().await;
    for timeline in [1, 2] {
        fresh.db.commit(timeline_with(timeline, 5), at(0)).await.unwrap();
    }
    assert_eq!(fresh.db.give_up_damaged_slots().await.unwrap(), Vec::<String>::new());
    damage_byte(&fresh, "segment_tail", "segments", 30);
    let fresh = fresh.reopen();
    let told = fresh.db.give_up_damaged_slots().await.unwrap();
    assert_eq!(told, ["slot 0: 9 segments stay, what cannot be read is given up"]);
    let fresh = fresh.reopen();
    assert_eq!(fresh.db.check_index().await.unwrap(), Vec::<String>::new());
    assert!(!fresh.db.chunk_in_use(timeline_id(1), 77).await.unwrap());
    let held: Vec<Segment> = (1..5).map(|sequence| segment(1, sequence)).collect();
    assert_eq!(fresh.db.segments(timeline_id(1), 0, None).await.unwrap(), held);
    // What is needed no more goes too.
    damage_byte(&fresh, "segment_tail", "segments", 30);
    let fresh = fresh.reopen();
    for timeline in [1, 2] {
        fresh.db.commit(vec![end(timeline)], at(0)).await.unwrap();
    }
    let told = fresh.db.give_up_damaged_slots().await.unwrap();
    assert_eq!(told, ["slot 0: 0 segments stay, what cannot be read is given up"]);
    let fresh = fresh.reopen();
    assert!(fresh.db.is_index_sound().await.unwrap());
    assert_eq!(fresh.db.segment_count().await.unwrap(), 8);
}

#[tokio::test]
async fn the_bitrate_of_what_is_damaged_is_not_known() {
    let fresh = Fresh::open().await;
    fresh.db.commit(timeline_with(1, 10), at(0)).await.unwrap();
    fresh.db.commit(vec![end(1)], at(0)).await.unwrap();
    let kbps = async || fresh.db.mean_kbps(timeline_id(1), at(0), at(60_000)).await.unwrap();
    // 100 bytes in 2 s, which is less than one.
    damage(&fresh, "UPDATE segment_page SET len_bytes = len_bytes + 4");
    assert_eq!(kbps().await, 0);
}

#[tokio::test]
async fn a_slot_damaged_while_it_is_filled_stops_no_feed() {
    let fresh = Fresh::open().await;
    for timeline in [1, 2] {
        fresh.db.commit(timeline_with(timeline, 2), at(0)).await.unwrap();
    }
    damage_byte(&fresh, "segment_tail", "segments", 30);
    for sequence in 2..300 {
        for timeline in [1, 2] {
            let added = vec![Change::AddSegment(segment(timeline, sequence))];
            fresh.db.commit(added, at(0)).await.unwrap();
        }
        if sequence == 2 {
            assert!(is_corrupt(fresh.db.segments(timeline_id(1), 0, None).await));
            assert_eq!(fresh.db.segments(timeline_id(1), 1, None).await.unwrap().len(), 2);
            assert_eq!(fresh.db.segments(timeline_id(2), 0, None).await.unwrap().len(), 3);
        }
    }
    for timeline in [1, 2] {
        fresh.db.commit(vec![end(timeline)], at(0)).await.unwrap();
    }
    assert!(fresh.db.live_feeds().await.unwrap().is_empty());
    assert_eq!(fresh.db.segment_count().await.unwrap(), 599);
    assert!(!fresh.db.is_index_sound().await.unwrap());
}

#[tokio::test]
async fn a_feed_ends_though_its_segments_cannot_be_moved() {
    let fresh = Fresh::open().await;
    fresh.db.commit(timeline_with(1, 129), at(0)).await.unwrap();
    damage(&fresh, "UPDATE segment_page SET last_sequence = 1000");
    fresh.db.commit(vec![end(1)], at(0)).await.unwrap();
    assert!(fresh.db.live_feeds().await.unwrap().is_empty());
}

/// Stores a timeline in one page, and an asset that holds a part of it and is marked for removal.
async fn marked(fresh: &Fresh, timeline: u64, part: (u64, u64)) {
    fresh.db.commit(timeline_with(timeline, 10), at(0)).await.unwrap();
    let clip = asset(timeline, AssetType::Clip, Some(recipe(timeline, part.0, Some(part.1))));
    let changes =
        vec![end(timeline), create(clip), step(timeline, fail()), step(timeline, AssetInput::Delete)];
    fresh.db.commit(changes, at(1)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_page_goes_with_its_asset() {
    let ranges = async |damage: &str| {
        let fresh = Fresh::open().await;
        marked(&fresh, 1, (0, 9)).await;
        if !damage.is_empty() {
            self::damage(&fresh, damage);
        }
        fresh.db.remove_asset(asset_id(1), at(2)).await.unwrap();
        assert_eq!(fresh.db.segment_count().await.unwrap(), 0);
        let freed = fresh.db.freed_ranges(0, 9).await.unwrap();
        freed.into_iter().map(|(_, range)| (range.offset, range.len)).collect::<Vec<_>>()
    };
    let all = ranges("").await;
    assert_eq!(all.len(), 1);
    assert_eq!(ranges("UPDATE segment_page SET fields = x'00'").await, all);
    assert_eq!(ranges("UPDATE segment_page SET tables = zeroblob(9)").await, all);
    // Nothing else is given back in its place.
    assert_eq!(ranges("UPDATE segment_page SET end_bytes = end_bytes + 1, fields = x'00'").await, []);
    assert_eq!(ranges("UPDATE segment_page SET end_bytes = 1").await, []);
    assert_eq!(ranges("UPDATE segment_page SET chunk = 9").await, []);
    assert_eq!(ranges("UPDATE segment_page SET last_sequence = -1").await, []);
}

#[tokio::test]
async fn what_is_left_of_a_damaged_page_is_not_taken_for_sound() {
    let fresh = Fresh::open().await;
    marked(&fresh, 1, (0, 3)).await;
    let kept = asset(2, AssetType::Clip, Some(recipe(1, 4, Some(9))));
    fresh.db.commit(vec![create(kept)], at(1)).await.unwrap();
    damage(&fresh, "UPDATE segment_page SET tables = zeroblob(9)");
    fresh.db.remove_asset(asset_id(1), at(2)).await.unwrap();
    assert_eq!(fresh.db.segment_spans(timeline_id(1), 0, None).await.unwrap().len(), 6);
    assert!(is_corrupt(fresh.db.segments(timeline_id(1), 0, None).await));
}

#[tokio::test]
async fn room_is_found_though_an_older_timeline_is_damaged() {
    let fresh = Fresh::open().await;
    for number in [1, 2] {
        fresh.db.commit(timeline_with(number, 10), at(0)).await.unwrap();
        let timeline = asset(number, AssetType::Timeline, Some(recipe(number, 0, Some(9))));
        let changes = vec![end(number), create(timeline), step(number, finish())];
        fresh.db.commit(changes, at(1)).await.unwrap();
    }
    damage(&fresh, "UPDATE segment_page SET len_bytes = 7 WHERE id = (SELECT min(id) FROM segment_page)");
    let found = fresh.db.reclaimable_timelines(2).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
}
