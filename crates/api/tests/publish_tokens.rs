//! Publish tokens are made, shown, changed, listed, disabled and removed.

mod common;

use common::{Bench, settled};
use serde_json::{Value, json};

async fn token(bench: &Bench, label: &str, stream: &str) -> Value {
    let body = json!({"label": label, "streams": [{"streamName": stream}]});
    bench.call("POST", "/api/publish_token", body).await.data()
}

#[tokio::test]
async fn a_token_is_shown_with_every_member() {
    let bench = Bench::new().await;
    let plain = token(&bench, "plain", "stage").await;
    insta::assert_json_snapshot!("plain_token", settled(plain.clone()));
    assert_eq!(bench.get(&format!("/api/publish_token/{}", plain["id"])).await.data(), plain);
    let body = json!({
        "label": "full", "streams": [{"streamName": "cam.+", "isRegex": true}, "second"],
        "record": true, "clip": true, "expires": 3600, "allowedIpAddresses": ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"],
        "multisource": false, "priority": -3, "allowedOrigins": ["*.demo.com"], "subscribeRequiresAuth": true,
        "enableThumbnails": null, "geoCascade": {"isEnabled": false, "clusters": []}, "originCluster": "auto",
        "restream": {"label": "x", "url": "rtmp://x/", "key": "12345"}, "isClipHooks": true,
    });
    let full = bench.call("POST", "/api/publish_token", body).await.data();
    insta::assert_json_snapshot!("full_token", settled(full));
}

#[tokio::test]
async fn what_is_wrong_is_listed_by_member() {
    let bench = Bench::new().await;
    let body = json!({
        "label": "", "streams": [{"streamName": "(", "isRegex": true}], "expires": 0, "record": "maybe",
        "allowedIpAddresses": ["10.0.0.0/8"], "bindIpsOnUsage": 2, "priority": 2_147_483_648_i64,
    });
    let reply = bench.call("POST", "/api/publish_token", body).await;
    reply.failed(400);
    insta::assert_json_snapshot!(reply.json());
    let reply = bench.call("POST", "/api/publish_token", json!({})).await;
    assert_eq!(
        reply.json()["data"]["errors"],
        json!({"Label": ["The Label field is required."], "Streams": ["The Streams field is required."]})
    );
}

#[tokio::test]
async fn both_versions_of_the_update() {
    let bench = Bench::new().await;
    let made = token(&bench, "one", "stage").await;
    let (v1, v2) =
        (format!("/api/publish_token/{}", made["id"]), format!("/api/v2/publish_token/{}", made["id"]));
    let reply = bench
        .call("PUT", &v1, json!({"updateAllowedIpAddresses": ["10.0.0.1"], "label": "two"}))
        .await
        .data();
    assert_eq!((&reply["name"], &reply["allowedIpAddresses"]), (&json!("two"), &json!(["10.0.0.1"])));
    let reply = bench
        .call("PUT", &v2, json!({"allowedIpAddresses": [], "bindIpsOnUsage": 4, "priority": 7}))
        .await
        .data();
    assert_eq!(reply.get("name"), None);
    assert_eq!((&reply["bindIpsOnUsage"], &reply["priority"]), (&json!(4), &json!(7)));
    let reply = bench.call("PUT", &v1, json!({"updateBindIpsOnUsage": 0, "priority": null})).await.data();
    assert_eq!((&reply["bindIpsOnUsage"], &reply["priority"]), (&Value::Null, &Value::Null));
    let reply =
        bench.call("PUT", &v2, json!({"refreshToken": true, "expires": 60, "record": true})).await.data();
    assert_ne!(reply["token"], made["token"]);
    assert!(reply["expiresOn"].is_string() && reply["record"] == true);
    let body = json!({"addTokenStreams": ["b", {"streamName": "c"}], "removeTokenStreams": [{"streamName": "stage", "isRegex": false}]});
    let reply = bench.call("PUT", &v2, body).await.data();
    assert_eq!(
        reply["streams"],
        json!([{"streamName": "b", "isRegex": false}, {"streamName": "c", "isRegex": false}])
    );
    let reply = bench.call("PUT", &v2, json!({"removeTokenStreams": ["b", "c"]})).await;
    assert_eq!(reply.json()["data"]["errors"]["Streams"][0], "A token needs at least one stream.");
    for body in [json!({}), json!({"unknown": 1})] {
        let reply = bench.call("PUT", &v2, body).await;
        let text = "No properties specified to update.";
        assert_eq!(reply.json(), json!({"status": "fail", "data": {"token": text, "message": text}}));
    }
}

