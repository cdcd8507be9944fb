//! Chooses among the feeds of a stream those that a range is clipped from.
//!
//! Feeds of one camera (layers and backups) compete; separate cameras do not. Of feeds that were
//! live at the same time the best is taken; a reconnect, whose feeds follow one another, gives a clip
//! of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use mediahooks_database::{ClippableTimeline, Feed};
use mediahooks_model::{TimelineId, Timestamp};

/// Feeds that overlap by less than this follow one another: a publisher that takes over is there
/// before the one it replaces is gone.
const HANDOVER_US: i64 = 2_000_000;

/// What makes feeds compete: the layer where one is named (the empty name is a name), else the source.
type Group = (Option<String>, Option<String>);

fn group(feed: &Feed) -> Group {
    match &feed.simulcast_id {
        Some(layer) => (None, Some(layer.clone())),
        None => (feed.source_id.clone(), None),
    }
}

/// The chosen timelines, each with its parts (a long one is several assets), in order of start.
pub(super) fn choose(
    found: Vec<ClippableTimeline>,
    start: Timestamp,
    stop: Timestamp,
) -> Vec<Vec<ClippableTimeline>> {
    let mut timelines: BTreeMap<TimelineId, Vec<ClippableTimeline>> = BTreeMap::new();
    for part in found {
        timelines.entry(part.recipe.timeline).or_default().push(part);
    }
    let mut ranked: Vec<Vec<ClippableTimeline>> = timelines.into_values().collect();
    ranked.sort_by_key(|parts| parts.first().map(|part| rank(&part.feed)));
    let mut chosen: Vec<Vec<ClippableTimeline>> = Vec::new();
    for parts in ranked {
        let Some(feed) = parts.first().map(|part| &part.feed) else { continue };
        let rivals =
            chosen.iter().filter_map(|parts| parts.first()).filter(|other| group(&other.feed) == group(feed));
        if !rivals.into_iter().any(|other| overlap_us(&other.feed, feed, start, stop) > HANDOVER_US) {
            chosen.push(parts);
        }
    }
    chosen.sort_by_key(|parts| parts.first().map(|part| part.feed.started));
    chosen
}

/// Best first: highest priority, then most recently started.
fn rank(feed: &Feed) -> (Reverse<i64>, Reverse<Timestamp>) {
    (Reverse(feed.priority.map_or(i64::MIN, i64::from)), Reverse(feed.started))
}

/// For how long two feeds were both live within the range, in microseconds.
fn overlap_us(a: &Feed, b: &Feed, start: Timestamp, stop: Timestamp) -> i64 {
    let from = a.started.max(b.started).max(start);
    let to = a.ended.unwrap_or(stop).min(b.ended.unwrap_or(stop)).min(stop);
    to.micros_since(from)
}

#[cfg(test)]
mod tests {
    use mediahooks_database::Recipe;
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
            recipe: Recipe {
                timeline: TimelineId(id),
                run: 0,
                first: 0,
                last: None,
                start_us: None,
                stop_us: None,
            },
            feed: Feed {
                id: FeedId(id),
                token: TokenId(1),
                stream_name: "stage".parse().unwrap(),
                source_id: source.map(str::to_owned),
                simulcast_id: layer.map(str::to_owned),
                priority,
                remote: "127.0.0.1".parse().unwrap(),
                started: at(live.0),
                ended: live.1.map(at),
            },
        }
    }

    fn check(found: Vec<ClippableTimeline>, expected: &[u128]) {
        let chosen = choose(found, at(100), at(200));
        let numbers: Vec<u128> = chosen.iter().map(|parts| parts[0].asset.0.as_u128()).collect();
        assert_eq!(numbers, expected);
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
