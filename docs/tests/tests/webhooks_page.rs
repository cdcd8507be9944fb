//! `docs/webhooks.md` shows what works: each snippet that verifies is run in its language against genuine and
//! all kinds of other requests, and the sample bodies have the members that are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mediahooks_docs::blocks::blocks;
use mediahooks_receiver::fake::{self, FakeSender};
use mediahooks_testkit::tools;
use serde_json::{Value, json};

/// The Rust of the page.
mod page {
    include!(concat!(env!("OUT_DIR"), "/webhooks.rs"));

    pub(super) fn judges(secret: &str, headers: &http::HeaderMap, body: &[u8]) -> bool {
        is_genuine(secret, headers, body)
    }
}

const PAGE: &str = include_str!("../../webhooks.md");
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_SECRET: &str = "b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldCBvdGhlciE=";

/// A request that a snippet judges, and its only right answer.
struct Case {
    what: &'static str,
    secret: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    genuine: bool,
}

impl Case {
    fn new(what: &'static str, hook: &fake::Hook, genuine: bool) -> Self {
        let request = hook.request();
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Self { what, secret: SECRET.to_owned(), headers, body: request.into_body().to_vec(), genuine }
    }

    fn with_header(mut self, name: &str, change: impl FnOnce(&str) -> String) -> Self {
        let value = self.headers.entry(name.to_owned()).or_default();
        *value = change(value);
        self
    }

    fn line(&self) -> String {
        let body = STANDARD.encode(&self.body);
        format!("{}\n", json!({"secret": self.secret, "headers": self.headers, "body": body}))
    }
}

fn cases() -> Vec<Case> {
    let sender = FakeSender::new(SECRET).unwrap();
    let hook = sender.hook(&fake::completed_clip("an-asset"));
    let binary = sender.raw("image/jpeg", vec![0xff, 0xd8, 0x00, 0x0a]);
    let new_first = FakeSender::new(OTHER_SECRET).unwrap().rotated_from(SECRET).unwrap();
    let old_last = FakeSender::new(SECRET).unwrap().rotated_from(OTHER_SECRET).unwrap();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut prefixed = Case::new("a secret with whsec_", &hook, true);
    prefixed.secret.insert_str(0, "whsec_");
    let mut stripped = Case::new("no headers", &hook, false);
    stripped.headers.clear();
    let mut millicast = Case::new("the other scheme alone", &hook, false);
    millicast.headers.retain(|name, _| name.starts_with("x-"));
    vec![
        Case::new("genuine", &hook, true),
        Case::new("bytes that are no text", &binary, true),
        Case::new("rotated, ours is the old secret", &new_first.hook(&fake::feed_started("f")), true),
        Case::new("rotated, ours is the new secret", &old_last.hook(&fake::feed_started("f")), true),
        Case::new("four minutes old", &hook.clone().late(minutes(4)), true),
        Case::new("ten minutes old", &hook.clone().late(minutes(10)), false),
        Case::new("ten minutes early", &hook.clone().early(minutes(10)), false),
        Case::new("tampered", &hook.clone().tampered(), false),
        Case::new("forged", &hook.clone().forged(), false),
        Case::new("unsigned", &hook.clone().unsigned(), false),
        Case::new("another id", &hook.clone().with_an_id_not_signed(), false),
        Case::new("another time", &hook, false)
            .with_header("webhook-timestamp", |time| (time.parse::<i64>().unwrap() + 1).to_string()),
        Case::new("no time", &hook, false).with_header("webhook-timestamp", |_| "soon".into()),
        Case::new("an empty signature", &hook, false).with_header("webhook-signature", |_| String::new()),
        Case::new("half a signature", &hook, false).with_header("webhook-signature", |all| all[..20].into()),
        Case::new("only its version", &hook, false).with_header("webhook-signature", |_| "v1,".into()),
        Case::new("another version", &hook, false)
            .with_header("webhook-signature", |all| all.replace("v1,", "v2,")),
        prefixed,
        stripped,
        millicast,
    ]
}

/// The page's snippet in `language`: the only one.
fn snippet(language: &str) -> String {
    let mut found = blocks(PAGE, language);
    assert_eq!(found.len(), 1, "one {language} snippet in docs/webhooks.md");
    found.remove(0)
}

