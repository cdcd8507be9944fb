use std::sync::{Arc, Mutex};
use std::time::Duration;

use mediahooks_database::{ClaimedDelivery, DatabaseError, DeliveryState, Options, Settled};
use mediahooks_model::webhook::StreamFilter;
use mediahooks_model::{AssetInput, Webhook, WebhookId};

use crate::support::*;

#[tokio::test]
async fn of_one_webhook_and_subject_only_the_head_is_pending() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh
        .db
        .commit(vec![clip(1), step(1, fail()), step(1, AssetInput::Delete), clip(2)], at(0))
        .await
        .unwrap();
    let kinds = |claimed: &[ClaimedDelivery]| claimed.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();

    let first = fresh.claim(at(0)).await;
    assert_eq!(kinds(&first), ["media.processing", "media.processing"]);
    let states: Vec<_> =
        fresh.db.deliveries(id, None, 10).await.unwrap().into_iter().map(|line| line.state).collect();
    let (waiting, pending) = (DeliveryState::Waiting, DeliveryState::Pending);
    assert_eq!(states, [pending, waiting, waiting, pending]);

    fresh.settle(&first[0], Settled::Retry { at: at(50) }, at(1)).await;
    assert_eq!(fresh.claim(at(49)).await, [], "the next event waits for the retry of the one before");
    let retried = fresh.claim(at(50)).await;
    assert_eq!((retried[0].id, retried[0].attempt, retried[0].event), (first[0].id, 2, first[0].event));
    fresh.settle(&retried[0], Settled::Delivered, at(51)).await;

    let second = fresh.claim(at(51)).await;
    assert_eq!(kinds(&second), ["media.errored"]);
    fresh.settle(&second[0], Settled::Exhausted, at(52)).await;
    let third = fresh.claim(at(52)).await;
    assert_eq!(kinds(&third), ["media.deleted"], "the one after an exhausted delivery is sent");
    fresh.settle(&third[0], Settled::Delivered, at(53)).await;
    // The head of the queue is settled: a new event of the same subject is due at once.
    assert_eq!(fresh.claim(at(53)).await, []);
}

#[tokio::test]
async fn a_schedule_may_begin_later_than_at_once() {
    let options = Options { first_attempt_after: Duration::from_millis(40), ..Options::default() };
    let fresh = Fresh::open_with(options).await;
    fresh.db.create_webhook(webhook("https://example.com/")).await.unwrap();
    fresh.db.commit(vec![clip(1), step(1, fail())], at(0)).await.unwrap();
    assert_eq!(fresh.claim(at(39)).await, []);
    let first = fresh.claim(at(40)).await;
    fresh.settle(&first[0], Settled::Delivered, at(50)).await;
    assert_eq!(fresh.claim(at(89)).await, [], "counted from when it could first be sent");
    assert_eq!(fresh.claim(at(90)).await.len(), 1);
}

