//! The account's API secrets and expiration rules, and stopping its streams.

mod common;

use axum::body::Body;
use common::{Bench, settled};
use http::Request;
use serde_json::json;

const SECRETS: &str = "/api/v3/account/secrets";
const RULES: &str = "/api/v3/account/media/expiration";

#[tokio::test]
async fn secrets_are_added_shown_once_and_dead_when_removed() {
    let bench = Bench::new().await;
    let made = bench.call("POST", SECRETS, json!({"name": "ci/2"})).await.data();
    insta::assert_json_snapshot!("new_secret", settled(made.clone()));
    insta::assert_json_snapshot!("secrets", settled(bench.get(SECRETS).await.data()));
    let with = async |secret: &str| {
        let request = Request::get(SECRETS).header("authorization", format!("Bearer {secret}"));
        bench.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(with(secret).await, 200);
    bench.call("POST", SECRETS, json!({"name": "ci/2"})).await.failed(400);
    bench.call("POST", SECRETS, json!({"name": ""})).await.failed(400);
    bench.raw("DELETE", &format!("{SECRETS}/unknown"), "").await.failed(400);
    assert_eq!(bench.raw("DELETE", &format!("{SECRETS}/ci%2F2"), "").await.data(), true);
    assert_eq!(with(secret).await, 403);
    let message = bench.raw("DELETE", &format!("{SECRETS}/first"), "").await.failed(400);
    assert!(message.contains("last"), "{message}");
}

#[tokio::test]
async fn rules_are_set_reset_and_left_alone() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.get(RULES).await.data(),
        json!({"timelines": {"days": 1}, "recordings": {}, "clips": {}})
    );
    let body = json!({"timelines": {"days": 3}, "recordings": {"days": 100}, "clips": {"days": 365}});
    assert_eq!(bench.call("PUT", RULES, body.clone()).await.data(), body);
    let reply = bench.call("PUT", RULES, json!({"recordings": {}, "timelines": {}})).await.data();
    assert_eq!(reply, json!({"timelines": {"days": 1}, "recordings": {}, "clips": {"days": 365}}));
    assert_eq!(bench.get(RULES).await.data(), reply);
    assert_eq!(bench.call("PUT", RULES, json!({"clips": null})).await.data(), reply);
    for days in [json!(0), json!(366), json!(-1), json!("x"), json!(1.5), json!(i64::MAX)] {
        let result = bench.call("PUT", RULES, json!({"clips": {"days": days}})).await;
        result.failed(400);
        assert!(result.json()["data"]["errors"]["Days"].is_array());
    }
    bench.call("PUT", RULES, json!({"clips": 5})).await.failed(400);
    assert_eq!(bench.get(RULES).await.data(), reply, "nothing changes when something is wrong");
}

#[tokio::test]
async fn streams_are_stopped() {
    let bench = Bench::new().await;
    let publisher = bench.publish("stage", &[]).await;
    let stop = async |id: &str| bench.call("POST", "/api/stream/stop", json!({"streamId": id})).await;
    assert_eq!(stop("dkxfvY/nobody").await.data(), json!({"stoppingLevel": "None"}));
    stop("other/stage").await.failed(400);
    stop("stage").await.failed(400);
    bench.call("POST", "/api/stream/stop", json!({})).await.failed(400);
    assert_eq!(stop("dkxfvY/stage").await.data(), json!({"stoppingLevel": "Stream"}));
    publisher.sink.stopped().await;
    publisher.finish().await;
    assert_eq!(
        bench.raw("POST", "/api/stream/stop/all", "null").await.data(),
        json!({"stoppingLevel": "None"})
    );

    let publisher = bench.publish("stage", &[]).await;
    let body = json!({"tokenId": publisher.token, "updatePriority": -5});
    let reply = bench.call("POST", "/api/stream/reprioritize", body).await.data();
    assert_eq!(reply, json!({"stoppingLevel": "Token"}));
    publisher.sink.stopped().await;
    let token = bench.get(&format!("/api/publish_token/{}", publisher.token)).await.data();
    assert_eq!(token["priority"], -5);
    publisher.finish().await;
    let publisher = bench.publish("stage", &[]).await;
    assert_eq!(
        bench.raw("POST", "/api/stream/stop/all", "").await.data(),
        json!({"stoppingLevel": "Account"})
    );
    publisher.finish().await;
    bench
        .call("POST", "/api/stream/reprioritize", json!({"tokenId": 99, "updatePriority": 1}))
        .await
        .failed(400);
    bench.call("POST", "/api/stream/reprioritize", json!({"tokenId": 1})).await.failed(400);
}
