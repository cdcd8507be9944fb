use std::collections::{BTreeMap, BTreeSet};

use mediahooks_database::{AssetChange, Change, DatabaseError, FreedRange, Options};
use mediahooks_model::{AssetInput, AssetState, AssetStatus, AssetType};
use proptest::prelude::*;

use crate::support::*;

fn freed(chunk: u32, offset: u64, len: u64) -> FreedRange {
    FreedRange { timeline: timeline_id(1), chunk, offset, len }
}

/// Marks an asset of any state before `deleting`, and removes it.
async fn remove(fresh: &Fresh, n: u64) -> Vec<FreedRange> {
    let state = fresh.db.asset(asset_id(n)).await.unwrap().unwrap().state;
    let mut changes = Vec::new();
    if state == AssetState::Processing {
        changes.push(step(n, fail()));
    }
    changes.push(step(n, AssetInput::Delete));
    fresh.db.commit(changes, at(10)).await.unwrap();
    fresh.db.remove_asset(asset_id(n), at(11)).await.unwrap();
    take_freed(fresh).await
}

/// Takes the notes of freed ranges, as who frees them does.
async fn take_freed(fresh: &Fresh) -> Vec<FreedRange> {
    let (numbers, ranges) = fresh.db.freed_ranges(0, 100).await.unwrap().into_iter().unzip();
    fresh.db.forget_freed(numbers).await.unwrap();
    ranges
}

async fn sequences(fresh: &Fresh) -> Vec<u64> {
    let segments = fresh.db.segments(timeline_id(1), 0, None).await.unwrap();
    segments.iter().map(|segment| segment.sequence).collect()
}

fn end_feed() -> Change {
    Change::EndFeed { feed: feed_id(1), at: at(100) }
}

#[tokio::test]
async fn only_what_is_marked_can_be_removed() {
    let fresh = Fresh::open().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    let early = fresh.db.remove_asset(asset_id(1), at(0)).await;
    assert!(matches!(early, Err(DatabaseError::Refused(_))), "{early:?}");
    let unknown = fresh.db.remove_asset(asset_id(2), at(0)).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
    assert_eq!(remove(&fresh, 1).await, []);
    assert_eq!(fresh.db.asset(asset_id(1)).await.unwrap().unwrap().state.status(), AssetStatus::Deleted);
    let twice = fresh.db.remove_asset(asset_id(1), at(0)).await;
    assert!(matches!(twice, Err(DatabaseError::Refused(_))), "{twice:?}");
    let by_step = fresh.db.commit(vec![clip(3), step(3, AssetInput::Remove)], at(0)).await;
    assert!(matches!(by_step, Err(DatabaseError::Internal { .. })), "{by_step:?}");
}

#[tokio::test]
async fn a_clip_keeps_its_segments_when_the_timeline_goes() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 12);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(11))))));
    changes.push(create(asset(2, AssetType::Clip, Some(recipe(1, 3, Some(4))))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();

    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 300), freed(0, 500, 500), freed(1, 0, 200)]);
    assert_eq!(sequences(&fresh).await, [3, 4]);
    assert_eq!(fresh.db.asset(asset_id(1)).await.unwrap().unwrap().recipe, []);
    assert_eq!(remove(&fresh, 2).await, [freed(0, 300, 200)]);
    assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
    assert_eq!(fresh.db.runs(timeline_id(1)).await.unwrap(), []);
    assert_eq!(fresh.db.chunk_extents().await.unwrap(), []);
}

#[tokio::test]
async fn an_asset_of_several_parts_holds_the_segments_of_all_and_lets_all_go() {
    for removal_batch in [1, 3, 100] {
        let fresh = Fresh::open_with(Options { removal_batch, ..Options::default() }).await;
        let mut changes = timeline_with(1, 12);
        changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(11))))));
        let mut clip = asset(2, AssetType::Clip, Some(recipe(1, 1, Some(2))));
        clip.recipe.extend([recipe(1, 6, Some(8)), recipe(1, 10, Some(10))]);
        let expected = clip.recipe.clone();
        changes.extend([create(clip), end_feed()]);
        fresh.db.commit(changes, at(0)).await.unwrap();
        assert_eq!(fresh.db.asset(asset_id(2)).await.unwrap().unwrap().recipe, expected);
        let parts = fresh.db.recipe_parts_after(Some((asset_id(2), 0)), 9).await.unwrap();
        assert_eq!(parts.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), [1, 2]);

        remove(&fresh, 1).await;
        assert_eq!(sequences(&fresh).await, [1, 2, 6, 7, 8, 10]);
        remove(&fresh, 2).await;
        assert_eq!(sequences(&fresh).await, [] as [u64; 0]);
        assert_eq!(fresh.db.asset(asset_id(2)).await.unwrap().unwrap().recipe, []);
        assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_open_recipe_keeps_everything_that_comes() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 4);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(3))))));
    changes.push(create(asset(2, AssetType::Recording, Some(recipe(1, 2, None)))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 200)]);
    assert_eq!(remove(&fresh, 2).await, [freed(0, 200, 200)]);
}

