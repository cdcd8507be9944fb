//! Chooses among the feeds of a stream those that a range is clipped from.
//!
//! Feeds of one camera (layers and backups) compete; separate cameras do not. Of feeds that were
//! live at the same time the best is taken; of a reconnect, whose feeds follow one another, all are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use mediahooks_database::{ClippableTimeline, Feed};
use mediahooks_model::{TimelineId, Timestamp};

/// How a feed ranks among its rivals; the best is the least.
pub(super) type Rank = (Reverse<i64>, Reverse<Quality>, Reverse<Timestamp>);

/// Feeds that overlap by less than this follow one another: a publisher that takes over is there
/// before the one it replaces is gone.
const HANDOVER_US: i64 = 2_000_000;

/// What makes feeds compete: the layer where one is named (the empty name is a name), else the source.
pub(super) type Group = (Option<String>, Option<String>);

/// The group of a feed, or of an asset, of this source and layer.
pub(super) fn group(source_id: Option<&str>, simulcast_id: Option<&str>) -> Group {
    match simulcast_id {
        Some(layer) => (None, Some(layer.to_owned())),
        None => (source_id.map(str::to_owned), None),
    }
}

/// The group of a feed.
pub(super) fn group_of(feed: &Feed) -> Group {
    group(feed.source_id.as_deref(), feed.simulcast_id.as_deref())
}

/// How good the pictures of a timeline are; the greater the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Quality {
    /// Of the largest picture.
    pub pixels: u64,
    /// Steps of about a fifth, so that equal encoders are equal.
    pub bitrate_step: u32,
}

impl Quality {
    /// Of pictures of so many pixels at so many kilobits per second.
    pub(super) fn new(pixels: u64, kbps: u64) -> Self {
        let step = (kbps.max(1) as f64).log2() * 4.0;
        Self { pixels, bitrate_step: step as u32 }
    }
}

/// The timelines of one group that were chosen, each with its parts (a long one is several assets), in
/// order of start.
pub(super) type Chosen = Vec<Vec<ClippableTimeline>>;

/// Sorts what was found by timeline.
pub(super) fn by_timeline(found: Vec<ClippableTimeline>) -> Chosen {
    let mut timelines: BTreeMap<TimelineId, Vec<ClippableTimeline>> = BTreeMap::new();
    for part in found {
        timelines.entry(part.part.timeline).or_default().push(part);
    }
    timelines.into_values().collect()
}

/// Chooses for each group. A timeline whose quality is not known ranks lowest.
pub(super) fn choose(
    mut timelines: Chosen,
    qualities: &HashMap<TimelineId, Quality>,
    start: Timestamp,
    stop: Timestamp,
) -> BTreeMap<Group, Chosen> {
    timelines.sort_by_key(|parts| {
        parts.first().map(|part| rank(&part.feed, qualities.get(&part.part.timeline).copied()))
    });
    let mut chosen: BTreeMap<Group, Chosen> = BTreeMap::new();
    for parts in timelines {
        let Some(feed) = parts.first().map(|part| &part.feed) else { continue };
        let better = chosen.entry(group_of(feed)).or_default();
        let rivals = better.iter().filter_map(|parts| parts.first());
        if !rivals.into_iter().any(|other| overlap_us(&other.feed, feed, start, stop) > HANDOVER_US) {
            better.push(parts);
        }
    }
    for timelines in chosen.values_mut() {
        timelines.sort_by_key(|parts| parts.first().map(|part| part.feed.started));
    }
    chosen
}

/// Best first: highest priority, then best pictures, then most recently started.
pub(super) fn rank(feed: &Feed, quality: Option<Quality>) -> Rank {
    let priority = feed.priority.map_or(i64::MIN, i64::from);
    (Reverse(priority), Reverse(quality.unwrap_or_default()), Reverse(feed.started))
}

/// Of feeds that are live the best, the one that is waited for, comes last.
pub(super) fn live_rank(feed: &Feed) -> (i64, Timestamp) {
    (feed.priority.map_or(i64::MIN, i64::from), feed.started)
}

