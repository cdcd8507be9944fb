//! The outbound guard, over everything: what is private is not reached, and what is read there not shown.

mod support;

use mediahooks_database::DeliveryState;
use mediahooks_delivery::TargetPolicy;
use mediahooks_sender::SenderConfig;
use support::{Endpoint, House, Reply, config};

const LOOPBACK: [&str; 14] = [
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "0x7f.1",
    "0x7F000001",
    "0177.0.0.1",
    "2130706433",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_private_address_is_reached() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(200).await;
    let port = endpoint.address.port();
    let mut webhooks = Vec::new();
    for host in LOOPBACK {
        webhooks.push((host, house.webhook(format!("http://{host}:{port}/")).await));
    }
    webhooks.push(("metadata", house.webhook("http://169.254.169.254/latest/meta-data").await));
    house.emit("feed").await;
    let running = house.send(SenderConfig { targets: TargetPolicy::default(), ..config("0s,1ms") });
    for (host, webhook) in webhooks {
        let deliveries = house.deliveries_once(webhook, |deliveries| deliveries[0].attempts.len() == 2).await;
        for attempt in &deliveries[0].attempts {
            let error = attempt.error.as_deref().unwrap();
            assert!(error.starts_with("refused: "), "{host}: {error}");
            assert_eq!(attempt.status, None);
        }
    }
    running.stop().await;
    assert!(endpoint.unread().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_says_what_to_do() {
    let house = House::new().await;
    let webhook = house.webhook("http://127.0.0.1:9/").await;
    house.emit("feed").await;
    let running = house.send(SenderConfig { targets: TargetPolicy::default(), ..config("0s") });
    let deliveries = house.deliveries_once(webhook, |deliveries| !deliveries[0].attempts.is_empty()).await;
    running.stop().await;
    assert_eq!(
        deliveries[0].attempts[0].error.as_deref(),
        Some(
            "refused: 127.0.0.1 may not be reached: it is loopback (127.0.0.0/8). \
             The operator can allow a private range with --webhook-allow"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_listed_name_is_reached_and_its_response_not_stored() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|_, _| Reply::Answer("200 OK", "internal secrets".into())).await;
    let webhook = house.webhook(format!("http://localhost:{}/", endpoint.address.port())).await;
    house.emit("feed").await;
    let running = house.send(config("0s"));
    endpoint.next().await;
    running.stop().await;
    let deliveries = house.deliveries(webhook).await;
    assert_eq!(deliveries[0].state, DeliveryState::Delivered);
    assert_eq!(deliveries[0].attempts[0].response, None);
}
