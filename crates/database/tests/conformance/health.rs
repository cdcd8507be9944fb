//! Endpoints that are down: what is known of them, and what they are owed.

use mediahooks_database::{
    ClaimedDelivery, Delivery, DeliveryState, HealthChange, Settled, Settlement, WebhookHealth,
};
use mediahooks_model::webhook::Disabled;
use mediahooks_model::{Timestamp, WebhookId};

use crate::support::*;

fn until(ms: i64) -> Option<Disabled> {
    Some(Disabled { until: Some(at(ms)), reason: Some("10 attempts in a row have failed".into()) })
}

fn change(webhook: WebhookId, before: Option<Disabled>, after: Option<Disabled>) -> HealthChange {
    let health = WebhookHealth { failures: 10, suspensions: 1, ..WebhookHealth::default() };
    HealthChange { webhook, url: "https://a.example/".into(), health, before, after }
}

impl Fresh {
    async fn settle_with(&self, settlements: Vec<Settlement>, change: HealthChange, now: Timestamp) {
        self.db.settle(settlements, vec![change], "me", now).await.unwrap();
    }

    async fn disabled(&self, id: WebhookId) -> Option<Disabled> {
        self.db.webhook(id).await.unwrap().unwrap().disabled
    }
}

#[tokio::test]
async fn a_suspended_webhook_is_probed_with_what_was_not_attempted_for_longest() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    fresh.db.commit(vec![clip(2)], at(1)).await.unwrap();
    let claimed = fresh.claim(at(1)).await;
    let retries = vec![
        settlement(&claimed[0], Settled::Retry { at: at(9000) }),
        settlement(&claimed[1], Settled::Retry { at: at(8000) }),
    ];
    fresh.settle_with(retries, change(id, None, until(100)), at(2)).await;
    assert_eq!(fresh.disabled(id).await, until(100));
    assert_eq!(fresh.claim(at(99)).await, []);
    assert_eq!(fresh.db.next_due(at(2)), Some(at(100)));

    // One, though none is due and there is room for more.
    let probe = fresh.claim(at(100)).await;
    assert_eq!((probe.len(), probe[0].id, probe[0].is_probe()), (1, claimed[1].id, true));
    assert_eq!((probe[0].attempt, probe[0].probes, probe[0].previous), (2, 0, Some(at(0))));
    let failed = vec![settlement(&probe[0], Settled::Retry { at: at(9500) })];
    fresh.settle_with(failed, change(id, until(100), until(9500)), at(101)).await;

    let probe = fresh.claim(at(9500)).await;
    assert_eq!((probe.len(), probe[0].id), (1, claimed[0].id));
    let accepted = vec![settlement(&probe[0], Settled::Delivered)];
    fresh.settle_with(accepted, change(id, until(9500), None), at(9400)).await;
    assert_eq!(fresh.disabled(id).await, None);
    // What is left is due at once.
    let rest = fresh.claim(at(9400)).await;
    assert_eq!((rest.len(), rest[0].attempt, rest[0].probes, rest[0].is_probe()), (1, 3, 1, false));
}

#[tokio::test]
async fn what_somebody_else_did_to_a_webhook_stands() {
    let (fresh, id) = Fresh::with_webhook().await;
    // Disabled in the meantime.
    fresh.settle_with(vec![], change(id, until(1), None), at(0)).await;
    fresh.settle_with(vec![], change(id, until(1), until(2)), at(0)).await;
    assert_eq!(fresh.disabled(id).await, None);
    assert_eq!(fresh.db.webhook_health().await.unwrap(), []);
    // Moved in the meantime.
    fresh.change(id, at(1), |webhook| webhook.url = "https://b.example/".into()).await;
    fresh.settle_with(vec![], change(id, None, until(2)), at(2)).await;
    assert_eq!(fresh.disabled(id).await, None);
    // Removed in the meantime.
    fresh.settle_with(vec![], change(WebhookId(99), None, until(2)), at(2)).await;
    assert_eq!(fresh.db.webhook_health().await.unwrap(), []);
}

#[tokio::test]
async fn health_is_kept_until_the_webhook_is_enabled_moved_or_removed() {
    let (fresh, id) = Fresh::with_webhook().await;
    let health =
        WebhookHealth { failures: 3, failing_since: Some(at(1)), last_success: Some(at(0)), suspensions: 2 };
    let learn = async || {
        let change = HealthChange { health, ..change(id, None, until(50)) };
        fresh.settle_with(vec![], change, at(2)).await;
        assert_eq!(fresh.db.webhook_health().await.unwrap(), [(id, health)]);
    };
    learn().await;
    fresh.change(id, at(3), |webhook| webhook.filter = None).await;
    assert_eq!(fresh.db.webhook_health().await.unwrap().len(), 1);
    fresh.change(id, at(3), |webhook| webhook.disabled = None).await;
    assert_eq!(fresh.db.webhook_health().await.unwrap(), []);
    learn().await;
    fresh.db.delete_webhook(id).await.unwrap();
    assert_eq!(fresh.db.webhook_health().await.unwrap(), []);
}

#[tokio::test]
async fn deliveries_that_are_held_for_too_long_are_given_up_and_shown() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), clip(3)], at(0)).await.unwrap();
    fresh.db.commit(vec![step(1, fail()), step(2, fail())], at(500)).await.unwrap();
    let claimed = fresh.db.claim_deliveries("me", at(500), MINUTE, |_, _| room(1), 1).await.unwrap();
    fresh.settle(&claimed[0], Settled::Retry { at: at(90_000) }, at(500)).await;
    let leased = fresh.db.claim_deliveries("me", at(500), MINUTE, |_, _| room(1), 1).await.unwrap();

    // In batches of one, of all that happened before 400, except what is being attempted.
    assert_eq!(fresh.db.expire_deliveries(at(400), at(1000), 1).await.unwrap(), 2);
    let states = async || {
        let states = |lines: Vec<Delivery>| lines.iter().rev().map(|line| line.state).collect::<Vec<_>>();
        states(fresh.db.deliveries(id, None, 10).await.unwrap())
    };
    use DeliveryState::{Expired, Pending, Waiting};
    assert_eq!(states().await, [Expired, Pending, Expired, Pending, Waiting]);
    let due = fresh.claim(at(1000)).await;
    assert_eq!(
        due.iter().map(|one: &ClaimedDelivery| one.kind.as_str()).collect::<Vec<_>>(),
        ["media.errored"]
    );
    fresh.settle(&leased[0], Settled::Delivered, at(1001)).await;
    assert_eq!(fresh.db.expire_deliveries(at(400), at(1002), 10).await.unwrap(), 0);
}
