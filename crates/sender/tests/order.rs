//! One subject's events arrive in the order they happened; nothing else waits for them.

mod support;

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use mediahooks_database::DeliveryState;
use mediahooks_delivery::HealthPolicy;
use mediahooks_sender::SenderConfig;
use support::{Endpoint, House, Received, Reply, config, status};

fn ids(requests: &[Received]) -> Vec<String> {
    requests.iter().map(Received::id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_holds_back_its_subject_and_no_other() {
    let house = House::new().await;
    // The first event of `slow` is not accepted before all of `quick` has arrived.
    let mut endpoint = Endpoint::new(|n, request| match request.body.contains(r#""of":"slow""#) {
        true if n == 0 => Reply::WhenReleased,
        _ => status(200),
    })
    .await;
    house.webhook(endpoint.url()).await;
    let slow = house.emit_many("slow", 3).await;
    let running = house.send(config("0s"));
    let mut seen = endpoint.take(1).await;
    let quick = house.emit_many("quick", 5).await;
    seen.extend(endpoint.take(5).await);
    endpoint.release();
    seen.extend(endpoint.take(2).await);
    running.stop().await;

    let expected = [&slow[..1], &quick[..], &slow[1..]].concat();
    assert_eq!(ids(&seen), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_follows_only_after_the_one_before_it_was_accepted() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|n, _| status(if n % 3 == 2 { 200 } else { 500 })).await;
    house.webhook(endpoint.url()).await;
    let [first, second] = &house.emit_many("feed", 2).await[..] else { unreachable!() };
    let running = house.send(config("0s,1ms,1ms,1ms"));
    let seen = ids(&endpoint.take(6).await);
    running.stop().await;
    assert_eq!(seen, [first, first, first, second, second, second].map(String::clone));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_attempt_the_next_event_goes() {
    let house = House::new().await;
    let stuck = OnceLock::new();
    let mut endpoint = Endpoint::new(move |_, request| {
        status(if stuck.get_or_init(|| request.id()) == &request.id() { 500 } else { 200 })
    })
    .await;
    let webhook = house.webhook(endpoint.url()).await;
    let [first, second] = &house.emit_many("feed", 2).await[..] else { unreachable!() };
    let health = HealthPolicy {
        suspension: Duration::from_millis(1),
        suspension_max: Duration::from_millis(1),
        ..HealthPolicy::default()
    };
    let running = house.send(SenderConfig { health, ..config("0s,1ms,1ms") });
    // For as long as it accepts nothing else, the endpoint may be down: nothing is given up.
    let mut seen = ids(&endpoint.take(6).await);
    assert_eq!(seen, vec![first.clone(); 6]);
    let other = house.emit("other").await;
    let deliveries = house.deliveries_once(webhook, |all| all[1].state == DeliveryState::Delivered).await;
    running.stop().await;

    seen.extend(ids(&endpoint.unread()).into_iter().filter(|id| *id != other));
    assert_eq!(seen.pop().as_ref(), Some(second));
    assert!(seen.iter().all(|id| id == first));
    assert_eq!(deliveries[2].state, DeliveryState::Exhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_subjects_at_once_stay_in_order_each() {
    let house = House::new().await;
    let refused = Mutex::new(HashSet::new());
    let mut endpoint = Endpoint::new(move |_, request| {
        status(if refused.lock().unwrap().insert(request.id()) { 500 } else { 200 })
    })
    .await;
    house.webhook(endpoint.url()).await;
    let running = house.send(config("0s,0s"));
    let mut expected = Vec::new();
    for subject in 0..10 {
        let subject = format!("feed{subject}");
        expected.push((format!(r#""{subject}""#), house.emit_many(&subject, 5).await));
    }
    let seen = endpoint.take(100).await;
    running.stop().await;
    for (subject, owed) in expected {
        let seen = seen.iter().filter(|request| request.body.contains(&subject)).map(Received::id);
        let twice_each = owed.iter().flat_map(|id| [id.clone(), id.clone()]);
        assert!(seen.eq(twice_each), "{subject}");
    }
}
