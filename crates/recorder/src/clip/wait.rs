//! Follows a request for clips whose range ends later than what has been received: completes its clips
//! once their media is there, and makes those that a break adds.
//!
//! What always holds: of one request no run is cut twice; a request that is over has no row, and one that
//! is not is taken up again by a restart; none makes more clips than it may, whatever breaks there are, and none that
//! was deleted again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{Asset, AssetQuery, Change, DatabaseError, Feed, NewAsset};
use mediahooks_model::{
    AssetState, ClipRequestId, FeedId, GapMode, MediaAssetId, TimelineId, Timestamp, chain,
};
use mediahooks_timeline::segmenter::Received;
use tokio::sync::watch;

use super::choose::{self, Group, group, group_of};
use super::plan::{self, PlannedClip, Stretch};
use super::{ClipRequest, deleted, planned_asset};
use crate::error::{RecorderError, gap_words};
use crate::finish;
use crate::recovery;
use crate::state::{Attending, Shared};

/// For how long a publisher may be silent, after the range has ended, before it is given up: one that was never silent
/// for longer, and one that was, as encoders are that send in bursts.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const BURSTS_MAX: Duration = Duration::from_secs(60);

/// How often a source that is away is looked for, and the clock is looked at, which may be set.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How often a group is settled anew that somebody else has changed meanwhile.
const SETTLES_MAX: usize = 8;

/// A request of which some groups are not over.
pub(super) struct Watch {
    pub id: ClipRequestId,
    pub request: Arc<ClipRequest>,
    pub stop: Timestamp,
    pub groups: Vec<Group>,
    /// How many feeds had left before it was looked at what there is; see [`crate::live::LiveFeeds::has_left`].
    pub left: u64,
    /// Whether those who published before the server was started are gone.
    pub is_resumed: bool,
    /// Keeps others off its unfinished clips.
    pub _attending: Attending,
}

/// Takes up the requests that a crash or an orderly stop left.
pub(crate) async fn resume(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    let left = shared.live.left();
    for open in shared.database.open_clip_requests().await? {
        let request: ClipRequest = match serde_json::from_str(&open.request) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(request = %open.id, error = chain(&error), "a request for clips cannot be read; what it made is kept");
                shared.database.commit(vec![Change::CloseClipRequest(open.id)], shared.now()).await?;
                continue;
            }
        };
        let made = made(shared, open.id).await?;
        let mut groups: Vec<Group> = made.iter().map(group_of_asset).collect();
        groups.extend(deleted::groups(&open));
        groups.sort();
        groups.dedup();
        let attending = shared.attended.enter(unfinished(&made));
        let stop = request.stop.unwrap_or(request.received);
        follow(
            shared,
            Watch {
                id: open.id,
                request: Arc::new(request),
                stop,
                groups,
                left,
                is_resumed: true,
                _attending: attending,
            },
        );
    }
    Ok(())
}

/// Follows a request on a task of its own.
pub(super) fn follow(shared: &Arc<Shared>, watch: Watch) {
    let shared_by_task = Arc::clone(shared);
    shared.clips.spawn(async move {
        let groups = watch.groups.iter().map(|group| follow_group(&shared_by_task, &watch, group));
        let mut is_over = true;
        for outcome in futures::future::join_all(groups).await {
            match outcome {
                Ok(over) => is_over &= over,
                Err(error) if error.is_damage() => {
                    // It would be the same after a restart. The sweeper fails the clips that need what is damaged.
                    tracing::error!(request = %watch.id, error = chain(&error), "a clip cannot be completed; run `mediahooks check`");
                }
                Err(error) => {
                    // The sweeper finishes what is unfinished, a restart the request.
                    tracing::error!(request = %watch.id, error = chain(&error), "a clip could not be completed");
                    is_over = false;
                }
            }
        }
        let closed = async {
            shared_by_task.database.commit(vec![Change::CloseClipRequest(watch.id)], shared_by_task.now()).await
        };
        if is_over && let Err(error) = closed.await {
            tracing::error!(request = %watch.id, error = chain(&error), "a request for clips could not be closed");
        }
    });
}

