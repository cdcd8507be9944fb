//! Feeds, timelines and segments.

use std::net::IpAddr;

use bytes::Bytes;
use mediahooks_media::sample::TrackConfig;
use mediahooks_model::{FeedId, MediaAssetId, StreamName, TimelineId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use super::asset::RecipePart;

/// One live ingest connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its id.
    pub id: FeedId,
    /// The token it was published with.
    pub token: TokenId,
    /// The stream it contributes to.
    pub stream_name: StreamName,
    /// Which source; absent is the main source.
    pub source_id: Option<String>,
    /// Which quality layer; the empty string differs from absent.
    pub simulcast_id: Option<String>,
    /// Its rank; absent ranks lowest.
    pub priority: Option<i32>,
    /// The bitrate of its pictures that its publisher aims at, in kbit/s, if it told.
    pub target_kbps: Option<u32>,
    /// Where it came from.
    pub remote: IpAddr,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// The stored series of segments of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Its id.
    pub id: TimelineId,
    /// The feed that fills or filled it.
    pub feed: FeedId,
    /// When it was opened.
    pub created: Timestamp,
}

/// A stretch of a timeline without a break: same codecs, no jump of timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub number: u32,
    /// Its tracks, as they are known now. A track that appears late is added at the end, none is ever removed; of
    /// one that is there more can become known, such as its colours.
    pub tracks: Vec<TrackConfig>,
    /// What they were known as before, the oldest first.
    pub earlier: Vec<EarlierTracks>,
}

/// The tracks of a run before more became known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTracks {
    /// The first segment that was stored when more was known.
    pub until: u64,
    /// As [`Run::tracks`].
    pub tracks: Vec<TrackConfig>,
}

impl Run {
    /// The tracks as they were known when the segment `last` was stored: what is made of segments up to it stays
    /// what it is, whatever becomes known later.
    pub fn tracks_at(&self, last: u64) -> &[TrackConfig] {
        let known = self.earlier.iter().find(|earlier| last < earlier.until);
        known.map_or(&self.tracks, |earlier| &earlier.tracks)
    }
}

/// One stored segment: where its bytes are and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub sequence: u64,
    /// The run it belongs to.
    pub run: u32,
    /// The chunk file its bytes lie in, numbered within the timeline.
    pub chunk: u32,
    /// Where in the chunk file it begins, in bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Presentation time of its earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which its latest sample ends, on the same clock.
    pub media_end_us: i64,
    /// Wall clock minus media clock while this segment was received, in microseconds.
    pub wall_offset_us: i64,
    /// Whether its first video sample is a sync sample (always true without video).
    pub starts_with_sync: bool,
    /// The sample table, as `mediahooks_timeline::index` encodes it; opaque here.
    pub index: Bytes,
}

impl Segment {
    /// Wall clock at which its earliest sample was captured.
    pub fn wall_start(&self) -> Timestamp {
        Timestamp::from_micros(self.media_start_us.saturating_add(self.wall_offset_us))
    }

    /// Wall clock at which its latest sample ends.
    pub fn wall_end(&self) -> Timestamp {
        Timestamp::from_micros(self.media_end_us.saturating_add(self.wall_offset_us))
    }
}

/// A [`Segment`] without its sample table: what planning a cut needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSpan {
    /// The timeline.
    pub timeline: TimelineId,
    /// 0, 1, 2 … within the timeline.
    pub sequence: u64,
    /// The run it belongs to.
    pub run: u32,
    /// Presentation time of its earliest sample, in microseconds of the run's media clock.
    pub media_start_us: i64,
    /// Presentation time at which its latest sample ends, on the same clock.
    pub media_end_us: i64,
    /// Wall clock minus media clock while this segment was received, in microseconds.
    pub wall_offset_us: i64,
    /// Whether its first video sample is a sync sample (always true without video).
    pub starts_with_sync: bool,
}

impl SegmentSpan {
    /// Wall clock at which its earliest sample was captured.
    pub fn wall_start(&self) -> Timestamp {
        Timestamp::from_micros(self.media_start_us.saturating_add(self.wall_offset_us))
    }

    /// Wall clock at which its latest sample ends.
    pub fn wall_end(&self) -> Timestamp {
        Timestamp::from_micros(self.media_end_us.saturating_add(self.wall_offset_us))
    }
}

/// Where clips can be cut: a timeline asset with its feed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClippableTimeline {
    /// The timeline asset.
    pub asset: MediaAssetId,
    /// The range of segments it shows (`last` absent while it grows).
    pub part: RecipePart,
    /// The feed that fills or filled it.
    pub feed: Feed,
}

/// Narrowing of [`ClippableTimeline`]s; see the create body of a clip.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimelineQuery {
    /// Exact stream name.
    pub stream_name: String,
    /// The token's number.
    pub token: Option<TokenId>,
    /// Exact source.
    pub source_id: Option<String>,
    /// Omitted: any; `Some(None)`: published without one; `Some(Some(x))`: exactly `x`.
    pub simulcast_id: Option<Option<String>>,
    /// The feed's rank.
    pub priority: Option<i32>,
    /// With media captured before this.
    pub before: Option<Timestamp>,
    /// With media captured after this.
    pub after: Option<Timestamp>,
}

/// Where the bytes of removed segments were, so that they can be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreedRange {
    /// The timeline.
    pub timeline: TimelineId,
    /// The chunk file.
    pub chunk: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What a chunk file has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkExtent {
    /// The timeline.
    pub timeline: TimelineId,
    /// The chunk file.
    pub chunk: u32,
    /// End of its last indexed segment, in bytes.
    pub end: u64,
}
