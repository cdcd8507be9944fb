//! What the client commands print, against a server that runs.

mod support;

use mediahooks_testkit::{ScriptedReceiver, ffmpeg};
use support::{client, redact, run, server};

#[tokio::test]
async fn tokens() {
    let server = server().await;
    let mut text = String::new();
    for command in [
        &["token", "list"][..],
        &["token", "create", "Main stage", "--stream", "stage/left", "--stream", "two words"],
        &[
            "token",
            "create",
            "Cameras",
            "--stream-regex",
            "cam[0-9]+",
            "--no-record",
            "--expires",
            "30d",
            "--allow-ip",
            "192.0.2.0/24",
            "--priority",
            "-2",
            "--rtmp-url",
            "rtmp://media.example.com:1936",
        ],
        &["token", "show", "1"],
        &["token", "disable", "1"],
        &["token", "list"],
        &["token", "delete", "1"],
    ] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    insta::assert_snapshot!(redact(&text));

    let json: serde_json::Value =
        serde_json::from_str(&client(&server, &["token", "list", "--json"]).await).unwrap();
    assert_eq!(json[0]["label"], "Cameras");
    assert_eq!((&json[0]["record"], &json[0]["clip"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn webhooks() {
    let server = server().await;
    let receiver = ScriptedReceiver::start().await;
    receiver.then([mediahooks_testkit::Answer::Status(500)]);
    let mut text = String::new();
    for command in [
        &["webhook", "list"][..],
        &["webhook", "add", &receiver.url(), "--media", "--filter", "^stage"],
        &["webhook", "add", "https://example.com/hooks"],
        &["webhook", "list"],
        &[
            "webhook",
            "update",
            "2",
            "--event",
            "media.completed",
            "--token",
            "1",
            "--header",
            "X-Tenant: north",
            "--rate-limit",
            "20",
            "--include-download",
        ],
        &["webhook", "update", "2", "--all-events", "--any-token", "--no-headers", "--no-feeds"],
        &["webhook", "rotate-secret", "2"],
        &["webhook", "expire-secret", "2"],
        &["webhook", "deliveries", "2"],
        &["webhook", "test", "1", "--media", "--stream", "stage"],
    ] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    receiver.wait_for_kind("media.completed").await;
    let command = ["webhook", "deliveries", "1"];
    let settled = mediahooks_testkit::eventually("the attempt is recorded", async || {
        Some(client(&server, &command).await).filter(|log| log.contains("HTTP 500"))
    })
    .await;
    text.push_str(&format!("$ mediahooks {}\n{settled}\n", command.join(" ")));
    let details = client(&server, &["webhook", "deliveries", "1", "--since", "1h", "--attempts"]).await;
    assert!(details.contains("attempt 1 at") && details.contains("first byte"), "{details}");
    assert!(details.contains("> POST /") && details.contains("the last attempt failed"), "{details}");
    for command in [&["webhook", "enable", "1"][..], &["webhook", "delete", "2"]] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    insta::assert_snapshot!(redact(&text));
}

#[tokio::test]
async fn account() {
    let server = server().await;
    let info = client(&server, &["account", "info"]).await;
    assert!(info.starts_with("Account  ") || info.starts_with("Account "), "{info}");
    let mut text = String::new();
    for command in [
        &["account", "expiration"][..],
        &["account", "expiration", "--recordings", "30", "--timelines", "2"],
        &["account", "expiration", "--recordings", "never"],
    ] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn secrets() {
    let server = server().await;
    let mut text = String::new();
    for command in [
        &["account", "secrets"][..],
        &["account", "secrets", "add", "the app/50 %?"],
        &["account", "secrets", "list"],
        &["account", "secrets", "delete", "the app/50 %?"],
        &["account", "secrets"],
    ] {
        text.push_str(&format!("$ mediahooks {}\n{}\n", command.join(" "), client(&server, command).await));
    }
    insta::assert_snapshot!(redact(&text));

    let secret = client(&server, &["account", "secrets", "add", "spare", "--field", "secret"]).await;
    let url = server.url();
    let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", secret.trim())];
    assert_eq!(run(&["account", "info"], &environment).await.code, Some(0), "it opens the server at once");
}

/// What scripts read is the answer and nothing else.
#[tokio::test]
async fn answers_for_scripts() {
    let server = server().await;
    let token = client(&server, &["token", "create", "first", "--stream", "stage", "--field", "token"]).await;
    assert!(token.trim().bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    assert_eq!(client(&server, &["token", "list", "--field", "id"]).await, "1\n");
    client(&server, &["webhook", "add", "https://example.com/"]).await;
    let tested = client(&server, &["webhook", "test", "1", "--json"]).await;
    let tested: serde_json::Value = serde_json::from_str(&tested).unwrap();
    assert!(tested["Media"].is_boolean() || tested["Media"].is_object(), "{tested}");

    let url = server.url();
    let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", server.secret())];
    let outcome = run(&["token", "list", "--field", "nothing"], &environment).await;
    assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""));
    assert!(outcome.stderr.contains("no member `nothing`"), "{}", outcome.stderr);
}

#[tokio::test]
async fn refusals_of_the_server_are_told() {
    let server = server().await;
    let url = server.url();
    let mut text = String::new();
    for (command, secret) in [
        (&["token", "list"][..], "wrong-secret"),
        (&["token", "show", "99"], server.secret()),
        (&["webhook", "add", "not-a-url"], server.secret()),
        (&["webhook", "add", "https://example.com", "--filter", "("], server.secret()),
        (&["asset", "show", "ffffffffffffffffffffffffffffffff"], server.secret()),
        (&["asset", "show", "../x"], server.secret()),
        (&["asset", "delete", "ffffffffffffffffffffffffffffffff"], server.secret()),
        (&["clip", "create", "nothing", "--last", "30s"], server.secret()),
    ] {
        let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", secret)];
        let outcome = run(command, &environment).await;
        assert_eq!(outcome.code, Some(1), "{command:?}");
        text.push_str(&format!("$ mediahooks {}\n{}{}\n", command.join(" "), outcome.stdout, outcome.stderr));
    }
    insta::assert_snapshot!(redact(&text));
}

/// A clip is cut, shown, fetched and deleted by hand.
#[tokio::test]
async fn a_clip_by_hand() {
    let server = server().await;
    let receiver = ScriptedReceiver::start().await;
    server.rest().add_webhook(&receiver.url()).await;
    let token = server.rest().create_token("show").await;
    let publishing =
        ffmpeg::Broadcast::live(6).publish(&ffmpeg::ffmpeg(), &server.publish_url("show", &token));
    publishing.finish().await;
    receiver.wait_for_kind("media.completed").await;

    let made =
        client(&server, &["clip", "create", "show", "--last", "4s", "--name", "By hand", "--wait"]).await;
    assert!(made.contains("complete") && made.contains("H264 320x180 30 fps"), "{made}");
    let list = client(&server, &["asset", "list", "--type", "clip", "--json"]).await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_str().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clip.mp4");
    let command = ["asset", "download", id, "-o", file.to_str().unwrap()];
    assert!(client(&server, &command).await.contains("is complete"));
    assert!(client(&server, &command).await.contains("is there already"));
    let frames = ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &file);
    assert!(frames.len() > 60, "{}", frames.len());
    assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1), "{frames:?}");

    // Of a playlist the file is its media, which plays by itself.
    let made =
        client(&server, &["clip", "create", "show", "--last", "4s", "--format", "hls", "--json"]).await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let playlist = made[0]["id"].as_str().unwrap();
    let file = directory.path().join("media.mp4");
    let told = client(&server, &["asset", "download", playlist, "-o", file.to_str().unwrap()]).await;
    assert!(told.ends_with(", the media of the playlist as one fragmented MP4\n"), "{told}");
    let of_playlist = ffmpeg::frame_numbers(&ffmpeg::ffmpeg(), &file);
    // How far the publisher was ahead of its own clock decides about the last few.
    assert!(of_playlist.len() > 60, "{}", of_playlist.len());
    assert!(of_playlist.windows(2).all(|pair| pair[1] == pair[0] + 1), "{of_playlist:?}");
    assert_eq!(client(&server, &["asset", "delete", playlist]).await, "1 asset is deleted.\n");

    let table = client(&server, &["asset", "list"]).await;
    assert!(table.lines().count() == 3 && table.contains("By hand"), "{table}");
    assert_eq!(client(&server, &["asset", "delete", id]).await, "1 asset is deleted.\n");
}
