//! Webhooks are added, listed, changed, tested and removed; their delivery log is shown.

mod common;

use common::{Bench, settled};
use serde_json::{Value, json};

async fn webhook(bench: &Bench, body: Value) -> Value {
    bench.call("POST", "/api/webhooks", body).await.data()
}

fn media() -> Value {
    json!({"url": "https://hooks.example.com/in", "isFeedHooks": false, "isMediaHooks": true})
}

#[tokio::test]
async fn a_webhook_from_its_first_to_its_last_day() {
    let bench = Bench::new().await;
    let made = webhook(&bench, media()).await;
    insta::assert_json_snapshot!("webhook", settled(made.clone()));
    let path = format!("/api/webhooks/{}", made["id"]);
    assert_eq!(bench.get(&path).await.data(), made);
    let changed = bench.call("PUT", &path, json!({"filter": "cam[0-9]", "isFeedHooks": true})).await.data();
    assert_eq!((&changed["filter"], &changed["isFeedHooks"]), (&json!("cam[0-9]"), &json!(true)));
    assert_eq!(changed["secret"], made["secret"]);
    let cleared = bench.call("PUT", &path, json!({"filter": null, "refreshSecret": true})).await.data();
    assert_eq!(cleared["filter"], Value::Null);
    assert_ne!(cleared["secret"], made["secret"]);
    assert_eq!(bench.raw("DELETE", &path, "").await.data(), true);
    for (method, body) in [("GET", json!({})), ("PUT", json!({"filter": null})), ("DELETE", json!({}))] {
        let message = bench.call(method, &path, body).await.failed(400);
        assert_eq!(message, format!("No webhook with id: {}", made["id"]));
    }
}

#[tokio::test]
async fn a_disabled_webhook_is_enabled_by_request_or_by_a_new_url() {
    let bench = Bench::new().await;
    let id = mediahooks_model::WebhookId(webhook(&bench, media()).await["id"].as_i64().unwrap());
    let path = format!("/api/webhooks/{id}");
    for change in [json!({"reEnable": true}), json!({"url": "https://other.example.com/"})] {
        let disabled = mediahooks_model::webhook::Disabled { until: None, reason: Some("410".into()) };
        bench.database.suspend_webhook(id, disabled).await.unwrap();
        let shown = bench.get(&path).await.data();
        assert_eq!(shown["disabled"], json!({"until": null, "reason": "410"}));
        assert!(bench.call("PUT", &path, json!({"reEnable": false})).await.data().get("disabled").is_some());
        assert!(bench.call("PUT", &path, change).await.data().get("disabled").is_none());
    }
}

#[tokio::test]
async fn urls_and_filters_are_checked() {
    let bench = Bench::new().await;
    let refused = async |url: &str| {
        let reply = bench.call("POST", "/api/webhooks", json!({"url": url, "isFeedHooks": true})).await;
        reply.failed(400);
        reply.json()["data"]["errors"]["Url"][0].as_str().unwrap().to_owned()
    };
    for url in [
        "http://127.0.0.1/",
        "http://10.1.2.3/x",
        "http://[::1]/",
        "http://localhost:9000/",
        "http://0x7f.1/",
    ] {
        assert!(refused(url).await.contains("--webhook-allow"), "{url}");
    }
    assert!(refused("http://169.254.169.254/").await.contains("never"));
    for url in ["", "nonsense", "ftp://example.com/", "https://user:pw@example.com/", "https://"] {
        refused(url).await;
    }
    for filter in ["(", "", &"a".repeat(129)] {
        let reply = bench
            .call(
                "POST",
                "/api/webhooks",
                json!({"url": "https://a.example/", "isFeedHooks": true, "filter": filter}),
            )
            .await;
        assert!(reply.json()["data"]["errors"]["Filter"].is_array(), "{filter}");
    }
    let reply = bench.call("POST", "/api/webhooks", json!({})).await;
    insta::assert_json_snapshot!("nothing_given", reply.json());
}

