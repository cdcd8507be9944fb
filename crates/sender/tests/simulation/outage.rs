//! Outages heal themselves: an endpoint that is down for days is suspended, probed, and gets everything
//! afterwards, in order and paced, with nobody doing anything.

use std::convert::Infallible;
use std::time::Duration;

use mediahooks_database::{DeliveryState, Fate};
use mediahooks_model::webhook::Disabled;
use mediahooks_model::{Timestamp, Webhook, WebhookId};
use rand::Rng as _;

use crate::house::{House, Life, event, until};
use crate::seed;
use crate::world::{Reply, World};

const HOUR: Duration = Duration::from_secs(3600);
const SUBJECTS: usize = 10;

/// Emits an event of some subject now and then, until `end`; returns how many of each there were.
async fn broadcast(
    life: &Life,
    world: &World,
    webhook: WebhookId,
    seqs: &mut [u64; SUBJECTS],
    end: Timestamp,
) {
    while world.now() < end {
        let subject = world.random(|dice| dice.random_range(0..SUBJECTS));
        seqs[subject] += 1;
        let name = format!("{webhook}-{subject}");
        world.committed(&name, seqs[subject]);
        life.database
            .commit(vec![event(webhook, &name, seqs[subject], world.now())], world.now())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}

async fn disabled(life: &Life, webhook: WebhookId) -> Option<Disabled> {
    life.database.webhook(webhook).await.unwrap().unwrap().disabled
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_for_72_hours_gets_everything_afterwards_without_help() {
    let world = World::seeded(seed(), |_, _| Reply::Accept);
    let house = House::new(world.clone());
    let mut life = house.live_on().await;
    let webhook = life.webhook("endpoint").await;
    let begin = world.now();
    let (dies, returns) = (begin.plus(HOUR), begin.plus(73 * HOUR));
    world.behave(move |request, dice| match request.now {
        now if now < dies || now >= returns => Reply::Accept,
        _ if dice.random_bool(0.5) => Reply::Reset,
        _ => Reply::Hang,
    });
    let mut seqs = [0; SUBJECTS];
    broadcast(&life, &world, webhook, &mut seqs, dies).await;
    assert!(world.is_all_accepted(1));
    let before = world.state().requests;

    let mut suspended_until = None;
    for hours in (5..=73).step_by(4) {
        broadcast(&life, &world, webhook, &mut seqs, begin.plus(hours * HOUR)).await;
        let Some(Disabled { until: Some(until), reason: Some(reason) }) = disabled(&life, webhook).await
        else {
            panic!("not suspended after {hours} hours")
        };
        assert!(reason.contains("attempts in a row have failed since 2026-01-01T01:"), "{reason}");
        assert!(until > world.now().minus(HOUR) && until <= world.now().plus(HOUR.mul_f64(1.2)), "{until}");
        if hours % 8 == 1 {
            // What is known is known by the next process too.
            life.die().await;
            life = house.live(|_| Fate::GoOn).await;
        }
        suspended_until = Some(until);
    }
    let probes = world.state().requests - before;
    assert!((72..400).contains(&probes), "{probes} requests to an endpoint that was down");

    world.state().in_flight_max.clear();
    let backlog = seqs.iter().sum::<u64>();
    until(&world, Duration::from_secs(60), || world.is_all_accepted(1)).await;
    // At most the last suspension, and what the backlog takes.
    assert!(world.now() <= suspended_until.unwrap().plus(HOUR.mul_f64(1.3)), "healed at {}", world.now());
    assert_eq!(disabled(&life, webhook).await, None);
    assert!(backlog > 400, "{backlog}");
    let log = life.database.deliveries(webhook, None, 1000).await.unwrap();
    assert_eq!(log.len() as u64, backlog);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = life.database.deliveries(webhook, None, 1000).await.unwrap();
    assert!(log.iter().all(|delivery| delivery.state == DeliveryState::Delivered));
    life.stop().await;
}

async fn change(
    life: &Life,
    webhook: WebhookId,
    now: Timestamp,
    change: impl FnOnce(&mut Webhook) + Send + 'static,
) {
    let change = |webhook: &mut Webhook| {
        change(webhook);
        Ok::<_, Infallible>(())
    };
    life.database.update_webhook(webhook, false, now, change).await.unwrap().unwrap();
}

/// Events that one event each of `subjects` is, all at once.
async fn emit_each(life: &Life, world: &World, webhook: WebhookId, subjects: std::ops::Range<usize>) {
    let now = world.now();
    let names: Vec<_> = subjects.map(|n| format!("{webhook}-{n}")).collect();
    let changes = names.iter().map(|name| event(webhook, name, 1, now)).collect();
    names.iter().for_each(|name| world.committed(name, 1));
    life.database.commit(changes, now).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_an_endpoint_cannot_stand_does_not_block_its_recovery() {
    let world = World::seeded(seed(), |_, _| Reply::Hang);
    let house = House::new(world.clone());
    let life = house.live_on().await;
    let webhook = life.webhook("endpoint").await;
    emit_each(&life, &world, webhook, 0..20).await;
    while disabled(&life, webhook).await.is_none() {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    // It is back, but half of the events are poison.
    world.behave(|request, _| match request.subject.as_bytes().last() {
        Some(digit) if digit % 2 == 0 => Reply::Refuse(500, None),
        _ => Reply::Accept,
    });
    let back = world.now();
    let sane = || (1..20).step_by(2).all(|n| world.is_accepted(webhook, &format!("{webhook}-{n}")));
    until(&world, Duration::from_secs(10), sane).await;
    assert!(world.now().since(back) < 2 * HOUR, "healed after {:?}", world.now().since(back));
    life.die().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_drains_slowly_at_first_and_within_the_rate_limit() {
    let world = World::seeded(seed(), |_, _| Reply::Reset);
    let house = House::new(world.clone());
    let life = house.live_on().await;
    let webhook = life.webhook("endpoint").await;
    change(&life, webhook, world.now(), |webhook| webhook.rate_limit = Some(20)).await;
    emit_each(&life, &world, webhook, 0..300).await;
    while disabled(&life, webhook).await.is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.behave(|_, _| Reply::Accept);
    world.state().in_flight_max.clear();
    world.state().keeps_latencies = true;
    while world.state().accepted == 0 {
        assert!(world.state().in_flight_max.get(&webhook).is_none_or(|most| *most <= 1));
        world.progress.notified().await;
    }
    until(&world, Duration::from_secs(1), || world.is_all_accepted(1)).await;
    let accepted: Vec<_> = world.state().latencies.iter().map(|latency| latency.at).collect();
    let spans = accepted.windows(24).map(|window| window[23].since(window[0]));
    // 20 per second, two at once, and up to 20 ms of difference between two answers.
    assert!(spans.min().unwrap() >= Duration::from_millis(1000), "more than 20 a second");
    life.die().await;
}

#[tokio::test(start_paused = true)]
async fn patience_asked_for_is_given_to_the_whole_endpoint() {
    let world = World::seeded(seed(), |_, _| Reply::Refuse(429, Some(Duration::from_secs(120))));
    let house = House::new(world.clone());
    let life = house.live_on().await;
    let webhook = life.webhook("endpoint").await;
    emit_each(&life, &world, webhook, 0..1).await;
    while disabled(&life, webhook).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = world.now();
    world.behave(|_, _| Reply::Accept);
    emit_each(&life, &world, webhook, 1..50).await;
    tokio::time::sleep(Duration::from_secs(118)).await;
    assert_eq!(world.state().requests, 1);
    until(&world, Duration::from_secs(1), || world.is_all_accepted(1)).await;
    assert!(world.now().since(asked) < Duration::from_secs(125), "{:?}", world.now().since(asked));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn enabling_or_moving_a_webhook_drains_it_at_once() {
    for moves in [false, true] {
        let world = World::seeded(seed(), |_, _| Reply::Refuse(410, None));
        let house = House::new(world.clone());
        let life = house.live_on().await;
        let webhook = life.webhook("endpoint").await;
        emit_each(&life, &world, webhook, 0..50).await;
        while disabled(&life, webhook).await.is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(disabled(&life, webhook).await.unwrap().until, None);
        world.behave(|_, _| Reply::Accept);
        tokio::time::sleep(5 * HOUR).await;
        assert_eq!(world.state().accepted, 0, "nobody asked for it");
        let begin = world.now();
        let renew = move |webhook: &mut Webhook| {
            webhook.disabled = None;
            if moves {
                webhook.url = "https://other.example/".into();
            }
        };
        change(&life, webhook, begin, renew).await;
        until(&world, Duration::from_secs(1), || world.is_all_accepted(1)).await;
        assert!(world.now().since(begin) < Duration::from_secs(5), "{:?}", world.now().since(begin));
        life.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_too_long_is_given_up_and_says_so() {
    let world = World::seeded(seed(), |_, _| Reply::NoName);
    let mut house = House::new(world.clone());
    house.config.hold_for = 30 * HOUR;
    let life = house.live_on().await;
    let webhook = life.webhook("endpoint").await;
    emit_each(&life, &world, webhook, 0..3).await;
    tokio::time::sleep(10 * HOUR).await;
    emit_each(&life, &world, webhook, 3..4).await;
    tokio::time::sleep(19 * HOUR).await;
    let states = async || {
        let log = life.database.deliveries(webhook, None, 10).await.unwrap();
        log.iter().rev().map(|delivery| delivery.state).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [DeliveryState::Pending; 4]);
    tokio::time::sleep(2 * HOUR).await;
    let expired = DeliveryState::Expired;
    assert_eq!(states().await, [expired, expired, expired, DeliveryState::Pending]);
    life.die().await;
}
