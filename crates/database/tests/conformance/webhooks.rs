use mediahooks_database::{Change, DatabaseError, Settled};
use mediahooks_model::webhook::{Disabled, PreviousSecret, StreamFilter, WebhookTls};
use mediahooks_model::{EventKind, FeedEvent, MediaEvent, TokenId, Webhook, WebhookId};

use crate::support::*;

#[tokio::test]
async fn every_member_is_kept_and_the_list_is_a_window_of_ids() {
    let fresh = Fresh::open().await;
    let db = &fresh.db;
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
    let (id, given) = (changed.id, changed.clone());
    assert_eq!(fresh.change(id, at(0), move |webhook| *webhook = given).await, changed);
    assert_eq!(db.webhook(changed.id).await.unwrap(), Some(changed.clone()));
    stored[1] = changed;

    assert_eq!(db.webhooks(None, 10, false).await.unwrap(), stored);
    assert_eq!(db.webhooks(Some(stored[1].id.0), 2, false).await.unwrap(), stored[1..3]);
    let newest_first = db.webhooks(Some(stored[1].id.0), 10, true).await.unwrap();
    assert_eq!(newest_first, [stored[1].clone(), stored[0].clone()]);

    let unknown = db.update_webhook(WebhookId(99), false, at(0), |_| Ok::<_, ()>(())).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)));
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

    fresh.change(id, at(4), |webhook| webhook.rate_limit = Some(5)).await;
    assert_eq!(fresh.claim(at(4)).await, [], "nothing that matters changed");
    let mut due = fresh.db.subscribe_due();
    fresh.change(id, at(5), |webhook| webhook.url = "https://b.example/".into()).await;
    assert!(due.borrow_and_update().unwrap() <= at(5));
    let again = fresh.claim(at(5)).await;
    assert_eq!(
        (again.len(), again[0].id, again[0].webhook.url.as_str()),
        (1, claimed[0].id, "https://b.example/")
    );

    fresh.settle(&again[0], Settled::Retry { at: at(5000) }, at(6)).await;
    fresh.db.suspend_webhook(id, Disabled { until: None, reason: None }).await.unwrap();
    assert_eq!(fresh.claim(at(6)).await, []);
    assert_eq!(fresh.db.next_due(at(6)), Some(at(1).plus(MINUTE)), "the other one's lease");
    fresh.change(id, at(7), |webhook| webhook.disabled = None).await;
    let again = fresh.claim(at(7)).await;
    assert_eq!(again.len(), 1);

    // Nothing is wrong with it, and its owner knows that the endpoint is back.
    fresh.settle(&again[0], Settled::Retry { at: at(5000) }, at(8)).await;
    fresh.db.update_webhook(id, true, at(9), |_| Ok::<_, ()>(())).await.unwrap().unwrap();
    assert_eq!(fresh.claim(at(9)).await.len(), 1);
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_touch_and_a_refused_one_touches_nothing() {
    let (fresh, id) = Fresh::with_webhook().await;
    let disabled = Disabled { until: None, reason: Some("410".into()) };
    fresh.db.suspend_webhook(id, disabled.clone()).await.unwrap();
    let changed = fresh.change(id, at(1), |webhook| webhook.include_download = true).await;
    assert_eq!((changed.disabled, changed.include_download), (Some(disabled.clone()), true));
    let refused = fresh.db.update_webhook(id, true, at(2), |webhook| {
        webhook.url = "nonsense".into();
        webhook.disabled = None;
        Err("no")
    });
    assert_eq!(refused.await.unwrap(), Err("no"));
    let stored = fresh.db.webhook(id).await.unwrap().unwrap();
    assert_eq!((stored.url.as_str(), stored.disabled), ("https://a.example/", Some(disabled)));
}

#[tokio::test]
async fn what_a_webhook_wants_is_decided_when_it_happens() {
    let fresh = Fresh::open().await;
    let mut of_token = webhook("https://a.example/");
    of_token.token_ids = vec![TokenId(7)];
    of_token.events = vec![EventKind::Media(MediaEvent::Errored), EventKind::Feeds(FeedEvent::Started)];
    let mut of_another = of_token.clone();
    of_another.token_ids = vec![TokenId(8)];
    let id = fresh.db.create_webhook(of_token).await.unwrap().id;
    let other = fresh.db.create_webhook(of_another).await.unwrap().id;
    fresh.db.commit(vec![Change::StartFeed(feed(1)), clip(1), step(1, fail())], at(1)).await.unwrap();
    // What is owed stays owed, whatever it wants from now on.
    fresh.change(id, at(2), |webhook| webhook.filter = Some(StreamFilter::new("^other$").unwrap())).await;
    fresh.change(other, at(2), |webhook| webhook.token_ids = Vec::new()).await;
    fresh.db.commit(vec![clip(2), step(2, fail())], at(3)).await.unwrap();
    let log = async |id| {
        let log = fresh.db.deliveries(id, None, 10).await.unwrap();
        log.into_iter().map(|line| (line.kind, line.timestamp)).collect::<Vec<_>>()
    };
    assert_eq!(log(id).await, [("media.errored".to_owned(), at(2)), ("feeds.started".to_owned(), at(0))]);
    assert_eq!(log(other).await, [("media.errored".to_owned(), at(4))]);
    assert_eq!(fresh.claim(at(3)).await.len(), 3);
}

#[tokio::test]
async fn a_removed_webhook_takes_what_it_is_owed_with_it() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), clip(2), step(1, fail())], at(1)).await.unwrap();
    assert!(fresh.db.delete_webhook(id).await.unwrap());
    assert!(!fresh.db.delete_webhook(id).await.unwrap());
    assert_eq!(fresh.db.webhook(id).await.unwrap(), None);
    assert_eq!(fresh.claim(at(2)).await, []);
    assert_eq!(fresh.db.next_due(at(2)), None);
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap(), []);
}