#[tokio::test]
async fn a_private_target_that_the_operator_allowed() {
    let bench = Bench::with(|config| {
        config.target_policy = mediahooks_delivery::TargetPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    webhook(&bench, json!({"url": "http://127.0.0.1:9000/", "isFeedHooks": true})).await;
}

#[tokio::test]
async fn lists_are_windows_in_the_order_added() {
    let bench = Bench::new().await;
    for _ in 0..12 {
        webhook(&bench, media()).await;
    }
    let ids = async |query: &str| {
        let data = bench.get(&format!("/api/webhooks/list{query}")).await.data();
        data.as_array().unwrap().iter().map(|hook| hook["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, (1..=10).collect::<Vec<_>>());
    assert_eq!(ids("?startingId=11&itemCount=10").await, [11, 12]);
    assert_eq!(ids("?itemCount=2&isDescending=true").await, [12, 11]);
    bench.get("/api/webhooks/list?itemCount=0").await.failed(400);
    bench.get("/api/webhooks/list?startingId=x").await.failed(400);
}

#[tokio::test]
async fn test_calls_reach_who_subscribes_and_who_is_named() {
    let bench = Bench::new().await;
    let every = json!({
        "url": "https://a.example/", "isFeedHooks": true, "isMediaHooks": true, "isRecordingHooks": true,
        "isTranscoderHooks": true, "isViewerConnectionHooks": true,
    });
    let subscribed = webhook(&bench, every).await["id"].clone();
    let silent =
        webhook(&bench, json!({"url": "https://b.example/", "isFeedHooks": false})).await["id"].clone();
    for kind in ["Media", "feeds", "RECORDINGS", "Transcoder", "viewerConnection"] {
        assert_eq!(bench.raw("POST", &format!("/api/webhooks/test/{kind}"), "").await.data(), true);
    }
    let log = |id: &Value| format!("/api/webhooks/{id}/deliveries");
    let page = bench.get(&log(&subscribed)).await.data();
    insta::assert_json_snapshot!("deliveries", settled(page));
    assert_eq!(bench.get(&log(&silent)).await.data()["data"], json!([]));

    bench.raw("POST", &format!("/api/webhooks/test/media?webhookId={silent}"), "").await.data();
    bench
        .call("POST", "/api/webhooks/test/media", json!({"webhookId": silent, "streamName": "mine"}))
        .await
        .data();
    assert_eq!(bench.get(&log(&silent)).await.data()["data"].as_array().unwrap().len(), 2);
    assert_eq!(bench.get(&log(&subscribed)).await.data()["data"].as_array().unwrap().len(), 5);

    let message = bench.raw("POST", "/api/webhooks/test/Thumbnail", "").await.failed(400);
    assert!(message.contains("not available yet"));
    bench.raw("POST", "/api/webhooks/test/nonsense", "").await.failed(400);
    bench.raw("POST", "/api/webhooks/test/media?webhookId=99", "").await.failed(400);
    bench.call("POST", "/api/webhooks/test/media", json!({"streamName": ""})).await.failed(400);
}

#[tokio::test]
async fn the_delivery_log_is_walked_by_cursor() {
    let bench = Bench::new().await;
    let id = webhook(&bench, media()).await["id"].clone();
    for _ in 0..5 {
        bench.raw("POST", "/api/webhooks/test/media", "").await.data();
    }
    let mut cursor = None;
    let mut seen = Vec::new();
    loop {
        let before = cursor.map(|cursor: String| format!("&before={cursor}")).unwrap_or_default();
        let page = bench.get(&format!("/api/webhooks/{id}/deliveries?limit=2{before}")).await.data();
        seen.extend(page["data"].as_array().unwrap().iter().map(|line| line["id"].as_i64().unwrap()));
        cursor = page["pagination"]["cursor"].as_str().map(str::to_owned);
        assert_eq!(page["pagination"]["hasMore"], cursor.is_some());
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    bench.get("/api/webhooks/99/deliveries").await.failed(400);
    bench.get(&format!("/api/webhooks/{id}/deliveries?limit=101")).await.failed(400);
}

#[tokio::test]
async fn the_log_is_searched_by_asset_kind_state_and_time() {
    let bench = Bench::new().await;
    webhook(&bench, media()).await;
    webhook(&bench, json!({"url": "https://b.example/", "isFeedHooks": true})).await;
    let recording = bench.recording().await;
    let asset = recording["id"].as_str().unwrap();
    let found = async |path: String| {
        let page = bench.get(&path).await.data();
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (line["webhookId"].clone(), line["event"].clone()))
            .collect::<Vec<_>>()
    };
    let (processing, completed) = (json!("media.processing"), json!("media.completed"));
    let both = [(json!(1), completed.clone()), (json!(1), processing.clone())];
    assert_eq!(found(format!("/api/deliveries?asset={asset}")).await, both);
    assert_eq!(found(format!("/api/webhooks/1/deliveries?asset={asset}")).await, both);
    assert_eq!(found(format!("/api/webhooks/2/deliveries?asset={asset}")).await, []);
    assert_eq!(found("/api/deliveries".into()).await.len(), 4);
    assert_eq!(found("/api/deliveries?webhookId=2".into()).await.len(), 2);
    assert_eq!(found(format!("/api/deliveries?asset={asset}&event=media.completed")).await, both[..1]);
    assert_eq!(found("/api/webhooks/1/deliveries?state=waiting&state=exhausted".into()).await, both[..1]);
    let since = recording["startTime"].as_str().unwrap();
    assert_eq!(found(format!("/api/webhooks/1/deliveries?since={since}")).await, both);
    assert_eq!(found("/api/webhooks/1/deliveries?until=2020-01-01T00:00:00Z".into()).await, []);
    for wrong in ["asset=x", "state=lost", "event=media", "since=yesterday", "before=x"] {
        bench.get(&format!("/api/deliveries?{wrong}")).await.failed(400);
    }
}

#[tokio::test]
async fn the_log_says_why_something_did_not_come() {
    let bench = Bench::new().await;
    let id = mediahooks_model::WebhookId(webhook(&bench, media()).await["id"].as_i64().unwrap());
    bench.recording().await;
    let reasons = async || {
        let page = bench.get("/api/deliveries").await.data();
        let lines = page["data"].as_array().unwrap().iter().rev();
        lines.map(|line| line["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        reasons().await,
        [
            "due: it waits for its turn among all that is due",
            "waits until delivery 1, an earlier event of the same subject, is settled"
        ]
    );
    let until = Some("2100-01-01T00:00:00Z".parse().unwrap());
    let disabled = mediahooks_model::webhook::Disabled { until, reason: Some("10 attempts failed".into()) };
    bench.database.suspend_webhook(id, disabled).await.unwrap();
    let held = "held: the webhook is disabled until 2100-01-01T00:00:00Z (10 attempts failed)";
    assert_eq!(reasons().await[0], held);
}
