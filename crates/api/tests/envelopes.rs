//! What holds for every call: who is let in, which envelope answers, and which request id it has.

mod common;

use std::sync::Arc;

use axum::body::Body;
use common::{Bench, SECRET, request};
use http::Request;
use serde_json::json;

#[tokio::test]
async fn only_a_known_secret_is_let_in() {
    let bench = Bench::new().await;
    for header in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic abc", SECRET, "Bearer \u{fc}"] {
        let request = Request::get("/api/v3/account/info").header("authorization", header.as_bytes());
        let reply = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), 403, "{header}");
        assert_eq!(reply.json(), json!({"data": {"message": "Unauthorized"}, "status": "fail"}), "{header}");
    }
    let request = Request::get("/api/v3/account/info").header("authorization", format!("bearer  {SECRET} "));
    let reply = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.data(), json!({"accountId": "dkxfvY"}));
    assert_eq!(reply.header("content-type"), "application/json");
}

#[tokio::test]
async fn what_is_not_there_fails_in_an_envelope() {
    let bench = Bench::new().await;
    bench.get("/").await.failed(404);
    bench.get("/api/nothing").await.failed(404);
    bench.raw("PATCH", "/api/webhooks", "").await.failed(405);
    bench.raw("POST", "/healthz", "").await.failed(405);
    bench.raw("DELETE", "/download/a/b", "").await.failed(405);
    for path in [
        "/api/v3/account/media/storage",
        "/api/v3/account/media/storage/validate",
        "/api/v3/media/distributions/x/security/keys",
        "/api/v3/media/assets/upload",
        "/api/v3/media/assets/register",
        "/api/thumbnails",
        "/api/record_files/list",
        "/api/v2/record_files/list",
        "/api/publish_token/list_by_cluster",
    ] {
        let message = bench.raw("POST", path, "{}").await.failed(400);
        assert!(message.contains("not available"), "{path}: {message}");
        let open = Request::post(path).body(Body::empty()).unwrap();
        bench.send(open).await.failed(403);
    }
}

#[tokio::test]
async fn every_reply_has_a_request_id() {
    let bench = Bench::new().await;
    let made = bench.get("/healthz").await;
    assert_eq!(made.header("x-request-id").len(), 32);
    for (sent, kept) in [("abc-1_2.3", true), ("", false), ("a b", false), ("a\u{7f}", false)] {
        let Ok(request) = Request::get("/nothing").header("x-request-id", sent).body(Body::empty()) else {
            continue;
        };
        let reply = bench.send(request).await;
        assert_eq!(reply.header("x-request-id") == sent, kept, "{sent}");
    }
    let long = "a".repeat(129);
    let request = Request::get("/healthz").header("x-request-id", &long).body(Body::empty()).unwrap();
    assert_ne!(bench.send(request).await.header("x-request-id"), long);
}

#[tokio::test]
async fn readiness_is_that_of_database_and_storage() {
    let bench = Bench::new().await;
    let open = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(bench.send(open("/healthz")).await.data(), true);
    assert_eq!(bench.send(open("/readyz")).await.data(), true);

    let full = |config: &mut mediahooks_api::ApiConfig| {
        config.storage_check =
            Arc::new(|| Box::pin(async { Err("the disk at /secret/path is full".into()) }));
    };
    let bench = Bench::with(full).await;
    let request = Request::get("/readyz").header("x-request-id", "probe-1").body(Body::empty()).unwrap();
    let reply = bench.send(request).await;
    assert_eq!(reply.status.as_u16(), 503);
    insta::assert_json_snapshot!(reply.json());
}

#[tokio::test]
async fn a_closed_database_is_a_fault_not_a_fail() {
    let bench = Bench::new().await;
    bench.database.close().await.unwrap();
    let reply =
        bench.call("POST", "/api/webhooks", json!({"url": "https://a.example/", "isFeedHooks": true})).await;
    assert_eq!(reply.status.as_u16(), 503);
    assert_eq!(reply.json()["status"], "error");
    assert_eq!(reply.json()["data"]["requestId"], reply.header("x-request-id"));
}

#[tokio::test]
async fn the_document_is_the_committed_one() {
    let bench = Bench::new().await;
    let served = bench.send(request("GET", "/openapi.json").body(Body::empty()).unwrap()).await.json();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let generated = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(generated == committed, "openapi.json is out of date: run this test with UPDATE_OPENAPI=1");
}
