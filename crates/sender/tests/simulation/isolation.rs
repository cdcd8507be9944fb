//! One endpoint that hangs, one that drips, one that answers 500 and one without a name cost a thousand others
//! nothing.

use std::time::Duration;

use mediahooks_model::WebhookId;
use rand::Rng as _;

use crate::house::{House, event};
use crate::seed;
use crate::world::{Reply, World};

const ENDPOINTS: usize = 1000;

/// Events to each endpoint.
const EVENTS: usize = 4;

/// What the first endpoints do, when they misbehave.
const BAD: [Reply; 4] = [Reply::Hang, Reply::Drip, Reply::Refuse(500, None), Reply::NoName];

/// Sends events to everybody, more of them to those that may misbehave; returns the latency of the slowest
/// hundredth of all others.
async fn p99_of_the_healthy(misbehaves: bool) -> Duration {
    let world = World::seeded(seed(), |_, _| Reply::Accept);
    let house = House::new(world.clone());
    let life = house.live_on().await;
    let mut webhooks = Vec::new();
    for n in 0..ENDPOINTS {
        webhooks.push(life.webhook(&format!("endpoint-{n}")).await);
    }
    let bad: Vec<WebhookId> = webhooks[..BAD.len()].to_vec();
    world.state().keeps_latencies = true;
    world.behave({
        let bad = bad.clone();
        move |request, _| match bad.iter().position(|webhook| *webhook == request.webhook) {
            Some(at) if misbehaves => BAD[at],
            _ => Reply::Accept,
        }
    });
    let mut sent = 0;
    for round in 0..EVENTS {
        for webhook in &webhooks {
            // The bad ones are owed much more than they could take.
            let count = if bad.contains(webhook) { 40 } else { 1 };
            sent += if bad.contains(webhook) { 0 } else { count };
            let subjects: Vec<_> = (0..count).map(|n| format!("{webhook}-{round}-{n}")).collect();
            subjects.iter().for_each(|subject| world.committed(subject, 1));
            let now = world.now();
            let changes = subjects.iter().map(|subject| event(*webhook, subject, 1, now)).collect();
            life.database.commit(changes, now).await.unwrap();
            let pause = world.random(|dice| dice.random_range(0..8000));
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
    }
    // Nothing else is on its way to them by now.
    tokio::time::sleep(Duration::from_secs(60)).await;
    life.die().await;
    let state = world.state();
    let healthy = state.latencies.iter().filter(|latency| !bad.contains(&latency.webhook));
    let mut took: Vec<_> = healthy.map(|latency| latency.took).collect();
    assert_eq!(took.len(), sent);
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_misbehave_slow_no_other_endpoint_down() {
    let (without, with) = (p99_of_the_healthy(false).await, p99_of_the_healthy(true).await);
    println!("p99 of the healthy: {without:?} without the others, {with:?} with them");
    assert!(with <= without.mul_f64(1.2), "{with:?} with the others, {without:?} without them");
}
