//! Answers that are not 2xx: redirects, requests for patience, and the wish to hear no more.

mod support;

use std::time::Duration;

use mediahooks_database::DeliveryState;
use support::{Endpoint, House, Received, config, eventually, now, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_not_followed() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(302).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit("feed").await;
    let running = house.send(config("0s,1ms"));
    let deliveries = house.deliveries_once(webhook, |deliveries| deliveries[0].attempts.len() == 2).await;
    running.stop().await;

    let requests = endpoint.unread();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.request_line.starts_with("POST /hook")));
    let attempt = &deliveries[0].attempts[0];
    assert_eq!(attempt.status, Some(302));
    assert!(attempt.error.as_deref().unwrap().contains("redirects are not followed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let house = House::new().await;
    let endpoint = Endpoint::answering(503).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit("feed").await;
    let asked = Duration::from_secs(7200);
    let earliest = now().plus(asked);
    let running = house.send(config("0s,1ms,1ms"));
    let deliveries = house.deliveries_once(webhook, |deliveries| !deliveries[0].attempts.is_empty()).await;
    let latest = now().plus(asked.mul_f64(1.2));
    running.stop().await;
    let next = deliveries[0].next_attempt.unwrap();
    assert!((earliest..=latest).contains(&next), "{next}");
    assert_eq!(deliveries[0].attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_the_webhook_and_holds_what_it_is_owed() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|n, _| status(if n == 0 { 410 } else { 200 })).await;
    let mut other = Endpoint::answering(200).await;
    let id = house.webhook(endpoint.url()).await;
    house.webhook(other.url()).await;
    let running = house.send(config("0s,1ms,1ms"));
    let mut ids = house.emit_many("feed", 3).await;
    let webhook = eventually(async || {
        house.database.webhook(id).await.unwrap().filter(|webhook| webhook.disabled.is_some())
    })
    .await;
    assert!(webhook.disabled.unwrap().reason.unwrap().contains("410"));
    ids.push(house.emit("feed").await);

    // The other endpoint has it all, this one nothing but the request it refused.
    other.take(4).await;
    let refused: Vec<_> = endpoint.unread().iter().map(Received::id).collect();
    assert_eq!(refused, ids[..1]);
    let held = house.deliveries(id).await;
    assert!(held.iter().all(|delivery| delivery.state != DeliveryState::Exhausted));

    house.change(id, |webhook| webhook.disabled = None).await;
    let drained: Vec<_> = endpoint.take(ids.len()).await.iter().map(Received::id).collect();
    assert_eq!(drained, ids);
    running.stop().await;
}
