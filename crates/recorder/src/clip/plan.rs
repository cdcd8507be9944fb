//! Finds the stretches of media that a range holds, source by source, and which of them are one asset.

use std::collections::{BTreeMap, HashMap};

use mediahooks_database::{ClippableTimeline, DatabaseError, Feed, RecipePart, SegmentSpan, TimelineQuery};
use mediahooks_media::sample::TrackConfig;
use mediahooks_media::webm;
use mediahooks_model::{FeedId, Gap, TimelineId, Timestamp};
use mediahooks_timeline::hindsight;
use mediahooks_timeline::movie::{break_between, can_join};
use mediahooks_timeline::plan::{Planner, RunRange, Span};

use super::choose::{self, Chosen, Group, Quality, Rank};
use super::{ClipRequest, SKEW_MAX};
use crate::finish;
use crate::screen::{self, span_of};
use crate::state::Shared;

/// More segments than this after a range are not looked at: there are a few in a second, but for a clip that was asked for
/// while it was received, which makes one.
const FOLLOWING_MAX: u64 = 64;

/// What a range holds of one run.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub feed: Feed,
    pub part: RecipePart,
    rank: Rank,
    tracks: Vec<TrackConfig>,
    wall_start: Timestamp,
    wall_end: Timestamp,
    /// Wall clock minus media clock at its end, in microseconds.
    offset_us: i64,
    /// Media of its range may still come.
    pub is_growing: bool,
    /// The range's end in microseconds of the run's media clock, however much of it is there.
    pub stop_us: i64,
    /// Its last picture was on screen for longer than it tells by itself.
    is_held: bool,
}

impl Stretch {
    /// Shows nothing from `wall_end` on.
    fn end_at(&mut self, wall_end: Timestamp) {
        let stop_us = wall_end.as_micros().saturating_sub(self.offset_us);
        self.part.stop_us = Some(self.part.stop_us.map_or(stop_us, |own| own.min(stop_us)));
        self.wall_end = wall_end;
    }
}

/// Stretches that become one asset.
#[derive(Debug, Clone)]
pub(super) struct PlannedClip {
    /// Never empty.
    pub stretches: Vec<Stretch>,
}

impl PlannedClip {
    /// What the asset is made of.
    pub(super) fn recipe(&self) -> Vec<RecipePart> {
        self.stretches.iter().map(|stretch| stretch.part.clone()).collect()
    }

    /// The feed of its beginning.
    pub(super) fn feed(&self) -> Option<&Feed> {
        self.stretches.first().map(|stretch| &stretch.feed)
    }

    /// Whether media of its range may still come.
    pub(super) fn is_growing(&self) -> bool {
        self.stretches.iter().any(|stretch| stretch.is_growing)
    }
}

/// Finds the stretches of every group, in order of time.
pub(super) async fn stretches(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
) -> Result<BTreeMap<Group, Vec<Stretch>>, DatabaseError> {
    let query = TimelineQuery {
        stream_name: request.stream_name.to_string(),
        token: request.token,
        source_id: request.source_id.clone(),
        simulcast_id: request.simulcast_id.clone(),
        priority: request.priority,
        // What is kept begins earlier than it says where its first times are late.
        before: Some(stop.plus_micros(hindsight::REACH_US)),
        after: Some(request.start),
    };
    // What has been received is stored now, so that it need not be waited for; also the first of a feed or a run,
    // which makes its timeline.
    let stored = store_received(shared, request, stop).await;
    let timelines = choose::by_timeline(shared.database.clippable_timelines(query).await?);
    let qualities = qualities(shared, &timelines, request.start, stop).await?;
    let mut found = BTreeMap::new();
    for (group, timelines) in choose::choose(timelines, &qualities, request.start, stop) {
        let mut stretches = Vec::new();
        for timeline in &timelines {
            let Some(first) = timeline.first() else { continue };
            let stored_until = match stored.get(&first.feed.id) {
                Some(until) => *until,
                // It began since, or is over.
                None => store(shared, request, first.feed.id, stop).await,
            };
            let rank = choose::rank(&first.feed, qualities.get(&first.part.timeline).copied());
            stretches.extend(in_timeline(shared, request, stop, (timeline, rank), stored_until).await?);
        }
        trim_overlaps(&mut stretches);
        if !stretches.is_empty() {
            found.insert(group, stretches);
        }
    }
    Ok(found)
}

