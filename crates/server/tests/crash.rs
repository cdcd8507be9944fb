//! The server is killed again and again at random moments, with publishers live, clips being asked for
//! and hooks on their way. Whatever it acknowledged is there afterwards, and everything that happened is
//! told, in order. Of the media at most a second is lost, of all that was sent before the kill; the publishers' time
//! stands still while the server is more than three pictures behind ([`Pace`]).
//!
//! `MEDIAHOOKS_CRASH_KILLS` sets the number of kills (default 6), `MEDIAHOOKS_CRASH_SEED` the moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use mediahooks_ingest::rtmp::publisher::{PublishError, Publisher};
use mediahooks_testkit::pace::Pace;
use mediahooks_testkit::power::Dice;
use mediahooks_testkit::synthetic::{self, Source, Tag};
use mediahooks_testkit::{Received, Rest, ScriptedReceiver, ServerOptions, TestServer, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

/// From one picture to the next.
const PICTURE_MS: i64 = 40;

/// What a kill may cost: the open segment, and what comes while one is stored.
const LOST_MS_MAX: usize = 1000;

/// No clips are asked for of the second, so that its segments become as long as they can.
const STREAMS: [&str; 2] = ["stage", "other"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What was sent of a stream on one connection: the number of each picture, and when it went out.
struct Sent {
    stream: &'static str,
    pictures: Vec<(u32, Instant)>,
}

/// A connection of one stream.
struct Connection<'a> {
    source: &'a mut Source,
    publisher: Publisher,
    sent: Sent,
}

impl Connection<'_> {
    /// Begins with the next group of pictures.
    async fn begin(&mut self) -> Result<(), PublishError> {
        while self.source.pictures() % self.source.group != 0 {
            self.source.millis(PICTURE_MS);
        }
        self.send(self.source.headers()).await
    }

    async fn next_picture(&mut self) -> Result<(), PublishError> {
        self.sent.pictures.push((self.source.pictures() as u32, Instant::now()));
        let tags = self.source.millis(PICTURE_MS);
        self.send(tags).await
    }

    async fn send(&mut self, tags: Vec<Tag>) -> Result<(), PublishError> {
        for tag in tags {
            self.publisher.send_tag(tag.tag_type, tag.timestamp_ms, &tag.body).await?;
        }
        Ok(())
    }
}

/// Publishes both streams, at the pace of the server (`pid`; 0 while none runs), reconnecting as an encoder does. No
/// number is used twice in a stream.
async fn publish_until(
    stop: &AtomicBool,
    urls: Vec<String>,
    pid: &AtomicU32,
    steps: &AtomicUsize,
) -> Vec<Sent> {
    let mut sources = STREAMS.map(|_| Source { group: 75, ..Source::default() });
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let server = pid.load(Ordering::Relaxed);
        if server == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let Ok(stage) = Publisher::connect(&urls[0]).await else { continue };
        let Ok(other) = Publisher::connect(&urls[1]).await else { continue };
        let mut connections = both(&mut sources, [stage, other]);
        // Ends with an error when the server is gone.
        let _ = publish(&mut connections, stop, server, steps).await;
        for connection in connections {
            let _ = connection.publisher.finish().await;
            sent.push(connection.sent);
        }
    }
    sent
}

fn both(sources: &mut [Source; 2], publishers: [Publisher; 2]) -> Vec<Connection<'_>> {
    let streams = STREAMS.into_iter().zip(sources).zip(publishers);
    let connections = streams.map(|((stream, source), publisher)| Connection {
        source,
        publisher,
        sent: Sent { stream, pictures: Vec::new() },
    });
    connections.collect()
}