/// Returns whether the group is over; else the server is stopping.
async fn follow_group(shared: &Shared, watch: &Watch, group: &Group) -> Result<bool, RecorderError> {
    let settles_early = !watch.request.outlasts_publishers();
    let mut waited: HashSet<FeedId> = HashSet::new();
    let mut cut: HashSet<(TimelineId, u32)> = HashSet::new();
    let mut left = watch.left;
    if watch.is_resumed && settles_early {
        settle(shared, watch, group, &mut cut, false).await?;
    }
    loop {
        if let Some(feed) = next_feed(shared, watch, group, &waited) {
            waited.insert(feed);
            match await_feed(shared, watch, group, feed).await? {
                Waited::Over if settles_early => settle(shared, watch, group, &mut cut, false).await?,
                Waited::Over => {}
                Waited::Gap => return Ok(true),
                Waited::Received | Waited::Silent => break,
            }
            continue;
        }
        // One that came and went while nobody looked.
        if shared.live.has_left(&mut left, |feed| is_next(watch, group, &waited, feed)) {
            if settles_early {
                settle(shared, watch, group, &mut cut, false).await?;
            } else if watch.request.gaps == GapMode::Refuse && refuse_gap(shared, watch, group).await? {
                return Ok(true);
            }
        }
        let still = watch.stop.since(shared.now());
        if still.is_zero() {
            break;
        }
        tokio::select! {
            () = shared.draining.cancelled() => return Ok(false),
            () = tokio::time::sleep(still.min(LOOK_AGAIN)) => {}
        }
    }
    settle(shared, watch, group, &mut cut, true).await?;
    Ok(true)
}

/// The best live feed of the group that was not waited for.
fn next_feed(shared: &Shared, watch: &Watch, group: &Group, waited: &HashSet<FeedId>) -> Option<FeedId> {
    let feeds = shared.live.clippable().into_iter().map(|(feed, _)| feed);
    let wanted = feeds.filter(|feed| is_next(watch, group, waited, feed));
    wanted.max_by_key(choose::live_rank).map(|feed| feed.id)
}

/// Whether a feed is one of the group and was not waited for.
fn is_next(watch: &Watch, group: &Group, waited: &HashSet<FeedId>, feed: &Feed) -> bool {
    watch.request.wants(feed) && group_of(feed) == *group && !waited.contains(&feed.id)
}

/// Why a wait for a feed is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// Everything captured before the range's end has been received.
    Received,
    /// The publisher has fallen silent.
    Silent,
    /// The feed is over and what it sent is stored.
    Over,
    /// The clip is to have no gap and had one: it has failed.
    Gap,
}

/// Resolves when the feed has sent what was captured before the range's end, or will not, or when its clip is to
/// have no gap and has one.
async fn await_feed(
    shared: &Shared,
    watch: &Watch,
    group: &Group,
    feed: FeedId,
) -> Result<Waited, RecorderError> {
    let Some(received) = shared.live.received(feed) else { return Ok(Waited::Over) };
    let mut wait = FeedWait::new(shared, received, watch.stop);
    let mut looked_at = None;
    loop {
        let stops_at =
            |received: &Received| watch.request.gaps == GapMode::Refuse && looked_at != Some(received.run);
        match wait.news(shared, &watch.request, stops_at).await {
            News::Run(run) if refuse_gap(shared, watch, group).await? => {
                tracing::debug!(%feed, run, "a clip that is to have no gap has one");
                return Ok(Waited::Gap);
            }
            News::Run(run) => looked_at = Some(run),
            News::Received => return Ok(Waited::Received),
            News::Over => return Ok(Waited::Over),
            News::Silent => {
                tracing::warn!(%feed, "the publisher fell silent; a clip ends with what was received");
                return Ok(Waited::Silent);
            }
        }
    }
}

/// A wait for what a feed has captured up to a moment. One that lags behind is waited for as long as it moves.
/// When the wall clock is set back meanwhile, the media that was meant is waited for.
struct FeedWait {
    received: watch::Receiver<Option<Received>>,
    stop: Timestamp,
    /// How far it has come, and since when on the steady clock.
    latest: Option<Received>,
    moved: Duration,
}

/// What there is to tell of a feed.
enum News {
    /// A run that was asked for has begun.
    Run(u32),
    /// As [`Waited::Received`].
    Received,
    /// As [`Waited::Silent`].
    Silent,
    /// As [`Waited::Over`].
    Over,
}

impl FeedWait {
    fn new(shared: &Shared, received: watch::Receiver<Option<Received>>, stop: Timestamp) -> Self {
        let latest = *received.borrow();
        Self { received, stop, latest, moved: shared.clock.steady() }
    }

