//! Order over very many events: no inversion, whatever fails, and an asset that is stuck delays no other.
//!
//! The inversions themselves are looked for by `world`, at every request.

use std::time::{Duration, Instant};

use mediahooks_database::{Database, Fate};
use mediahooks_model::WebhookId;
use mediahooks_sender::SenderConfig;
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::house::{House, event, until};
use crate::world::{Reply, World};
use crate::{seed, setting};

const ENDPOINTS: usize = 20;

/// Events of one commit.
const BATCH: usize = 20;

/// A fifth of all requests fail, a few of them by hanging.
fn flaky(dice: &mut StdRng) -> Reply {
    match dice.random_range(0..1000) {
        0..800 => Reply::Accept,
        800..803 => Reply::Hang,
        803..805 => Reply::AcceptSilently,
        805..807 => Reply::Drip,
        807..900 => Reply::Reset,
        _ => Reply::Refuse(500, None),
    }
}

fn subject(asset: usize) -> String {
    format!("asset-{asset}")
}

/// What happens: `total` events, spread over the assets, in commits of several.
struct Story {
    webhooks: Vec<WebhookId>,
    seqs: Vec<u64>,
    left: usize,
}

impl Story {
    /// Goes on until it is dropped or over. An asset's events all go to one webhook.
    async fn go_on(&mut self, database: &Database, world: &World) {
        while self.left > 0 {
            let now = world.now();
            let mut changes = Vec::new();
            for _ in 0..BATCH.min(self.left) {
                let asset = world.random(|dice| dice.random_range(0..self.seqs.len()));
                self.seqs[asset] += 1;
                let webhook = self.webhooks[asset % ENDPOINTS];
                changes.push(event(webhook, &subject(asset), self.seqs[asset], now));
                world.committed(&subject(asset), self.seqs[asset]);
            }
            self.left -= changes.len();
            database.commit(changes, now).await.unwrap();
            // As fast as the endpoints take it on average.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn run(total: usize, assets: usize) {
    let world = World::seeded(seed(), |_, dice| flaky(dice));
    let mut house = House::new(world.clone());
    house.config = SenderConfig {
        // Enough for what fails by chance, and what is stuck is not given up.
        retry: format!("0s{}{}", ",1s".repeat(60), ",1h".repeat(39)).parse().unwrap(),
        total: 320,
        ..house.config
    };
    let mut life = house.live_on().await;
    let mut webhooks = Vec::new();
    for n in 0..ENDPOINTS {
        webhooks.push(life.webhook(&format!("endpoint-{n}")).await);
    }
    let mut story = Story { webhooks, seqs: vec![0; assets], left: total };
    let stuck = [subject(0), subject(1)];
    world.behave({
        let stuck = stuck.clone();
        move |request, dice| match stuck.iter().any(|stuck| stuck == request.subject) {
            true => Reply::Refuse(500, None),
            false => flaky(dice),
        }
    });
    let mut restarts = 0;
    loop {
        // A commit under way is carried out whole: it has no pause in it.
        // One event takes a millisecond.
        let lasts = world.random(|dice| dice.random_range(total / 20..total / 4));
        let lasts = Duration::from_millis(lasts as u64);
        let over = tokio::time::timeout(lasts, story.go_on(&life.database, &world)).await.is_ok();
        if over {
            break;
        }
        life.die().await;
        restarts += 1;
        life = house.live(|_| Fate::GoOn).await;
    }
    // All others get everything while two can get nothing.
    until(&world, Duration::from_secs(5), || {
        (0..assets).filter(|asset| story.seqs[*asset] > 0).all(|asset| {
            let webhook = story.webhooks[asset % ENDPOINTS];
            stuck.contains(&subject(asset)) || world.is_accepted(webhook, &subject(asset))
        })
    })
    .await;
    assert!(
        stuck.iter().zip(&story.webhooks).all(|(subject, webhook)| !world.is_accepted(*webhook, subject))
    );
    world.behave(|_, dice| flaky(dice));
    until(&world, Duration::from_secs(5), || world.is_all_accepted(1)).await;
    life.stop().await;
    let state = world.state();
    assert!(restarts > 2, "{restarts} crashes");
    println!(
        "{total} events of {assets} assets to {ENDPOINTS} endpoints: {} requests, {} repeats, {restarts} crashes",
        state.requests, state.repeats
    );
}

#[test]
fn events_stay_in_order_through_failures_hangs_and_crashes_and_a_stuck_asset_delays_no_other() {
    let total = usize::try_from(setting("MEDIAHOOKS_SIMULATION_EVENTS", 4000)).unwrap();
    let assets = if total >= 100_000 { 1000 } else { 100 };
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(run(total, assets));
    println!("{:.1} s", begin.elapsed().as_secs_f64());
}
