//! Makes clips: finds what a range of wall clock holds, reserves it and completes it at once, or as
//! soon as the rest of the range has been received.

mod absence;
mod choose;
mod deleted;
mod plan;
mod wait;

pub(crate) use deleted::note as note_deleted;
pub(crate) use wait::resume;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::{
    Asset, Change, Conflict, DatabaseError, Feed, KeptReply, NewAsset, OpenClipRequest, RecipePart,
};
use mediahooks_model::{
    AssetType, ClipRequestId, CutMode, GapMode, MediaAssetId, StreamName, TargetFormat, Timestamp, TokenId,
};
use mediahooks_storage::StorageError;
use mediahooks_timeline::segmenter::Received;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use self::absence::Absence;
use self::choose::Group;
use self::plan::{PlannedClip, Stretch};
use self::wait::Watch;
use crate::error::{ClipError, RecorderError};
use crate::finish;
use crate::screen;
use crate::state::Shared;

/// How far the clock of the one who asks may be ahead of ours.
const SKEW_MAX: Duration = Duration::from_secs(10);

/// What clip is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub simulcast_id: Option<Option<String>>,
    /// Only feeds of this rank.
    pub priority: Option<i32>,
    /// What becomes of gaps.
    pub gaps: GapMode,
    /// Where it is cut.
    pub cut: CutMode,
    /// What file it becomes; absent: what suits its codecs.
    #[serde(default)]
    pub target_format: Option<TargetFormat>,
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
    #[serde(skip)]
    pub idempotency: Option<Idempotency>,
}

impl ClipRequest {
    /// All that was sent of a stream from `start` up to when the request was `received`, as it is clipped when
    /// nothing more is said.
    pub fn new(stream_name: StreamName, start: Timestamp, received: Timestamp) -> Self {
        Self {
            stream_name,
            start,
            stop: None,
            token: None,
            source_id: None,
            simulcast_id: None,
            priority: None,
            gaps: GapMode::default(),
            cut: CutMode::default(),
            target_format: None,
            name: None,
            expiration: None,
            media_distribution_id: None,
            custom_path: None,
            received,
            idempotency: None,
        }
    }

    /// Whether what a feed sends is wanted.
    fn wants(&self, feed: &Feed) -> bool {
        feed.stream_name == self.stream_name
            && self.token.is_none_or(|token| feed.token == token)
            && self.source_id.as_ref().is_none_or(|id| feed.source_id.as_ref() == Some(id))
            && self.simulcast_id.as_ref().is_none_or(|id| feed.simulcast_id == *id)
            && self.priority.is_none_or(|priority| feed.priority == Some(priority))
    }

    /// How much further than the end of its clips a feed has to have come, in microseconds. Clips that show all they hold
    /// may end with pictures that are shown after their range, and hold those that are shown before these.
    fn beyond_us(&self, received: &Received) -> i64 {
        match finish::shows_all(self.cut, self.target_format) {
            true => received.reordered_us.clamp(0, screen::REORDERED_MAX_US),
            false => 0,
        }
    }

    /// Whether its clips wait, when a publisher leaves, for one who goes on within the range. One that is to have no
    /// gap does, too: it has one as soon as somebody is back.
    fn outlasts_publishers(&self) -> bool {
        self.gaps != GapMode::Split
    }
}

/// A member that is there: null says something of its own.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What makes a request repeatable without making a second clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// SHA-256 of what was asked, to tell a repeat from a misuse.
    pub fingerprint: [u8; 32],
}

/// A clip about to be stored.
struct NewClip {
    asset: Asset,
    /// The step that completes it; absent while its range is still being received.
    step: Option<Change>,
}

/// What a request makes.
struct NewClips {
    id: ClipRequestId,
    clips: Vec<NewClip>,
    /// Groups of which more may come.
    open: Vec<Group>,
}

