//! The members of webhooks that the hosted service does not have: what is wanted, how it is signed and sent.

mod common;

use common::Bench;
use mediahooks_model::Timestamp;
use mediahooks_model::webhook::Disabled;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

async fn webhook(bench: &Bench) -> Value {
    let body = json!({"url": "https://hooks.example.com/", "isFeedHooks": false, "isMediaHooks": true});
    bench.call("POST", "/api/webhooks", body).await.data()
}

/// What is said about one member of a refused change.
async fn refused(bench: &Bench, change: Value, member: &str) -> String {
    let reply = bench.call("PUT", "/api/webhooks/1", change.clone()).await;
    reply.failed(400);
    let errors = &reply.json()["data"]["errors"];
    errors[member][0].as_str().unwrap_or_else(|| panic!("{change}: {errors}")).to_owned()
}

fn identity() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["client".into()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[tokio::test]
async fn members_are_put_in_order_when_they_are_stored() {
    let bench = Bench::new().await;
    webhook(&bench).await;
    let given = json!({
        "events": ["media.errored", "media.completed", "media.errored"], "tokenIds": [9, 3, 9],
        "headers": {"X-Tenant": " north ", "Authorization": "Bearer t"}, "rateLimit": 10000, "includeDownload": true,
    });
    let changed = bench.call("PUT", "/api/webhooks/1", given).await.data();
    assert_eq!(changed["events"], json!(["media.completed", "media.errored"]));
    assert_eq!(changed["tokenIds"], json!([3, 9]));
    assert_eq!(changed["headers"], json!({"authorization": "Bearer t", "x-tenant": "north"}));
    assert_eq!((&changed["rateLimit"], &changed["includeDownload"]), (&json!(10000), &json!(true)));
    assert_eq!(bench.get("/api/webhooks/1").await.data(), changed);
    // Whoever reads it, changes a member and sends all of it back changes that member alone.
    assert_eq!(bench.call("PUT", "/api/webhooks/1", changed.clone()).await.data(), changed);

    let nulls = json!({
        "events": null, "tokenIds": null, "headers": null, "rateLimit": null, "includeDownload": null,
    });
    let cleared = bench.call("PUT", "/api/webhooks/1", nulls).await.data();
    let expected = json!({
        "events": [], "tokenIds": [], "headers": {}, "rateLimit": null, "includeDownload": false,
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&cleared[member], value, "{member}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_name() {
    let bench = Bench::new().await;
    webhook(&bench).await;
    for (change, member, said) in [
        (json!({"events": ["media.finished"]}), "Events", "media.completed"),
        (json!({"events": "media.completed"}), "Events", "array"),
        (json!({"events": ["feeds.started"]}), "Events", "isFeedHooks"),
        (json!({"events": ["media.completed"], "isMediaHooks": false}), "Events", "isMediaHooks"),
        (json!({"tokenIds": ["x"]}), "TokenIds", "whole number"),
        (json!({"tokenIds": vec![1; 1001]}), "TokenIds", "1000"),
        (json!({"headers": ["x"]}), "Headers", "object"),
        (json!({"headers": {"x-a": 1}}), "Headers", "texts"),
        (json!({"headers": {"x-a": "b\r\nhost: c"}}), "Headers", "x-a"),
        (json!({"headers": {"Content-Length": "1"}}), "Headers", "content-length"),
        (json!({"headers": {"webhook-id": "1"}}), "Headers", "webhook-id"),
        (json!({"rateLimit": 0}), "RateLimit", "between 1 and 10000"),
        (json!({"rateLimit": 10001}), "RateLimit", "between 1 and 10000"),
        (json!({"includeDownload": "maybe"}), "IncludeDownload", "true or false"),
        (json!({"filter": "a{500}{500}"}), "Filter", "regular expression"),
        (json!({"clientKey": "x"}), "ClientCertificate", "belong together"),
        (json!({"clientCertificate": "x"}), "ClientKey", "belong together"),
        (json!({"clientCertificate": "x", "clientKey": "y"}), "ClientCertificate", "PEM"),
        (json!({"caCertificate": "x"}), "CaCertificate", "PEM"),
    ] {
        let message = refused(&bench, change.clone(), member).await;
        assert!(message.contains(said), "{change}: {message}");
    }
    // What a webhook is limited to and what it subscribes to may change together.
    let both = json!({"events": ["feeds.started"], "isFeedHooks": true});
    bench.call("PUT", "/api/webhooks/1", both).await.data();
    refused(&bench, json!({"isFeedHooks": false}), "Events").await;
}

#[tokio::test]
async fn a_client_key_is_stored_with_its_certificate_and_never_shown() {
    let bench = Bench::new().await;
    let (certificate, key) = identity();
    let (other, other_key) = identity();
    webhook(&bench).await;
    let given = json!({"clientCertificate": certificate, "clientKey": key, "caCertificate": other});
    let changed = bench.call("PUT", "/api/webhooks/1", given).await.data();
    assert_eq!(
        (&changed["clientCertificate"], &changed["caCertificate"]),
        (&json!(certificate), &json!(other))
    );
    assert!(!changed.to_string().contains("PRIVATE"), "{changed}");

    let stored = async || bench.database.webhook(mediahooks_model::WebhookId(1)).await.unwrap().unwrap().tls;
    assert_eq!(stored().await.unwrap().client_key, Some(key));
    for mismatch in [json!({"clientCertificate": other}), json!({"clientKey": other_key})] {
        refused(&bench, mismatch, "ClientKey").await;
    }
    refused(&bench, json!({"clientKey": null}), "ClientKey").await;
    bench.call("PUT", "/api/webhooks/1", json!({"clientCertificate": null})).await.data();
    assert_eq!(stored().await.unwrap().client_key, None);
    bench.call("PUT", "/api/webhooks/1", json!({"caCertificate": null})).await.data();
    assert_eq!(stored().await, None);
}

#[tokio::test]
async fn a_secret_is_replaced_with_overlap_or_at_once() {
    let bench = Bench::new().await;
    let first = webhook(&bench).await;
    assert_eq!(first["previousSecretExpiresOn"], Value::Null);
    let put = async |body: Value| bench.call("PUT", "/api/webhooks/1", body).await.data();
    let secrets = async || {
        let webhook = bench.database.webhook(mediahooks_model::WebhookId(1)).await.unwrap().unwrap();
        let previous = webhook.previous_secret.map(|previous| previous.secret);
        (Value::from(webhook.secret), previous.map(Value::from))
    };

    let second = put(json!({"refreshSecret": true})).await;
    let until: Timestamp = serde_json::from_value(second["previousSecretExpiresOn"].clone()).unwrap();
    let now = Timestamp::EPOCH.plus(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let day = std::time::Duration::from_secs(24 * 3600);
    assert!(until <= now.plus(day) && now < until, "{until}");
    assert_eq!(secrets().await, (second["secret"].clone(), Some(first["secret"].clone())));
    // Other changes leave both.
    assert_eq!(
        put(json!({"rateLimit": 5})).await["previousSecretExpiresOn"],
        second["previousSecretExpiresOn"]
    );
    assert_eq!(put(json!({"expireOldSecret": true})).await["previousSecretExpiresOn"], Value::Null);
    assert_eq!(secrets().await, (second["secret"].clone(), None));

    let third = put(json!({"refreshSecret": true, "expireOldSecret": true})).await;
    assert_ne!(third["secret"], second["secret"]);
    assert_eq!(secrets().await, (third["secret"].clone(), None));
}

#[tokio::test]
async fn a_change_does_not_lift_a_disable_that_came_in_between() {
    let bench = Bench::new().await;
    let seen = webhook(&bench).await;
    let disabled = Disabled { until: None, reason: Some("the endpoint answered 410 Gone".into()) };
    bench.database.suspend_webhook(mediahooks_model::WebhookId(1), disabled).await.unwrap();
    // The reader saw it enabled and sends back what it saw, with a change.
    let mut back = seen;
    back["filter"] = "cam".into();
    let changed = bench.call("PUT", "/api/webhooks/1", back).await.data();
    assert_eq!(changed["disabled"]["reason"], "the endpoint answered 410 Gone");
    assert_eq!(changed["filter"], "cam");
}