/// Whether one of two feeds took over from the other: they were not live side by side for long, in all.
pub(super) fn is_handover(a: &Feed, b: &Feed) -> bool {
    let (start, stop) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    overlap_us(a, b, start, stop) <= HANDOVER_US
}

/// For how long two feeds were both live within the range, in microseconds.
fn overlap_us(a: &Feed, b: &Feed, start: Timestamp, stop: Timestamp) -> i64 {
    let from = a.started.max(b.started).max(start);
    let to = a.ended.unwrap_or(stop).min(b.ended.unwrap_or(stop)).min(stop);
    to.micros_since(from)
}

#[cfg(test)]
mod tests {
    use mediahooks_database::RecipePart;
    use mediahooks_model::{FeedId, MediaAssetId, TokenId};
    use uuid::Uuid;

    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn timeline(
        number: u128,
        live: (i64, Option<i64>),
        source: Option<&str>,
        layer: Option<&str>,
        priority: Option<i32>,
    ) -> ClippableTimeline {
        let id = Uuid::from_u128(number);
        ClippableTimeline {
            asset: MediaAssetId(id),
            part: RecipePart {
                timeline: TimelineId(id),
                run: 0,
                first: 0,
                last: None,
                start_us: None,
                stop_us: None,
                late_us: 0,
            },
            feed: Feed {
                id: FeedId(id),
                token: TokenId(1),
                stream_name: "stage".parse().unwrap(),
                source_id: source.map(str::to_owned),
                simulcast_id: layer.map(str::to_owned),
                priority,
                target_kbps: None,
                remote: "127.0.0.1".parse().unwrap(),
                started: at(live.0),
                ended: live.1.map(at),
            },
        }
    }

    fn check_by(qualities: &[(u128, Quality)], found: Vec<ClippableTimeline>, expected: &[u128]) {
        let qualities =
            qualities.iter().map(|(number, quality)| (TimelineId(Uuid::from_u128(*number)), *quality));
        let chosen = choose(by_timeline(found), &qualities.collect(), at(100), at(200));
        let mut numbers: Vec<u128> =
            chosen.values().flatten().map(|parts| parts[0].asset.0.as_u128()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, expected);
    }

    fn check(found: Vec<ClippableTimeline>, expected: &[u128]) {
        check_by(&[], found, expected);
    }

    #[test]
    fn a_reconnect_gives_a_clip_of_each_feed() {
        check(
            vec![timeline(1, (0, Some(120)), None, None, None), timeline(2, (119, None), None, None, None)],
            &[1, 2],
        );
    }

    #[test]
    fn of_backups_the_highest_priority_is_taken_then_the_latest() {
        let backups = |priority| {
            vec![timeline(1, (0, None), None, None, priority), timeline(2, (50, None), None, None, None)]
        };
        check(backups(Some(-3)), &[1]);
        check(backups(None), &[2]);
    }

    #[test]
    fn of_equal_priority_the_best_pictures_are_taken() {
        let layers =
            || vec![timeline(1, (0, None), None, None, None), timeline(2, (50, None), None, None, None)];
        let quality = Quality::new;
        check_by(&[(1, quality(1920 * 1080, 2000)), (2, quality(640 * 360, 9000))], layers(), &[1]);
        check_by(&[(1, quality(640 * 360, 2000)), (2, quality(640 * 360, 900))], layers(), &[1]);
        check_by(&[(1, quality(640 * 360, 2000)), (2, quality(640 * 360, 1990))], layers(), &[2]);
    }

    #[test]
    fn cameras_and_layers_stay_separate() {
        check(
            vec![
                timeline(1, (0, None), Some("left"), None, None),
                timeline(2, (0, None), Some("right"), None, None),
                timeline(3, (0, None), Some("right"), Some(""), None),
                timeline(4, (0, None), Some("right"), Some("hd"), None),
            ],
            &[1, 2, 3, 4],
        );
    }
}
