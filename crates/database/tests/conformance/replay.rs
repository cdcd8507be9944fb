use std::collections::BTreeMap;

use mediahooks_database::{
    DatabaseError, DeliveryState, NewReplay, Replay, ReplayState, ReplayStep, Resent, Retention, Settled,
};
use mediahooks_model::event::MediaEvent;
use mediahooks_model::{DeliveryId, EventId, EventKind, ReplayId, Webhook, WebhookId};

use crate::support::*;

fn all(webhook: WebhookId) -> NewReplay {
    NewReplay { webhook, since: at(0), until: at(1_000_000), kinds: Vec::new(), failed_only: false }
}

impl Fresh {
    async fn replayed(&self, id: ReplayId) -> Replay {
        let webhook = WebhookId(1);
        self.db.replay(webhook, id).await.unwrap().unwrap()
    }

    /// Steps until there is nothing left to do for it now.
    async fn step(&self, id: ReplayId) -> ReplayStep {
        loop {
            let step = self.db.step_replay(id, at(2_000_000)).await.unwrap();
            if step != ReplayStep::Advanced {
                return step;
            }
        }
    }

    /// Delivers everything that is due, and what comes due by that. Returns the events in order.
    async fn deliver(&self) -> Vec<EventId> {
        let mut delivered = Vec::new();
        loop {
            let claimed = self.claim(at(3_000_000)).await;
            if claimed.is_empty() {
                return delivered;
            }
            let settlements = claimed.iter().map(|one| settlement(one, Settled::Delivered)).collect();
            self.db.settle(settlements, Vec::new(), "me", at(3_000_000)).await.unwrap();
            delivered.extend(claimed.iter().map(|one| one.event));
        }
    }
}

#[tokio::test]
async fn a_replay_owes_each_event_once_and_in_order() {
    let (fresh, id) = Fresh::with_webhook().await;
    // More than may be owed at one time, of subjects with two events each.
    for part in 0..4 {
        let subjects = part * 100..(part + 1) * 100;
        let changes = subjects.flat_map(|n| [clip(n), step(n, fail())]).collect();
        fresh.db.commit(changes, at(i64::try_from(part).unwrap())).await.unwrap();
    }
    let mut told = fresh.deliver().await;
    assert_eq!(told.len(), 800);
    let replay = fresh.db.create_replay(all(id), at(2_000_000)).await.unwrap();
    assert_eq!((replay.state, replay.total, replay.examined), (ReplayState::Running, 800, 0));
    assert_eq!(fresh.db.running_replays().await.unwrap(), [replay.id]);
    // What happens from here on is not part of it.
    fresh.db.commit(vec![clip(1000)], at(500)).await.unwrap();
    let late = fresh.deliver().await;

    assert_eq!(fresh.step(replay.id).await, ReplayStep::Full);
    let full = fresh.replayed(replay.id).await;
    assert_eq!((full.owed, full.matched, full.examined, full.delivered), (256, 256, 256, 0));
    let mut again = Vec::new();
    while fresh.step(replay.id).await == ReplayStep::Full {
        again.extend(fresh.deliver().await);
    }
    let walked = fresh.replayed(replay.id).await;
    assert_eq!((walked.state, walked.ended), (ReplayState::Running, Some(at(2_000_000))));
    again.extend(fresh.deliver().await);
    let done = fresh.replayed(replay.id).await;
    assert_eq!((done.state, done.matched, done.delivered, done.owed), (ReplayState::Done, 800, 800, 0));
    assert!(!again.contains(&late[0]));

    // Order of each subject: the database's claims interleave subjects.
    let log = fresh.db.deliveries(id, None, 2000).await.unwrap();
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.iter().rev() {
        orders.entry(line.subject.clone()).or_default().push(line.kind.clone());
    }
    orders.remove(&asset_id(1000).to_string());
    let twice = ["media.processing", "media.errored", "media.processing", "media.errored"];
    assert!(orders.values().all(|order| order == &twice), "{orders:?}");
    told.sort_unstable_by_key(ToString::to_string);
    again.sort_unstable_by_key(ToString::to_string);
    assert_eq!(told, again);
}