#[tokio::test]
async fn a_token_that_is_not_there() {
    let bench = Bench::new().await;
    let text = "No publish token with id: 99";
    let expected = json!({"status": "fail", "data": {"tokenId": text, "message": text}});
    for (method, path) in [
        ("GET", "/api/publish_token/99"),
        ("PUT", "/api/publish_token/99"),
        ("PUT", "/api/v2/publish_token/99"),
        ("DELETE", "/api/publish_token/99"),
    ] {
        let reply = bench.call(method, path, json!({"label": "x"})).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (400, expected.clone()), "{method} {path}");
    }
    for id in ["x", "1.5", "99999999999999999999", "%20", "-"] {
        bench.get(&format!("/api/publish_token/{id}")).await.failed(400);
    }
}

#[tokio::test]
async fn lists_and_their_documented_errors() {
    let bench = Bench::new().await;
    for (label, stream) in [("b", "two"), ("a", "one"), ("c", "a")] {
        token(&bench, label, stream).await;
    }
    let labels = async |path: &str| {
        let data = bench.get(path).await.data();
        data.as_array()
            .unwrap()
            .iter()
            .map(|token| token["label"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(labels("/api/publish_token/list?page=1&itemsOnPage=10").await, "abc");
    assert_eq!(labels("/api/publish_token/list?page=1&itemsOnPage=10&isDescending=True").await, "cba");
    assert_eq!(labels("/api/publish_token/list?page=1&itemsOnPage=10&sortBy=addedon").await, "bac");
    assert_eq!(labels("/api/publish_token/list?page=2&itemsOnPage=2").await, "c");
    assert_eq!(labels("/api/publish_token/list?page=9&itemsOnPage=2").await, "");
    let named = "/api/publish_token/list_by_name?page=1&itemsOnPage=10&name=a";
    assert_eq!(labels(named).await, "ac");
    assert_eq!(labels(&format!("{named}&filterBy=TokenName")).await, "a");
    assert_eq!(labels(&format!("{named}&filterBy=streamname")).await, "c");

    let reply = bench.get("/api/publish_token/list").await.json();
    insta::assert_json_snapshot!("list_without_page", reply);
    let reply =
        bench.get("/api/publish_token/list_by_name?page=0&itemsOnPage=101&filterBy=Unknown").await.json();
    insta::assert_json_snapshot!("list_by_name_errors", reply);
}

#[tokio::test]
async fn disabling_and_deleting() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("live", &[]).await;
    publisher.send(1).await;
    let id = publisher.token;
    assert_eq!(
        bench.get("/api/publish_token/active?streamId=dkxfvY/live").await.data(),
        json!({"tokenIds": [id]})
    );
    assert_eq!(
        bench.get("/api/publish_token/active?streamId=dkxfvY/other").await.data(),
        json!({"tokenIds": []})
    );
    assert_eq!(bench.get("/api/publish_token/active/all").await.data(), json!({"tokenIds": [id]}));
    bench.get("/api/publish_token/active?streamId=other/live").await.failed(400);
    bench.get("/api/publish_token/active").await.failed(400);

    let reply = bench.call("PATCH", "/api/publish_token/disable", json!({"tokenIds": [id, 99]})).await.data();
    assert_eq!(
        reply,
        json!({"successfulTokens": [id], "failedTokens": [{"tokenId": 99, "errorMessage": "No publish token with id: 99"}]})
    );
    assert_eq!(bench.get(&format!("/api/publish_token/{id}")).await.data()["isActive"], false);
    assert_eq!(bench.recorder.live_feeds().len(), 1, "what is live goes on");
    bench.call("PATCH", "/api/publish_token/disable", json!({"tokenIds": []})).await.failed(400);

    assert_eq!(bench.raw("DELETE", &format!("/api/publish_token/{id}"), "").await.data(), true);
    let ended = publisher.sink.stopped().await;
    assert!(ended.message.contains("deleted"), "{ended}");
    bench.get(&format!("/api/publish_token/{id}")).await.failed(400);
    publisher.finish().await;
}