#[tokio::test]
async fn while_the_feed_lives_only_what_the_removed_asset_covered_goes() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 4);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(1))))));
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 200)]);
    assert_eq!(sequences(&fresh).await, [2, 3], "their asset is about to be made");
    assert!(fresh.db.timeline(timeline_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_a_narrowed_recipe_let_go_is_swept_after_the_feed() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 6);
    changes.push(create(asset(1, AssetType::Recording, Some(recipe(1, 0, None)))));
    changes.push(create(asset(2, AssetType::Clip, Some(recipe(1, 0, Some(0))))));
    let narrowed = AssetChange {
        id: asset_id(1),
        input: finish(),
        recipe: Some(vec![recipe(1, 0, Some(2))]),
        stop_time: None,
        expiration: None,
    };
    changes.push(Change::StepAsset(Box::new(narrowed)));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 2).await, []);
    fresh.db.sweep_timelines(9).await.unwrap();
    assert_eq!(take_freed(&fresh).await, [freed(0, 300, 300)]);
    assert_eq!(sequences(&fresh).await, [0, 1, 2]);
    // Once is enough.
    let before = fresh.db.stats().operations;
    fresh.db.sweep_timelines(9).await.unwrap();
    assert_eq!(fresh.db.stats().operations, before);
}

/// However many clips are left of a timeline that goes, others come in between.
#[tokio::test]
async fn a_timeline_with_many_clips_goes_in_small_transactions() {
    const CLIPS: u64 = 300;
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 4 * CLIPS);
    changes.push(create(asset(0, AssetType::Timeline, Some(recipe(1, 0, Some(4 * CLIPS - 1))))));
    let clip = |n: u64| create(asset(n + 1, AssetType::Clip, Some(recipe(1, 4 * n + 1, Some(4 * n + 2)))));
    changes.extend((0..CLIPS).map(clip));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    let before = fresh.db.stats().transactions;
    remove(&fresh, 0).await;
    assert!(fresh.db.stats().transactions - before > CLIPS / 32);
    assert_eq!(sequences(&fresh).await.len() as u64, 2 * CLIPS);
    for n in (0..CLIPS).rev() {
        let before = fresh.db.stats().transactions;
        remove(&fresh, n + 1).await;
        // Marked, removed, and the note of its bytes taken.
        assert_eq!(fresh.db.stats().transactions - before, 3);
    }
    assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
    assert_eq!(fresh.db.segment_count().await.unwrap(), 0);
}

#[tokio::test]
async fn the_many_runs_of_a_timeline_go_in_small_transactions() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 4);
    changes.extend((1..600).map(|number| Change::PutRun(run(1, number))));
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(3))))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 400)]);
    assert_eq!(fresh.db.runs(timeline_id(1)).await.unwrap().len(), 600 - 256);
    fresh.db.sweep_timelines(1).await.unwrap();
    assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
    assert_eq!(fresh.db.runs(timeline_id(1)).await.unwrap(), []);
}

/// A clip that waits for its range may be made of less in the end than it was promised, after its timeline has gone.
#[tokio::test]
async fn what_the_last_asset_of_a_timeline_lets_go_is_freed_at_once() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 6);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(5))))));
    changes.push(create(asset(2, AssetType::Clip, Some(recipe(1, 1, Some(4))))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 100), freed(0, 500, 100)]);
    let finished = |recipe| {
        let change = AssetChange {
            id: asset_id(2),
            input: finish(),
            recipe: Some(recipe),
            stop_time: None,
            expiration: None,
        };
        Change::StepAsset(Box::new(change))
    };
    fresh.db.commit(vec![finished(vec![recipe(1, 2, Some(3))])], at(1)).await.unwrap();
    assert_eq!(take_freed(&fresh).await, [freed(0, 100, 100), freed(0, 400, 100)]);
    assert_eq!(sequences(&fresh).await, [2, 3]);
}

