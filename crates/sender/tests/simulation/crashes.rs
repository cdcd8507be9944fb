//! Crashes at every step: nothing is lost, invented or reordered, and what is repeated was in flight.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mediahooks_database::{
    Asset, AssetChange, Change, Database, DatabaseError, Delivery, DeliveryState, Fate, Inline, Moment,
    NewAsset, Step,
};
use mediahooks_model::{AssetInput, AssetState, AssetType, FeedId, MediaAssetId, WebhookId};
use mediahooks_sender::SenderConfig;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use crate::house::{House, Life, until};
use crate::world::{Reply, Request, World};
use crate::{seed, setting};

const ASSETS: u64 = 10;
const WEBHOOKS: usize = 3;
const SLOTS: u32 = 8;

/// Where processes died.
type Deaths = BTreeSet<(String, Moment)>;

/// One endpoint in its mood.
fn moody(_: &Request<'_>, dice: &mut StdRng) -> Reply {
    let seconds = Duration::from_secs(dice.random_range(1..20));
    match dice.random_range(0..100) {
        0..70 => Reply::Accept,
        70..73 => Reply::AcceptSilently,
        73..81 => Reply::Refuse(500, None),
        81..85 => Reply::Refuse(429, Some(seconds)),
        85..88 => Reply::Refuse(503, Some(seconds)),
        88..92 => Reply::Hang,
        92..95 => Reply::Drip,
        95..98 => Reply::Reset,
        _ => Reply::NoName,
    }
}

fn asset_id(n: u64) -> MediaAssetId {
    MediaAssetId(Uuid::from_u64_pair(1, n))
}

fn new_asset(id: MediaAssetId, world: &World) -> Change {
    let asset =
        Asset::new(id, AssetType::Clip, FeedId(Uuid::from_u128(1)), "stage".parse().unwrap(), world.now());
    Change::CreateAsset(Box::new(NewAsset { asset }))
}

fn step(id: MediaAssetId, input: AssetInput) -> Change {
    let change = AssetChange { id, input, recipe: None, stop_time: None, expiration: None };
    Change::StepAsset(Box::new(change))
}

/// How many events an asset has had.
async fn events_of(database: &Database, id: MediaAssetId) -> u64 {
    match database.asset(id).await.unwrap().map(|asset| asset.state) {
        None => 0,
        Some(AssetState::Processing) => 1,
        Some(AssetState::Complete { .. } | AssetState::Error { .. }) => 2,
        Some(AssetState::Deleting { .. } | AssetState::Deleted { .. }) => 3,
    }
}

