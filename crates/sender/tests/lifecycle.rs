//! The end of a sender, clean or not: nothing is lost, and what was finished is on record.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use mediahooks_database::DeliveryState;
use mediahooks_sender::{Sender, SenderConfig, SenderError};
use support::{Endpoint, House, Received, Reply, config, in_time, status};

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_although_the_process_keeps_crashing() {
    let mut house = House::new().await;
    // The slow answers are those that a crash cuts.
    let mut endpoint = Endpoint::new(|n, _| if n % 3 == 1 { Reply::WhenReleased } else { status(200) }).await;
    let webhook = house.webhook(endpoint.url()).await;
    let mut owed = Vec::new();
    for subject in 0..6 {
        owed.push(house.emit_many(&format!("feed{subject}"), 5).await);
    }
    let mut seen = Vec::new();
    for survived in [1, 2, 3, 5, 8, 13] {
        let running = house.send(config("0s"));
        for _ in 0..survived {
            endpoint.release();
            seen.push(endpoint.next().await);
        }
        running.crash().await;
        house = house.reopen().await;
    }
    let running = house.send(config("0s"));
    let all: HashSet<String> = owed.iter().flatten().cloned().collect();
    while seen.iter().map(Received::id).collect::<HashSet<_>>() != all {
        endpoint.release();
        seen.push(endpoint.next().await);
    }
    (0..100).for_each(|_| endpoint.release());
    house
        .deliveries_once(webhook, |deliveries| {
            deliveries.iter().all(|delivery| delivery.state == DeliveryState::Delivered)
        })
        .await;
    running.stop().await;

    // Repeats aside, each subject's events came in order.
    for ids in owed {
        let mut first_seen: Vec<String> = Vec::new();
        for id in seen.iter().map(Received::id).filter(|id| ids.contains(id)) {
            if !first_seen.contains(&id) {
                first_seen.push(id);
            }
        }
        assert_eq!(first_seen, ids);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_requests_in_flight_and_starts_no_more() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|_, _| Reply::WhenReleased).await;
    let webhook = house.webhook(endpoint.url()).await;
    house.emit_many("feed", 2).await;
    let running = house.send(config("0s"));
    endpoint.next().await;
    running.shutdown.cancel();
    assert!(!running.task.is_finished());
    endpoint.release();
    running.stop().await;

    let states: Vec<_> = house.deliveries(webhook).await.iter().map(|delivery| delivery.state).collect();
    assert_eq!(states, [DeliveryState::Pending, DeliveryState::Delivered]);
    assert!(endpoint.unread().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_gives_up_what_does_not_end_and_the_next_start_sends_it() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|n, _| if n == 0 { Reply::WhenReleased } else { status(200) }).await;
    let webhook = house.webhook(endpoint.url()).await;
    let id = house.emit("feed").await;
    let running = house.send(SenderConfig { grace: Duration::from_millis(20), ..config("0s") });
    endpoint.next().await;
    running.stop().await;
    let deliveries = house.deliveries(webhook).await;
    assert!(deliveries[0].attempts.is_empty() && deliveries[0].next_attempt.is_some());

    let running = house.send(config("0s"));
    assert_eq!(endpoint.next().await.id(), id);
    running.stop().await;
    assert_eq!(house.deliveries(webhook).await[0].state, DeliveryState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_database_ends_the_sender() {
    let house = House::new().await;
    let endpoint = Endpoint::answering(200).await;
    house.webhook(endpoint.url()).await;
    let running = house.send(config("0s"));
    house.database.close().await.unwrap();
    in_time(running.task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_is_refused() {
    let house = House::new().await;
    let refused = |config| Sender::new(house.database.clone(), config).err().unwrap();
    assert!(matches!(
        refused(SenderConfig { per_webhook: 0, ..config("0s") }),
        SenderError::NoSlots { per_webhook: 0, total: 256 }
    ));
    assert!(matches!(
        refused(SenderConfig { deadline: Duration::ZERO, ..config("0s") }),
        SenderError::NoDeadline
    ));
    assert!(matches!(
        refused(SenderConfig { lease: Duration::from_secs(20), ..config("0s") }),
        SenderError::ShortLease { .. }
    ));
    assert!(matches!(
        refused(SenderConfig { user_agent: "a\r\nb".into(), ..config("0s") }),
        SenderError::UserAgent
    ));
}