/// Has what the live feeds have received stored, and tells up to when each has; `None` for one that is over.
async fn store_received(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
) -> HashMap<FeedId, Option<Timestamp>> {
    let wanted = shared.live.clippable().into_iter().map(|(feed, _)| feed);
    let wanted = wanted.filter(|feed| request.wants(feed) && feed.started < stop);
    let stored = wanted.map(async |feed| (feed.id, store(shared, request, feed.id, stop).await));
    futures::future::join_all(stored).await.into_iter().collect()
}

/// Has what a feed has received stored, and tells up to when clips are whole; `None` when it is over.
async fn store(shared: &Shared, request: &ClipRequest, feed: FeedId, stop: Timestamp) -> Option<Timestamp> {
    let received = shared.live.received(feed).and_then(|received| *received.borrow());
    let beyond_us = received.map_or(0, |received| request.beyond_us(&received));
    let until = shared.live.flush(feed, stop.plus_micros(beyond_us)).await?;
    Some(until.plus_micros(-beyond_us))
}

/// The qualities of timelines that compete.
async fn qualities(
    shared: &Shared,
    timelines: &Chosen,
    start: Timestamp,
    stop: Timestamp,
) -> Result<HashMap<TimelineId, Quality>, DatabaseError> {
    let mut sizes: HashMap<Group, usize> = HashMap::new();
    let firsts = || timelines.iter().filter_map(|parts| parts.first());
    for part in firsts() {
        *sizes.entry(choose::group_of(&part.feed)).or_default() += 1;
    }
    let mut qualities = HashMap::new();
    for part in firsts().filter(|part| sizes.get(&choose::group_of(&part.feed)).is_some_and(|&n| n > 1)) {
        let timeline = part.part.timeline;
        let runs = shared.database.runs(timeline).await?;
        let pictures = runs.iter().flat_map(|run| &run.tracks).filter_map(|track| track.codec.dimensions());
        let pixels = pictures.map(|(width, height)| u64::from(width) * u64::from(height)).max();
        let kbps = match part.feed.target_kbps {
            Some(kbps) => u64::from(kbps),
            None => shared.database.mean_kbps(timeline, start, stop).await?,
        };
        qualities.insert(timeline, Quality::new(pixels.unwrap_or(0), kbps));
    }
    Ok(qualities)
}

/// Finds the segments of a range, and some before it, one of which is on screen when it begins. Their times are corrected
/// by those behind the range, which may be among them.
async fn find(
    shared: &Shared,
    timeline: &[ClippableTimeline],
    id: TimelineId,
    (start, stop): (Timestamp, Timestamp),
) -> Result<Vec<SegmentSpan>, DatabaseError> {
    let shown: Vec<(u64, u64)> =
        timeline.iter().map(|part| (part.part.first, part.part.last.unwrap_or(u64::MAX))).collect();
    let mut found = Vec::new();
    for reach_us in screen::REACHES_US {
        let from = start.plus_micros(-reach_us);
        let behind = stop.plus_micros(hindsight::REACH_US);
        found = match shared.database.segments_in(id, None, from, behind).await {
            // What is behind the range is of no need.
            Err(DatabaseError::Corrupt { .. }) => shared.database.segments_in(id, None, from, stop).await?,
            found => found?,
        };
        // Also by those that no asset shows any more.
        screen::correct(&mut found);
        found
            .retain(|segment| shown.iter().any(|(first, last)| (*first..=*last).contains(&segment.sequence)));
        // What is on screen when the range begins must be among it.
        let is_whole = |begin: &SegmentSpan| {
            shown.iter().any(|(first, _)| *first == begin.sequence) || begin.wall_start() <= start
        };
        if found.first().is_some_and(is_whole) {
            break;
        }
    }
    Ok(found)
}