#[tokio::test]
async fn the_log_tells_every_attempt_newest_delivery_first() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), clip(3)], at(0)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    fresh.settle(&claimed[0], Settled::Retry { at: at(9) }, at(1)).await;
    let log = fresh.db.deliveries(id, None, 2).await.unwrap();
    assert_eq!(log.iter().map(|line| line.id).collect::<Vec<_>>(), [claimed[2].id, claimed[1].id]);
    assert_eq!(log[0].next_attempt, None, "it is being attempted now");
    let rest = fresh.db.deliveries(id, Some(claimed[1].id), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].state, rest[0].next_attempt), (DeliveryState::Pending, Some(at(9))));
    let expected = settlement(&claimed[0], Settled::Retry { at: at(9) }).attempt;
    assert_eq!(rest[0].attempts, [expected]);
    assert_eq!(rest[0].subject, asset_id(1).to_string());
    assert_eq!(fresh.db.deliveries(WebhookId(99), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_attempt_without_its_lease_is_not_recorded() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    let mine = fresh.claim(at(0)).await;
    let attempts = async || fresh.db.deliveries(id, None, 1).await.unwrap()[0].attempts.len();

    // The lease runs out and another takes over.
    let later = at(0).plus(MINUTE);
    assert_eq!(fresh.claim(later.plus_micros(-1)).await, []);
    let other = fresh.db.claim_deliveries("other", later, MINUTE, |_, _| room(9), 9).await.unwrap();
    assert_eq!((other[0].id, other[0].attempt), (mine[0].id, 1));
    fresh.settle(&mine[0], Settled::Delivered, later).await;
    assert_eq!(attempts().await, 0);

    let retry = settlement(&other[0], Settled::Retry { at: later });
    fresh.db.settle(vec![retry.clone(), retry.clone()], vec![], "other", later).await.unwrap();
    assert_eq!(attempts().await, 1);
    // The same owner again, but with the attempt it has reported already.
    let again = fresh.db.claim_deliveries("other", later, MINUTE, |_, _| room(9), 9).await.unwrap();
    assert_eq!(again[0].attempt, 2);
    fresh.db.settle(vec![retry], vec![], "other", later).await.unwrap();
    assert_eq!(attempts().await, 1);
    // One that finishes late keeps its result while nobody else took over.
    let late = later.plus(MINUTE).plus(MINUTE);
    fresh.db.settle(vec![settlement(&again[0], Settled::Delivered)], vec![], "other", late).await.unwrap();
    assert_eq!(attempts().await, 2);
    assert_eq!(fresh.db.next_due(late), None);
}

#[tokio::test]
async fn webhooks_take_turns_and_keep_to_their_share() {
    let (fresh, busy) = Fresh::with_webhook().await;
    fresh.db.commit((1..=5).map(clip).collect(), at(0)).await.unwrap();
    let idle = fresh.db.create_webhook(webhook("https://b.example/")).await.unwrap().id;
    fresh.db.commit((6..=9).map(clip).collect(), at(1)).await.unwrap();
    let claim = async |seconds: i64, of_busy: u32, of_idle: u32, total| {
        let room = move |webhook: &Arc<Webhook>, leased: u32| {
            let most = if webhook.id == busy { of_busy } else { of_idle };
            room(most.saturating_sub(leased))
        };
        let claimed = fresh.db.claim_deliveries("me", at(seconds * 1000), MINUTE, room, total).await.unwrap();
        claimed.into_iter().map(|one| one.webhook.id).collect::<Vec<_>>()
    };
    assert_eq!(claim(1, 9, 9, 0).await, []);
    assert_eq!(claim(2, 0, 2, 2).await, [idle, idle]);
    assert_eq!(claim(3, 7, 9, 4).await, [busy, idle, busy, idle]);
    assert_eq!(claim(4, 3, 0, 9).await, [busy]);
    // Full: until one that is leased is recorded.
    assert_eq!(claim(5, 100, 100, 100).await, []);
}

#[tokio::test]
async fn nothing_is_claimed_twice_and_a_record_makes_room() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit((1..=5).map(clip).collect(), at(0)).await.unwrap();
    let claim = async |ms, most: u32| {
        let room = move |_: &Arc<Webhook>, leased: u32| room(most.saturating_sub(leased));
        fresh.db.claim_deliveries("me", at(ms), MINUTE, room, 100).await.unwrap()
    };
    let first = claim(1, 2).await;
    assert_eq!(first.len(), 2);
    assert_eq!(claim(2, 2).await, []);
    assert_eq!(fresh.db.next_due(at(2)), Some(at(1).plus(MINUTE)), "nothing to look for before that");
    fresh.settle(&first[0], Settled::Delivered, at(3)).await;
    assert_eq!(fresh.db.next_due(at(3)), Some(at(3)));
    let second = claim(4, 2).await;
    assert_eq!(second.len(), 1);
    assert!(!first.contains(&second[0]));
    fresh.settle(&first[1], Settled::Retry { at: at(5) }, at(5)).await;
    let rest = claim(6, 9).await;
    assert_eq!((rest.len(), rest[2].id, rest[2].attempt), (3, first[1].id, 2));
    assert_eq!(claim(7, 9).await, []);
}

#[tokio::test]
async fn nothing_is_written_to_claim_and_a_crash_gives_up_every_lease() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), step(2, fail())], at(0)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    fresh.settle(&claimed[0], Settled::Delivered, at(1)).await;
    let fresh = fresh.reopen();
    let again = fresh.claim(at(2)).await;
    assert_eq!(again, claimed[1..], "not what was recorded, and in order");
    // Recorded by the process before this one, as it were.
    fresh.settle(&claimed[0], Settled::Retry { at: at(3) }, at(3)).await;
    assert_eq!(fresh.claim(at(9)).await, []);
}