async fn publish(
    connections: &mut [Connection<'_>],
    stop: &AtomicBool,
    server: u32,
    steps: &AtomicUsize,
) -> Result<(), PublishError> {
    let mut pace = Pace::new(Duration::from_millis(PICTURE_MS as u64), Dice(7));
    for connection in &mut *connections {
        connection.begin().await?;
    }
    while !stop.load(Ordering::Relaxed) {
        for connection in &mut *connections {
            connection.next_picture().await?;
        }
        pace.step(server).await;
        steps.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
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
        tokio::time::sleep(Duration::from_millis(100)).await;
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
    let receiver = ScriptedReceiver::start().await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks"))
        .environment("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", "0s,50ms,100ms,200ms,400ms,1s,1s,1s,1s,1s");
    let mut server = options.start().await;
    let rest = server.rest();
    rest.add_webhook(&receiver.url()).await;
    let mut urls = Vec::new();
    for stream in STREAMS {
        urls.push(server.publish_url(stream, &rest.create_token(stream).await));
    }
    let (stop, pid, steps) = (AtomicBool::new(false), AtomicU32::new(server.pid()), AtomicUsize::new(0));
    let (mut acknowledged, mut killed) = (BTreeSet::new(), Vec::new());
    let killing = async {
        for kill in 0..kills {
            let rest = server.rest();
            let clips = tokio::spawn(async move { ask_for_clips(&rest, &format!("kill-{kill}")).await });
            // The moment is the test's subject: up to three seconds of the publishers' time after the last one, and
            // anywhere between two pictures.
            let until = steps.load(Ordering::Relaxed) + 5 + dice.below(65);
            let has_come = async || (steps.load(Ordering::Relaxed) >= until).then_some(());
            eventually("the publishers send", has_come).await;
            tokio::time::sleep(Duration::from_millis(dice.below(PICTURE_MS as usize) as u64)).await;
            killed.push(Instant::now());
            server.kill().await;
            pid.store(0, Ordering::Relaxed);
            acknowledged.extend(clips.await.expect("the client runs"));
            server.restart().await;
            pid.store(server.pid(), Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(publish_until(&stop, urls, &pid, &steps), killing);
    check_everything(&server, &receiver, &acknowledged, kills).await;
    let lost = media_lost(&server.rest(), &sent, &killed).await;
    let (median, most) = (lost[lost.len() / 2], lost[lost.len() - 1]);
    println!("{median} ms of media lost in the middle, {most} ms at most");
    assert!(most <= LOST_MS_MAX, "{most} ms of media were lost");
    check_offline(&mut server).await;
}

async fn check_everything(
    server: &TestServer,
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
}

/// The milliseconds of media that each kill cost each stream, in order. What is kept of a connection is its beginning,
/// whole.
async fn media_lost(rest: &Rest, sent: &[Sent], killed: &[Instant]) -> Vec<usize> {
    let mut kept: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for asset in all_assets(rest).await.iter().filter(|asset| asset["type"] == "recording") {
        let file = rest.download(asset["id"].as_str().expect("an id")).await;
        let pictures = synthetic::pictures(&file);
        let stream = asset["feed"]["streamName"].as_str().expect("a name").to_owned();
        let kept = kept.entry(stream).or_default();
        let count = pictures.len() + kept.len();
        kept.extend(pictures);
        assert_eq!(kept.len(), count, "a picture is in two recordings or twice in {asset}");
    }
    let mut lost = Vec::new();
    for Sent { stream, pictures } in sent {
        let (Some((first, began)), Some((last, _))) = (pictures.first(), pictures.last()) else { continue };
        let kept: Vec<u32> =
            kept.get(*stream).into_iter().flat_map(|kept| kept.range(first..=last)).copied().collect();
        assert_eq!(kept, (*first..*first + kept.len() as u32).collect::<Vec<_>>(), "of {first} to {last}");
        let end = killed.iter().find(|kill| *kill >= began);
        let due = pictures.iter().filter(|(_, at)| end.is_none_or(|end| at < end)).count();
        lost.push(due.saturating_sub(kept.len()) * PICTURE_MS as usize);
        assert!(end.is_some() || due == kept.len(), "no kill, but {} of {due} pictures kept", kept.len());
    }
    lost.sort_unstable();
    lost
}

async fn check_offline(server: &mut TestServer) {
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