/// A clip of two runs that waits is made of another timeline, as nothing else is left of its own.
#[tokio::test]
async fn a_timeline_of_which_all_parts_are_let_go_is_gone() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 6);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(5))))));
    let mut clip = asset(2, AssetType::Clip, Some(recipe(1, 1, Some(2))));
    clip.recipe.push(recipe(1, 4, None));
    changes.extend([create(clip), end_feed()]);
    fresh.db.commit(changes, at(0)).await.unwrap();
    remove(&fresh, 1).await;
    let change = AssetChange {
        id: asset_id(2),
        input: finish(),
        recipe: Some(Vec::new()),
        stop_time: None,
        expiration: None,
    };
    fresh.db.commit(vec![Change::StepAsset(Box::new(change))], at(1)).await.unwrap();
    assert_eq!(take_freed(&fresh).await, [freed(0, 100, 200), freed(0, 400, 200)]);
    assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_failed_clip_lets_go_is_freed_at_once() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 6);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(5))))));
    changes.push(create(asset(2, AssetType::Clip, Some(recipe(1, 1, None)))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(remove(&fresh, 1).await, [freed(0, 0, 100)]);
    let failed = AssetChange {
        id: asset_id(2),
        input: fail(),
        recipe: Some(Vec::new()),
        stop_time: None,
        expiration: None,
    };
    fresh.db.commit(vec![Change::StepAsset(Box::new(failed))], at(1)).await.unwrap();
    assert_eq!(take_freed(&fresh).await, [freed(0, 100, 500)]);
    assert_eq!(sequences(&fresh).await, [0; 0]);
    assert_eq!(remove(&fresh, 2).await, []);
}

#[tokio::test]
async fn a_long_asset_goes_in_several_transactions_and_can_be_taken_up_again() {
    let fresh = Fresh::open_with(Options { removal_batch: 4, ..Options::default() }).await;
    let mut changes = timeline_with(1, 30);
    changes.push(create(asset(1, AssetType::Recording, Some(recipe(1, 0, None)))));
    changes.extend([end_feed(), step(1, fail()), step(1, AssetInput::Delete)]);
    fresh.db.commit(changes, at(0)).await.unwrap();
    tokio::select! {
        biased;
        _ = fresh.db.remove_asset(asset_id(1), at(1)) => {}
        // The caller goes away after the first piece was queued.
        _ = std::future::ready(()) => {}
    }
    fresh.db.ping().await.unwrap();
    let left = sequences(&fresh).await;
    assert!(left[0] >= 4 && left[0] % 4 == 0 && left.last() == Some(&29), "{left:?}");
    assert_eq!(fresh.db.deleting_assets(None, 9).await.unwrap(), [asset_id(1)]);

    let before = fresh.db.stats().transactions;
    fresh.db.remove_asset(asset_id(1), at(1)).await.unwrap();
    assert_eq!(fresh.db.stats().transactions - before, left.len().div_ceil(4) as u64);
    // Also what the removal freed whose caller went away.
    assert_eq!(freed_sequences(&take_freed(&fresh).await), (0..30).collect());
    assert_eq!(fresh.db.timeline(timeline_id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn freed_ranges_are_kept_over_a_restart_until_they_are_forgotten() {
    let fresh = Fresh::open().await;
    let mut changes = timeline_with(1, 12);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, Some(11))))));
    changes.extend([end_feed(), step(1, fail()), step(1, AssetInput::Delete)]);
    fresh.db.commit(changes, at(0)).await.unwrap();
    fresh.db.remove_asset(asset_id(1), at(1)).await.unwrap();
    fresh.db.close().await.unwrap();
    let Fresh { db, dir } = fresh;
    drop(db);

    let db =
        mediahooks_database::Database::open(&dir.path().join("mediahooks.db"), Options::default()).unwrap();
    let noted = db.freed_ranges(0, 9).await.unwrap();
    assert_eq!(noted, [(1, freed(0, 0, 1000)), (2, freed(1, 0, 200))]);
    assert_eq!(db.freed_ranges(0, 1).await.unwrap(), noted[..1]);
    assert_eq!(db.freed_ranges(1, 9).await.unwrap(), noted[1..]);
    db.forget_freed(vec![1, 77]).await.unwrap();
    assert_eq!(db.freed_ranges(0, 9).await.unwrap(), noted[1..]);
}

#[derive(Debug, Clone)]
enum Act {
    Create { first: u64, span: Option<u64> },
    Narrow { which: usize, by: u64 },
    Remove { which: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..SEGMENTS, prop::option::weighted(0.9, 0..10u64))
            .prop_map(|(first, span)| Act::Create { first, span }),
        1 => (any::<usize>(), 0..5u64).prop_map(|(which, by)| Act::Narrow { which, by }),
        2 => any::<usize>().prop_map(|which| Act::Remove { which }),
    ]
}

const SEGMENTS: u64 = 40;

