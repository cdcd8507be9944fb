//! An endpoint that hangs, drips or floods costs no other endpoint anything.

mod support;

use std::time::Duration;

use mediahooks_database::DeliveryState;
use mediahooks_sender::SenderConfig;
use support::{Endpoint, House, Reply, config};

/// Gives up on an attempt soon, but not before it has come as far as the endpoint lets it, on a busy machine too.
fn hasty() -> SenderConfig {
    SenderConfig { deadline: Duration::from_secs(3), ..config("0s") }
}

/// Nothing runs out while a test looks on.
fn patient(config: SenderConfig) -> SenderConfig {
    let (deadline, lease) = (Duration::from_secs(100), Duration::from_secs(200));
    SenderConfig { deadline, lease, grace: Duration::ZERO, ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_endpoint_keeps_to_its_cap_while_others_are_served() {
    let house = House::new().await;
    let mut hanging = Endpoint::new(|_, _| Reply::WhenReleased).await;
    let running = house.send(patient(SenderConfig { per_webhook: 3, ..config("0s") }));
    house.webhook(hanging.url()).await;
    for subject in 0..10 {
        house.emit(&format!("before-{subject}")).await;
    }
    hanging.take(3).await;

    let mut quick = Endpoint::answering(200).await;
    house.webhook(quick.url()).await;
    for subject in 0..50 {
        house.emit(&format!("after-{subject}")).await;
    }
    quick.take(50).await;
    assert!(hanging.unread().is_empty());

    // One answer makes room for one more request.
    hanging.release();
    hanging.next().await;
    running.stop().await;
    assert!(hanging.unread().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_endpoints_together_leave_room_for_another() {
    let house = House::new().await;
    let running = house.send(patient(SenderConfig { per_webhook: 8, total: 8, ..config("0s") }));
    let mut hanging = Vec::new();
    for _ in 0..4 {
        let endpoint = Endpoint::new(|_, _| Reply::WhenReleased).await;
        house.webhook(endpoint.url()).await;
        hanging.push(endpoint);
    }
    for subject in 0..20 {
        house.emit(&format!("before-{subject}")).await;
    }
    for endpoint in &mut hanging {
        endpoint.next().await;
    }
    let mut quick = Endpoint::answering(200).await;
    house.webhook(quick.url()).await;
    for subject in 0..20 {
        house.emit(&format!("after-{subject}")).await;
    }
    quick.take(20).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_response_is_cut_by_the_deadline_and_its_status_counts() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|_, _| Reply::Drip).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit("feed").await;
    let running = house.send(hasty());
    endpoint.connection_closed().await;
    let deliveries =
        house.deliveries_once(webhook, |deliveries| deliveries[0].state == DeliveryState::Delivered).await;
    running.stop().await;
    let attempt = &deliveries[0].attempts[0];
    assert_eq!((attempt.status, attempt.error.as_deref()), (Some(200), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_endpoint_is_cut_by_the_deadline() {
    let house = House::new().await;
    let endpoint = Endpoint::new(|_, _| Reply::WhenReleased).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit("feed").await;
    let running = house.send(hasty());
    let deliveries = house.deliveries_once(webhook, |deliveries| !deliveries[0].attempts.is_empty()).await;
    running.stop().await;
    let attempt = &deliveries[0].attempts[0];
    assert!(attempt.error.as_deref().unwrap().contains("no answer came within 3s"), "{attempt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_end_is_read_up_to_the_cap() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|_, _| Reply::Flood).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit("feed").await;
    let running = house.send(patient(config("0s")));
    // What the sockets of both sides buffer is sent on top of the 64 KiB that are read.
    let sent = endpoint.connection_closed().await;
    assert!(sent < 32 * 1024 * 1024, "{sent}");
    // Its status said that it took the event over.
    house.deliveries_once(webhook, |deliveries| deliveries[0].state == DeliveryState::Delivered).await;
    running.stop().await;
}
