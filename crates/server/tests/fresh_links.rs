//! A webhook that asks for links gets one in `completed`, and it opens the file without a secret.

use mediahooks_testkit::ffmpeg::{self, Broadcast};
use mediahooks_testkit::{ScriptedReceiver, ServerOptions};
use serde_json::json;

#[tokio::test]
async fn a_completed_hook_brings_a_link_that_opens_the_file() {
    let receiver = ScriptedReceiver::start().await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks"));
    let server = options.arguments(["--webhook-allow", "127.0.0.0/8"]).start().await;
    let rest = server.rest();
    let body = json!({
        "url": receiver.url(), "isFeedHooks": false, "isMediaHooks": true, "includeDownload": true
    });
    rest.post("/api/webhooks", body).await;
    let token = rest.create_token("show").await;
    let url = server.publish_url("show", &token);
    Broadcast::fast(2).publish(&ffmpeg::ffmpeg(), &url).finish().await;

    let hook = receiver.wait_for_kind("media.completed").await;
    let data = &hook.json()["data"];
    let url = data["download"]["downloadUrl"].as_str().unwrap();
    assert!(url.starts_with(&server.url()), "{url}");
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_length(), data["metadata"]["sizes"]["mp4"].as_u64());
    let processing = receiver.wait_for_kind("media.processing").await;
    assert_eq!(processing.json()["data"].get("download"), None);
}
