//! Makes clips: finds what a range of wall clock holds, reserves it and completes it at once, or as
//! soon as the rest of the range has been received.

mod choose;
mod wait;

pub(crate) use wait::close;

use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{
    Asset, Change, ClippableTimeline, Conflict, DatabaseError, Feed, KeptReply, NewAsset, Recipe,
    TimelineQuery,
};
use mediahooks_model::{
    AssetState, AssetStatus, AssetType, MediaAssetId, StreamName, TimelineId, Timestamp, TokenId,
};
use mediahooks_storage::StorageError;
use mediahooks_timeline::plan::{RunRange, Span, plan};
use uuid::Uuid;

use crate::error::{ClipError, RecorderError};
use crate::finish;
use crate::state::Shared;

/// How far the clock of the one who asks may be ahead of ours.
const SKEW_MAX: Duration = Duration::from_secs(10);

/// What clip is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipRequest {
    /// Of which stream.
    pub stream_name: StreamName,
    /// From when on.
    pub start: Timestamp,
    /// Up to when; absent: up to what has been received by now.
    pub stop: Option<Timestamp>,
    /// Only what was published with this token.
    pub token: Option<TokenId>,
    /// Only this source.
    pub source_id: Option<String>,
    /// Omitted: one clip per layer; `Some(None)`: only what was published without one; else this layer.
    pub simulcast_id: Option<Option<String>>,
    /// Only feeds of this rank.
    pub priority: Option<i32>,
    /// A name for people.
    pub name: Option<String>,
    /// When to remove it; beats the account's rule.
    pub expiration: Option<Timestamp>,
    /// Where to publish it.
    pub media_distribution_id: Option<String>,
    /// Its path there.
    pub custom_path: Option<String>,
    /// When the request arrived.
    pub received: Timestamp,
    /// Makes the request repeatable.
    pub idempotency: Option<Idempotency>,
}

/// What makes a request repeatable without making a second clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// SHA-256 of what was asked, to tell a repeat from a misuse.
    pub fingerprint: [u8; 32],
}

/// A range that was planned: of which feed and what it is made of.
struct PlannedClip {
    feed: Feed,
    recipe: Recipe,
    /// Media that the range still lacks may come.
    awaits: bool,
}

/// A clip about to be stored.
struct NewClip {
    asset: Asset,
    /// The step that completes it; absent while its range is still being received.
    step: Option<Change>,
}

/// See [`crate::Recorder::create_clips`].
pub(crate) async fn create(shared: &Arc<Shared>, request: ClipRequest) -> Result<Vec<Asset>, ClipError> {
    if let Some(replayed) = replay(shared, &request).await? {
        return Ok(replayed);
    }
    let stop = check_range(shared, &request)?;
    let clips = plan_clips(shared, &request, stop).await?;
    if clips.is_empty() {
        // Told only now: the clock may have been set back since such a time was recorded.
        return Err(if is_future(&request) { ClipError::StartsInFuture } else { ClipError::NoTimelines });
    }
    if request.custom_path.is_some() && clips.len() > 1 {
        return Err(ClipError::CustomPathForSeveral { clips: clips.len() });
    }
    // On a task of its own: a client that hangs up must not leave a clip that nobody completes.
    let (storing, request) = (Arc::clone(shared), Arc::new(request));
    let asked = Arc::clone(&request);
    let stored = shared.clips.spawn(async move {
        let stored = store(&storing, &asked, clips).await?;
        for asset in stored.iter().filter(|asset| asset.state == AssetState::Processing) {
            wait::complete_later(&storing, asset.clone(), stop);
        }
        Ok(stored)
    });
    match stored.await.unwrap_or_else(|_| Err(RecorderError::from(StorageError::ShuttingDown).into())) {
        // Somebody else came first with the same key.
        Err(ClipError::Internal(RecorderError::Database(DatabaseError::KeyUsed))) => {
            replay(shared, &request).await?.ok_or(ClipError::KeyReused)
        }
        stored => stored,
    }
}