/// See [`crate::Recorder::create_clips`].
pub(crate) async fn create(shared: &Arc<Shared>, request: ClipRequest) -> Result<Vec<Asset>, ClipError> {
    if let Some(replayed) = replay(shared, &request).await? {
        return Ok(replayed);
    }
    let stop = check_range(shared, &request)?;
    let left = shared.live.left();
    let new = plan_clips(shared, &request, stop).await?;
    if new.clips.is_empty() {
        // Told only now: the clock may have been set back since such a time was recorded.
        return Err(match ahead(&request) {
            Some(ahead) => ClipError::StartsInFuture { ahead },
            None => ClipError::NoTimelines(absence::explain(shared, &request, stop).await?),
        });
    }
    if request.custom_path.is_some() && new.clips.len() > 1 {
        return Err(ClipError::CustomPathForSeveral { clips: new.clips.len() });
    }
    // On a task of its own: a client that hangs up must not leave a clip that nobody completes.
    let (storing, request) = (Arc::clone(shared), Arc::new(request));
    let asked = Arc::clone(&request);
    let stored = shared.clips.spawn(async move {
        let unfinished = new.clips.iter().filter(|clip| clip.step.is_none()).map(|clip| clip.asset.id);
        let attending = storing.attended.enter(unfinished.collect());
        let (id, groups) = (new.id, new.open.clone());
        let stored = store(&storing, &asked, new).await?;
        if !groups.is_empty() {
            let watch =
                Watch { id, request: asked, stop, groups, left, is_resumed: false, _attending: attending };
            wait::follow(&storing, watch);
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
    if stop <= request.start {
        return Err(match ahead(request) {
            Some(ahead) => ClipError::StartsInFuture { ahead },
            None => ClipError::StopNotAfterStart,
        });
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

/// How far ahead a request begins, if that is too far to be a difference of clocks.
fn ahead(request: &ClipRequest) -> Option<Duration> {
    Some(request.start.since(request.received)).filter(|ahead| *ahead >= SKEW_MAX)
}

/// Plans the clips of every source. The files of those that are all there are laid out, so that they are
/// stored complete; one that shows nothing is no clip. A source that is live and has not come as far as the range
/// yet has a clip that is waited for.
async fn plan_clips(shared: &Shared, request: &ClipRequest, stop: Timestamp) -> Result<NewClips, ClipError> {
    let mut new = NewClips { id: ClipRequestId(Uuid::new_v4()), clips: Vec::new(), open: Vec::new() };
    let is_to_come = request.stop.is_some_and(|stop| stop > shared.now());
    // Before what has been received is looked at: what comes in between is waited for.
    let behind = behind(shared, request);
    let mut found = plan::stretches(shared, request, stop).await?;
    for group in behind.keys() {
        found.entry(group.clone()).or_default();
    }
    for (group, stretches) in found {
        if request.gaps == GapMode::Refuse && stretches.len() > 1 {
            return Err(ClipError::Gaps { gaps: plan::gaps(&stretches) });
        }
        let is_of = |feed: &Feed, stretch: &Stretch| stretch.feed.id == feed.id;
        let behind = behind.get(&group).filter(|feed| !stretches.iter().any(|stretch| is_of(feed, stretch)));
        let is_growing = stretches.iter().any(|stretch| stretch.is_growing);
        let is_open = is_to_come || is_growing || behind.is_some();
        if request.target_format == Some(TargetFormat::Webm)
            && let Some(codec) = plan::not_in_webm(&stretches)
        {
            return Err(ClipError::NotInWebm { codec });
        }
        let planned = plan::into_clips(stretches, request.gaps.joins());
        let last = planned.len().saturating_sub(1);
        let clips_before = new.clips.len();
        let (clips, max) = (clips_before + planned.len(), shared.clips_max);
        if clips > max {
            return Err(ClipError::TooManyClips { clips, max });
        }
        for (position, clip) in planned.iter().enumerate() {
            let awaits = clip.is_growing() || (is_open && request.outlasts_publishers() && position == last);
            let Some(asset) = planned_asset(shared, request, new.id, stop, clip).await? else { continue };
            let step = if awaits {
                None
            } else {
                let Some(step) = finish::try_finish(shared, &asset, clip.recipe()).await? else { continue };
                Some(step)
            };
            new.clips.push(NewClip { asset, step });
        }
        if let Some(feed) = behind
            && new.clips.len() == clips_before
        {
            let asset = new_asset(shared, request, new.id, stop, feed, Vec::new()).await?;
            new.clips.push(NewClip { asset, step: None });
        }
        if is_open {
            new.open.push(group);
        }
    }
    Ok(new)
}

/// The feeds, one of each group, that a range with an end is still to be received from. How far one has come that
/// has sent nothing yet is not known.
fn behind(shared: &Shared, request: &ClipRequest) -> BTreeMap<Group, Feed> {
    let Some(stop) = request.stop.filter(|_| ahead(request).is_none()) else { return BTreeMap::new() };
    let clippable = shared.live.clippable().into_iter().filter(|(feed, received)| {
        request.wants(feed) && feed.started < stop && received.is_none_or(|received| received.until < stop)
    });
    let mut feeds: Vec<Feed> = clippable.map(|(feed, _)| feed).collect();
    // Of one group the best one stays.
    feeds.sort_by_key(choose::live_rank);
    feeds.into_iter().map(|feed| (choose::group_of(&feed), feed)).collect()
}

/// The asset of a planned clip.
async fn planned_asset(
    shared: &Shared,
    request: &ClipRequest,
    id: ClipRequestId,
    stop: Timestamp,
    clip: &PlannedClip,
) -> Result<Option<Asset>, DatabaseError> {
    let Some(feed) = clip.feed() else { return Ok(None) };
    let mut recipe = clip.recipe();
    for (part, stretch) in recipe.iter_mut().zip(&clip.stretches) {
        if stretch.is_growing {
            (part.last, part.stop_us) = (None, Some(stretch.stop_us));
        }
    }
    new_asset(shared, request, id, stop, feed, recipe).await.map(Some)
}

/// An asset of what was, or will be, received from a feed.
async fn new_asset(
    shared: &Shared,
    request: &ClipRequest,
    id: ClipRequestId,
    stop: Timestamp,
    feed: &Feed,
    recipe: Vec<RecipePart>,
) -> Result<Asset, DatabaseError> {
    let rule = shared.database.expiration_rules().await?.expiration(AssetType::Clip, request.received);
    Ok(Asset {
        token: Some(feed.token),
        source_id: feed.source_id.clone(),
        simulcast_id: feed.simulcast_id.clone(),
        priority: feed.priority,
        stop_time: Some(stop),
        name: request.name.clone(),
        created: request.received,
        expiration: request.expiration.or(rule),
        media_distribution_id: request.media_distribution_id.clone(),
        custom_path: request.custom_path.clone(),
        request: Some(id),
        gaps: request.gaps,
        cut: request.cut,
        target_format: request.target_format,
        recipe,
        ..Asset::new(
            MediaAssetId(Uuid::new_v4()),
            AssetType::Clip,
            feed.id,
            feed.stream_name.clone(),
            request.start,
        )
    })
}

/// Stores the clips with their events and the kept reply, all or nothing.
async fn store(shared: &Shared, request: &ClipRequest, new: NewClips) -> Result<Vec<Asset>, ClipError> {
    let ids: Vec<MediaAssetId> = new.clips.iter().map(|clip| clip.asset.id).collect();
    let mut changes = Vec::with_capacity(2 * new.clips.len() + 2);
    if !new.open.is_empty() {
        let request = serde_json::to_string(request).map_err(|_| RecorderError::Unwritable)?;
        changes.push(Change::OpenClipRequest(OpenClipRequest { id: new.id, request }));
    }
    for clip in new.clips {
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
        DatabaseError::Conflict(Conflict::MediaGone) => ClipError::NoTimelines(Absence::Removed),
        error => error.into(),
    })?;
    // Of one that was created and completed, the later word counts.
    let latest = |id: &MediaAssetId| stored.iter().rev().find(|asset| asset.id == *id).cloned();
    Ok(ids.iter().filter_map(latest).collect())
}
