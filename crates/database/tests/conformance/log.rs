use mediahooks_database::{Change, DeliveryQuery, DeliveryState, Settled};
use mediahooks_model::{AssetInput, DeliveryId, EventKind, FeedEvent, MediaEvent};

use crate::support::*;

/// Numbers of what a question finds, with where to go on.
async fn ask(fresh: &Fresh, query: DeliveryQuery) -> (Vec<i64>, Option<DeliveryId>) {
    let page = fresh.db.delivery_log(query).await.unwrap();
    (page.deliveries.iter().map(|delivery| delivery.id.0).collect(), page.next)
}

/// Two webhooks; what the first one is owed has odd numbers: a feed (1), two clips (3, 5), which fail (7) and
/// complete (9); the first is deleted (11). Times are 0, 10, 10, 20, 20, 30.
async fn two_webhooks() -> Fresh {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.create_webhook(webhook("https://b.example/")).await.unwrap();
    fresh.db.commit(vec![Change::StartFeed(feed(1))], at(0)).await.unwrap();
    fresh.db.commit(vec![clip(1), clip(2)], at(10)).await.unwrap();
    fresh.db.commit(vec![step(1, fail()), step(2, finish())], at(20)).await.unwrap();
    fresh.db.commit(vec![step(1, AssetInput::Delete)], at(30)).await.unwrap();
    fresh
}

#[tokio::test]
async fn every_member_of_a_question_narrows() {
    let fresh = two_webhooks().await;
    let webhook = fresh.db.webhooks(None, 1, false).await.unwrap()[0].id;
    let of_first = DeliveryQuery { webhook: Some(webhook), ..DeliveryQuery::default() };
    let all = DeliveryQuery::default();
    let of_clip = DeliveryQuery { subject: Some(asset_id(1).to_string()), ..DeliveryQuery::default() };
    let found = async |query: DeliveryQuery| ask(&fresh, query).await.0;

    assert_eq!(found(all.clone()).await, (1..=12).rev().collect::<Vec<_>>());
    assert_eq!(found(of_first.clone()).await, [11, 9, 7, 5, 3, 1]);
    assert_eq!(found(of_clip.clone()).await, [12, 11, 8, 7, 4, 3]);
    assert_eq!(found(DeliveryQuery { webhook: Some(webhook), ..of_clip.clone() }).await, [11, 7, 3]);
    assert!(found(DeliveryQuery { subject: Some("nobody".into()), ..all.clone() }).await.is_empty());

    let waiting = vec![DeliveryState::Waiting];
    assert_eq!(found(DeliveryQuery { states: waiting, ..of_first.clone() }).await, [11, 9, 7]);
    let states = vec![DeliveryState::Pending, DeliveryState::Exhausted];
    assert_eq!(found(DeliveryQuery { states, ..of_first.clone() }).await, [5, 3, 1]);
    let kinds = vec![EventKind::Feeds(FeedEvent::Started), EventKind::Media(MediaEvent::Deleted)];
    assert_eq!(found(DeliveryQuery { kinds, ..of_first.clone() }).await, [11, 1]);

    let between = |since, until| DeliveryQuery { since, until, ..of_first.clone() };
    assert_eq!(found(between(Some(at(20)), None)).await, [11, 9, 7]);
    assert_eq!(found(between(Some(at(10)), Some(at(20)))).await, [9, 7, 5, 3]);
    assert_eq!(found(between(None, Some(at(9)))).await, [1]);
    assert!(found(between(Some(at(31)), None)).await.is_empty());
    assert_eq!(found(DeliveryQuery { since: Some(at(20)), ..of_clip }).await, [12, 11, 8, 7]);
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let fresh = two_webhooks().await;
    let mut query = DeliveryQuery { limit: 5, ..DeliveryQuery::default() };
    let mut seen = Vec::new();
    loop {
        let (ids, next) = ask(&fresh, query.clone()).await;
        assert_eq!(next.is_none(), seen.len() + ids.len() == 12);
        seen.extend(ids);
        query.before = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=12).rev().collect::<Vec<_>>());
    let full = DeliveryQuery { limit: 12, ..DeliveryQuery::default() };
    assert_eq!(ask(&fresh, full).await.1, None);
}

#[tokio::test]
async fn the_log_says_what_a_delivery_waits_for() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail())], at(0)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    let log = async || {
        let log = fresh.db.deliveries(id, None, 10).await.unwrap();
        log.into_iter()
            .rev()
            .map(|line| (line.is_attempted, line.next_attempt, line.behind))
            .collect::<Vec<_>>()
    };
    assert_eq!(log().await, [(true, None, None), (false, None, Some(claimed[0].id))]);
    fresh.settle(&claimed[0], Settled::Retry { at: at(50) }, at(5)).await;
    assert_eq!(log().await[0], (false, Some(at(50)), None));
}