/// The assets of the first request with this key.
async fn replay(shared: &Shared, request: &ClipRequest) -> Result<Option<Vec<Asset>>, ClipError> {
    let Some(idempotency) = &request.idempotency else { return Ok(None) };
    let Some(kept) = shared.database.kept_reply(&idempotency.key).await? else { return Ok(None) };
    if kept.fingerprint != idempotency.fingerprint {
        return Err(ClipError::KeyReused);
    }
    let mut assets = Vec::new();
    for id in kept.reply.split(',').filter_map(|id| id.parse::<MediaAssetId>().ok()) {
        // One that was removed meanwhile is not made again.
        assets.extend(shared.database.asset(id).await?);
    }
    Ok(Some(assets))
}

/// Checks the range and returns its end.
fn check_range(shared: &Shared, request: &ClipRequest) -> Result<Timestamp, ClipError> {
    let limits = shared.limits;
    let stop = request.stop.unwrap_or(request.received);
    if stop <= request.start && is_future(request) {
        return Err(ClipError::StartsInFuture);
    }
    if stop <= request.start {
        return Err(ClipError::StopNotAfterStart);
    }
    let length = stop.since(request.start);
    if length < limits.clip_min {
        return Err(ClipError::TooShort { min: limits.clip_min });
    }
    if length > limits.clip_max {
        return Err(ClipError::TooLong { max: limits.clip_max });
    }
    if request.expiration.is_some_and(|expiration| expiration <= request.received) {
        return Err(ClipError::ExpiresInPast);
    }
    Ok(stop)
}

fn is_future(request: &ClipRequest) -> bool {
    request.start >= request.received.plus(SKEW_MAX)
}

/// Plans one clip per chosen feed and uninterrupted stretch of it. The files of those that are all
/// there are laid out, so that they are stored complete; a stretch that shows nothing is no clip.
async fn plan_clips(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
) -> Result<Vec<NewClip>, ClipError> {
    let query = TimelineQuery {
        stream_name: request.stream_name.to_string(),
        token: request.token,
        source_id: request.source_id.clone(),
        simulcast_id: request.simulcast_id.clone(),
        priority: request.priority,
        before: Some(stop),
        after: Some(request.start),
    };
    let timelines = shared.database.clippable_timelines(query).await?;
    let rule = shared.database.expiration_rules().await?.expiration(AssetType::Clip, request.received);
    let mut clips = Vec::new();
    for timeline in choose::choose(timelines, request.start, stop) {
        for planned in plan_timeline(shared, request, stop, &timeline).await? {
            let asset = new_asset(request, stop, &planned, request.expiration.or(rule));
            let step = if planned.awaits {
                None
            } else {
                let Some(step) = finish::try_finish(shared, &asset, planned.recipe).await? else { continue };
                Some(step)
            };
            clips.push(NewClip { asset, step });
        }
    }
    Ok(clips)
}

async fn plan_timeline(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
    timeline: &[ClippableTimeline],
) -> Result<Vec<PlannedClip>, ClipError> {
    let Some(first) = timeline.first() else { return Ok(Vec::new()) };
    let id = first.recipe.timeline;
    // What has been received is stored now, so that it need not be waited for.
    let stored_until = shared.live.flush(first.feed.id, stop).await;
    let spans = shared.database.segments_in(id, None, request.start, stop).await?;
    let clippable = |sequence: u64| {
        timeline
            .iter()
            .any(|part| sequence >= part.recipe.first && part.recipe.last.is_none_or(|last| sequence <= last))
    };
    let spans: Vec<Span> = spans
        .iter()
        .filter(|span| clippable(span.sequence))
        .map(|span| Span {
            sequence: span.sequence,
            run: span.run,
            media_start_us: span.media_start_us,
            media_end_us: span.media_end_us,
            wall_offset_us: span.wall_offset_us,
        })
        .collect();
    let ranges = plan(&spans, request.start, stop);
    let mut planned = Vec::new();
    for (position, range) in ranges.iter().enumerate() {
        let is_last = position + 1 == ranges.len();
        let missing = is_last && stored_until.is_some_and(|until| until < stop);
        let floor = timeline.iter().map(|part| part.recipe.first).filter(|first| *first <= range.first).max();
        let mut recipe = recipe(shared, id, range, floor.unwrap_or(range.first)).await?;
        let awaits = missing && request.stop.is_some();
        if let (true, false, Some(until)) = (missing, awaits, stored_until) {
            // "Up to now" is up to what is known to be all that was captured by then.
            let short_us = stop.micros_since(until);
            recipe.stop_us = recipe.stop_us.map(|stop_us| stop_us.saturating_sub(short_us));
        }
        if awaits {
            recipe.last = None;
        }
        planned.push(PlannedClip { feed: first.feed.clone(), recipe, awaits });
    }
    Ok(planned)
}