    /// Resolves when it is over, or when `stops_at` says so.
    async fn news(
        &mut self,
        shared: &Shared,
        request: &ClipRequest,
        stops_at: impl Fn(&Received) -> bool,
    ) -> News {
        let has_come_to =
            |received: &Received, stop| received.until.plus_micros(-request.beyond_us(received)) >= stop;
        loop {
            let patience = self.patience(shared);
            if patience.is_zero() {
                return News::Silent;
            }
            let before = self.latest;
            let (stop, latest) = (&mut self.stop, &mut self.latest);
            let told = self.received.wait_for(|received| {
                let Some(received) = received else { return false };
                // What was received meanwhile is no part of it, however much came at once.
                let set_us = latest.map_or(0, |latest| received.set_us - latest.set_us);
                *stop = stop.plus_micros(set_us.min(0));
                *latest = Some(*received);
                has_come_to(received, *stop) || stops_at(received)
            });
            match tokio::time::timeout(patience.min(LOOK_AGAIN), told).await {
                Ok(Ok(received)) => match *received {
                    Some(received) if !has_come_to(&received, self.stop) => return News::Run(received.run),
                    _ => return News::Received,
                },
                Ok(Err(_)) => return News::Over,
                Err(_) if self.latest != before => self.moved = shared.clock.steady(),
                Err(_) => {}
            }
        }
    }

    /// For how long the feed may go on to be silent.
    fn patience(&self, shared: &Shared) -> Duration {
        let silent = shared.clock.steady().saturating_sub(self.moved);
        let range = self.stop.plus(SILENCE_MAX).since(shared.now());
        range.max(silence_max(self.latest.map_or(0, |received| received.pause_us)).saturating_sub(silent))
    }
}

/// For how long a publisher may be silent that was so for `pause_us` at most before it went on. The next burst of one that
/// sends in bursts may come a little later than the others.
fn silence_max(pause_us: i64) -> Duration {
    let pause = Duration::from_micros(u64::try_from(pause_us).unwrap_or(0));
    pause.saturating_add(pause / 4).clamp(SILENCE_MAX, BURSTS_MAX)
}

/// Fails the clip of a group that must have no gap, if its range has one by now; returns whether it has.
async fn refuse_gap(shared: &Shared, watch: &Watch, group: &Group) -> Result<bool, RecorderError> {
    let found = plan::stretches(shared, &watch.request, watch.stop).await?.remove(group);
    let Some(stretches) = found.filter(|stretches| stretches.len() > 1) else { return Ok(false) };
    let made = made(shared, watch.id).await?;
    let of_group = |asset: &&Asset| asset.state == AssetState::Processing && group_of_asset(asset) == *group;
    fail_for_gaps(shared, made.iter().filter(of_group), &stretches).await?;
    Ok(true)
}

/// Fails clips that must have no gap.
async fn fail_for_gaps<'a>(
    shared: &Shared,
    open: impl Iterator<Item = &'a Asset>,
    stretches: &[Stretch],
) -> Result<(), RecorderError> {
    let reason = format!("The range has gaps: {}.", gap_words(&plan::gaps(stretches)));
    let mut changes = Vec::new();
    for asset in open {
        changes.push(finish::failed(shared, asset, &reason).await?);
    }
    commit(shared, changes).await.map(drop)
}

/// Cuts what has been received of a group: all of it when the range `is_over`, else what belongs to feeds
/// that are. `cut` remembers the runs that were.
async fn settle(
    shared: &Shared,
    watch: &Watch,
    group: &Group,
    cut: &mut HashSet<(TimelineId, u32)>,
    is_over: bool,
) -> Result<(), RecorderError> {
    // Who deletes one of its clips meanwhile has all of it looked at again: the others are in the same transaction.
    for _ in 0..SETTLES_MAX {
        if try_settle(shared, watch, group, cut, is_over).await? {
            break;
        }
    }
    Ok(())
}

