//! Repairs what a crash left, at start; takes up what failed half-way, while running.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use mediahooks_database::{Asset, Change, DatabaseError, Feed, RecipePart, SegmentSpan};
use mediahooks_model::{AssetType, FeedId, Timestamp, chain};
use mediahooks_timeline::plan::{is_clock_set, set_back_us};

use crate::error::RecorderError;
use crate::finish;
use crate::screen;
use crate::state::Shared;

/// How many assets or feeds are dealt with at once, so that the database makes them durable together.
const AT_ONCE: usize = 64;

/// While a picture is on screen, this is noted more often, in microseconds; there may be sound meanwhile.
const HELD_ANEW_US: i64 = 1_500_000;

/// Finishes assets and feeds whose feed is not live here: those of a crashed process, and those whose
/// finishing failed. One that cannot be finished does not keep the others from it.
pub(crate) async fn take_up(shared: &Arc<Shared>) -> Result<(), RecorderError> {
    // A feed is entered before its first row and left after its last, so who is live is asked after
    // each row was read: a feed that begins meanwhile is not taken for one that was left.
    let mut left = shared.database.unfinished_assets().await?;
    left.retain(|asset| !is_attended(shared, asset));
    let mut stopped: HashMap<FeedId, Timestamp> = HashMap::new();
    let finishing = left.into_iter().map(|asset| finish_or_tell(Arc::clone(shared), asset));
    let mut finishing = futures::stream::iter(finishing).buffer_unordered(AT_ONCE);
    while let Some((feed, stop)) = finishing.next().await {
        let Some(stop) = stop else { continue };
        stopped.entry(feed).and_modify(|latest| *latest = stop.max(*latest)).or_insert(stop);
    }
    let mut feeds = shared.database.live_feeds().await?;
    feeds.retain(|feed| shared.live.received(feed.id).is_none());
    let ending = feeds.into_iter().map(|feed| {
        let media_end = stopped.get(&feed.id).copied();
        end_or_tell(Arc::clone(shared), feed, media_end)
    });
    futures::stream::iter(ending).buffer_unordered(AT_ONCE).collect::<()>().await;
    Ok(())
}

async fn finish_or_tell(shared: Arc<Shared>, asset: Asset) -> (FeedId, Option<Timestamp>) {
    let stop = finish_left(&shared, &asset).await.unwrap_or_else(|error| {
        tracing::error!(asset = %asset.id, error = chain(&error), "an asset cannot be finished; trying again later");
        None
    });
    (asset.feed, stop)
}

async fn end_or_tell(shared: Arc<Shared>, feed: Feed, media_end: Option<Timestamp>) {
    if let Err(error) = end(&shared, &feed, media_end).await {
        tracing::error!(feed = %feed.id, error = chain(&error), "a feed cannot be ended; trying again later");
    }
}

/// Whether a task is at work on an unfinished asset: that of its feed, or one that waits for the rest
/// of a clip.
fn is_attended(shared: &Shared, asset: &Asset) -> bool {
    match asset.asset_type {
        AssetType::Clip => shared.attended.has(asset.id),
        _ => shared.live.received(asset.feed).is_some(),
    }
}

/// Finishes an asset with what is stored; returns when its media ends.
async fn finish_left(shared: &Shared, asset: &Asset) -> Result<Option<Timestamp>, RecorderError> {
    let change = match closed(shared, asset).await {
        Ok(recipe) => finish::finish(shared, asset, recipe).await?,
        Err(error) if error.is_damage() => {
            tracing::error!(asset = %asset.id, error = chain(&error), "an asset cannot be finished; run `mediahooks check`");
            finish::failed(shared, asset, finish::DAMAGED).await?
        }
        Err(error) => return Err(error),
    };
    let stop = match &change {
        Change::StepAsset(step) => step.stop_time,
        _ => None,
    };
    match shared.database.commit(vec![change], shared.now()).await {
        // Refused: the one that was at it finished it after all.
        Ok(_) | Err(DatabaseError::Refused(_)) => Ok(stop),
        Err(error) => Err(error.into()),
    }
}

