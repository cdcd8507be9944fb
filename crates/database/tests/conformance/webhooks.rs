use mediahooks_database::{DatabaseError, Settled};
use mediahooks_model::webhook::{Disabled, PreviousSecret, StreamFilter, WebhookTls};
use mediahooks_model::{EventKind, FeedEvent, MediaEvent, TokenId, Webhook, WebhookId};

use crate::support::*;

#[tokio::test]
async fn every_member_is_kept_and_the_list_is_a_window_of_ids() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut stored = Vec::new();
    for n in 0..4 {
        stored.push(db.create_webhook(webhook(&format!("https://{n}.example/"))).await.unwrap());
    }
    let changed = Webhook {
        previous_secret: Some(PreviousSecret { secret: "b2xk".into(), until: at(9) }),
        events: vec![EventKind::Media(MediaEvent::Completed), EventKind::Feeds(FeedEvent::Ended)],
        filter: Some(StreamFilter::new("cam").unwrap()),
        token_ids: vec![TokenId(3), TokenId(1)],
        headers: [("x-tenant".to_owned(), "größe".to_owned())].into(),
        rate_limit: Some(50),
        include_download: true,
        tls: Some(WebhookTls {
            client_certificate: Some("certificate".into()),
            client_key: Some("key".into()),
            ca_certificate: None,
        }),
        disabled: Some(Disabled { until: Some(at(5)), reason: Some("timeouts".into()) }),
        ..stored[1].clone()
    };
    db.replace_webhook(changed.clone(), at(0)).await.unwrap();
    assert_eq!(db.webhook(changed.id).await.unwrap(), Some(changed.clone()));
    stored[1] = changed;

    assert_eq!(db.webhooks(None, 10, false).await.unwrap(), stored);
    assert_eq!(db.webhooks(Some(stored[1].id.0), 2, false).await.unwrap(), stored[1..3]);
    let newest_first = db.webhooks(Some(stored[1].id.0), 10, true).await.unwrap();
    assert_eq!(newest_first, [stored[1].clone(), stored[0].clone()]);

    let unknown = Webhook { id: WebhookId(99), ..stored[0].clone() };
    assert!(matches!(db.replace_webhook(unknown, at(0)).await, Err(DatabaseError::NotFound)));
    let disabled = Disabled { until: None, reason: None };
    assert!(matches!(db.suspend_webhook(WebhookId(99), disabled).await, Err(DatabaseError::NotFound)));
}

#[tokio::test]
async fn a_new_url_or_enabling_makes_everything_due_at_once() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2)], at(1)).await.unwrap();
    let claimed = fresh.claim(at(1)).await;
    fresh.settle(&claimed[0], Settled::Retry { at: at(5000) }, at(2)).await;
    // The second one is being attempted: it keeps its lease.
    assert_eq!(fresh.claim(at(3)).await, []);

    let stored = fresh.db.webhook(id).await.unwrap().unwrap();
    fresh.db.replace_webhook(stored.clone(), at(4)).await.unwrap();
    assert_eq!(fresh.claim(at(4)).await, [], "nothing changed");
    let moved = Webhook { url: "https://b.example/".into(), ..stored };
    let mut woken = fresh.db.subscribe_committed();
    woken.mark_unchanged();
    fresh.db.replace_webhook(moved.clone(), at(5)).await.unwrap();
    assert!(woken.has_changed().unwrap());
    let again = fresh.claim(at(5)).await;
    assert_eq!(
        (again.len(), again[0].id, again[0].webhook.url.as_str()),
        (1, claimed[0].id, "https://b.example/")
    );

    fresh.settle(&again[0], Settled::Retry { at: at(5000) }, at(6)).await;
    fresh.db.suspend_webhook(id, Disabled { until: None, reason: None }).await.unwrap();
    assert_eq!(fresh.db.next_due(at(6), |_| true).await.unwrap(), None);
    fresh.db.replace_webhook(moved, at(7)).await.unwrap();
    assert_eq!(fresh.claim(at(7)).await.len(), 1);
}

#[tokio::test]
async fn a_removed_webhook_takes_what_it_is_owed_with_it() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), step(1, fail())], at(1)).await.unwrap();
    assert!(fresh.db.delete_webhook(id).await.unwrap());
    assert!(!fresh.db.delete_webhook(id).await.unwrap());
    assert_eq!(fresh.db.webhook(id).await.unwrap(), None);
    assert_eq!(fresh.claim(at(2)).await, []);
    assert_eq!(fresh.db.next_due(at(2), |_| true).await.unwrap(), None);
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap(), []);
}