#[tokio::test]
async fn a_claim_asks_only_those_who_may_have_something() {
    let fresh = Fresh::open().await;
    for n in 0..1000 {
        let filter = Some(StreamFilter::new(format!("^stage/{n}$")).unwrap());
        let one = Webhook { filter, ..webhook("https://a.example/") };
        fresh.db.create_webhook(one).await.unwrap();
    }
    let of_all = fresh.db.create_webhook(webhook("https://b.example/")).await.unwrap().id;
    let fresh = fresh.reopen();
    fresh.db.commit(vec![clip(1), clip(2)], at(0)).await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let claim = async |ms| {
        let told = asked.clone();
        let ask = move |webhook: &Arc<Webhook>, leased: u32| {
            told.lock().unwrap().push(webhook.id);
            room(1u32.saturating_sub(leased))
        };
        fresh.db.claim_deliveries("me", at(ms), MINUTE, ask, 9).await.unwrap()
    };
    let claimed = claim(1).await;
    assert_eq!(claimed.len(), 1);
    // It has no room for the other one until the first is recorded.
    assert_eq!(claim(2).await, []);
    fresh.settle(&claimed[0], Settled::Delivered, at(3)).await;
    assert_eq!(claim(4).await.len(), 1);
    assert_eq!(*asked.lock().unwrap(), [of_all; 3]);
}

#[tokio::test]
async fn leases_can_be_given_up() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    fresh.db.release_leases("other").await.unwrap();
    assert_eq!(fresh.claim(at(1)).await, []);
    fresh.db.release_leases("me").await.unwrap();
    assert_eq!(fresh.db.next_due(at(1)), Some(at(1)));
    assert_eq!(fresh.claim(at(1)).await, claimed);
}

#[tokio::test]
async fn the_next_due_moment_is_the_earliest_of_all_webhooks() {
    let (fresh, _) = Fresh::with_webhook().await;
    assert_eq!(fresh.db.next_due(at(0)), None);
    fresh.db.commit(vec![clip(1), clip(2)], at(5)).await.unwrap();
    assert_eq!(fresh.db.next_due(at(5)), Some(at(5)));
    assert_eq!(fresh.db.next_due(at(7)), Some(at(7)), "never before now");
    let claimed = fresh.claim(at(5)).await;
    assert_eq!(fresh.db.next_due(at(5)), Some(at(5).plus(MINUTE)));
    fresh.settle(&claimed[0], Settled::Retry { at: at(900) }, at(6)).await;
    assert_eq!(fresh.db.next_due(at(6)), Some(at(900)));
}

#[tokio::test]
async fn the_sender_is_told_when_there_is_something_to_send() {
    let (fresh, id) = Fresh::with_webhook().await;
    let mut due = fresh.db.subscribe_due();
    due.mark_unchanged();
    fresh.db.ping().await.unwrap();
    fresh.db.commit(timeline_with(1, 0).split_off(1), at(0)).await.unwrap_err();
    assert!(!due.has_changed().unwrap());
    fresh.db.commit(vec![clip(1), step(1, finish())], at(0)).await.unwrap();
    due.changed().await.unwrap();
    assert_eq!(*due.borrow_and_update(), Some(at(0)));
    let claimed = fresh.claim(at(0)).await;
    assert_eq!(*due.borrow_and_update(), Some(at(0).plus(MINUTE)), "the lease");
    fresh.settle(&claimed[0], Settled::Delivered, at(1)).await;
    assert_eq!(*due.borrow_and_update(), Some(at(1)), "the next one of the same asset");
    let claimed = fresh.claim(at(1)).await;
    fresh.settle(&claimed[0], Settled::Retry { at: at(70) }, at(2)).await;
    assert_eq!(*due.borrow_and_update(), Some(at(70)));
    assert!(fresh.db.delete_webhook(id).await.unwrap());
    assert_eq!(fresh.claim(at(70)).await, []);
    assert_eq!(*due.borrow_and_update(), None);
    fresh.db.commit(vec![clip(2)], at(71)).await.unwrap();
    assert_eq!(*due.borrow_and_update(), None, "nobody wants to be told");
}

#[tokio::test]
async fn what_was_told_of_a_clip_before_it_was_deleted_is_told_first() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    fresh.db.commit(vec![step(1, AssetInput::Delete)], at(1)).await.unwrap();
    // Whoever still worked on it comes too late: nothing is told of that.
    let late = fresh.db.commit(vec![step(1, finish())], at(2)).await;
    assert!(matches!(late, Err(DatabaseError::Refused(_))), "{late:?}");
    for (kind, seq) in [("media.processing", 1), ("media.deleted", 2)] {
        let claimed = fresh.claim(at(3)).await;
        let [claimed] = claimed.as_slice() else { panic!("{claimed:?}") };
        let body: serde_json::Value = serde_json::from_str(&claimed.body).unwrap();
        assert_eq!((claimed.kind.as_str(), &body["data"]["seq"]), (kind, &seq.into()));
        fresh.settle(claimed, Settled::Delivered, at(3)).await;
    }
    assert!(fresh.claim(at(3)).await.is_empty());
}
