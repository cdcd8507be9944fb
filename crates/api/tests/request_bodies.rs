//! The bodies that the OpenAPI document describes are the bodies that the server reads.

mod common;

use common::Bench;
use mediahooks_api::requests::*;
use serde_json::json;

fn value(body: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(body).unwrap()
}

#[tokio::test]
async fn a_token_and_its_change() {
    let bench = Bench::new().await;
    let stream = TokenStream { stream_name: Some("s".into()), is_regex: Some(false) };
    let new = NewPublishToken {
        label: Some("x".into()),
        streams: Some(vec![stream.clone()]),
        expires: Some(60),
        record: Some(true),
        clip: Some(true),
        multisource: Some(false),
        priority: Some(-1),
        allowed_ip_addresses: Some(vec!["10.0.0.0/8".into()]),
        bind_ips_on_usage: None,
    };
    let made = bench.call("POST", "/api/publish_token", value(&new)).await.data();
    for (member, sent) in value(&new).as_object().unwrap().iter().filter(|(member, _)| *member != "expires") {
        assert_eq!(&made[member], sent, "{member}");
    }
    let change = PublishTokenChange {
        label: Some("y".into()),
        is_active: Some(false),
        refresh_token: Some(true),
        add_token_streams: Some(vec![TokenStream { stream_name: Some("t".into()), is_regex: None }]),
        remove_token_streams: Some(vec!["s".into()]),
        expires: Some(None),
        record: Some(false),
        clip: Some(false),
        multisource: Some(true),
        priority: Some(None),
        allowed_ip_addresses: Some(Vec::new()),
        bind_ips_on_usage: Some(3),
    };
    let changed =
        bench.call("PUT", &format!("/api/v2/publish_token/{}", made["id"]), value(&change)).await.data();
    assert_ne!(changed["token"], made["token"]);
    assert_eq!(changed["streams"], json!([{"streamName": "t", "isRegex": false}]));
    for member in [
        "label",
        "isActive",
        "record",
        "clip",
        "multisource",
        "allowedIpAddresses",
        "bindIpsOnUsage",
        "priority",
    ] {
        assert_eq!(changed[member], value(&change)[member], "{member}");
    }
    assert!(changed["expiresOn"].is_null());
    let numbers = TokenNumbers { token_ids: Some(vec![1]) };
    let disabled = bench.call("PATCH", "/api/publish_token/disable", value(&numbers)).await.data();
    assert_eq!(disabled["successfulTokens"], json!([1]));
}

#[tokio::test]
async fn a_webhook_its_change_and_its_test() {
    let bench = Bench::new().await;
    let new = NewWebhook {
        url: Some("https://a.example/".into()),
        is_feed_hooks: Some(true),
        is_media_hooks: Some(true),
        is_storage_hooks: Some(true),
        is_recording_hooks: Some(true),
        is_thumbnail_hooks: Some(true),
        is_transcoder_hooks: Some(true),
        is_viewer_connection_hooks: Some(true),
        filter: Some("cam".into()),
        events: Some(vec!["media.completed".into()]),
        token_ids: Some(vec![3]),
        headers: Some([("x-tenant".to_owned(), "north".to_owned())].into()),
        rate_limit: Some(10),
        include_download: Some(true),
        // See `webhook_members.rs`.
        client_certificate: None,
        client_key: None,
        ca_certificate: None,
    };
    let made = bench.call("POST", "/api/webhooks", value(&new)).await.data();
    for (member, sent) in value(&new).as_object().unwrap() {
        assert_eq!(&made[member], sent, "{member}");
    }
    let change = WebhookChange {
        url: Some("https://b.example/".into()),
        is_feed_hooks: Some(false),
        filter: Some(None),
        events: Some(None),
        token_ids: Some(Some(vec![4])),
        headers: Some(None),
        rate_limit: Some(None),
        include_download: Some(false),
        refresh_secret: Some(true),
        expire_old_secret: Some(true),
        re_enable: Some(true),
        ..WebhookChange::default()
    };
    let changed = bench.call("PUT", "/api/webhooks/1", value(&change)).await.data();
    assert_ne!(changed["secret"], made["secret"]);
    for member in ["url", "isFeedHooks", "filter", "tokenIds", "rateLimit", "includeDownload"] {
        assert_eq!(changed[member], value(&change)[member], "{member}");
    }
    assert_eq!((&changed["events"], &changed["headers"]), (&json!([]), &json!({})));
    let test =
        WebhookTest { stream_name: Some("s".into()), transcoder_name: Some("t".into()), webhook_id: Some(1) };
    bench.call("POST", "/api/webhooks/test/transcoder", value(&test)).await.data();
}

#[tokio::test]
async fn a_clip_and_its_change() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    let time = |name: &str| Some(recording[name].as_str().unwrap().parse().unwrap());
    let clip = NewClip {
        start_time: time("startTime"),
        stop_time: time("stopTime"),
        stream_name: Some("stage/left".into()),
        token_id: Some(1),
        source_id: Some("cam1".into()),
        simulcast_id: Some(None),
        priority: None,
        gaps: Some("collapse".into()),
        cut: Some("keyframe".into()),
        name: Some("n".into()),
        expiration: Some("2100-01-01T00:00:00Z".parse().unwrap()),
        target_format: Some("mp4".into()),
        media_distribution_id: Some("d".into()),
        custom_path: Some("p".into()),
        ..NewClip::default()
    };
    let made = bench.call("POST", "/api/v3/media/assets", value(&clip)).await.data()[0].clone();
    for member in ["name", "expiration", "mediaDistributionId", "customPath"] {
        assert_eq!(made[member], value(&clip)[member], "{member}");
    }
    let change = AssetChange { media_distribution_id: Some("e".into()), custom_path: Some("q".into()) };
    let path = format!("/api/v3/media/assets/{}", made["id"].as_str().unwrap());
    let changed = bench.call("PATCH", &path, value(&change)).await.data();
    assert_eq!((&changed["mediaDistributionId"], &changed["customPath"]), (&json!("e"), &json!("q")));
}

#[tokio::test]
async fn the_account_and_its_streams() {
    let bench = Bench::new().await;
    let rules = ExpirationChange {
        timelines: Some(Rule { days: Some(2) }),
        recordings: Some(Rule::default()),
        clips: Some(Rule { days: Some(3) }),
    };
    let reply = bench.call("PUT", "/api/v3/account/media/expiration", value(&rules)).await.data();
    assert_eq!(reply, value(&rules));
    let secret = NewApiSecret { name: Some("n".into()) };
    bench.call("POST", "/api/v3/account/secrets", value(&secret)).await.data();
    let stop = StreamStop { stream_id: Some("dkxfvY/s".into()) };
    bench.call("POST", "/api/stream/stop", value(&stop)).await.data();
    let reprioritize = Reprioritize { token_id: Some(99), update_priority: Some(1) };
    let message = bench.call("POST", "/api/stream/reprioritize", value(&reprioritize)).await.failed(400);
    assert_eq!(message, "No publish token with id: 99");
}
