//! `mediahooks conformance-receiver`: misbehaves as asked, and tells what the sender did.

mod support;

use std::process::Stdio;

use mediahooks_testkit::patiently;
use support::PROGRAM;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn it_misbehaves_as_asked_and_tells_what_the_sender_did() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["conformance-receiver", "--listen", "127.0.0.1:0", "--certificates"]).arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = async |text: &str| {
        patiently(text, async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                if line.contains(text) {
                    return line;
                }
            }
        })
        .await
    };
    let url = |line: String| line.split_whitespace().next().unwrap().to_owned();
    let (http, https) = (url(until("  HTTP/1.1").await), url(until("HTTP/2 and").await));
    until("/stale").await;

    let ca = std::fs::read(directory.path().join("ca.pem")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let client = reqwest::Client::builder().tls_certs_merge([ca]).build().unwrap();
    let post = |url: String| client.post(url).header("webhook-id", "evt_1").body("{}").send();
    assert_eq!(post(format!("{http}/status/418")).await.unwrap().status(), 418);
    let line = until("/status/418").await;
    assert!(line.contains("webhook-id evt_1"), "{line}");
    // This client follows redirects, as a sender must not.
    assert_eq!(post(format!("{https}/redirect")).await.unwrap().status(), 200);
    until("A REDIRECT WAS FOLLOWED").await;
    assert!(post(format!("{http}/reset")).await.is_err());
}