#[tokio::test]
async fn what_does_not_match_is_passed() {
    let (fresh, id) = Fresh::with_webhook().await;
    let mut changes = timeline_with(1, 1);
    changes.extend([clip(1), step(1, fail())]);
    fresh.db.commit(changes, at(10)).await.unwrap();
    fresh.db.commit(vec![clip(2)], at(20)).await.unwrap();
    fresh.deliver().await;
    let replay = async |asked: NewReplay| {
        let replay = fresh.db.create_replay(asked, at(2_000_000)).await.unwrap();
        assert_eq!(fresh.step(replay.id).await, ReplayStep::Over);
        let Replay { total, examined, matched, .. } = fresh.replayed(replay.id).await;
        assert_eq!(total, examined);
        (total, matched)
    };
    assert_eq!(replay(all(id)).await, (4, 4));
    assert_eq!(replay(NewReplay { since: at(20), ..all(id) }).await, (1, 1));
    assert_eq!(replay(NewReplay { until: at(20), ..all(id) }).await, (3, 3));
    let kinds = vec![EventKind::Media(MediaEvent::Errored)];
    assert_eq!(replay(NewReplay { kinds, ..all(id) }).await, (4, 1));
    let no_media = |webhook: &mut Webhook| {
        webhook.subscriptions.is_media_hooks = false;
        Ok::<_, ()>(())
    };
    fresh.db.update_webhook(id, false, at(30), no_media).await.unwrap().unwrap();
    assert_eq!(replay(all(id)).await, (4, 1), "as it is now it wants feeds only");
    let nobody = fresh.db.create_replay(all(WebhookId(9)), at(0)).await;
    assert!(matches!(nobody, Err(DatabaseError::NotFound)));
}

#[tokio::test]
async fn only_what_was_given_up_is_sent_again_when_asked_so() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), clip(3), clip(4)], at(0)).await.unwrap();
    let claimed = fresh.claim(at(0)).await;
    fresh.settle(&claimed[0], Settled::Exhausted, at(1)).await;
    fresh.settle(&claimed[1], Settled::Delivered, at(1)).await;
    fresh.settle(&claimed[2], Settled::Exhausted, at(1)).await;
    fresh.settle(&claimed[3], Settled::Retry { at: at(9) }, at(1)).await;
    // One of those given up was delivered later.
    let Resent::Again(again) = fresh.db.resend(id, claimed[2].id, at(2)).await.unwrap() else { panic!() };
    let resent = fresh.claim(at(2)).await;
    assert_eq!((resent[0].id, resent[0].event, resent[0].attempt), (again, claimed[2].event, 1));
    fresh.settle(&resent[0], Settled::Delivered, at(3)).await;

    let asked = NewReplay { failed_only: true, ..all(id) };
    let replay = fresh.db.create_replay(asked.clone(), at(4)).await.unwrap();
    assert_eq!(fresh.step(replay.id).await, ReplayStep::Over);
    assert_eq!(fresh.replayed(replay.id).await.matched, 1);
    let twice = fresh.db.create_replay(asked, at(4)).await.unwrap();
    fresh.step(twice.id).await;
    assert_eq!(fresh.replayed(twice.id).await.matched, 0, "it is owed already");
}

#[tokio::test]
async fn a_crash_between_two_steps_repeats_and_loses_nothing() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit((0..250).map(clip).collect(), at(0)).await.unwrap();
    let told = fresh.deliver().await.len();
    let replay = fresh.db.create_replay(all(id), at(2_000_000)).await.unwrap();
    assert_eq!(fresh.db.step_replay(replay.id, at(2_000_000)).await.unwrap(), ReplayStep::Advanced);
    // Two that may look at the same place: one of them comes too late then. Otherwise both advance, not to the end.
    let (one, other) = tokio::join!(
        fresh.db.step_replay(replay.id, at(2_000_000)),
        fresh.db.step_replay(replay.id, at(2_000_000))
    );
    assert!(one.is_ok() && other.is_ok());
    let Fresh { db, dir } = fresh;
    db.close().await.unwrap();
    drop(db);
    let path = dir.path().join("mediahooks.db");
    let db = mediahooks_database::Database::open(&path, mediahooks_database::Options::default()).unwrap();
    let fresh = Fresh { db, dir };
    assert_eq!(fresh.db.running_replays().await.unwrap(), [replay.id]);
    assert_eq!(fresh.step(replay.id).await, ReplayStep::Over);
    assert_eq!(fresh.deliver().await.len(), told);
    let done = fresh.replayed(replay.id).await;
    assert_eq!((done.state, done.matched, done.delivered), (ReplayState::Done, 250, 250));
}

