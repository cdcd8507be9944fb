use std::time::Duration;

use mediahooks_database::{
    Change, EventCursor, EventFilter, EventGap, EventPage, EventStart, KeptReply, Pruned, Retention, Settled,
};
use mediahooks_model::AssetInput;
use mediahooks_model::webhook::PreviousSecret;

use crate::support::*;

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn what_is_old_and_over_goes_and_the_rest_stays() {
    let (fresh, id) = Fresh::with_webhook().await;
    let reply = |key: &str, ms| {
        Change::KeepReply(KeptReply {
            key: key.into(),
            fingerprint: vec![],
            reply: String::new(),
            created: at(ms),
        })
    };
    let mut changes = vec![clip(1), clip(2), clip(3), step(3, fail()), step(3, AssetInput::Delete)];
    changes.extend([reply("old", 0), reply("young", 30 * DAY_MS)]);
    // Ended feeds with media, with a timeline that never got any, without one; and a live one.
    changes.extend(timeline_with(1, 1));
    changes.extend(timeline_with(4, 0));
    changes.extend([2, 3].map(|n| Change::StartFeed(feed(n))));
    changes.extend([1, 2, 4].map(|n| Change::EndFeed { feed: feed_id(n), at: at(1) }));
    fresh.db.commit(changes, at(0)).await.unwrap();
    fresh.db.remove_asset(asset_id(3), at(1)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    fresh.settle(&claimed[0], Settled::Delivered, at(2)).await;
    fresh.settle(&claimed[1], Settled::Exhausted, at(30 * DAY_MS)).await;

    let pruned =
        fresh.db.prune(at(30 * DAY_MS), Retention { batch: 1, ..Retention::default() }).await.unwrap();
    assert_eq!(pruned, Pruned { kept_replies: 1, ..Pruned::default() }, "30 days are not over yet");
    let now = at(30 * DAY_MS + 3);
    let pruned = fresh.db.prune(now, Retention { batch: 1, ..Retention::default() }).await.unwrap();
    assert_eq!(
        pruned,
        Pruned { kept_replies: 0, deliveries: 1, replays: 0, events: 1, timelines: 1, feeds: 2, assets: 1 }
    );

    let log = fresh.db.deliveries(id, None, 100).await.unwrap();
    assert!(log.iter().all(|line| line.id != claimed[0].id));
    assert!(log.iter().any(|line| line.id == claimed[1].id), "settled a moment ago");
    assert!(fresh.db.kept_reply("young").await.unwrap().is_some());
    assert!(fresh.db.feed(feed_id(1)).await.unwrap().is_some());
    assert!(fresh.db.feed(feed_id(2)).await.unwrap().is_none());
    assert!(fresh.db.feed(feed_id(4)).await.unwrap().is_none());
    assert!(fresh.db.feed(feed_id(3)).await.unwrap().is_some());
    assert!(fresh.db.asset(asset_id(3)).await.unwrap().is_none());
    assert!(fresh.db.asset(asset_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn events_nobody_wanted_go_by_age_too() {
    let fresh = Fresh::open().await;
    fresh.db.commit((0..7).map(clip).collect(), at(0)).await.unwrap();
    let retention = Retention { history: Duration::from_secs(1), batch: 3, ..Retention::default() };
    assert_eq!(fresh.db.prune(at(1000), retention).await.unwrap().events, 0);
    assert_eq!(fresh.db.prune(at(1001), retention).await.unwrap().events, 7);
}

#[tokio::test]
async fn what_a_removal_that_broke_off_left_behind_goes() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail()), clip(2)], at(0)).await.unwrap();
    tokio::select! {
        biased;
        _ = fresh.db.delete_webhook(id) => {}
        // The caller goes away after the first step of the removal was queued.
        _ = std::future::ready(()) => {}
    }
    fresh.db.ping().await.unwrap();
    assert_eq!(fresh.db.webhook(id).await.unwrap(), None);
    assert_eq!(fresh.claim(at(1)).await, []);
    fresh.db.prune(at(1), Retention::default()).await.unwrap();
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn followers_never_read_across_what_was_forgotten() {
    let fresh = Fresh::open().await;
    let day = |n: i64| at(n * DAY_MS);
    let events = async |start| fresh.db.events(start, &EventFilter::default(), 9).await.unwrap();
    let cursors = |page: EventPage| page.events.iter().map(|event| event.cursor.0).collect::<Vec<_>>();
    fresh.db.commit(vec![clip(1)], day(0)).await.unwrap();
    fresh.db.commit(vec![clip(2)], day(20)).await.unwrap();
    // The clock was wrong for a while: an old time above a young one.
    fresh.db.commit(vec![clip(3)], day(1)).await.unwrap();
    let all = events(EventStart::Oldest).await.unwrap();
    assert_eq!(all.next, EventCursor(3));
    assert_eq!(cursors(all), [1, 2, 3]);

    let pruned = fresh.db.prune(day(40), Retention::default()).await.unwrap();
    assert_eq!(pruned.events, 1, "what is above the horizon is kept, however old it says it is");
    let gap = events(EventStart::After(EventCursor(0))).await.unwrap_err();
    assert_eq!(gap, EventGap::Forgotten { oldest: EventCursor(1) });
    assert_eq!(cursors(events(EventStart::After(EventCursor(1))).await.unwrap()), [2, 3]);
    assert_eq!(cursors(events(EventStart::Oldest).await.unwrap()), [2, 3]);

    fresh.db.prune(day(60), Retention::default()).await.unwrap();
    let latest = events(EventStart::Latest).await.unwrap();
    assert_eq!((latest.next, latest.more), (EventCursor(3), false));
    let ahead = events(EventStart::After(EventCursor(4))).await.unwrap_err();
    assert_eq!(ahead, EventGap::NeverGiven { latest: EventCursor(3) });
    fresh.db.commit(vec![clip(4)], day(60)).await.unwrap();
    assert_eq!(cursors(events(EventStart::After(EventCursor(3))).await.unwrap()), [4]);
}

#[tokio::test]
async fn others_write_between_the_batches() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit((0..400).map(clip).collect(), at(0)).await.unwrap();
    // Four attempts each.
    for attempt in 0..4 {
        let claimed =
            fresh.db.claim_deliveries("me", at(attempt), MINUTE, |_, _| room(1000), 1000).await.unwrap();
        assert_eq!(claimed.len(), 400);
        let settled = if attempt < 3 { Settled::Retry { at: at(attempt + 1) } } else { Settled::Exhausted };
        let settlements = claimed.iter().map(|one| settlement(one, settled.clone())).collect();
        fresh.db.settle(settlements, vec![], "me", at(attempt)).await.unwrap();
    }
    let before = fresh.db.stats().transactions;
    let retention = Retention { history: Duration::from_secs(1), batch: 50, ..Retention::default() };
    let mut pruning = std::pin::pin!(fresh.db.prune(at(9999), retention));
    let mut written = 0;
    let pruned = loop {
        tokio::select! {
            biased;
            ping = fresh.db.ping() => {
                ping.unwrap();
                written += 1;
            }
            pruned = &mut pruning => break pruned.unwrap(),
        }
    };
    assert_eq!((pruned.deliveries, pruned.events), (400, 400));
    // Ten deliveries with their attempts, or 50 events, at a time.
    assert!(fresh.db.stats().transactions - before >= 40 + 8, "{:?}", fresh.db.stats());
    assert!(written >= 10, "{written} others");
}

#[tokio::test]
async fn what_is_owed_stays_however_old_it_is() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail())], at(0)).await.unwrap();
    let pruned = fresh.db.prune(at(400 * DAY_MS), Retention::default()).await.unwrap();
    assert_eq!((pruned.deliveries, pruned.events), (0, 0));
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_secret_whose_time_is_over_is_not_kept() {
    let (fresh, id) = Fresh::with_webhook().await;
    let previous = PreviousSecret { secret: "b2xk".into(), until: at(10) };
    fresh.change(id, at(0), |webhook| webhook.previous_secret = Some(previous)).await;
    let is_kept = async || fresh.db.webhook(id).await.unwrap().unwrap().previous_secret.is_some();
    fresh.db.prune(at(9), Retention::default()).await.unwrap();
    assert!(is_kept().await);
    fresh.db.prune(at(10), Retention::default()).await.unwrap();
    assert!(!is_kept().await);
}