/// The recipe of an unfinished asset with its end filled in, as far as its media has been received. Where
/// the segment that ends a clip's range is there, its clock decides where, as it does for a range that is
/// all there; if the wall clock was set back meanwhile, the clip is of the media that was meant.
pub(crate) async fn closed(shared: &Shared, asset: &Asset) -> Result<Vec<RecipePart>, RecorderError> {
    let is_clip = asset.asset_type == AssetType::Clip;
    let stop = asset.stop_time.filter(|_| is_clip);
    let shows_all = finish::shows_all(asset.cut, asset.target_format);
    let beyond_us = if shows_all { screen::REORDERED_MAX_US } else { 0 };
    let mut recipe = asset.recipe.clone();
    for part in recipe.iter_mut().filter(|part| part.last.is_none()) {
        let mut spans = shared.database.segment_spans(part.timeline, part.first, None).await?;
        screen::correct(&mut spans);
        if !is_clip {
            end_growing(part, &spans);
            continue;
        }
        let planned_us = part.stop_us;
        part.last = Some(part.first);
        let mut clock: Option<MeantClock> = None;
        for (position, span) in spans.iter().enumerate().take_while(|(_, span)| span.run == part.run) {
            let clock = clock.get_or_insert_with(|| MeantClock::new(span.wall_offset_us));
            let first_us = clock.first_us;
            let stop_us = match stop.filter(|_| !clock.is_set_back(span.wall_offset_us)) {
                Some(stop) => Some(stop.as_micros().saturating_sub(span.wall_offset_us)),
                None => planned_us,
            };
            // Where pictures are reordered, one that is shown later may be the first of a segment, or all of it: the
            // next segment can begin before it.
            if stop_us.is_some_and(|stop_us| span.media_start_us >= stop_us) {
                if span.media_start_us < part.stop_us.unwrap_or(i64::MAX).saturating_add(beyond_us) {
                    part.last = Some(span.sequence);
                }
                continue;
            }
            (part.last, part.stop_us) = (Some(span.sequence), stop_us);
            // As a range that is all there is planned.
            let wanted_us = asset.start_time.as_micros().saturating_sub(first_us);
            part.start_us = part.start_us.map(|start_us| start_us.max(wanted_us));
            let after = spans.get(position + 1);
            if let (Some(stop_us), true) = (stop_us, after.is_none_or(|after| after.run != part.run)) {
                let end_us = screen::run_end_us(shared, (asset.feed, part.timeline), span, after).await?;
                part.stop_us = Some(stop_us.min(end_us));
            }
        }
    }
    Ok(recipe)
}

/// The wall clock by which a range was asked for, as differences to the media clock in microseconds. It follows what is
/// corrected little by little, which may be seconds in all, but not a clock that is set.
struct MeantClock {
    first_us: i64,
    latest_us: i64,
    meant_us: i64,
}

impl MeantClock {
    fn new(offset_us: i64) -> Self {
        Self { first_us: offset_us, latest_us: offset_us, meant_us: offset_us }
    }

    /// Whether the clock of the next segment is one that was set back.
    fn is_set_back(&mut self, offset_us: i64) -> bool {
        let before_us = std::mem::replace(&mut self.latest_us, offset_us);
        if !is_clock_set(before_us, offset_us) {
            self.meant_us = self.meant_us.saturating_add(offset_us.saturating_sub(before_us));
        }
        set_back_us(self.meant_us, offset_us).is_some()
    }
}

/// Ends what grew with its feed with the last of `spans`, or when its last picture was known to be on screen last.
fn end_growing(part: &mut RecipePart, spans: &[SegmentSpan]) {
    let last = spans.iter().take_while(|span| span.run == part.run).last();
    part.last = Some(last.map_or(part.first, |last| last.sequence));
    // Pictures that came later ended the time of an earlier one.
    part.stop_us = part.stop_us.zip(last).and_then(|(until_us, last)| {
        let is_of_last = until_us.saturating_add(HELD_ANEW_US) > last.media_start_us;
        is_of_last.then(|| screen::held_until_us(until_us, last.media_end_us))
    });
}