fn driver(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The snippet with its driver behind it, as a file.
fn program(directory: &Path, snippet: &str, driver_name: &str) -> PathBuf {
    let path = directory.join(driver_name);
    std::fs::write(&path, format!("{snippet}{}", driver(driver_name))).unwrap();
    path
}

fn judge(language: &str, verdicts: &[bool]) {
    let cases = cases();
    assert_eq!(verdicts.len(), cases.len(), "{language}");
    for (case, verdict) in cases.iter().zip(verdicts) {
        assert_eq!(*verdict, case.genuine, "{language}: {}", case.what);
    }
}

fn run(language: &str, mut command: Command) {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = cases().iter().map(Case::line).collect();
    let mut input = process.stdin.take().unwrap();
    // From a thread of its own: the program answers while it reads.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{language}: {}", output.status);
    let verdicts = String::from_utf8(output.stdout).unwrap();
    judge(language, &verdicts.lines().map(|verdict| verdict == "genuine").collect::<Vec<_>>());
}

#[test]
fn rust() {
    let verdict = |case: &Case| {
        let headers = case.headers.iter();
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        page::judges(&case.secret, &headers, &case.body)
    };
    judge("rust", &cases().iter().map(verdict).collect::<Vec<_>>());
}

#[test]
fn python() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = tools::python();
    command.arg(program(directory.path(), &snippet("python"), "driver.py"));
    run("python", command);
}

#[test]
fn javascript() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = tools::node();
    command.arg(program(directory.path(), &snippet("js"), "driver.js"));
    run("js", command);
}

#[test]
fn php() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = tools::php();
    command.arg(program(directory.path(), &format!("<?php\n{}", snippet("php")), "driver.php"));
    run("php", command);
}

#[test]
fn go() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    write("snippet.go", format!("package main\n\n{}", snippet("go")));
    write("driver.go", driver("driver.go"));
    write("go.mod", "module snippet\n\ngo 1.19\n".to_owned());
    tools::output(tools::go().args(["build", "-o", "snippet", "."]).current_dir(directory.path()));
    run("go", Command::new(directory.path().join("snippet")));
}

/// Every name of a member in `value`, with the names above it.
fn members(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{at}.{name}");
                members(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, at, found)),
        _ => {}
    }
}

#[test]
fn sample_and_fake_bodies_have_the_members_that_are_sent() {
    use mediahooks_model::event::{
        FeedEvent, FeedFacts, MediaEvent, MediaFacts, StorageEvent, StorageFacts, StorageRoom, feed_event,
        media_event, storage_event,
    };
    use mediahooks_model::*;

    let (account, stream) = ("dkxfvY".parse().unwrap(), "stage".parse().unwrap());
    let (at, id) = (Timestamp::from_millis(1_700_000_000_000), uuid::Uuid::nil());
    let track = TrackMetadata {
        width: Some(1),
        height: Some(1),
        framerate: Some(1.0),
        channels: Some(1),
        samplerate: Some(1),
        ..TrackMetadata::default()
    };
    let metadata = Metadata {
        sizes: BTreeMap::from([("mp4".to_owned(), 1)]),
        duration_ms: Some(1),
        tracks: vec![track],
        start_time: Some(at),
        stop_time: Some(at),
        pre_roll_ms: Some(1),
        gaps: vec![Gap { start_time: at, stop_time: at, duration_ms: 1, reason: GapReason::Reconnect }],
        ..Metadata::default()
    };
    let media = MediaFacts {
        account: &account,
        asset: MediaAssetId(id),
        asset_type: AssetType::Clip,
        request: Some(ClipRequestId(id)),
        token: Some(TokenId(1)),
        stream_name: &stream,
        start_time: at,
        expiration: Some(at),
        metadata: Some(&metadata),
        error: Some("why"),
        seq: 1,
    };
    let feed = FeedFacts {
        account: &account,
        feed: FeedId(id),
        token: None,
        stream_name: &stream,
        started: at,
        priority: Some(1),
        source_id: Some("s"),
        simulcast_id: Some("l"),
        seq: 1,
    };
    let id = EventId(id);
    let mut sent = BTreeSet::new();
    for event in [MediaEvent::Completed, MediaEvent::Errored] {
        members(&serde_json::from_str(&media_event(id, event, at, &media).body).unwrap(), "media", &mut sent);
    }
    for event in [FeedEvent::Started, FeedEvent::Ended] {
        members(&serde_json::from_str(&feed_event(id, event, at, &feed).body).unwrap(), "feeds", &mut sent);
    }
    let room = StorageRoom { free_bytes: 1, total_bytes: 4, low_bytes: 3, reserve_bytes: 2 };
    let storage = StorageFacts { account: &account, room, seq: 1 };
    let event = storage_event(id, StorageEvent::Refusing, at, &storage);
    members(&serde_json::from_str(&event.body).unwrap(), "storage", &mut sent);
    let mut faked = BTreeSet::new();
    for event in [fake::completed_clip("a"), fake::errored_recording("a"), fake::feed_started("f")] {
        let body = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        members(&body, &event.type_name, &mut faked);
    }
    assert!(faked.is_subset(&sent), "{:?}", faked.difference(&sent).collect::<Vec<_>>());

    let mut shown = BTreeSet::new();
    for sample in blocks(PAGE, "json") {
        let sample: Value = serde_json::from_str(&sample).unwrap();
        if let Some(kind) = sample["type"].as_str() {
            members(&sample, kind, &mut shown);
        }
    }
    assert_eq!(shown, sent);
}