/// Settles unless that was refused, and returns whether it was not.
async fn try_settle(
    shared: &Shared,
    watch: &Watch,
    group: &Group,
    cut: &mut HashSet<(TimelineId, u32)>,
    is_over: bool,
) -> Result<bool, RecorderError> {
    let mut stretches =
        plan::stretches(shared, &watch.request, watch.stop).await?.remove(group).unwrap_or_default();
    let held: HashSet<(TimelineId, u32)> = stretches.iter().map(run_of).collect();
    if !is_over {
        stretches.retain(|stretch| shared.live.received(stretch.feed.id).is_none());
    }
    let mut made = made(shared, watch.id).await?;
    let mut room = shared.clips_max.saturating_sub(made.len());
    made.retain(|asset| group_of_asset(asset) == *group);
    // After those that are there: who deletes one meanwhile is heard the one way or the other.
    let deleted = deleted::of_group(shared, watch.id, group).await?;
    let mut unseen = deleted.iter().filter(|clip| clip.is_empty()).count();
    let mut changes = Vec::new();
    let mut open: Vec<&Asset> = made.iter().filter(|asset| asset.state == AssetState::Processing).collect();
    if watch.request.gaps == GapMode::Refuse && stretches.len() > 1 {
        fail_for_gaps(shared, open.into_iter(), &stretches).await?;
        return Ok(true);
    }
    let mut cut_now = cut.clone();
    for clip in plan::into_clips(stretches, watch.request.gaps.joins()) {
        let runs: Vec<_> = clip.stretches.iter().map(run_of).collect();
        let is_made = made.iter().any(|asset| is_of(asset, &clip));
        let is_deleted = deleted.iter().any(|clip| clip.has_any(&runs));
        let was_cut = runs.iter().any(|run| cut_now.contains(run));
        if was_cut && !is_made && !is_deleted {
            // It was in place of a deleted one.
            unseen = unseen.saturating_sub(1);
        }
        let is_cut = is_made || is_deleted || was_cut;
        if let Some(position) = open.iter().position(|asset| is_of(asset, &clip)) {
            let asset = open.remove(position);
            let is_whole = clip.stretches.iter().all(|stretch| has_run(asset, run_of(stretch)));
            let recipe = if is_whole { recovery::closed(shared, asset).await? } else { clip.recipe() };
            changes.push(finish::finish(shared, asset, recipe).await?);
        } else if !is_cut && let Some(position) = open.iter().position(|asset| !has_any(asset, &held)) {
            // It was asked for before anything of its range was there, or what was there is gone.
            if let Some(step) = finish::try_finish(shared, open[position], clip.recipe()).await? {
                changes.push(step);
                open.remove(position);
            }
        } else if !is_cut && unseen > 0 {
            // The clip that waited for it was deleted.
            unseen -= 1;
        } else if !is_cut && room == 0 {
            tracing::warn!(request = %watch.id, max = shared.clips_max, "a request makes no more clips: what came after this break is in none");
        } else if !is_cut {
            changes.extend(create(shared, watch, &clip).await?);
            room -= 1;
        }
        cut_now.extend(runs);
    }
    if is_over {
        for asset in open {
            // Its feed was outranked meanwhile, or its media is gone, or never came.
            let recipe = recovery::closed(shared, asset).await?;
            changes.push(finish::finish(shared, asset, recipe).await?);
        }
    }
    let is_settled = commit(shared, changes).await?;
    if is_settled {
        *cut = cut_now;
    }
    Ok(is_settled)
}

/// The creation and completion of a clip that a break has added, unless it shows nothing.
async fn create(shared: &Shared, watch: &Watch, clip: &PlannedClip) -> Result<Vec<Change>, RecorderError> {
    let Some(mut asset) = planned_asset(shared, &watch.request, watch.id, watch.stop, clip).await? else {
        return Ok(Vec::new());
    };
    // It leads to the first one.
    asset.custom_path = None;
    let Some(step) = finish::try_finish(shared, &asset, clip.recipe()).await? else { return Ok(Vec::new()) };
    Ok(vec![Change::CreateAsset(Box::new(NewAsset { asset })), step])
}