/// What a planned range is made of: from a segment that decoding can begin with, but nothing before
/// `floor`, where the timeline asset begins. Of a segment that itself begins so, the group before is
/// taken along: its first pictures may be shown before its sync sample and refer to that group. What
/// turns out not to be needed is left out when the file is laid out.
async fn recipe(
    shared: &Shared,
    timeline: TimelineId,
    range: &RunRange,
    floor: u64,
) -> Result<Recipe, DatabaseError> {
    let database = &shared.database;
    let mut first =
        database.sync_segment_at_or_before(timeline, range.run, range.first).await?.unwrap_or(range.first);
    if first == range.first && first > floor {
        first = database.sync_segment_at_or_before(timeline, range.run, first - 1).await?.unwrap_or(first);
    }
    Ok(Recipe {
        timeline,
        run: range.run,
        first: first.max(floor.min(range.first)),
        last: Some(range.last),
        start_us: Some(range.start_us),
        stop_us: Some(range.stop_us),
    })
}

fn new_asset(
    request: &ClipRequest,
    stop: Timestamp,
    planned: &PlannedClip,
    expiration: Option<Timestamp>,
) -> Asset {
    Asset {
        id: MediaAssetId(Uuid::new_v4()),
        asset_type: AssetType::Clip,
        state: AssetState::Processing,
        feed: planned.feed.id,
        token: Some(planned.feed.token),
        stream_name: planned.feed.stream_name.clone(),
        source_id: planned.feed.source_id.clone(),
        simulcast_id: planned.feed.simulcast_id.clone(),
        priority: planned.feed.priority,
        start_time: request.start,
        stop_time: Some(stop),
        name: request.name.clone(),
        created: request.received,
        expiration,
        media_distribution_id: request.media_distribution_id.clone(),
        custom_path: request.custom_path.clone(),
        recipe: Some(planned.recipe.clone()),
    }
}

/// Stores the clips with their events and the kept reply, all or nothing.
async fn store(shared: &Shared, request: &ClipRequest, clips: Vec<NewClip>) -> Result<Vec<Asset>, ClipError> {
    let ids: Vec<MediaAssetId> = clips.iter().map(|clip| clip.asset.id).collect();
    let mut changes = Vec::with_capacity(2 * clips.len() + 1);
    for clip in clips {
        changes.push(Change::CreateAsset(Box::new(NewAsset { asset: clip.asset })));
        changes.extend(clip.step);
    }
    if let Some(idempotency) = &request.idempotency {
        let ids: Vec<String> = ids.iter().map(MediaAssetId::to_string).collect();
        changes.push(Change::KeepReply(KeptReply {
            key: idempotency.key.clone(),
            fingerprint: idempotency.fingerprint.to_vec(),
            reply: ids.join(","),
            created: request.received,
        }));
    }
    let stored = shared.database.commit(changes, shared.now()).await.map_err(|error| match error {
        DatabaseError::Conflict(Conflict::CustomPath) => ClipError::CustomPathTaken,
        // Removed between the plan and its storing.
        DatabaseError::Conflict(Conflict::MediaGone) => ClipError::NoTimelines,
        error => error.into(),
    })?;
    // Of one that was created and completed, the later word counts.
    let latest = |id: &MediaAssetId| stored.iter().rev().find(|asset| asset.id == *id).cloned();
    Ok(ids.iter().filter_map(latest).collect())
}

/// Completes a clip whose recipe is closed, or says in its state why it cannot be.
pub(crate) async fn complete(shared: &Shared, asset: Asset) -> Result<Asset, RecorderError> {
    let Some(recipe) = asset.recipe.clone() else { return Ok(asset) };
    let change = finish::finish(shared, &asset, recipe).await?;
    match shared.database.commit(vec![change], shared.now()).await {
        Ok(stepped) => Ok(stepped.into_iter().next().unwrap_or(asset)),
        // It was finished by somebody else: a sweep after a failure.
        Err(DatabaseError::Refused(refused)) if refused.from != AssetStatus::Processing => {
            Ok(shared.database.asset(asset.id).await?.unwrap_or(asset))
        }
        Err(error) => Err(error.into()),
    }
}
