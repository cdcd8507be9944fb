//! A server from its first start to its last: what it prints, refuses, keeps and leaves behind.

mod support;

use std::path::Path;

use mediahooks_testkit::{ServerOptions, eventually, ffmpeg};
use rustix::process::Signal;
use support::{PROGRAM, redact, run, server};

#[tokio::test]
async fn a_first_start_introduces_itself_once() {
    let options = ServerOptions::new(PROGRAM).environment("MEDIAHOOKS_API_SECRET", "");
    let mut server = options.start().await;
    let introduced =
        eventually("it introduces itself", async || (server.output().len() > 9).then(|| server.output()))
            .await;
    let text = redact(&introduced.join("\n")).replace(server.data().to_str().unwrap(), "DATA");
    let account = introduced.iter().find_map(|line| line.trim().strip_prefix("account     ")).unwrap();
    assert!(account.len() == 6 && account.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{account}");
    insta::assert_snapshot!(text.replace(account, "ACCOUNT"));

    let secret = introduced.iter().find_map(|line| line.trim().strip_prefix("API secret  ")).unwrap();
    assert!(!server.log().join("\n").contains(secret), "the log holds no secret");
    let info = |secret: String| {
        let url = format!("{}/api/v3/account/info", server.url());
        async move { reqwest::Client::new().get(url).bearer_auth(secret).send().await.unwrap() }
    };
    let answer: serde_json::Value = info(secret.to_owned()).await.json().await.unwrap();
    assert_eq!(answer["data"]["accountId"], account);
    assert_eq!(info("wrong".to_owned()).await.status(), 403);

    assert_eq!(server.stop().await.code(), Some(0));
    server.restart().await;
    assert!(server.output().is_empty(), "it is shown once");
}

#[tokio::test]
async fn it_says_alive_and_ready() {
    let server = server().await;
    for path in ["healthz", "readyz"] {
        let response = reqwest::get(format!("{}/{path}", server.url())).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }
}

#[tokio::test]
async fn what_is_taken_is_named() {
    let server = server().await;
    let data = server.data().to_str().unwrap().to_owned();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    let http = server.http().to_string();
    let free = "127.0.0.1:0";

    let outcome = run(&["serve", "--data", &data, "--http", free, "--rtmp", free], &[]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("in use by another process"), "{}", outcome.stderr);

    let outcome = run(&["serve", "--data", other, "--http", &http, "--rtmp", free], &[]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains(&format!("cannot listen on {http} for REST")), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("choose another with --http"), "{}", outcome.stderr);

    let file = Path::new(other).join("a-file");
    std::fs::write(&file, "").unwrap();
    let outcome =
        run(&["serve", "--data", file.to_str().unwrap(), "--http", free, "--rtmp", free], &[]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("as data directory"), "{}", outcome.stderr);

    let outcome = run(&["check", "--data", &data], &[]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("is running"), "{}", outcome.stderr);
}

/// A live broadcast is finished at SIGTERM, its hooks go out, and the data is whole.
#[tokio::test]
async fn a_stop_finishes_what_is_live() {
    let mut server = server().await;
    let receiver = mediahooks_testkit::ScriptedReceiver::start().await;
    server.rest().add_webhook(&receiver.url()).await;
    let token = server.rest().create_token("show").await;
    let publishing =
        ffmpeg::Broadcast::live(60).publish(&ffmpeg::ffmpeg(), &server.publish_url("show", &token));
    receiver.wait_for_kind("media.processing").await;

    assert_eq!(server.stop().await.code(), Some(0), "{}", server.log().join("\n"));
    publishing.kill().await;
    let kinds: Vec<String> = receiver.accepted().iter().map(|hook| hook.kind()).collect();
    assert!(kinds.contains(&"feeds.ended".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"media.completed".to_owned()), "{kinds:?}");

    let data = server.data().to_str().unwrap();
    let outcome = run(&["check", "--data", data], &[]).await;
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.ends_with("All is well.\n"), "{}", outcome.stdout);

    let database = rusqlite::Connection::open(server.data().join("mediahooks.db")).unwrap();
    let damage = "UPDATE segment_tail SET segments = x'ff02' WHERE slot = 0";
    assert_eq!(database.execute(damage, []).unwrap(), 1);
    drop(database);
    let outcome = run(&["check", "--data", data], &[]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stdout.contains("problem: slot 0 "), "{}", outcome.stdout);
    let outcome = run(&["check", "--repair", "--data", data], &[]).await;
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("repaired: slot 0: 0 segments stay"), "{}", outcome.stdout);
}

/// Whoever stops a server is not kept waiting by an endpoint that is down.
#[tokio::test]
async fn a_stop_does_not_wait_for_what_is_to_be_tried_again() {
    let options = ServerOptions::new(PROGRAM);
    let mut server = options.environment("MEDIAHOOKS_WEBHOOK_RETRY_SCHEDULE", "0s,8s,1h").start().await;
    let receiver = mediahooks_testkit::ScriptedReceiver::start().await;
    receiver.otherwise(mediahooks_testkit::Answer::Status(503));
    let webhook = server.rest().add_webhook(&receiver.url()).await;
    server.rest().post("/api/webhooks/test/Media", serde_json::json!({})).await;
    let deliveries = format!("/api/webhooks/{}/deliveries", webhook["id"]);
    eventually("its failure is on record", async || {
        let deliveries = server.rest().get(&deliveries).await;
        (deliveries["data"][0]["attempts"].as_array().is_some_and(|attempts| attempts.len() == 1))
            .then_some(())
    })
    .await;
    assert_eq!(server.stop().await.code(), Some(0), "{}", server.log().join("\n"));
    assert_eq!(receiver.received().len(), 1, "the second attempt is the next start's");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut server = server().await;
    let receiver = mediahooks_testkit::ScriptedReceiver::start().await;
    receiver.otherwise(mediahooks_testkit::Answer::Hang);
    server.rest().add_webhook(&receiver.url()).await;
    server.rest().post("/api/webhooks/test/Media", serde_json::json!({})).await;
    receiver.wait_for("a request hangs", |requests| !requests.is_empty()).await;

    server.signal(Signal::TERM);
    eventually("it begins to stop", async || {
        server.log().iter().any(|line| line.contains("a second signal stops at once")).then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.code(), Some(1));
    server.restart().await;
}

/// A lost secret is replaced in the data directory of the stopped server.
#[tokio::test]
async fn a_secret_can_be_added_offline() {
    let mut server = server().await;
    let data = server.data().to_str().unwrap().to_owned();
    let outcome = run(&["account", "secrets", "--data", &data, "add", "spare"], &[]).await;
    assert!(outcome.stderr.contains("is running"), "{}", outcome.stderr);
    server.stop().await;

    let outcome = run(&["account", "secrets", "--data", &data, "add", "spare"], &[]).await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let secret = outcome.stdout.trim().to_owned();
    let outcome = run(&["account", "secrets", "--data", &data], &[]).await;
    insta::assert_snapshot!(redact(&outcome.stdout));

    server.restart().await;
    let url = server.url();
    let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", &*secret)];
    assert_eq!(run(&["account", "info"], &environment).await.code, Some(0));
}
