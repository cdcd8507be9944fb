//! `mediahooks receive`: hooks in, files out, over restarts of everything.

mod support;

use std::path::Path;
use std::process::Stdio;

use mediahooks_testkit::{Port, TestServer, eventually, ffmpeg, patiently};
use support::{PROGRAM, server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A receiver in a process of its own.
struct Receiver {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    url: String,
}

impl Receiver {
    async fn start(server: &TestServer, listen: &str, webhook_secret: &str, files: &Path) -> Self {
        Self::of(&server.url(), server.secret(), listen, webhook_secret, files).await
    }

    async fn of(server: &str, secret: &str, listen: &str, webhook_secret: &str, files: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["receive", "--listen", listen, "--download"]).arg(files);
        command.args(["--server", server, "--secret", secret]);
        command.env("MEDIAHOOKS_WEBHOOK_SECRET", webhook_secret).env("TZ", "UTC");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = patiently("the receiver says where it is", lines.next_line()).await.unwrap().unwrap();
        let url = first.strip_prefix("Receiving webhooks at ").unwrap().to_owned();
        Self { child, lines, url }
    }

    /// Reads on until a line holds `text`, and returns that line.
    async fn until(&mut self, text: &str) -> String {
        patiently(text, async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the receiver ended before it said `{text}`"));
                if line.contains(text) {
                    return line;
                }
            }
        })
        .await
    }
}

async fn broadcast(server: &TestServer, token: &str) {
    let url = server.publish_url("show", token);
    ffmpeg::Broadcast::fast(3).publish(&ffmpeg::ffmpeg(), &url).finish().await;
}

fn files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".mp4"));
    names.sort();
    names
}

#[tokio::test]
async fn every_completed_asset_is_fetched_also_after_a_kill() {
    let server = server().await;
    // The receiver has to be on the same one again.
    let port = Port::free();
    let address = port.address().to_string();
    let webhook = server.rest().add_webhook(&format!("http://{address}/")).await;
    let secret = webhook["secret"].as_str().unwrap();
    let token = server.rest().create_token("show").await;
    let directory = tempfile::tempdir().unwrap();

    let mut receiver = Receiver::start(&server, &address, secret, directory.path()).await;
    broadcast(&server, &token).await;
    let line = receiver.until("media.completed").await;
    assert!(line.contains("recording") && line.contains("verified sha256"), "{line}");
    receiver.until("saved").await;
    assert_eq!(files(directory.path()).len(), 1);
    let saved = directory.path().join(&files(directory.path())[0]);
    assert_eq!(ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &saved), (0..90).collect::<Vec<_>>());

    // Of a playlist what it plays is fetched.
    let clip = serde_json::json!({"streamName": "show", "last": 60, "targetFormat": "hls"});
    let id = server.rest().post("/api/v3/media/assets", clip).await[0]["id"].as_str().unwrap().to_owned();
    let line = receiver.until("saved").await;
    assert!(line.contains(&id) && line.contains(", the media of the playlist"), "{line}");
    let saved = directory.path().join(format!("{id}.mp4"));
    // Published faster than it is played: not all of it lies in the past yet.
    let numbers = ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &saved);
    assert!(!numbers.is_empty() && numbers == (0..numbers.len() as u32).collect::<Vec<_>>(), "{numbers:?}");
    std::fs::remove_file(saved).unwrap();

    // Killed after it has answered for a hook; whether the file was there already is left to chance.
    broadcast(&server, &token).await;
    receiver.until("media.completed").await;
    receiver.child.kill().await.unwrap();
    let _again = Receiver::start(&server, &address, secret, directory.path()).await;
    eventually("the second file is there", async || (files(directory.path()).len() == 2).then_some(())).await;
}

#[tokio::test]
async fn what_is_not_signed_is_refused() {
    let server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&server, "127.0.0.1:0", "c2VjcmV0", directory.path()).await;
    let body = r#"{"type":"media","event":"completed","timestamp":1,"data":{}}"#;
    let response = reqwest::Client::new().post(&receiver.url).body(body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(receiver.until("refused").await.contains("not signed"));
}

/// Whoever gave no `--server`, or a wrong one, is told where links were asked for, and what to do.
#[tokio::test]
async fn a_server_that_gives_no_link_is_named() {
    let server = server().await;
    // The receiver has to be on the same one again.
    let port = Port::free();
    let address = port.address().to_string();
    let webhook = server.rest().add_webhook(&format!("http://{address}/")).await;
    let secret = webhook["secret"].as_str().unwrap();
    let token = server.rest().create_token("show").await;
    let directory = tempfile::tempdir().unwrap();

    let nobodys = Port::free();
    let nowhere = nobodys.address();
    let with_password = format!("http://user:hidden@{nowhere}/path");
    let mut receiver = Receiver::of(&with_password, "s3cret", &address, secret, directory.path()).await;
    broadcast(&server, &token).await;
    let line = receiver.until("no download link").await;
    let said =
        format!("no download link from http://{nowhere} (start it there, or say where it is: --server URL)");
    assert!(line.contains(&said) && line.contains("again in"), "{line}");
    assert!(!line.contains("hidden"), "{line}");
    receiver.child.kill().await.unwrap();

    let mut receiver = Receiver::of(&server.url(), "s3cret", &address, secret, directory.path()).await;
    let line = receiver.until("no download link").await;
    assert!(line.contains(&server.url()) && line.contains("--secret SECRET"), "{line}");
    receiver.child.kill().await.unwrap();

    let mut receiver = Receiver::start(&server, &address, secret, directory.path()).await;
    receiver.until("saved").await;
}
