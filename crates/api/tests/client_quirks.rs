//! What the hosted service's official clients send, as they send it: each works here too.

mod common;

use common::{Bench, request};
use serde_json::{Value, json};

const TOKEN: &str = r#"{"label": "x", "streams": [{"streamName": "s"}]}"#;

#[tokio::test]
async fn node_writes_slashes_at_the_end() {
    let bench = Bench::new().await;
    bench.raw("POST", "/api/publish_token/", TOKEN).await.data();
    bench.raw("POST", "/api/webhooks/", r#"{"url": "https://a.example/", "isFeedHooks": true}"#).await.data();
    bench.get("/api/v3/media/assets/").await.data();
    bench.get("/api/publish_token/1/").await.data();
}

#[tokio::test]
async fn node_names_a_content_type_on_get_and_joins_arrays() {
    let bench = Bench::new().await;
    let path =
        "/api/v3/media/assets?type=clip,recording&status=processing,complete&desc=false&page=1&limit=25";
    let request = request("GET", path).header("content-type", "application/json");
    bench.send(request.body(axum::body::Body::empty()).unwrap()).await.data();
}

#[tokio::test]
async fn node_sorts_by_end_time_and_uses_the_older_names_of_pages() {
    let bench = Bench::new().await;
    bench.recording().await;
    let path = "/api/v3/media/assets?sortBy=endTime&page=1&itemsOnPage=1&isDescending=true&type=recording";
    assert_eq!(bench.get(path).await.data().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn node_always_sends_a_key_and_gets_an_array() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    let body = json!({"streamName": "stage/left", "startTime": recording["startTime"], "stopTime": recording["stopTime"]});
    let request = request("POST", "/api/v3/media/assets").header("Idempotency-Key", "stage-left-2024-01-01");
    assert!(bench.send(request.body(body.to_string().into()).unwrap()).await.data().is_array());
}

#[tokio::test]
async fn node_posts_expiration_rules() {
    let bench = Bench::new().await;
    let body = json!({"clips": {"days": 9}});
    let reply = bench.call("POST", "/api/v3/account/media/expiration", body).await.data();
    assert_eq!(reply["clips"]["days"], 9);
}

#[tokio::test]
async fn node_validates_storage_at_the_path_that_makes_it() {
    let bench = Bench::new().await;
    let reply = bench.call("POST", "/api/v3/account/media/storage", json!({"profileId": "p"})).await;
    assert!(reply.failed(400).contains("not available yet"));
}

#[tokio::test]
async fn node_tests_webhooks_without_a_body() {
    let bench = Bench::new().await;
    assert_eq!(bench.raw("POST", "/api/webhooks/test/Media", "").await.data(), true);
}

#[tokio::test]
async fn old_and_new_clients_update_at_their_own_paths() {
    let bench = Bench::new().await;
    let id = bench.raw("POST", "/api/publish_token", TOKEN).await.data()["id"].clone();
    for path in [format!("/api/publish_token/{id}"), format!("/api/v2/publish_token/{id}")] {
        assert_eq!(bench.call("PUT", &path, json!({"label": path})).await.data()["label"], path);
    }
}

#[tokio::test]
async fn streams_are_removed_by_object_or_by_name() {
    let bench = Bench::new().await;
    let body =
        json!({"label": "x", "streams": [{"streamName": "a"}, {"streamName": "b"}, {"streamName": "c"}]});
    let id = bench.call("POST", "/api/publish_token", body).await.data()["id"].clone();
    let body = json!({"removeTokenStreams": [{"streamName": "a", "isRegex": false}, "b"]});
    let reply = bench.call("PUT", &format!("/api/v2/publish_token/{id}"), body).await.data();
    assert_eq!(reply["streams"], json!([{"streamName": "c", "isRegex": false}]));
}

#[tokio::test]
async fn python_creates_with_its_own_names() {
    let bench = Bench::new().await;
    let body = json!({
        "label": "x", "streams": [{"streamName": "s"}], "expiresOn": 60,
        "restream": {"label": "r", "url": "rtmp://r/", "key": "12345"},
    });
    let reply = bench.call("POST", "/api/publish_token", body).await.data();
    assert!(reply["expiresOn"].is_string());
    assert_eq!(reply["restream"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn python_lists_webhooks_with_its_own_words() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench
            .raw("POST", "/api/webhooks", r#"{"url": "https://a.example/", "isFeedHooks": true}"#)
            .await
            .data();
    }
    let reply = bench.get("/api/webhooks/list?startingId=3&item_count=2&isDescending=True").await.data();
    let ids: Vec<_> = reply.as_array().unwrap().iter().map(|hook| hook["id"].clone()).collect();
    assert_eq!(ids, [json!(3), json!(2)]);
    bench.get("/api/webhooks/list?isDescending=False").await.data();
}

#[tokio::test]
async fn python_sends_the_text_null_where_there_is_no_body() {
    let bench = Bench::new().await;
    assert_eq!(bench.raw("POST", "/api/stream/stop/all", "null").await.data()["stoppingLevel"], "None");
    assert_eq!(bench.raw("POST", "/api/webhooks/test/Feeds", " null\n").await.data(), true);
}

#[tokio::test]
async fn older_clients_send_switches_that_are_gone() {
    let bench = Bench::new().await;
    let body = json!({
        "url": "https://a.example/", "isFeedHooks": true, "isRecordingHooks": true, "isThumbnailHooks": false,
        "isTranscoderHooks": false, "isClipHooks": true,
    });
    let reply = bench.call("POST", "/api/webhooks", body).await.data();
    assert_eq!((&reply["isRecordingHooks"], reply.get("isClipHooks")), (&Value::Bool(true), None));
}

#[tokio::test]
async fn a_destructive_get_is_not_honoured() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    bench.get("/api/record_files/delete/all").await.failed(400);
    bench.get("/api/v3/media/assets/all/recording").await.failed(405);
    let id = recording["id"].as_str().unwrap();
    assert_eq!(bench.get(&format!("/api/v3/media/assets/{id}")).await.data()["status"], "complete");
}

#[tokio::test]
async fn every_failure_has_a_message_beside_its_other_members() {
    // The Python client dies without one.
    let bench = Bench::new().await;
    for (method, path, body) in [
        ("GET", "/api/publish_token/99", ""),
        ("PUT", "/api/publish_token/99", "{}"),
        ("POST", "/api/publish_token", "{}"),
        ("GET", "/api/publish_token/list", ""),
        ("GET", "/api/v3/media/assets/x", ""),
        ("GET", "/api/webhooks/99", ""),
        ("GET", "/nowhere", ""),
    ] {
        let reply = bench.raw(method, path, body).await;
        assert!(!reply.failed(reply.status.as_u16()).is_empty(), "{method} {path}");
    }
}
