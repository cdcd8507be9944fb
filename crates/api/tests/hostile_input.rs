//! Whatever is sent: a fail envelope with a reason, never a fault.

mod common;

use axum::body::Body;
use common::{Bench, Reply, request};
use proptest::prelude::*;

const ROUTES: [(&str, &str); 18] = [
    ("POST", "/api/publish_token"),
    ("GET", "/api/publish_token/list"),
    ("GET", "/api/publish_token/list_by_name"),
    ("GET", "/api/publish_token/active"),
    ("PATCH", "/api/publish_token/disable"),
    ("PUT", "/api/publish_token/1"),
    ("PUT", "/api/v2/publish_token/1"),
    ("POST", "/api/webhooks"),
    ("GET", "/api/webhooks/list"),
    ("PUT", "/api/webhooks/1"),
    ("GET", "/api/webhooks/1/deliveries"),
    ("POST", "/api/webhooks/test/media"),
    ("POST", "/api/v3/media/assets"),
    ("GET", "/api/v3/media/assets"),
    ("DELETE", "/api/v3/media/assets"),
    ("PUT", "/api/v3/account/media/expiration"),
    ("POST", "/api/stream/stop"),
    ("POST", "/api/stream/reprioritize"),
];

/// A bench on which token 1 and webhook 1 exist.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.raw("POST", "/api/publish_token", r#"{"label": "x", "streams": ["s"]}"#).await.data();
    bench.raw("POST", "/api/webhooks", r#"{"url": "https://a.example/", "isFeedHooks": true}"#).await.data();
    bench
}

fn is_documented(reply: &Reply) -> bool {
    match reply.status.as_u16() {
        200 => reply.json()["status"] == "success",
        400..=499 => !reply.failed(reply.status.as_u16()).is_empty(),
        _ => false,
    }
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let bench = bench().await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 12] = [
        b"{",
        b"[]",
        b"5",
        b"\"x\"",
        b"{\"label\": \xff\xfe}",
        b"\xff",
        b"{\"a\":1}{",
        b"{'a':1}",
        b"\0",
        b"true",
        deep.as_bytes(),
        b"{\"label\":\"\\ud800\"}",
    ];
    for (method, path) in ROUTES.iter().filter(|(method, _)| matches!(*method, "POST" | "PUT" | "PATCH")) {
        for body in bodies {
            let reply = bench.raw(method, path, body.to_vec()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert!(!reply.failed(400).is_empty(), "{method} {path} {shown}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let bench = bench().await;
    let large = format!("{{\"label\": \"{}\"}}", "x".repeat(10 << 20));
    bench.raw("POST", "/api/publish_token", large.clone()).await.failed(413);
    // Without a length, as a chunked body comes.
    let pieces =
        futures::stream::iter(large.into_bytes().chunks(65_536).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let body = Body::from_stream(futures::StreamExt::map(pieces, Ok::<_, std::io::Error>));
    bench.raw("POST", "/api/publish_token", body).await.failed(413);
    let cut = futures::stream::iter([Ok("{\"label\""), Err(std::io::Error::other("gone"))]);
    bench.raw("POST", "/api/publish_token", Body::from_stream(cut)).await.failed(400);
}

#[tokio::test]
async fn paths_and_queries_that_are_not_what_they_should_be() {
    let bench = bench().await;
    for path in [
        "//",
        "/api//publish_token/1",
        "/api/publish_token/..%2f..%2fetc%2fpasswd",
        "/api/publish_token/%ff",
        "/api/publish_token/%00",
        "/api/publish_token/%",
        "/api/publish_token/-9223372036854775808",
        "/api/v3/media/assets/%ff",
        "/api/v3/media/assets/..%2f..",
        "/api/v3/media/assets?type=%ff",
        "/api/v3/media/assets?%",
        "/api/v3/media/assets?page=9223372036854775807&limit=100",
        "/api/v3/media/assets?tokenId=9223372036854775808",
        "/api/webhooks/list?startingId=-9223372036854775808",
        "/api/v3/media/assets?&&&=&==&a",
        "/download/%ff/%ff?expires=1&signature=00",
        "/download/x/y?expires=-9223372036854775808&signature=%00",
        "/download/../../etc/passwd",
    ] {
        let reply = bench.get(path).await;
        assert!(is_documented(&reply), "{path}: {} {:?}", reply.status, reply.body);
    }
    let reply = bench.send(request("OPTIONS", "*").body(Body::empty()).unwrap()).await;
    assert!(is_documented(&reply), "{:?}", reply.body);
    let value = http::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let odd = request("POST", "/api/v3/media/assets").header("idempotency-key", value);
    let body = r#"{"streamName": "s", "startTime": "2024-01-01T00:00:00Z"}"#;
    bench.send(odd.body(body.into()).unwrap()).await.failed(400);
}

/// JSON that looks like what is expected, and does not.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let members = proptest::sample::select(vec![
        "label",
        "streams",
        "streamName",
        "isRegex",
        "record",
        "expires",
        "priority",
        "tokenIds",
        "url",
        "filter",
        "isFeedHooks",
        "isMediaHooks",
        "startTime",
        "stopTime",
        "simulcastId",
        "expiration",
        "name",
        "storage",
        "targetFormat",
        "customPath",
        "timelines",
        "clips",
        "days",
        "streamId",
        "tokenId",
        "updatePriority",
        "webhookId",
        "allowedIpAddresses",
        "bindIpsOnUsage",
        "restream",
        "addTokenStreams",
        "removeTokenStreams",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
        proptest::sample::select(vec![
            "2024-01-01T00:00:00Z",
            "+009999-12-31T23:59:59Z",
            "dkxfvY/x",
            "10.0.0.0/8",
            "https://a.b/"
        ])
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((members.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

#[test]
fn nothing_that_is_sent_is_a_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(bench());
    let parameters =
        "(page|limit|type|status|sort|simulcastId|id|before|startingId|name|streamId|filterBy|itemsOnPage)";
    let query = format!("({parameters}=[ -~&&[^# <>\"]]{{0,12}}&?){{0,4}}");
    let segment = "[ -~&&[^#? <>\"{}|`^\\\\]]{0,20}";
    let config = ProptestConfig::with_cases(400);
    proptest!(config, |(
        route in proptest::sample::select(ROUTES.to_vec()), body in any_json(), query in query.as_str(), segment in segment,
        raw in proptest::collection::vec(any::<u8>(), 0..40), strange in any::<bool>(),
    )| {
        let (method, path) = route;
        let path = if strange { format!("{path}/{segment}?{query}") } else { format!("{path}?{query}") };
        let body = if strange { raw } else { body.to_string().into_bytes() };
        if let Ok(request) = request(method, &path).body(Body::from(body)) {
            let reply = runtime.block_on(bench.send(request));
            prop_assert!(is_documented(&reply), "{} {}: {} {:?}", method, path, reply.status, reply.body);
        }
    });
}