async fn end(shared: &Shared, feed: &Feed, media_end: Option<Timestamp>) -> Result<(), RecorderError> {
    tracing::info!(feed = %feed.id, stream = %feed.stream_name, "ending a feed that was live when the server stopped");
    let at = media_end.unwrap_or_else(|| shared.now()).max(feed.started);
    shared.database.commit(vec![Change::EndFeed { feed: feed.id, at }], shared.now()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use mediahooks_database::Segment;
    use mediahooks_model::{AssetState, MediaAssetId};
    use uuid::Uuid;

    use super::*;
    use crate::check::check;
    use crate::removal::tests::{Bench, timeline};

    async fn reason(bench: &Bench, number: u128) -> String {
        let id = MediaAssetId(Uuid::from_u128(number));
        match bench.shared.database.asset(id).await.unwrap().unwrap().state {
            AssetState::Error { reason } => reason,
            state => panic!("{state:?}"),
        }
    }

    /// Two feeds that were live, the first of which something damaged belongs to.
    async fn take_up_damaged(is_paged: bool) -> Bench {
        let bench = Bench::new().await;
        let shared = &bench.shared;
        for number in [1, 2] {
            bench.unfinished(number).await;
        }
        match is_paged {
            true => {
                for number in [1, 2] {
                    let ended =
                        Change::EndFeed { feed: FeedId(Uuid::from_u128(number)), at: Timestamp::EPOCH };
                    shared.database.commit(vec![ended], shared.now()).await.unwrap();
                }
                bench.damage("segment_page", "fields", 7);
            }
            false => bench.damage("segment_tail", "segments", 5),
        }
        take_up(shared).await.unwrap();
        assert_eq!(shared.database.unfinished_assets().await.unwrap(), []);
        assert_eq!(shared.database.live_feeds().await.unwrap(), []);
        assert_eq!(reason(&bench, 1).await, finish::DAMAGED);
        // It was media of five letters.
        assert_ne!(reason(&bench, 2).await, finish::DAMAGED);
        bench
    }

    /// A second of media each.
    async fn segments(bench: &Bench, offsets_ms: &[i64]) {
        let newest = bench.shared.database.segments(timeline(1), 0, None).await.unwrap().remove(0);
        let segment = |(number, offset_ms): (u64, i64)| Segment {
            sequence: number,
            media_start_us: number.cast_signed() * 1_000_000,
            media_end_us: (number.cast_signed() + 1) * 1_000_000,
            wall_offset_us: offset_ms * 1000,
            ..newest.clone()
        };
        let added = (1..).zip(offsets_ms.iter().copied()).map(segment).map(Change::AddSegment);
        bench.shared.database.commit(added.collect(), Timestamp::EPOCH).await.unwrap();
    }

    #[tokio::test]
    async fn a_clip_ends_by_the_clock_that_was_corrected_little_by_little_and_not_by_one_that_was_set() {
        // What the clock shows of the segments from the second one on, and where 4.5 s of it are on the media clock.
        let cases = [
            ([1200, 800, 400, 0, 0, 0], Some(4_500_000)),
            ([1200, -3000, -3000, -3000, -3000, -3000], Some(3_300_000)),
            // Of what comes last it is known that what came before was late.
            ([1200, -3000, 900, 450, 100, 100], Some(4_399_000)),
        ];
        for (offsets_ms, stop_us) in cases {
            let bench = Bench::new().await;
            bench.unfinished(1).await;
            segments(&bench, &offsets_ms).await;
            let part = RecipePart {
                timeline: timeline(1),
                run: 0,
                first: 1,
                last: None,
                start_us: Some(1_000_000),
                stop_us: Some(3_300_000),
                late_us: 0,
            };
            let clip = Asset {
                asset_type: AssetType::Clip,
                stop_time: Some(Timestamp::from_micros(4_500_000)),
                recipe: vec![part],
                ..bench.shared.database.unfinished_assets().await.unwrap().remove(0)
            };
            let recipe = closed(&bench.shared, &clip).await.unwrap();
            assert_eq!(recipe[0].stop_us, stop_us, "{offsets_ms:?}");
        }
    }

    #[tokio::test]
    async fn an_asset_of_a_damaged_page_fails_and_its_feed_ends() {
        let bench = take_up_damaged(true).await;
        let report = check(&bench.shared.database, &bench.shared.storage, |_, _| {}).await.unwrap();
        assert!(report.problems[0].contains("segments 0 to 0 of timeline"), "{report:?}");
        // It goes on with the other one.
        assert_eq!(report.segments, 1);
    }

    #[tokio::test]
    async fn an_asset_of_a_damaged_slot_fails_and_its_feed_ends() {
        let bench = take_up_damaged(false).await;
        let report = check(&bench.shared.database, &bench.shared.storage, |_, _| {}).await.unwrap();
        assert!(report.problems[0].starts_with("slot 0 "), "{report:?}");
        assert_eq!(report.segments, 1);
    }
}