/// What should be so, computed the slow way.
#[derive(Default)]
struct Naive {
    stored: BTreeSet<u64>,
    /// First and last segment of every asset.
    covers: BTreeMap<u64, (u64, u64)>,
}

impl Naive {
    fn covered(&self, sequence: u64) -> bool {
        self.covers.values().any(|(first, last)| (*first..=*last).contains(&sequence))
    }

    /// Drops an asset; returns what nothing covers any more.
    fn remove(&mut self, n: u64) -> BTreeSet<u64> {
        self.covers.remove(&n);
        self.sweep()
    }

    /// Lets an asset cover less; returns what nothing covers any more.
    fn narrow(&mut self, n: u64, covers: (u64, u64)) -> BTreeSet<u64> {
        self.covers.insert(n, covers);
        self.sweep()
    }

    fn sweep(&mut self) -> BTreeSet<u64> {
        let gone = self.stored.iter().copied().filter(|sequence| !self.covered(*sequence)).collect();
        self.stored = self.stored.difference(&gone).copied().collect();
        gone
    }

    fn pick(&self, which: usize) -> Option<u64> {
        self.covers.keys().nth(which.checked_rem(self.covers.len())?).copied()
    }
}

fn freed_sequences(ranges: &[FreedRange]) -> BTreeSet<u64> {
    ranges
        .iter()
        .flat_map(|range| {
            let first = u64::from(range.chunk) * 10 + range.offset / 100;
            first..first + range.len / 100
        })
        .collect()
}

async fn agree(acts: Vec<Act>, removal_batch: u32) -> Result<(), TestCaseError> {
    let fresh = Fresh::open_with(Options { removal_batch, ..Options::default() }).await;
    let mut changes = timeline_with(1, SEGMENTS);
    changes.push(create(asset(0, AssetType::Timeline, Some(recipe(1, 0, Some(SEGMENTS - 1))))));
    changes.push(end_feed());
    fresh.db.commit(changes, at(0)).await.unwrap();
    let mut naive =
        Naive { stored: (0..SEGMENTS).collect(), covers: BTreeMap::from([(0, (0, SEGMENTS - 1))]) };

    for (n, act) in (1..).zip(acts) {
        match act {
            Act::Create { first, span } => {
                let last = span.map(|span| (first + span).min(SEGMENTS - 1));
                let new = create(asset(n, AssetType::Clip, Some(recipe(1, first, last))));
                let range = first..=last.unwrap_or_else(|| *naive.stored.last().unwrap_or(&0));
                let possible = range.clone().all(|sequence| naive.stored.contains(&sequence))
                    && (last.is_some() || !range.is_empty());
                // An open recipe past the newest segment waits for media: of no use after the feed.
                if last.is_none() && range.is_empty() {
                    continue;
                }
                let outcome = fresh.db.commit(vec![new], at(1)).await;
                if naive.stored.is_empty() {
                    continue;
                }
                prop_assert_eq!(outcome.is_ok(), possible, "{:?}", outcome);
                if possible {
                    naive.covers.insert(n, (first, last.unwrap_or(u64::MAX)));
                }
            }
            Act::Narrow { which, by } => {
                let Some(picked) = naive.pick(which) else { continue };
                let asset = fresh.db.asset(asset_id(picked)).await.unwrap().unwrap();
                let [mut narrowed] = asset.recipe.try_into().unwrap();
                let Some(last) = narrowed.last.filter(|last| *last >= narrowed.first + by) else { continue };
                if asset.state != AssetState::Processing {
                    continue;
                }
                narrowed.last = Some(last - by);
                let first = narrowed.first;
                let change = AssetChange {
                    id: asset_id(picked),
                    input: finish(),
                    recipe: Some(vec![narrowed]),
                    stop_time: None,
                    expiration: None,
                };
                fresh.db.commit(vec![Change::StepAsset(Box::new(change))], at(2)).await.unwrap();
                let gone = naive.narrow(picked, (first, last - by));
                prop_assert_eq!(freed_sequences(&take_freed(&fresh).await), gone);
            }
            Act::Remove { which } => {
                let Some(picked) = naive.pick(which) else { continue };
                let ranges = remove(&fresh, picked).await;
                prop_assert_eq!(freed_sequences(&ranges), naive.remove(picked));
            }
        }
        prop_assert_eq!(sequences(&fresh).await, naive.stored.iter().copied().collect::<Vec<_>>());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_segment_is_freed_exactly_when_nothing_covers_it(
        acts in prop::collection::vec(act(), 1..40),
        removal_batch in 1..50u32,
    ) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap().block_on(agree(acts, removal_batch))?;
    }
}