#[tokio::test]
async fn a_cancelled_replay_takes_back_what_was_not_attempted() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail()), clip(2), clip(3)], at(0)).await.unwrap();
    fresh.deliver().await;
    let replay = fresh.db.create_replay(all(id), at(2_000_000)).await.unwrap();
    fresh.step(replay.id).await;
    // Behind the replayed ones of the same subject.
    fresh.db.commit(vec![step(1, mediahooks_model::AssetInput::Delete)], at(2_000_000)).await.unwrap();
    let claimed = fresh.db.claim_deliveries("me", at(2_000_000), MINUTE, |_, _| room(3), 3).await.unwrap();
    let failed = claimed.iter().find(|one| one.event != claimed[0].event).unwrap();
    fresh.settle(failed, Settled::Retry { at: at(9_000_000) }, at(2_000_000)).await;

    assert_eq!(fresh.db.cancel_replay(WebhookId(9), replay.id, at(2_000_001)).await.unwrap(), None);
    let cancelled = fresh.db.cancel_replay(id, replay.id, at(2_000_001)).await.unwrap().unwrap();
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    assert_eq!((cancelled.owed, cancelled.failed), (2, 1), "two are under way, one had been attempted");
    assert_eq!(fresh.db.running_replays().await.unwrap(), []);
    assert_eq!(fresh.step(replay.id).await, ReplayStep::Over);
    for one in claimed.iter().filter(|one| one.id != failed.id) {
        fresh.settle(one, Settled::Delivered, at(2_000_002)).await;
    }
    let rest = fresh.claim(at(2_000_003)).await;
    assert_eq!(rest.iter().map(|one| &*one.kind).collect::<Vec<_>>(), ["media.deleted"], "nothing is stuck");
}

#[tokio::test]
async fn a_replay_ends_with_its_webhook_and_is_forgotten_with_its_deliveries() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    fresh.deliver().await;
    let done = fresh.db.create_replay(all(id), at(2_000_000)).await.unwrap();
    fresh.step(done.id).await;
    fresh.deliver().await;
    let page = fresh.db.replays(id, None, 10).await.unwrap();
    assert_eq!(page.iter().map(|replay| replay.id).collect::<Vec<_>>(), [done.id]);
    assert_eq!(fresh.db.replays(id, Some(done.id), 10).await.unwrap(), []);
    let later = at(32 * 86_400_000);
    let pruned = fresh.db.prune(later, Retention::default()).await.unwrap();
    assert_eq!((pruned.replays, pruned.deliveries), (1, 2));
    assert_eq!(fresh.db.replay(id, done.id).await.unwrap(), None);

    let orphan = fresh.db.create_replay(all(id), at(2_000_000)).await.unwrap();
    fresh.db.delete_webhook(id).await.unwrap();
    assert_eq!(fresh.step(orphan.id).await, ReplayStep::Over);
    assert_eq!(fresh.db.running_replays().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_resent_is_sent_behind_what_is_owed() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail())], at(0)).await.unwrap();
    let first = fresh.claim(at(0)).await.remove(0);
    fresh.settle(&first, Settled::Delivered, at(1)).await;
    let Resent::Again(again) = fresh.db.resend(id, first.id, at(2)).await.unwrap() else { panic!() };
    let states: Vec<_> =
        fresh.db.deliveries(id, None, 9).await.unwrap().iter().map(|one| one.state).collect();
    assert_eq!(states, [DeliveryState::Waiting, DeliveryState::Pending, DeliveryState::Delivered]);

    let second = fresh.claim(at(2)).await.remove(0);
    assert_eq!(second.kind, "media.errored");
    fresh.settle(&second, Settled::Retry { at: at(5_000) }, at(3)).await;
    assert_eq!(fresh.claim(at(4)).await, []);
    assert_eq!(fresh.db.resend(id, second.id, at(4)).await.unwrap(), Resent::StillOwed(second.id));
    let hurried = fresh.claim(at(4)).await.remove(0);
    assert_eq!((hurried.id, hurried.attempt), (second.id, 2));
    fresh.settle(&hurried, Settled::Delivered, at(5)).await;
    let last = fresh.claim(at(5)).await.remove(0);
    assert_eq!((last.id, last.event), (again, first.event));

    for (webhook, delivery) in [(id, DeliveryId(99)), (WebhookId(9), first.id)] {
        assert!(matches!(fresh.db.resend(webhook, delivery, at(6)).await, Err(DatabaseError::NotFound)));
    }
}
