//! The server is killed again and again at random moments, with publishers live, clips being asked for
//! and hooks on their way. Whatever it acknowledged is there afterwards, and everything that happened is
//! told, in order.
//!
//! `MEDIAHOOKS_CRASH_KILLS` sets the number of kills (default 6), `MEDIAHOOKS_CRASH_SEED` the moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mediahooks_ingest::rtmp::publisher::Publisher;
use mediahooks_media::flv::file::FlvFile;
use mediahooks_testkit::{Received, Rest, ScriptedReceiver, ServerOptions, TestServer, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Numbers that repeat for a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Publishes the sample over and over, in real time, reconnecting as an encoder does.
async fn publish_until(stop: Arc<AtomicBool>, url: String, sample: bytes::Bytes) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut publisher) = Publisher::connect(&url).await else {
            tokio::time::sleep(Duration::from_millis(30)).await;
            continue;
        };
        let begun = Instant::now();
        for tag in FlvFile::new(sample.clone()).expect("the sample is FLV") {
            let tag = tag.expect("the sample is whole");
            tokio::time::sleep_until(begun + Duration::from_millis(tag.timestamp_ms.into())).await;
            let sent = publisher.send_tag(tag.tag_type, tag.timestamp_ms, &tag.body).await;
            if sent.is_err() || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let _ = publisher.finish().await;
    }
}

/// Asks for clips until the server is gone; returns those that were acknowledged.
async fn ask_for_clips(rest: &Rest, key: &str) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0.. {
        let start = mediahooks_model::Timestamp::EPOCH
            .plus(std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970"))
            .minus(Duration::from_millis(1500));
        let body =
            json!({"streamName": "stage", "startTime": start.to_string(), "name": format!("{key}-{number}")});
        match rest.send(reqwest::Method::POST, "/api/v3/media/assets", Some(&body)).await {
            Ok((status, answer)) if status.is_success() => {
                let assets = answer["data"].as_array().expect("an array").iter();
                acknowledged.extend(assets.map(|asset| asset["id"].as_str().expect("an id").to_owned()));
            }
            // Nothing is live yet, or not for long enough.
            Ok((status, answer)) => assert_eq!(status, 400, "{answer}"),
            Err(_) => return acknowledged,
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    acknowledged
}

async fn all_assets(rest: &Rest) -> Vec<Value> {
    let mut all = Vec::new();
    for page in 1.. {
        let path =
            format!("/api/v3/media/assets?limit=100&page={page}&status=processing,complete,error,deleting");
        let found = rest.get(&path).await;
        let found = found.as_array().expect("an array");
        if found.is_empty() {
            break;
        }
        all.extend(found.iter().cloned());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_that_was_acknowledged_and_no_hook() {
    let kills = setting("MEDIAHOOKS_CRASH_KILLS", 6);
    let mut dice = Dice(setting("MEDIAHOOKS_CRASH_SEED", 42));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/sample.flv");
    let sample = bytes::Bytes::from(std::fs::read(sample).expect("the sample"));
    let receiver = ScriptedReceiver::start().await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks"))
        .environment("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", "0s,50ms,100ms,200ms,400ms,1s,1s,1s,1s,1s");
    let mut server = options.start().await;
    let rest = server.rest();
    rest.add_webhook(&receiver.url()).await;
    let token = rest.create_token("stage").await;
    let stop = Arc::new(AtomicBool::new(false));
    let url = server.publish_url("stage", &token);
    let publisher = tokio::spawn(publish_until(Arc::clone(&stop), url, sample));

    let mut acknowledged = BTreeSet::new();
    for kill in 0..kills {
        let rest = server.rest();
        let clips = tokio::spawn(async move { ask_for_clips(&rest, &format!("kill-{kill}")).await });
        // The moment is the test's subject, not a wait for something.
        tokio::time::sleep(Duration::from_millis(200 + dice.below(2600))).await;
        server.kill().await;
        acknowledged.extend(clips.await.expect("the client runs"));
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    publisher.await.expect("the publisher runs");
    check_everything(&mut server, &receiver, &acknowledged, kills).await;
}

async fn check_everything(
    server: &mut TestServer,
    receiver: &ScriptedReceiver,
    acknowledged: &BTreeSet<String>,
    kills: u64,
) {
    let rest = server.rest();
    let assets = eventually("every asset is finished", async || {
        let assets = all_assets(&rest).await;
        assets.iter().all(|asset| asset["status"] != "processing").then_some(assets)
    })
    .await;
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for asset in &assets {
        assert_eq!(asset["status"], "complete", "{asset}");
        let id = asset["id"].as_str().expect("an id").to_owned();
        wanted.insert(id, vec!["media.processing".into(), "media.completed".into()]);
    }
    for id in acknowledged {
        assert!(wanted.contains_key(id), "clip {id} was acknowledged and is gone");
    }
    let told = |received: &[Received]| {
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for hook in received {
            let kinds = told.entry(hook.subject()).or_default();
            // At least once: a repeat of the latest is what a crash may cause.
            if kinds.last() != Some(&hook.kind()) {
                kinds.push(hook.kind());
            }
        }
        told
    };
    let feeds_are_over = |told: &BTreeMap<String, Vec<String>>| {
        let feeds = told.iter().filter(|(_, kinds)| kinds.iter().any(|kind| kind.starts_with("feeds.")));
        feeds.into_iter().all(|(_, kinds)| *kinds == ["feeds.started", "feeds.ended"])
    };
    let received = receiver
        .wait_for("every hook", |received| {
            let told = told(received);
            wanted.keys().all(|id| told.get(id).is_some_and(|kinds| kinds.len() >= 2))
                && feeds_are_over(&told)
        })
        .await;
    let told = told(&received);
    for (subject, kinds) in &told {
        match wanted.get(subject) {
            Some(expected) => assert_eq!(kinds, expected, "{subject}"),
            None => assert_eq!(kinds[..], ["feeds.started", "feeds.ended"], "{subject}: a hook of nothing"),
        }
    }
    let attempts = received.len();
    let events: usize = told.values().map(Vec::len).sum();
    println!(
        "{kills} kills: {} assets, {} acknowledged clips, {events} events in {attempts} requests",
        assets.len(),
        acknowledged.len()
    );
    assert!(acknowledged.len() as u64 >= kills / 2, "the clients hardly got an answer");

    for asset in assets.iter().rev().take(20) {
        let id = asset["id"].as_str().expect("an id");
        assert_eq!(asset["metadata"]["sizes"]["mp4"], rest.download(id).await.len());
    }
    assert!(server.stop().await.success());
    let check = tokio::process::Command::new(env!("CARGO_BIN_EXE_mediahooks"))
        .arg("check")
        .arg("--data")
        .arg(server.data())
        .output()
        .await
        .expect("the verifier runs");
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}
