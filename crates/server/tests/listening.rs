//! `mediahooks listen` follows a server over its restarts; what was told is told again when asked.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use mediahooks_receiver::Verifier;
use mediahooks_testkit::{Answer, Received, ScriptedReceiver, TestServer, ffmpeg, patiently};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{PROGRAM, client, redact, run, server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A listener in a process of its own.
struct Listener {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Listener {
    async fn start(server: &TestServer, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("listen").args(arguments).args(["--server", &server.url(), "--secret", server.secret()]);
        command.env("TZ", "UTC").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listener = Self { child, lines };
        listener.until("HAPPENED").await;
        listener
    }

    /// Reads on until a line holds `text`, and returns that line.
    async fn until(&mut self, text: &str) -> String {
        patiently(text, async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the listener ended before it said `{text}`"));
                if line.contains(text) {
                    return line;
                }
            }
        })
        .await
    }

    /// Ctrl-C.
    async fn interrupt(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        patiently("the listener ends", self.child.wait()).await.unwrap()
    }
}

async fn happen(server: &TestServer, times: usize) {
    for _ in 0..times {
        server.rest().post("/api/webhooks/test/media", json!({})).await;
    }
}

/// The ids of all events, oldest first.
async fn ids(server: &TestServer) -> Vec<String> {
    let page = server.rest().get("/api/events").await;
    page["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn told(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| one.header("webhook-id").to_owned()).collect()
}

#[tokio::test]
async fn a_listener_forwards_everything_once_over_a_crash_of_the_server() {
    let mut server = server().await;
    let local = ScriptedReceiver::start().await;
    // The webhook's own endpoint is out of reach from the server.
    let webhook = server.rest().add_webhook("https://laptop.invalid/hooks").await;
    happen(&server, 2).await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("place");
    let state = state.to_str().unwrap();
    let url = local.url();
    let mut listener = Listener::start(&server, &["--forward", &url, "--from", "oldest"]).await;
    local.wait_for("the past", |received| received.len() == 2).await;
    server.kill().await;
    listener.until("The connection was lost").await;
    server.restart().await;
    happen(&server, 2).await;
    let received = local.wait_for("all four", |received| received.len() >= 4).await;
    assert_eq!(told(&received), ids(&server).await);
    assert_eq!(listener.interrupt().await.code(), Some(0));

    let verifier = Verifier::new([webhook["secret"].as_str().unwrap()]).unwrap().require_standard();
    for one in &received {
        verifier.verify(&one.headers, &one.body, SystemTime::now()).unwrap();
        assert!(one.header("x-millicast-signature").starts_with("sha1="));
    }

    // With a state file the next one goes on where the one before it was.
    let mut listener = Listener::start(&server, &["--forward", &url, "--state", state]).await;
    local.then([Answer::Status(500)]);
    happen(&server, 1).await;
    let line = listener.until("media.completed").await;
    assert!(line.contains("500 in "), "{line}");
    listener.interrupt().await;
    happen(&server, 2).await;
    let mut listener = Listener::start(&server, &["--forward", &url, "--state", state]).await;
    let received = local.wait_for("all seven", |received| received.len() >= 7).await;
    assert_eq!(told(&received), ids(&server).await);
    listener.interrupt().await;
}

#[tokio::test]
async fn a_listener_fetches_what_is_completed() {
    let server = server().await;
    let token = server.rest().create_token("show").await;
    let directory = tempfile::tempdir().unwrap();
    let download = directory.path().to_str().unwrap();
    let mut listener = Listener::start(&server, &["--types", "media", "--download", download]).await;
    let url = server.publish_url("show", &token);
    ffmpeg::Broadcast::fast(3).publish(&ffmpeg::ffmpeg(), &url).finish().await;
    listener.until("media.processing").await;
    let saved = listener.until("saved: ").await;
    let path = saved.strip_prefix("saved: ").unwrap().split(" (").next().unwrap();
    assert_eq!(ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), Path::new(path)), (0..90).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_followed_is_told() {
    let server = server().await;
    let url = server.url();
    let mut text = String::new();
    for (arguments, secret) in [
        (&["listen"][..], "wrong"),
        (&["listen", "--types", "movies"], server.secret()),
        (&["listen", "--webhook", "9"], server.secret()),
        (&["listen", "--forward", "http://127.0.0.1:1/"], server.secret()),
    ] {
        let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", secret)];
        let outcome = run(arguments, &environment).await;
        assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""), "{arguments:?}");
        text.push_str(&format!("$ mediahooks {}\n{}\n", arguments.join(" "), outcome.stderr));
    }
    insta::assert_snapshot!(redact(&text));
}

#[tokio::test]
async fn events_are_told_again_by_hand() {
    let server = server().await;
    let receiver = ScriptedReceiver::start().await;
    server.rest().add_webhook(&receiver.url()).await;
    happen(&server, 3).await;
    receiver.wait_for("three", |received| received.len() == 3).await;
    let mut text = String::new();
    for command in [
        &["webhook", "replays", "1"][..],
        &["webhook", "replay", "1", "--since", "1h"],
        &["webhook", "replay", "1", "--since", "1h", "--failed-only"],
        &["webhook", "replay", "1", "--since", "1h", "--types", "feeds"],
        &["webhook", "replays", "1"],
        &["webhook", "cancel-replay", "1", "1"],
        &["webhook", "resend", "1", "1"],
    ] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    insta::assert_snapshot!(redact(&text));
    let received = receiver.wait_for("all of it", |received| received.len() == 7).await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in told(&received) {
        *times.entry(id).or_default() += 1;
    }
    let happened = ids(&server).await;
    assert_eq!(happened.iter().map(|id| times[id]).collect::<Vec<_>>(), [3, 2, 2]);
    let bodies = |id: &String| -> Vec<Value> {
        received.iter().filter(|one| one.header("webhook-id") == id).map(Received::json).collect()
    };
    assert!(happened.iter().all(|id| bodies(id).windows(2).all(|pair| pair[0] == pair[1])));
}
