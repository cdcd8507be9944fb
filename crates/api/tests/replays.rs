//! Deliveries are resent, and events of a time are replayed.

mod common;

use std::time::Duration;

use common::{Bench, settled};
use mediahooks_database::{ClaimedDelivery, ReplayStep, Settled, Settlement};
use mediahooks_model::{ReplayId, Timestamp};
use serde_json::{Value, json};

async fn webhook(bench: &Bench) -> String {
    let body = json!({"url": "https://hooks.example.com/in", "isFeedHooks": true, "isMediaHooks": true});
    format!("/api/webhooks/{}", bench.call("POST", "/api/webhooks", body).await.data()["id"])
}

fn now() -> Timestamp {
    Timestamp::EPOCH.plus(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

/// Takes what is due and settles it as told.
async fn settle(bench: &Bench, as_told: Settled) -> Vec<ClaimedDelivery> {
    let lease = Duration::from_secs(60);
    let claimed = bench
        .database
        .claim_deliveries("me", now(), lease, |_, _| mediahooks_database::Room { more: 100, at: None }, 100)
        .await
        .unwrap();
    let settlement = |one: &ClaimedDelivery| Settlement {
        id: one.id,
        attempt: mediahooks_database::Attempt {
            number: one.attempt,
            started: now(),
            duration_us: 1,
            status: Some(500),
            timings: Default::default(),
            error: None,
            request: None,
            response: None,
        },
        settled: as_told.clone(),
        probe: one.is_probe(),
    };
    let settlements = claimed.iter().map(settlement).collect();
    bench.database.settle(settlements, Vec::new(), "me", now()).await.unwrap();
    claimed
}

async fn carry_out(bench: &Bench, replay: &Value) {
    let id = ReplayId(replay["id"].as_i64().unwrap());
    while bench.database.step_replay(id, now()).await.unwrap() != ReplayStep::Over {}
}

#[tokio::test]
async fn a_delivery_is_sent_again() {
    let bench = Bench::new().await;
    let path = webhook(&bench).await;
    bench.raw("POST", "/api/webhooks/test/media", "").await.data();
    let first = settle(&bench, Settled::Exhausted).await.remove(0);
    let resend = format!("{path}/deliveries/{}/resend", first.id);
    let again = bench.raw("POST", &resend, "").await.data();
    assert_eq!((&again["eventId"], &again["state"]), (&json!(first.event.to_string()), &json!("pending")));
    assert_ne!(again["id"], json!(first.id.0));
    // It is owed now: asking once more adds nothing.
    let same = bench.raw("POST", &format!("{path}/deliveries/{}/resend", again["id"]), "").await.data();
    assert_eq!(same["id"], again["id"]);
    let resent = settle(&bench, Settled::Delivered).await;
    assert_eq!((resent.len(), resent[0].event, &resent[0].body), (1, first.event, &first.body));

    let unknown = bench.raw("POST", &format!("{path}/deliveries/99/resend"), "").await.failed(400);
    assert_eq!(unknown, "No delivery with id 99 of webhook 1");
    let nobody = bench.raw("POST", "/api/webhooks/9/deliveries/1/resend", "").await.failed(400);
    assert_eq!(nobody, "No webhook with id: 9");
    bench.raw("POST", &format!("{path}/deliveries/x/resend"), "").await.failed(400);
}

#[tokio::test]
async fn the_events_of_a_time_are_sent_again() {
    let bench = Bench::new().await;
    let path = webhook(&bench).await;
    let began = now();
    for kind in ["media", "feeds", "media"] {
        bench.raw("POST", &format!("/api/webhooks/test/{kind}"), "").await.data();
    }
    let told = settle(&bench, Settled::Exhausted).await;
    let ask = async |body: Value| bench.call("POST", &format!("{path}/replay"), body).await.data();
    let failed =
        ask(json!({"since": began.minus(Duration::from_secs(9)), "types": ["media"], "failedOnly": true}));
    let failed = failed.await;
    insta::assert_json_snapshot!("replay", settled(failed.clone()));
    carry_out(&bench, &failed).await;
    let status = format!("{path}/replays/{}", failed["id"]);
    let walked = bench.get(&status).await.data();
    let figures = |replay: &Value| {
        let figure = |name: &str| replay[name].as_u64().unwrap();
        ["total", "examined", "matched", "queued", "delivered", "failed"].map(figure)
    };
    assert_eq!((&walked["state"], figures(&walked)), (&json!("running"), [3, 3, 2, 2, 0, 0]));
    let again = settle(&bench, Settled::Delivered).await;
    assert_eq!(
        again.iter().map(|one| one.event).collect::<Vec<_>>(),
        told.iter().filter(|one| one.kind == "media.completed").map(|one| one.event).collect::<Vec<_>>()
    );
    let done = bench.get(&status).await.data();
    assert_eq!((&done["state"], figures(&done)), (&json!("done"), [3, 3, 2, 0, 2, 0]));

    let all = ask(json!({"since": "2020-01-01T00:00:00Z", "until": now()})).await;
    carry_out(&bench, &all).await;
    let cancelled = bench.raw("DELETE", &format!("{path}/replays/{}", all["id"]), "").await.data();
    assert_eq!((&cancelled["state"], figures(&cancelled)), (&json!("cancelled"), [3, 3, 3, 0, 0, 0]));
    assert!(settle(&bench, Settled::Delivered).await.is_empty());

    let page = bench.get(&format!("{path}/replays?limit=1")).await.data();
    assert_eq!((&page["data"][0]["id"], &page["pagination"]["hasMore"]), (&all["id"], &json!(true)));
    let cursor = page["pagination"]["cursor"].as_str().unwrap();
    let page = bench.get(&format!("{path}/replays?before={cursor}")).await.data();
    assert_eq!((&page["data"][0]["id"], &page["pagination"]["hasMore"]), (&failed["id"], &json!(false)));
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let bench = Bench::new().await;
    let path = webhook(&bench).await;
    for (body, member) in [
        (json!({}), "Since"),
        (json!({"since": "yesterday"}), "Since"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "Since"),
        (json!({"since": "2020-01-01T00:00:00Z", "until": "2019-01-01T00:00:00Z"}), "Since"),
        (json!({"since": "2020-01-01T00:00:00Z", "types": ["movies"]}), "Types"),
        (json!({"since": "2020-01-01T00:00:00Z", "failedOnly": "perhaps"}), "FailedOnly"),
    ] {
        let reply = bench.call("POST", &format!("{path}/replay"), body.clone()).await;
        assert!(reply.json()["data"]["errors"][member].is_array(), "{body}");
    }
    bench.call("POST", "/api/webhooks/9/replay", json!({"since": "2020-01-01T00:00:00Z"})).await.failed(400);
    for (method, path) in [("GET", "replays/9"), ("DELETE", "replays/9"), ("GET", "replays/x")] {
        bench.raw(method, &format!("/api/webhooks/1/{path}"), "").await.failed(400);
    }
    let elsewhere = webhook(&bench).await;
    let replay =
        bench.call("POST", &format!("{path}/replay"), json!({"since": "2020-01-01T00:00:00Z"})).await.data();
    let message = bench.get(&format!("{elsewhere}/replays/{}", replay["id"])).await.failed(400);
    assert_eq!(message, format!("No replay with id {} of webhook 2", replay["id"]));
}
