//! Says why a range holds nothing that can be clipped: what is kept around it, for the one who asked.

use std::fmt;

use mediahooks_database::{Asset, AssetQuery, AssetSort, DatabaseError, Feed};
use mediahooks_model::{AssetStatus, AssetType, StreamName, Timestamp};

use super::ClipRequest;
use crate::state::Shared;

/// Timelines that are read at a time, from the newest on.
const PAGE: u32 = 200;

/// How far from a range, in microseconds, media of a timeline that covers it is looked for: first nearby, where it
/// mostly is, for a timeline has many segments.
const AROUND_US: [i64; 2] = [600_000_000, 400_000_000_000];

/// Why nothing can be clipped. The texts are for the API's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Nothing is kept of a stream of this name, and none is live.
    UnknownStream {
        /// Which was asked for.
        stream_name: StreamName,
    },
    /// The stream is live or has recordings or clips, but no timeline.
    NoTimeline {
        /// Which was asked for.
        stream_name: StreamName,
    },
    /// It has timelines, but of other sources.
    NoSuchSource {
        /// Which was asked for.
        stream_name: StreamName,
    },
    /// The range ends before what is kept.
    Before {
        /// When that begins.
        oldest: Timestamp,
    },
    /// The range lies in a gap.
    Between {
        /// When the media before it ends.
        end: Timestamp,
        /// When the media after it begins.
        begin: Timestamp,
    },
    /// The range begins after the end of what was received.
    After {
        /// When that ends.
        end: Timestamp,
        /// Whether more of it comes.
        is_live: bool,
    },
    /// The media has been removed meanwhile.
    Removed,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStream { stream_name } => write!(
                f,
                "nothing is kept of a stream `{stream_name}`, and nobody publishes it: look at the name"
            ),
            Self::NoTimeline { stream_name } => write!(
                f,
                "nothing that can be clipped is kept of the stream `{stream_name}`: the token was without `clip` when the broadcast began, or its timelines have been removed"
            ),
            Self::NoSuchSource { stream_name } => write!(
                f,
                "the stream `{stream_name}` has timelines, but none of the tokenId, sourceId, simulcastId and priority that were asked for"
            ),
            Self::Before { oldest } => {
                write!(f, "the range ends before what is kept, which begins at {oldest}")
            }
            Self::Between { end, begin } => write!(
                f,
                "nothing was received in the range: the media before it ends at {end}, the media after it begins at {begin}"
            ),
            Self::After { end, is_live: true } => write!(
                f,
                "the range begins after what has been received, which ends at {end}: the stream is live, and with a stopTime the clip waits for the rest"
            ),
            Self::After { end, is_live: false } => {
                write!(
                    f,
                    "the range begins after what was received, which ends at {end}, and nobody publishes the stream"
                )
            }
            Self::Removed => write!(f, "the media has just been removed"),
        }
    }
}

/// Finds out why a range that ends at `stop` holds nothing.
pub(super) async fn explain(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
) -> Result<Absence, DatabaseError> {
    let live = shared.live.clippable().into_iter().filter(|(feed, _)| request.wants(feed));
    let come_to = live.filter_map(|(_, received)| Some(received?.until)).max();
    let stream_name = request.stream_name.clone();
    let nearest = nearest(shared, request, stop).await?;
    let end = nearest.end.max(come_to.filter(|end| *end <= request.start));
    Ok(match (end, nearest.begin) {
        (Some(end), Some(begin)) => Absence::Between { end, begin },
        (Some(end), None) => Absence::After { end, is_live: come_to.is_some() },
        (None, Some(oldest)) => Absence::Before { oldest },
        (None, None) if nearest.has_others => Absence::NoSuchSource { stream_name },
        (None, None) if is_known(shared, request).await? => Absence::NoTimeline { stream_name },
        (None, None) => Absence::UnknownStream { stream_name },
    })
}

/// Whether anything is kept of the stream, or it is live.
async fn is_known(shared: &Shared, request: &ClipRequest) -> Result<bool, DatabaseError> {
    let of_stream = |feed: &Feed| feed.stream_name == request.stream_name;
    let query =
        AssetQuery { stream_name: Some(request.stream_name.to_string()), limit: 1, ..AssetQuery::default() };
    Ok(shared.live.feeds().iter().any(of_stream) || !shared.database.assets(query).await?.is_empty())
}

/// What is kept around a range.
#[derive(Default)]
struct Nearest {
    /// When the media before it ends.
    end: Option<Timestamp>,
    /// When the media after it begins.
    begin: Option<Timestamp>,
    /// Whether there are timelines of the stream that are not wanted.
    has_others: bool,
}

async fn nearest(shared: &Shared, request: &ClipRequest, stop: Timestamp) -> Result<Nearest, DatabaseError> {
    let (mut nearest, mut after) = (Nearest::default(), None);
    loop {
        let query = AssetQuery {
            types: vec![AssetType::Timeline],
            statuses: vec![AssetStatus::Processing, AssetStatus::Complete],
            stream_name: Some(request.stream_name.to_string()),
            sort: AssetSort::StartTime,
            desc: true,
            after,
            limit: PAGE,
            ..AssetQuery::default()
        };
        let found = shared.database.assets(query).await?;
        for timeline in &found {
            if is_wanted(request, timeline) {
                nearest.take(shared, request, stop, timeline).await?;
            } else {
                nearest.has_others = true;
            }
        }
        // Those on the pages behind it began earlier, and most of them ended earlier.
        after = found.last().map(|timeline| (timeline.start_time, timeline.id));
        if nearest.end.is_some() || found.len() < PAGE as usize {
            return Ok(nearest);
        }
    }
}

impl Nearest {
    async fn take(
        &mut self,
        shared: &Shared,
        request: &ClipRequest,
        stop: Timestamp,
        timeline: &Asset,
    ) -> Result<(), DatabaseError> {
        let mut note = |end: Option<Timestamp>, begin: Option<Timestamp>| {
            self.end = self.end.max(end);
            self.begin = self.begin.into_iter().chain(begin).min();
        };
        if timeline.start_time >= stop {
            note(None, Some(timeline.start_time));
        } else if timeline.stop_time.is_some_and(|end| end <= request.start) {
            note(timeline.stop_time, None);
        } else if let Some(part) = timeline.recipe.first() {
            // It covers the range with a gap of its own.
            let (start, beside) = (request.start, (None, None));
            for around_us in AROUND_US {
                let range = (start.plus_micros(-around_us), stop.plus_micros(around_us));
                let database = &shared.database;
                let (before, after): (Option<Timestamp>, Option<Timestamp>) = database
                    .fold_segments_in(part.timeline, None, range, beside, move |(before, after), span| {
                        *before = Some(span.wall_end()).filter(|end| *end <= start).max(*before);
                        *after = after.or(Some(span.wall_start()).filter(|begin| *begin >= stop));
                    })
                    .await?;
                note(before, after);
                if before.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Whether a timeline is one of those that were asked for.
fn is_wanted(request: &ClipRequest, timeline: &Asset) -> bool {
    request.token.is_none_or(|token| timeline.token == Some(token))
        && request.source_id.as_ref().is_none_or(|id| timeline.source_id.as_ref() == Some(id))
        && request.simulcast_id.as_ref().is_none_or(|id| timeline.simulcast_id == *id)
        && request.priority.is_none_or(|priority| timeline.priority == Some(priority))
}
