//! Which assets a feed makes as it goes: a recording, a timeline that clips are cut from, and their
//! successors where a run ends or a length is reached.

use std::sync::Arc;

use mediahooks_database::{Asset, Change, Feed, NewAsset, RecipePart};
use mediahooks_model::{AssetType, MediaAssetId, TimelineId};
use mediahooks_timeline::plan::{self, Span};
use mediahooks_timeline::segmenter::{ClosedSegment, Held};
use uuid::Uuid;

use super::NewFeed;
use crate::error::RecorderError;
use crate::finish;
use crate::screen;
use crate::state::Shared;

/// An asset that grows with the feed.
#[derive(Debug, Clone)]
struct Growing {
    asset: Asset,
    run: u32,
    first: u64,
    start_us: i64,
}

/// See the module.
pub(super) struct FeedAssets {
    shared: Arc<Shared>,
    new: NewFeed,
    timeline: TimelineId,
    growing: Vec<Growing>,
    /// Assets whose creation is in the commit that is under way.
    beginning: Vec<Growing>,
    /// The newest stored segment.
    newest: Option<Newest>,
}

/// What has to be known of a segment when the next one comes.
#[derive(Debug, Clone, Copy)]
struct Newest {
    span: Span,
    /// The segment, this one or an earlier one, that decoding can begin with.
    sync: u64,
}

impl FeedAssets {
    pub(super) fn new(shared: Arc<Shared>, new: NewFeed, timeline: TimelineId) -> Self {
        Self { shared, new, timeline, growing: Vec::new(), beginning: Vec::new(), newest: None }
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.new.feed
    }

    /// The steps that finish what `segment`, the `sequence`th, does not belong to.
    pub(super) async fn before(
        &mut self,
        segment: &ClosedSegment,
        sequence: u64,
    ) -> Result<Vec<Change>, RecorderError> {
        let limits = self.shared.limits;
        let set_back = self.is_set_back(segment);
        let over = |growing: &Growing| {
            // A timeline is found by its times, which must not run backwards in it.
            if set_back && growing.asset.asset_type == AssetType::Timeline {
                return true;
            }
            let max = match growing.asset.asset_type {
                AssetType::Recording => limits.recording_max,
                _ => limits.timeline_max,
            };
            let length_us = segment.media_end_us - growing.start_us;
            growing.run != segment.run
                || (segment.starts_with_sync
                    && i128::from(length_us) > max.as_micros().try_into().unwrap_or(i128::MAX))
        };
        let (done, growing) = std::mem::take(&mut self.growing).into_iter().partition(over);
        self.growing = growing;
        let held = self.newest.and_then(|newest| held_before(&newest.span, segment));
        self.finish(done, sequence, held).await
    }

    /// The creation of what begins with `segment`, the `sequence`th.
    pub(super) async fn begin(
        &mut self,
        segment: &ClosedSegment,
        sequence: u64,
    ) -> Result<Vec<Change>, RecorderError> {
        let wanted = [(AssetType::Recording, self.new.records), (AssetType::Timeline, self.new.clips)];
        let missing = wanted.into_iter().filter(|(asset_type, wanted)| {
            *wanted && !self.growing.iter().any(|growing| growing.asset.asset_type == *asset_type)
        });
        // After a clock that was set back a timeline begins between two sync samples, and holds what its
        // first pictures need.
        let first = self.newest.filter(|_| self.is_set_back(segment)).map_or(sequence, |newest| newest.sync);
        let mut beginning = Vec::new();
        for (asset_type, _) in missing {
            beginning.push(self.grow(asset_type, segment, first).await?);
        }
        self.beginning = beginning;
        let create =
            |growing: &Growing| Change::CreateAsset(Box::new(NewAsset { asset: growing.asset.clone() }));
        Ok(self.beginning.iter().map(create).collect())
    }

    /// The commit with what [`FeedAssets::begin`] returned succeeded: that of the `sequence`th segment.
    pub(super) fn committed(&mut self, segment: &ClosedSegment, sequence: u64) {
        self.growing.append(&mut self.beginning);
        let before = self.newest_of(segment.run).filter(|_| !segment.starts_with_sync);
        let sync = before.map_or(sequence, |newest| newest.sync);
        let &ClosedSegment { run, media_start_us, media_end_us, wall_offset_us, .. } = segment;
        let span = Span { sequence, run, media_start_us, media_end_us, wall_offset_us };
        self.newest = Some(Newest { span, sync });
    }