async fn in_timeline(
    shared: &Shared,
    request: &ClipRequest,
    stop: Timestamp,
    (timeline, rank): (&[ClippableTimeline], Rank),
    stored_until: Option<Timestamp>,
) -> Result<Vec<Stretch>, DatabaseError> {
    let Some(first) = timeline.first() else { return Ok(Vec::new()) };
    let id = first.part.timeline;
    let found = find(shared, timeline, id, (request.start, stop)).await?;
    let is_before_end = |segment: &SegmentSpan| segment.wall_start() < stop;
    let (found, behind) = found.split_at(found.iter().rposition(is_before_end).map_or(0, |last| last + 1));
    let mut planner = Planner::new(request.start, stop);
    // First and last segment of each run.
    let mut ends: HashMap<u32, (Span, Span)> = HashMap::new();
    for span in found.iter().map(span_of) {
        planner.push(&span);
        ends.entry(span.run).or_insert((span, span)).1 = span;
    }
    let mut run_end_us = None;
    if let Some(last) = found.last() {
        match segment_after(shared, last, behind).await? {
            Some(after) => planner.push(&span_of(&after)),
            // A feed that is live shows its last picture until another one comes, unless the range is far ahead.
            None if stored_until.is_some() && request.start < request.received.plus(SKEW_MAX) => {
                run_end_us = Some(i64::MAX);
            }
            None => {
                let end_us = screen::run_end_us(shared, (first.feed.id, id), last, None);
                run_end_us = Some(end_us.await?);
            }
        }
    }
    let ranges = planner.finish(run_end_us);
    let mut stretches = Vec::new();
    for (position, range) in ranges.iter().enumerate() {
        let is_last = position + 1 == ranges.len();
        let missing = is_last && stored_until.is_some_and(|until| until < stop);
        let floor = timeline.iter().map(|part| part.part.first).filter(|first| *first <= range.first).max();
        let mut part = part(shared, id, range, floor.unwrap_or(range.first)).await?;
        if finish::shows_all(request.cut, request.target_format) {
            part.last = Some(last_needed(shared, id, range).await?);
        }
        let Some((opening, closing)) = ends.get(&range.run) else { continue };
        let run_end_us = range.run_end_us.filter(|end_us| *end_us != i64::MAX);
        let end_us = run_end_us.unwrap_or(closing.media_end_us);
        let is_growing = missing && request.stop.is_some();
        if let (true, Some(until)) = (missing, stored_until) {
            // As far as it is known to be all that was captured. "Up to now" is no more than that.
            let until_us = part.stop_us.map(|stop_us| stop_us.saturating_sub(stop.micros_since(until)));
            part.stop_us = if is_growing { until_us.max(Some(end_us)).min(part.stop_us) } else { until_us };
        }
        let Some(run) = shared.database.run(id, range.run).await? else { continue };
        let wall =
            |media_us: i64, span: &Span| Timestamp::from_micros(media_us.saturating_add(span.wall_offset_us));
        stretches.push(Stretch {
            feed: first.feed.clone(),
            part,
            rank,
            tracks: run.tracks,
            wall_start: wall(opening.media_start_us, opening).max(request.start),
            wall_end: wall(end_us, closing).min(stop),
            offset_us: closing.wall_offset_us,
            is_growing,
            stop_us: range.stop_us,
            is_held: end_us > closing.media_end_us,
        });
    }
    Ok(stretches)
}

/// The segment that follows one, if there is one; `behind` are some that come later.
async fn segment_after(
    shared: &Shared,
    segment: &SegmentSpan,
    behind: &[SegmentSpan],
) -> Result<Option<SegmentSpan>, DatabaseError> {
    let next = segment.sequence.saturating_add(1);
    if let Some(after) = behind.first().filter(|after| after.sequence == next) {
        return Ok(Some(*after));
    }
    Ok(shared.database.segment_spans(segment.timeline, next, Some(next)).await?.first().copied())
}

/// What a planned range is made of: from a segment that decoding can begin with, but nothing before
/// `floor`, where the timeline asset begins. Of a segment that itself begins so, the group before is
/// taken along: its first pictures may be shown before its sync sample and refer to that group. What
/// turns out not to be needed is left out when the file is laid out.
async fn part(
    shared: &Shared,
    timeline: TimelineId,
    range: &RunRange,
    floor: u64,
) -> Result<RecipePart, DatabaseError> {
    let database = &shared.database;
    let mut first =
        database.sync_segment_at_or_before(timeline, range.run, range.first).await?.unwrap_or(range.first);
    if first == range.first && first > floor {
        first = database.sync_segment_at_or_before(timeline, range.run, first - 1).await?.unwrap_or(first);
    }
    Ok(RecipePart {
        timeline,
        run: range.run,
        first: first.max(floor.min(range.first)),
        last: Some(range.last),
        start_us: Some(range.start_us),
        stop_us: Some(range.stop_us),
        late_us: 0,
    })
}

