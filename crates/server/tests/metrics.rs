//! What `/metrics` shows of a server that worked.

mod support;

use std::collections::BTreeMap;

use mediahooks_testkit::{Answer, ScriptedReceiver, ServerOptions, TestServer, eventually};
use serde_json::json;
use support::{PROGRAM, server};

async fn scrape(server: &TestServer) -> String {
    let request =
        reqwest::Client::new().get(format!("{}/metrics", server.url())).bearer_auth(server.secret());
    request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

/// A sample's value, by its name and labels as they are written.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Every metric with its type and the names of its labels, golden: dashboards are made of them.
#[tokio::test]
async fn every_metric_of_a_server_that_worked() {
    let server = server().await;
    let receiver = ScriptedReceiver::start().await;
    receiver.then([Answer::Status(500)]);
    server.rest().add_webhook(&receiver.url()).await;
    server.rest().post("/api/webhooks/test/media", json!({})).await;
    receiver.wait_for_kind("media.completed").await;
    let attempts = r#"mediahooks_attempts_total{webhook="1",outcome="retry"}"#;
    let text = eventually("the attempt is counted", async || {
        Some(scrape(&server).await).filter(|text| value(text, attempts) == Some(1.0))
    })
    .await;
    assert_eq!(value(&text, r#"mediahooks_events_total{kind="media.completed"}"#), Some(1.0), "{text}");
    let test = r#"mediahooks_http_requests_total{method="POST",route="/api/webhooks/test/{webhookType}",status="200"}"#;
    assert_eq!(value(&text, test), Some(1.0), "{text}");
    let owed = eventually("the queue is counted", async || {
        let text = scrape(&server).await;
        value(&text, r#"mediahooks_webhook_deliveries{webhook="1"}"#).filter(|owed| *owed > 0.0)
    })
    .await;
    assert_eq!(owed, 1.0);

    let mut metrics = BTreeMap::new();
    for line in scrape(&server).await.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            metrics.insert(name.to_owned(), (kind.to_owned(), Vec::<String>::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|name| metrics.contains_key(*name)));
            let (_, shown) = metrics.get_mut(base.unwrap_or(name)).unwrap();
            let labels = labels.rsplit_once('}').unwrap().0.split("\",");
            *shown = labels.map(|label| label.split_once('=').unwrap().0.to_owned()).collect();
            shown.retain(|label| label != "le");
        }
    }
    let lines = metrics.iter().map(|(name, (kind, labels))| format!("{name} {kind} {}\n", labels.join(",")));
    insta::assert_snapshot!(lines.collect::<String>().replace(" \n", "\n"));
}

#[tokio::test]
async fn an_operator_may_open_the_metrics() {
    let closed = server().await;
    let get = async |server: &TestServer| reqwest::get(format!("{}/metrics", server.url())).await.unwrap();
    assert_eq!(get(&closed).await.status(), 403);
    let open = ServerOptions::new(PROGRAM).environment("MEDIAHOOKS_METRICS_OPEN", "true").start().await;
    let answer = get(&open).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(answer.text().await.unwrap().contains("# TYPE mediahooks_deliveries gauge\n"));
}