    /// The newest stored segment, if it is of this run.
    fn newest_of(&self, run: u32) -> Option<Newest> {
        self.newest.filter(|newest| newest.span.run == run)
    }

    /// What makes durable until when the latest picture was on screen.
    pub(super) fn hold(&self, held: Option<Held>) -> Vec<Change> {
        let held = held.and_then(|held| Some((held, self.newest_of(held.run)?)));
        let Some((held, newest)) = held else { return Vec::new() };
        let growing = self.growing.iter().filter(|growing| growing.run == held.run);
        let until_us = screen::held_until_us(held.until_us, newest.span.media_end_us);
        growing.map(|growing| Change::HoldAsset { id: growing.asset.id, until_us }).collect()
    }

    /// Whether the wall clock was set back just before `segment`.
    fn is_set_back(&self, segment: &ClosedSegment) -> bool {
        let before = self.newest_of(segment.run);
        before.is_some_and(|newest| {
            plan::set_back_us(newest.span.wall_offset_us, segment.wall_offset_us).is_some()
        })
    }

    /// The steps that finish everything, `sequence` segments being stored. `held`: of the latest picture.
    pub(super) async fn finish_all(
        &mut self,
        sequence: u64,
        held: Option<Held>,
    ) -> Result<Vec<Change>, RecorderError> {
        let done = std::mem::take(&mut self.growing);
        self.finish(done, sequence, held).await
    }

    async fn finish(
        &self,
        done: Vec<Growing>,
        sequence: u64,
        held: Option<Held>,
    ) -> Result<Vec<Change>, RecorderError> {
        let Some(last) = sequence.checked_sub(1) else { return Ok(Vec::new()) };
        let mut changes = Vec::new();
        for growing in done {
            let stop_us = held.filter(|held| held.run == growing.run).and_then(|held| {
                let newest = self.newest_of(held.run)?;
                Some(screen::held_until_us(held.until_us, newest.span.media_end_us))
            });
            let part = RecipePart { last: Some(last), stop_us, ..self.part(&growing) };
            changes.push(finish::finish(&self.shared, &growing.asset, vec![part]).await?);
        }
        Ok(changes)
    }

    async fn grow(
        &self,
        asset_type: AssetType,
        segment: &ClosedSegment,
        first: u64,
    ) -> Result<Growing, RecorderError> {
        let created = self.shared.now();
        let feed = &self.new.feed;
        let expiration = match asset_type {
            // A recording's clock starts when it stops.
            AssetType::Recording => None,
            _ => self.shared.database.expiration_rules().await?.expiration(asset_type, created),
        };
        let asset = Asset {
            token: Some(feed.token),
            source_id: feed.source_id.clone(),
            simulcast_id: feed.simulcast_id.clone(),
            priority: feed.priority,
            created,
            expiration,
            ..Asset::new(
                MediaAssetId(Uuid::new_v4()),
                asset_type,
                feed.id,
                feed.stream_name.clone(),
                wall_start(segment),
            )
        };
        let mut growing = Growing { asset, run: segment.run, first, start_us: segment.media_start_us };
        growing.asset.recipe = vec![self.part(&growing)];
        Ok(growing)
    }

    fn part(&self, growing: &Growing) -> RecipePart {
        RecipePart {
            timeline: self.timeline,
            run: growing.run,
            first: growing.first,
            last: None,
            start_us: None,
            stop_us: None,
            late_us: 0,
        }
    }
}

/// Until when the last picture of an asset that ends with `last` was on screen, if that is longer than it tells by
/// itself: until `next` began.
fn held_before(last: &Span, next: &ClosedSegment) -> Option<Held> {
    let until_us = match last.run == next.run {
        true => next.media_start_us,
        false => plan::run_end_us(last, wall_start(next)),
    };
    (until_us > last.media_end_us).then_some(Held { run: last.run, until_us })
}

fn wall_start(segment: &ClosedSegment) -> mediahooks_model::Timestamp {
    mediahooks_model::Timestamp::from_micros(segment.media_start_us.saturating_add(segment.wall_offset_us))
}