/// The last segment that may have a picture which is shown before another one that is decoded in a range. What turns out
/// not to be needed is left out.
async fn last_needed(shared: &Shared, timeline: TimelineId, range: &RunRange) -> Result<u64, DatabaseError> {
    let (from, most) = (range.last.saturating_add(1), range.last.saturating_add(FOLLOWING_MAX));
    let following = shared.database.segment_spans(timeline, from, Some(most)).await?;
    let is_near = |segment: &&SegmentSpan| {
        segment.run == range.run
            && segment.media_start_us < range.stop_us.saturating_add(screen::REORDERED_MAX_US)
    };
    Ok(following.iter().take_while(is_near).last().map_or(range.last, |segment| segment.sequence))
}

/// What is left of a stretch that others overlap has to be so long, in microseconds: their times are known no better.
const LEFT_MIN_US: i64 = 10_000;

/// Lets one stretch count where several overlap: where one publisher was there before the other was gone, what the second
/// sent. One that was only there beside a better one counts for nothing.
fn trim_overlaps(stretches: &mut Vec<Stretch>) {
    let mut is_trimmed = vec![false; stretches.len()];
    for later in 1..stretches.len() {
        let (earlier, rest) = stretches.split_at_mut(later);
        let Some(after) = rest.first_mut() else { continue };
        for (number, before) in earlier.iter_mut().enumerate() {
            let overlaps = after.wall_start < before.wall_end && before.wall_start < after.wall_end;
            if !overlaps || before.part.timeline == after.part.timeline {
                continue;
            }
            let is_backup = before.rank < after.rank && !choose::is_handover(&before.feed, &after.feed);
            let goes_on = before.feed.ended.is_none() || after.wall_end <= before.wall_end;
            if is_backup && goes_on {
                after.end_at(after.wall_start);
                is_trimmed[later] = true;
            } else {
                before.end_at(after.wall_start);
                is_trimmed[number] = true;
            }
        }
    }
    let mut is_trimmed = is_trimmed.into_iter();
    stretches.retain(|stretch| {
        !is_trimmed.next().unwrap_or(false)
            || stretch.wall_end.micros_since(stretch.wall_start) >= LEFT_MIN_US
    });
}

/// The gaps between stretches of one source.
pub(super) fn gaps(stretches: &[Stretch]) -> Vec<Gap> {
    let between = |pair: &[Stretch]| {
        let [before, after] = pair else { return None };
        Some(Gap {
            start_time: before.wall_end,
            stop_time: after.wall_start.max(before.wall_end),
            duration_ms: u64::try_from(after.wall_start.micros_since(before.wall_end).max(0) / 1000).ok()?,
            reason: break_between(
                (before.part.timeline, &before.tracks),
                (after.part.timeline, &after.tracks),
            ),
        })
    };
    stretches.windows(2).filter_map(between).collect()
}

/// The name of a codec among them that WebM has not.
pub(super) fn not_in_webm(stretches: &[Stretch]) -> Option<&'static str> {
    let mut tracks = stretches.iter().flat_map(|stretch| &stretch.tracks);
    tracks.find(|track| !webm::holds(&track.codec)).map(|track| track.codec.name())
}

/// Puts the stretches of one source into assets: each into one of its own, or as many into one as a player
/// can show one after the other.
pub(super) fn into_clips(stretches: Vec<Stretch>, join: bool) -> Vec<PlannedClip> {
    let mut clips: Vec<PlannedClip> = Vec::new();
    for mut stretch in stretches {
        let open = clips.last_mut().filter(|_| join);
        let fits =
            open.filter(|clip| clip.stretches.iter().all(|before| can_join(&before.tracks, &stretch.tracks)));
        match fits {
            Some(clip) => {
                // Inside of the asset everything is shown.
                if let Some(before) = clip.stretches.last_mut()
                    && before.wall_end < stretch.wall_start
                    && !before.is_held
                {
                    before.part.stop_us = None;
                }
                stretch.part.start_us = None;
                clip.stretches.push(stretch);
            }
            None => clips.push(PlannedClip { stretches: vec![stretch] }),
        }
    }
    clips
}
