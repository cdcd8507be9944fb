//! Feeds, timelines, runs and segments as they are read.

use crate::{ClippableTimeline, Database, Feed, Result, Run, Segment, SegmentSpan, Timeline, TimelineQuery};
use mediahooks_model::{FeedId, TimelineId, Timestamp};

impl Database {
    /// Feeds that have not ended, oldest first.
    pub async fn live_feeds(&self) -> Result<Vec<Feed>> {
        unimplemented!()
    }

    /// The feed of this id.
    pub async fn feed(&self, id: FeedId) -> Result<Option<Feed>> {
        unimplemented!()
    }

    /// The timeline of this id.
    pub async fn timeline(&self, id: TimelineId) -> Result<Option<Timeline>> {
        unimplemented!()
    }

    /// Timeline assets in `processing` or `complete` that clips can be cut from, oldest first.
    pub async fn clippable_timelines(&self, query: TimelineQuery) -> Result<Vec<ClippableTimeline>> {
        unimplemented!()
    }

    /// One run.
    pub async fn run(&self, timeline: TimelineId, number: u32) -> Result<Option<Run>> {
        unimplemented!()
    }

    /// Every run of a timeline, in order.
    pub async fn runs(&self, timeline: TimelineId) -> Result<Vec<Run>> {
        unimplemented!()
    }

    /// Segments `first` to `last` (included; absent: to the newest), in order.
    pub async fn segments(
        &self,
        timeline: TimelineId,
        first: u64,
        last: Option<u64>,
    ) -> Result<Vec<Segment>> {
        unimplemented!()
    }

    /// Segments of any run, or one, that hold media captured in `from..to` (wall clock), in order.
    pub async fn segments_in(
        &self,
        timeline: TimelineId,
        run: Option<u32>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SegmentSpan>> {
        unimplemented!()
    }

    /// The last segment of a run, at `sequence` or before it, that decoding can begin with.
    pub async fn sync_segment_at_or_before(
        &self,
        timeline: TimelineId,
        run: u32,
        sequence: u64,
    ) -> Result<Option<u64>> {
        unimplemented!()
    }

    /// The newest segment of a timeline.
    pub async fn last_segment(&self, timeline: TimelineId) -> Result<Option<Segment>> {
        unimplemented!()
    }
}
