//! What an endpoint gets: the stored bytes, signed in both schemes, in a fresh signature per attempt.

mod support;

use std::time::SystemTime;

use mediahooks_database::DeliveryState;
use mediahooks_receiver::{Scheme, Verifier};
use support::{Endpoint, House, SECRET, config, now, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_carries_the_stored_body_and_proves_it() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(200).await;
    let webhook = house.webhook(endpoint.url()).await;
    let id = house.emit("feed").await;
    let before = now().as_seconds();
    let running = house.send(config("0s"));
    let request = endpoint.next().await;
    running.stop().await;

    assert_eq!(request.request_line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(request.body, r#"{"type":"feeds","of":"feed","text":"größer 🎥"}"#);
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("mediahooks/"));
    assert_eq!(request.id(), id);
    let timestamp: i64 = request.header("webhook-timestamp").parse().unwrap();
    assert!((before..=now().as_seconds()).contains(&timestamp));

    let verifier = Verifier::new([SECRET]).unwrap();
    let verify =
        |headers: &_| verifier.verify(headers, request.body.as_bytes(), SystemTime::now()).unwrap().scheme;
    assert_eq!(verify(&request.headers), Scheme::Standard);
    let mut headers = request.headers.clone();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.remove(name);
    }
    assert_eq!(verify(&headers), Scheme::Millicast);

    let deliveries = house.deliveries(webhook).await;
    let [delivery] = &deliveries[..] else { panic!("{deliveries:?}") };
    assert_eq!(delivery.state, DeliveryState::Delivered);
    let [attempt] = &delivery.attempts[..] else { panic!("{delivery:?}") };
    assert_eq!((attempt.number, attempt.status, &attempt.error), (1, Some(200), &None));
    assert_eq!(attempt.started.as_seconds(), timestamp);
    assert!(attempt.duration_us > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_the_same_id_and_body() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|n, _| status(if n < 2 { 500 } else { 200 })).await;
    let webhook = house.webhook(endpoint.url()).await;
    let id = house.emit("feed").await;
    let running = house.send(config("0s,1ms,1ms"));
    let requests = endpoint.take(3).await;
    running.stop().await;

    let verifier = Verifier::new([SECRET]).unwrap().require_standard();
    for request in &requests {
        assert_eq!((request.id(), &request.body), (id.clone(), &requests[0].body));
        verifier.verify(&request.headers, request.body.as_bytes(), SystemTime::now()).unwrap();
    }
    let delivery = &house.deliveries(webhook).await[0];
    let log: Vec<_> =
        delivery.attempts.iter().map(|attempt| (attempt.number, attempt.status.unwrap())).collect();
    assert_eq!(log, [(1, 500), (2, 500), (3, 200)]);
    assert_eq!(delivery.attempts[0].error.as_deref(), Some("the endpoint answered 500"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_with_an_unreadable_secret_says_so() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(200).await;
    let id = house.webhook(endpoint.url()).await;
    house.change(id, |webhook| webhook.secret = "not base64!".into()).await;
    house.emit("feed").await;
    let running = house.send(config("0s"));
    let deliveries = house.deliveries_once(id, |deliveries| !deliveries[0].attempts.is_empty()).await;
    running.stop().await;

    let error = deliveries[0].attempts[0].error.as_deref().unwrap();
    assert!(error.contains("Refresh the webhook's secret") && !error.contains("not base64!"), "{error}");
    assert!(endpoint.unread().is_empty());
}