/// Returns false when it was refused.
async fn commit(shared: &Shared, changes: Vec<Change>) -> Result<bool, RecorderError> {
    if changes.is_empty() {
        return Ok(true);
    }
    match shared.database.commit(changes, shared.now()).await {
        Ok(_) => Ok(true),
        // Finished by somebody else, or deleted.
        Err(DatabaseError::Refused(refused)) => {
            tracing::warn!(%refused, "a clip was not completed by who waited for it");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn run_of(stretch: &Stretch) -> (TimelineId, u32) {
    (stretch.part.timeline, stretch.part.run)
}

/// Whether an asset is the one that `clip` was planned for.
fn is_of(asset: &Asset, clip: &PlannedClip) -> bool {
    clip.stretches.iter().any(|stretch| has_run(asset, run_of(stretch)))
}

/// Whether an asset is made of any of these runs.
fn has_any(asset: &Asset, runs: &HashSet<(TimelineId, u32)>) -> bool {
    asset.recipe.iter().any(|part| runs.contains(&(part.timeline, part.run)))
}

fn has_run(asset: &Asset, run: (TimelineId, u32)) -> bool {
    asset.recipe.iter().any(|part| run == (part.timeline, part.run))
}

/// The clips that a request has made so far.
async fn made(shared: &Shared, id: ClipRequestId) -> Result<Vec<Asset>, DatabaseError> {
    let query = AssetQuery { request: Some(id), limit: u32::MAX, ..AssetQuery::default() };
    shared.database.assets(query).await
}

fn unfinished(made: &[Asset]) -> Vec<MediaAssetId> {
    let unfinished = made.iter().filter(|asset| asset.state == AssetState::Processing);
    unfinished.map(|asset| asset.id).collect()
}

fn group_of_asset(asset: &Asset) -> Group {
    group(asset.source_id.as_deref(), asset.simulcast_id.as_deref())
}

#[cfg(test)]
mod tests {
    use mediahooks_database::{OpenClipRequest, RecipePart, Run, Segment};
    use mediahooks_model::{AssetStatus, AssetType};
    use uuid::Uuid;

    use super::*;
    use crate::removal::{
        self,
        tests::{Bench, feed, timeline},
    };

    /// The second run of [`Bench::unfinished`], a timeline of both, and a clip that waits for the first one.
    async fn two_runs(shared: &Shared, request: ClipRequestId) -> MediaAssetId {
        let database = &shared.database;
        let run = database.run(timeline(1), 0).await.unwrap().unwrap();
        let segment = database.segments(timeline(1), 0, None).await.unwrap().remove(0);
        let recording = database.unfinished_assets().await.unwrap().remove(0);
        let asset = |number, asset_type, last| {
            let part = RecipePart { last: Some(last), ..recording.recipe[0].clone() };
            let id = MediaAssetId(Uuid::from_u128(number));
            Asset { id, asset_type, recipe: vec![part], ..recording.clone() }
        };
        let clip = Asset { request: Some(request), ..asset(3, AssetType::Clip, 0) };
        let waiting = clip.id;
        let created = [asset(2, AssetType::Timeline, 1), clip]
            .map(|asset| Change::CreateAsset(Box::new(NewAsset { asset })));
        let mut changes = vec![
            Change::PutRun(Run { number: 1, ..run }),
            Change::AddSegment(Segment {
                sequence: 1,
                run: 1,
                media_start_us: 1,
                media_end_us: 9,
                ..segment
            }),
            Change::OpenClipRequest(OpenClipRequest { id: request, request: "{}".into() }),
            Change::EndFeed { feed: feed(1).id, at: Timestamp::EPOCH },
        ];
        changes.extend(created);
        database.commit(changes, Timestamp::EPOCH).await.unwrap();
        waiting
    }

    #[tokio::test]
    async fn a_clip_that_is_deleted_while_its_request_is_settled_takes_no_other_one_along() {
        let bench = Bench::new().await;
        bench.unfinished(1).await;
        let (shared, id) = (&*bench.shared, ClipRequestId(Uuid::from_u128(1)));
        let waiting = two_runs(shared, id).await;
        let (start, stop) = (Timestamp::EPOCH, Timestamp::from_micros(9));
        let watch = Watch {
            id,
            request: Arc::new(ClipRequest {
                stop: Some(stop),
                ..ClipRequest::new("stage".parse().unwrap(), start, stop)
            }),
            stop,
            groups: Vec::new(),
            left: 0,
            is_resumed: false,
            _attending: shared.attended.enter(Vec::new()),
        };
        let mut turns = Vec::new();
        while shared.finishing.left() > 0 {
            turns.push(shared.finishing.take_short().await);
        }
        let mut cut = HashSet::new();
        let group = group(None, None);
        let deleting = async {
            // Until it is at where it waits for its turn: it reads less than this before.
            for _ in 0..100 {
                shared.database.asset(waiting).await.unwrap();
            }
            removal::mark(shared, waiting).await.unwrap().unwrap();
            drop(turns);
        };
        let (settled, ()) = tokio::join!(settle(shared, &watch, &group, &mut cut, true), deleting);
        settled.unwrap();
        let made = made(shared, id).await.unwrap();
        // The deleted one, and one of the second run, whose bytes are none that can be played.
        let states: Vec<_> = made.iter().map(|asset| asset.state.status()).collect();
        assert_eq!((states, cut.len()), (vec![AssetStatus::Deleting, AssetStatus::Error], 2));
    }

    #[test]
    fn who_was_silent_for_longer_before_may_be_so_again() {
        for (pause_us, seconds) in [(0, 5.0), (40_000, 5.0), (10_000_000, 12.5), (3_600_000_000, 60.0)] {
            assert_eq!(silence_max(pause_us), Duration::from_secs_f64(seconds), "{pause_us}");
        }
    }
}
