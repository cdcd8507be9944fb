//! The server is killed again and again while it delivers as fast as it can. Every event that was acknowledged
//! reaches every webhook, nothing else does, and no request is repeated whose answer was on record.
//!
//! `MEDIAHOOKS_CRASH_KILLS` sets the number of kills (default 4), `MEDIAHOOKS_CRASH_SEED` the moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mediahooks_database::{Database, DeliveryState};
use mediahooks_testkit::{Answer, Received, Rest, ScriptedReceiver, ServerOptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const WEBHOOKS: usize = 3;

/// Attempts in flight to one webhook; three times as many are in flight in all.
const IN_FLIGHT: usize = 8;

/// Clients that make events at the same time.
const CLIENTS: usize = 4;

/// An event at a webhook.
type Owed = (String, String);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Makes events, each about a stream of its own, until the server is gone; returns the acknowledged ones.
async fn make_events(rest: Rest, asked: Arc<AtomicU64>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let stream = format!("stream-{}", asked.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "streamName": stream });
        match rest.send(reqwest::Method::POST, "/api/webhooks/test/media", Some(&body)).await {
            Ok((status, answer)) => assert!(status.is_success(), "{status} {answer}"),
            Err(_) => return acknowledged,
        }
        acknowledged.push(stream);
    }
}

/// Which webhook a request was made to, and with which event.
fn owed(request: &Received) -> Owed {
    (request.uri.to_string(), request.header("webhook-id").to_owned())
}

fn is_accepted(request: &Received) -> bool {
    matches!(request.answer, Answer::Status(200) | Answer::Slowly(200, _))
}

fn stream(request: &Received) -> String {
    request.json()["data"]["streamName"].as_str().expect("a name").to_owned()
}

/// Adds to `delivered` what is on record as delivered in the directory of a server that does not run.
async fn read_record(data: &Path, delivered: &mut BTreeSet<Owed>) {
    let database = Database::open_read_only(&data.join("mediahooks.db")).expect("the database can be read");
    for webhook in database.webhooks(None, 100, false).await.expect("webhooks") {
        let path = webhook.url.splitn(4, '/').nth(3).unwrap_or_default();
        let mut before = None;
        loop {
            let page = database.deliveries(webhook.id, before, 1000).await.expect("deliveries");
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            let mut is_news = false;
            for delivery in &page {
                let owed = (format!("/{path}"), delivery.event.to_string());
                is_news |= delivery.state != DeliveryState::Delivered || delivered.insert(owed);
            }
            if !is_news {
                // What is older was read before.
                break;
            }
        }
    }
}

/// What has arrived so far, without reading any of it twice.
#[derive(Default)]
struct Arrived {
    read: usize,
    /// By stream: where an event was accepted.
    accepted: BTreeMap<String, BTreeSet<Owed>>,
}

impl Arrived {
    fn read(&mut self, all: &[Received]) {
        for request in all[self.read..].iter().filter(|request| is_accepted(request)) {
            self.accepted.entry(stream(request)).or_default().insert(owed(request));
        }
        self.read = all.len();
    }

    fn is_everywhere(&self, stream: &str) -> bool {
        self.accepted.get(stream).is_some_and(|at| at.len() == WEBHOOKS)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_delivery_invent_none_and_repeat_only_what_was_in_flight() {
    let kills = setting("MEDIAHOOKS_CRASH_KILLS", 4);
    let mut dice = StdRng::seed_from_u64(setting("MEDIAHOOKS_CRASH_SEED", 42));
    let receiver = ScriptedReceiver::start().await;
    receiver.otherwise(Answer::Slowly(200, Duration::from_millis(5)));
    let mut server = ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks"))
        .environment("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", &format!("0s{}", ",20ms".repeat(50)))
        .environment("MEDIAHOOKS_WEBHOOK_IN_FLIGHT_PER_WEBHOOK", &IN_FLIGHT.to_string())
        .environment("MEDIAHOOKS_WEBHOOK_IN_FLIGHT_MAX", &(3 * IN_FLIGHT).to_string())
        .start()
        .await;
    for n in 0..WEBHOOKS {
        server.rest().add_webhook(&format!("{}/{n}", receiver.url())).await;
    }
    let asked = Arc::new(AtomicU64::new(0));
    let (mut acknowledged, mut recorded, mut repeats) = (BTreeSet::new(), BTreeSet::new(), 0);
    let arrived = Mutex::new(Arrived::default());
    for _ in 0..kills {
        // Some fail, so that there are retries and failures on record too.
        receiver.then((0..dice.random_range(0..20)).map(|_| Answer::Status(500)));
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(make_events(server.rest(), asked.clone()))).collect();
        // The moment is the test's subject, not a wait for something.
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..900))).await;
        server.kill().await;
        for client in clients {
            acknowledged.extend(client.await.expect("the client runs"));
        }
        read_record(server.data(), &mut recorded).await;
        let before = receiver.received();
        let accepted: BTreeSet<_> = before.iter().filter(|request| is_accepted(request)).map(owed).collect();
        assert!(recorded.is_subset(&accepted), "on record as delivered and never accepted");
        let in_flight = accepted.difference(&recorded).count();
        assert!(in_flight <= 3 * IN_FLIGHT, "{in_flight} answers were not on record");
        repeats += in_flight;
        server.restart().await;
        // Everything before this kill is settled by the time that this arrives, or it is in flight.
        let marker = format!("marker-{}", asked.fetch_add(1, Ordering::Relaxed));
        server.rest().post("/api/webhooks/test/media", json!({ "streamName": marker })).await;
        let came = |all: &[Received]| {
            let mut arrived = arrived.lock().expect("no check failed");
            arrived.read(all);
            arrived.is_everywhere(&marker)
        };
        let all = receiver.wait_for("the marker", came).await;
        for request in &all[before.len()..] {
            assert!(!recorded.contains(&owed(request)), "{} was on record and came again", stream(request));
        }
        acknowledged.insert(marker);
    }

    let mut left: Vec<_> = acknowledged.iter().collect();
    let left = Mutex::new(&mut left);
    let came = |all: &[Received]| {
        let mut arrived = arrived.lock().expect("no check failed");
        arrived.read(all);
        let mut left = left.lock().expect("no check failed");
        left.retain(|stream| !arrived.is_everywhere(stream));
        left.is_empty()
    };
    receiver.wait_for("every event", came).await;
    assert!(server.stop().await.success());
    let all = receiver.received();
    let mut arrived = arrived.into_inner().expect("no check failed");
    arrived.read(&all);
    for (stream, at) in &arrived.accepted {
        let ids: BTreeSet<_> = at.iter().map(|(_, id)| id).collect();
        assert_eq!((ids.len(), at.len()), (1, WEBHOOKS), "{stream} came as {at:?}");
    }
    let made = arrived.accepted.len();
    assert!(made as u64 <= asked.load(Ordering::Relaxed), "more events came than anybody asked for");
    read_record(server.data(), &mut recorded).await;
    assert_eq!(recorded.len(), made * WEBHOOKS);
    println!(
        "{kills} kills: {} acknowledged events, {made} came, in {} requests; {repeats} answers were in flight",
        acknowledged.len(),
        all.len()
    );
}