/// Leads one asset through its life, from where it stands.
async fn lead(database: Database, world: World, id: MediaAssetId) {
    let subject = id.to_string();
    let mut had = events_of(&database, id).await;
    while had < 3 {
        let pause = world.random(|dice| dice.random_range(0..3000));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let change = match had {
            0 => new_asset(id, &world),
            1 if world.random(|dice| dice.random_bool(0.5)) => {
                step(id, AssetInput::Finish { metadata: Box::default() })
            }
            1 => step(id, AssetInput::Fail { reason: "no media".into() }),
            _ => step(id, AssetInput::Delete),
        };
        // It may be sent before this learns of it.
        world.committed(&subject, had + 1);
        match database.commit(vec![change], world.now()).await {
            Ok(_) => had += 1,
            Err(DatabaseError::Unavailable { .. }) => world.committed(&subject, had),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Number of the event that a delivery is of.
fn seq(delivery: &Delivery) -> u64 {
    match delivery.kind.as_str() {
        "media.processing" => 1,
        "media.completed" | "media.errored" => 2,
        "media.deleted" => 3,
        other => panic!("nobody made {other}"),
    }
}

async fn all_deliveries(database: &Database, webhooks: &[WebhookId]) -> Vec<(WebhookId, Delivery)> {
    let mut all = Vec::new();
    for webhook in webhooks {
        let page = database.deliveries(*webhook, None, 1000).await.unwrap();
        all.extend(page.into_iter().map(|delivery| (*webhook, delivery)));
    }
    all
}

/// What a crash left: what is durable is what counts from here on.
async fn take_stock(house: &House, webhooks: &[WebhookId]) {
    let database = house.open(Inline::new(|_| Fate::GoOn)).await;
    for n in 0..ASSETS {
        house.world.committed(&asset_id(n).to_string(), events_of(&database, asset_id(n)).await);
    }
    for (webhook, delivery) in all_deliveries(&database, webhooks).await {
        if delivery.state == DeliveryState::Delivered {
            house.world.recorded(webhook, &delivery.subject, seq(&delivery));
        }
    }
    let unrecorded = house.world.unrecorded();
    assert!(unrecorded <= SLOTS as usize, "{unrecorded} acknowledgements were not on record at a crash");
}

/// How a life ends.
#[derive(Debug)]
enum End {
    AtCommit(u32),
    AtRequest,
    After(Duration),
    Stop(Duration),
}

async fn live_and_die(house: &House, dice: &mut StdRng, deaths: &Arc<Mutex<Deaths>>) {
    let end = match dice.random_range(0..4) {
        // The start is over in a few steps.
        0 if dice.random_bool(0.5) => End::AtCommit(dice.random_range(1..6)),
        0 | 1 => End::AtCommit(dice.random_range(1..80)),
        2 => End::AtRequest,
        _ if dice.random_bool(0.7) => End::After(Duration::from_millis(dice.random_range(0..20_000))),
        _ => End::Stop(Duration::from_millis(dice.random_range(0..20_000))),
    };
    let world = &house.world;
    world.state().death = if matches!(end, End::AtRequest) { 0.03 } else { 0.0 };
    let fate = {
        let (deaths, death) = (deaths.clone(), world.death.clone());
        let mut left = if let End::AtCommit(steps) = end { steps } else { u32::MAX };
        let mut failures = StdRng::seed_from_u64(dice.random());
        let mut decide = move |step: Step<'_>| {
            left -= 1;
            if left == 0 {
                deaths.lock().unwrap().insert((short(step.operation), step.moment));
                death.notify_one();
                return Fate::Die;
            }
            // A disk that is full now and then.
            if step.moment == Moment::BeforeCommit && failures.random_bool(0.02) {
                Fate::Fail
            } else {
                Fate::GoOn
            }
        };
        let decide = Mutex::new(move |step: Step<'_>| decide(step));
        move |step: Step<'_>| (decide.lock().unwrap())(step)
    };
    let life = house.live(fate).await;
    let leading = lead_all(&life, world);
    let (at, stops) = match end {
        End::After(at) => (at, false),
        End::Stop(at) => (at, true),
        // Long enough for everything there is to do.
        _ => (Duration::from_secs(300), false),
    };
    let _ = tokio::time::timeout(at, world.death.notified()).await;
    drop(leading);
    if stops {
        life.stop().await;
    } else {
        life.die().await;
    }
}

/// Leads all assets until it is dropped.
fn lead_all(life: &Life, world: &World) -> tokio::task::JoinSet<()> {
    (0..ASSETS).map(|n| lead(life.database.clone(), world.clone(), asset_id(n))).collect()
}

/// `mediahooks_database::commit::<impl …>::commit::{{closure}}…`: `commit`.
fn short(operation: &str) -> String {
    let mut depth = 0u32;
    let path: String = operation
        .chars()
        .filter(|letter| {
            let inside = depth > 0;
            match letter {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            !inside && *letter != '<'
        })
        .collect();
    let function = path.split("::{{closure}}").next().unwrap_or_default();
    function.rsplit("::").next().unwrap_or_default().to_owned()
}

async fn trial(seed: u64, deaths: &Arc<Mutex<Deaths>>) -> (u64, u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut house = House::new(World::seeded(seed, moody));
    house.config = SenderConfig {
        retry: format!("0s{}", ",500ms".repeat(60)).parse().unwrap(),
        per_webhook: 4,
        total: SLOTS,
        ..house.config
    };
    let mut webhooks = Vec::new();
    let first = house.live_on().await;
    for n in 0..WEBHOOKS {
        webhooks.push(first.webhook(&format!("endpoint-{n}")).await);
    }
    first.die().await;
    for _ in 0..dice.random_range(1..8) {
        live_and_die(&house, &mut dice, deaths).await;
        take_stock(&house, &webhooks).await;
    }
    house.world.state().death = 0.0;
    let life = house.live_on().await;
    let leading = lead_all(&life, &house.world);
    leading.join_all().await;
    until(&house.world, Duration::from_secs(5), || house.world.is_all_accepted(WEBHOOKS)).await;
    life.stop().await;

    let database = house.open(Inline::new(|_| Fate::GoOn)).await;
    let log = all_deliveries(&database, &webhooks).await;
    assert_eq!(log.len(), WEBHOOKS * ASSETS as usize * 3);
    for (webhook, delivery) in &log {
        assert_eq!(delivery.state, DeliveryState::Delivered, "{webhook}: {delivery:?}");
        let (last, before) = delivery.attempts.split_last().unwrap();
        assert!(last.error.is_none() && before.iter().all(|attempt| attempt.error.is_some()), "{delivery:?}");
    }
    let state = house.world.state();
    (state.requests, state.repeats)
}

#[test]
fn crashes_at_every_step_lose_nothing_invent_nothing_and_repeat_only_what_was_in_flight() {
    let trials = setting("MEDIAHOOKS_SIMULATION_TRIALS", 40);
    let deaths = Arc::new(Mutex::new(Deaths::new()));
    let (mut requests, mut repeats) = (0, 0);
    for seed in seed()..seed() + trials {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.unwrap().block_on(trial(seed, &deaths))
        }));
        let (of_requests, of_repeats) = seen.unwrap_or_else(|panic| {
            eprintln!("seed {seed} failed: repeat with MEDIAHOOKS_SIMULATION_SEED={seed} MEDIAHOOKS_SIMULATION_TRIALS=1");
            std::panic::resume_unwind(panic)
        });
        requests += of_requests;
        repeats += of_repeats;
    }
    let deaths = deaths.lock().unwrap();
    println!("{trials} trials: {requests} requests, {repeats} repeats; died at {deaths:?}");
    if trials >= 40 {
        for step in ["commit", "claim_deliveries", "settle", "release_leases"] {
            for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
                assert!(deaths.contains(&(step.to_owned(), moment)), "nothing died at {step}, {moment:?}");
            }
        }
    }
}
