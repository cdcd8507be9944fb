//! Clips are asked for; assets are listed, shown, changed and removed.

mod common;

use common::{Bench, request, settled};
use serde_json::{Value, json};

const ASSETS: &str = "/api/v3/media/assets";

/// A clip of the middle of the first timeline.
async fn clip_body(bench: &Bench, more: Value) -> Value {
    let timeline = bench.get(&format!("{ASSETS}?type=timeline")).await.data()[0].clone();
    let start: mediahooks_model::Timestamp = timeline["startTime"].as_str().unwrap().parse().unwrap();
    let mut body = json!({
        "streamName": timeline["feed"]["streamName"],
        "startTime": start.plus_micros(500_000),
        "stopTime": start.plus_micros(2_500_000),
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_recording_is_shown_with_every_member() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    insta::assert_json_snapshot!("recording", settled(recording.clone()));
    let read = bench.get(&format!("{ASSETS}/{}", recording["id"].as_str().unwrap())).await.data();
    insta::assert_json_snapshot!("recording_read", settled(read));
    let timelines = bench.get(&format!("{ASSETS}?type=Timeline")).await.data();
    assert_eq!(timelines[0]["download"], Value::Null, "a timeline has no file");
}

#[tokio::test]
async fn a_clip_comes_in_an_array_without_a_link() {
    let bench = Bench::new().await;
    bench.recording().await;
    let body =
        clip_body(&bench, json!({"name": "goal 1", "expiration": "2100-01-01T00:00:00Z", "unknown": {}}))
            .await;
    let reply = bench.call("POST", ASSETS, body).await.data();
    insta::assert_json_snapshot!("clip", settled(reply));
}

#[tokio::test]
async fn a_repeated_key_makes_no_second_clip() {
    let bench = Bench::new().await;
    bench.recording().await;
    let body = clip_body(&bench, json!({})).await;
    let send = async |key: &str, body: &Value| {
        let request = request("POST", ASSETS).header("idempotency-key", key).body(body.to_string().into());
        bench.send(request.unwrap()).await
    };
    let first = send("stage-1", &body).await.data();
    assert_eq!(send("stage-1", &body).await.data(), first);
    let mut other = body.clone();
    other["name"] = json!("other");
    assert!(send("stage-1", &other).await.failed(400).contains("Idempotency-Key"));
    assert_ne!(send("stage-2", &body).await.data()[0]["id"], first[0]["id"]);
    for key in ["", "  ", &"k".repeat(256)] {
        send(key, &body).await.failed(400);
    }
    send(&"k".repeat(255), &body).await.data();
}

#[tokio::test]
async fn what_is_wrong_with_a_clip_is_said() {
    let bench = Bench::new().await;
    bench.recording().await;
    let name = async |name: &str| {
        let body = clip_body(&bench, json!({"name": name})).await;
        bench.call("POST", ASSETS, body).await.json()
    };
    assert_eq!(
        name("a:b").await,
        json!({"status": "fail", "data": {
            "errors": {"Name": ["Name may not contain character(s) (:)"]}, "message": "Validation errors"}})
    );
    assert_eq!(
        name("a?b/c?\n").await["data"]["errors"]["Name"][0],
        "Name may not contain character(s) (?, /, \\n)"
    );
    let reply = bench.call("POST", ASSETS, json!({})).await;
    insta::assert_json_snapshot!("empty_clip", reply.json());
    // What is wrong is told, and nothing else.
    for (body, errors) in [
        (
            json!({"streamName": "stage", "last": "5s"}),
            json!({"Last": ["The value is not valid for Last: expected a number."]}),
        ),
        (
            json!({"streamName": "stage", "last": 5, "gap": "hold", "colour": "red"}),
            json!({"Gaps": ["There is no member gap; write gaps, or leave it out."]}),
        ),
    ] {
        assert_eq!(bench.call("POST", ASSETS, body).await.json()["data"]["errors"], errors);
    }

    let nothing = json!({"streamName": "nobody", "startTime": "2024-01-01T00:00:00Z", "stopTime": "2024-01-01T00:01:00Z"});
    let reply = bench.call("POST", ASSETS, nothing).await;
    assert_eq!(
        reply.failed(400),
        "No timelines found matching clipping requirements. Ensure clipping is enabled on token and Timeline(s) \
         with specified conditions exist."
    );
    assert_eq!(
        reply.json()["data"]["reason"],
        "nothing is kept of a stream `nobody`, and nobody publishes it: look at the name"
    );
    for (more, member) in [
        (json!({"stopTime": "2001-01-01T00:00:00Z"}), "StopTime"),
        (json!({"startTime": "2001-01-01T00:00:00Z"}), "StopTime"),
        (json!({"startTime": "2999-01-01T00:00:00Z"}), "StartTime"),
        (json!({"startTime": "yesterday"}), "StartTime"),
        (json!({"startTime": 5}), "StartTime"),
        (json!({"expiration": "2001-01-01T00:00:00Z"}), "Expiration"),
        (json!({"streamName": ""}), "StreamName"),
        (json!({"name": "x".repeat(257)}), "Name"),
        (json!({"customPath": ""}), "CustomPath"),
        (json!({"priority": "high"}), "Priority"),
        (json!({"tokenId": 1.5}), "TokenId"),
        (json!({"targetFormat": "avi"}), "TargetFormat"),
    ] {
        let reply = bench.call("POST", ASSETS, clip_body(&bench, more.clone()).await).await;
        reply.failed(400);
        assert!(reply.json()["data"]["errors"][member].is_array(), "{more}: {}", reply.json());
    }
    for more in [
        json!({"storage": {"profileId": "x"}}),
        json!({"storage": {"type": "AwsS3"}}),
        json!({"channelId": "x"}),
    ] {
        let message = bench.call("POST", ASSETS, clip_body(&bench, more.clone()).await).await.failed(400);
        assert!(message.contains("not available"), "{more}: {message}");
    }
    for more in
        [json!({"targetFormat": "MP4"}), json!({"storage": {}}), json!({"storage": {"type": "DolbyStorage"}})]
    {
        bench.call("POST", ASSETS, clip_body(&bench, more).await).await.data();
    }
}

#[tokio::test]
async fn simulcast_ids_have_three_states() {
    let bench = Bench::new().await;
    bench.recording().await;
    for (id, found) in [(json!(null), true), (json!(""), false), (json!("high"), false)] {
        let reply = bench.call("POST", ASSETS, clip_body(&bench, json!({"simulcastId": id})).await).await;
        assert_eq!(reply.status.is_success(), found, "{id}");
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    let token = recording["feed"]["tokenId"].clone();
    for name in ["b", "a"] {
        let body = clip_body(&bench, json!({"name": name})).await;
        bench.call("POST", ASSETS, body).await.data();
    }
    let count =
        async |query: &str| bench.get(&format!("{ASSETS}?{query}")).await.data().as_array().unwrap().len();
    assert_eq!(count("").await, 3);
    assert_eq!(count("type=clip").await, 2);
    assert_eq!(count("type=clip&type=recording").await, 3);
    assert_eq!(count("type=clip,Recording,timeline").await, 4);
    assert_eq!(count("status=errored").await, 0);
    assert_eq!(count("status=Complete,error").await, 3);
    assert_eq!(count("status=processing").await, 0);
    assert_eq!(count("status=deleted").await, 0);
    assert_eq!(count("name=a").await, 1);
    assert_eq!(count("streamName=stage/left").await, 3);
    assert_eq!(count("streamName=stage%2Fleft&sourceId=cam1").await, 3);
    assert_eq!(count("sourceId=cam2").await, 0);
    assert_eq!(count("simulcastId").await, 0);
    assert_eq!(count("simulcastId=").await, 0);
    assert_eq!(count(&format!("tokenId={token}")).await, 3);
    assert_eq!(count("tokenId=999").await, 0);
    assert_eq!(count("priority=1").await, 0);
    assert_eq!(count("limit=2").await, 2);
    assert_eq!(count("limit=2&page=2").await, 1);
    assert_eq!(count("page=2147483647&limit=100").await, 0);
    for sort in ["startTime", "stopTime", "endTime", "streamName", "tokenId", "created", "CREATED"] {
        assert_eq!(count(&format!("sort={sort}&desc=true")).await, 3, "{sort}");
    }
    let newest = bench.get(&format!("{ASSETS}?sort=created&desc=True&limit=1")).await.data();
    assert_eq!(newest[0]["name"], "a");
    for query in [
        "limit=0",
        "limit=101",
        "page=0",
        "page=x",
        "type=film",
        "status=ready",
        "sort=size",
        "desc=maybe",
        "tokenId=x",
    ] {
        let reply = bench.get(&format!("{ASSETS}?{query}")).await;
        reply.failed(400);
        let name = query.split('=').next().unwrap();
        assert!(reply.json()["data"]["errors"][name].is_array(), "{}", reply.json());
    }
}

#[tokio::test]
async fn the_clips_of_a_request_are_listed_also_when_they_failed() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await;
    publisher.send(80).await;
    let body = json!({"streamName": "stage", "last": 2, "next": 600, "gaps": "refuse"});
    let clip = bench.call("POST", ASSETS, body).await.data()[0].clone();
    let list = format!("{ASSETS}?requestId={}", clip["requestId"].as_str().unwrap());
    assert_eq!(bench.get(&list).await.data()[0]["status"], "processing");
    // A reconnect is a gap, where the second publisher has not all of the range.
    publisher.finish().await;
    let mut publisher = bench.publish("stage", &[]).await;
    publisher.send(20).await;
    let one = format!("{ASSETS}/{}", clip["id"].as_str().unwrap());
    let failed = async {
        while bench.get(&one).await.data()["status"] == "processing" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), failed).await.expect("it fails");
    let listed = bench.get(&list).await.data();
    assert_eq!((&listed[0]["id"], &listed[0]["status"]), (&clip["id"], &json!("error")));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(bench.get(&format!("{list}&status=complete")).await.data(), json!([]));
    assert_eq!(bench.get(&format!("{ASSETS}?type=clip")).await.data(), json!([]), "unless it is asked for");
    publisher.finish().await;
}

#[tokio::test]
async fn where_an_asset_is_published_can_be_changed() {
    let bench = Bench::new().await;
    let id = bench.recording().await["id"].as_str().unwrap().to_owned();
    let path = format!("{ASSETS}/{id}");
    let changed =
        bench.call("PATCH", &path, json!({"customPath": "shows/1", "mediaDistributionId": "d"})).await.data();
    assert_eq!((&changed["customPath"], &changed["mediaDistributionId"]), (&json!("shows/1"), &json!("d")));
    assert!(changed["download"]["downloadUrl"].is_string());
    let body = clip_body(&bench, json!({"customPath": "shows/1"})).await;
    assert!(bench.call("POST", ASSETS, body).await.failed(400).contains("customPath"));
    bench.call("PATCH", &path, json!({"customPath": "x".repeat(513)})).await.failed(400);
    bench.call("PATCH", &format!("{ASSETS}/{}", "0".repeat(32)), json!({})).await.failed(400);
}

#[tokio::test]
async fn many_are_removed_and_the_rest_is_reported() {
    let bench = Bench::new().await;
    let id = bench.recording().await["id"].as_str().unwrap().to_owned();
    let unknown = "0".repeat(32);
    let reply =
        bench.raw("DELETE", &format!("{ASSETS}?id={id}&id={unknown}&id={id},nonsense"), "").await.data();
    insta::assert_json_snapshot!("deleted", settled(reply));
    let read = bench.get(&format!("{ASSETS}/{id}")).await.data();
    assert_eq!(read["status"], "deleting");
    assert!(read["removed"].is_string() && read["download"].is_null());
    assert_eq!(bench.get(ASSETS).await.data(), json!([]));
    let again = bench.raw("DELETE", &format!("{ASSETS}?id={id}"), "").await.data();
    assert_eq!(again["itemsDeleted"], 0);
    bench.raw("DELETE", ASSETS, "").await.failed(400);
    let many: Vec<String> = (0..101).map(|n| format!("{n:032x}")).collect();
    bench.raw("DELETE", &format!("{ASSETS}?id={}", many.join(",")), "").await.failed(400);
    let message = bench.get(&format!("{ASSETS}/nonsense")).await.failed(400);
    assert_eq!(message, "No media asset with id: nonsense");
}

#[tokio::test]
async fn all_of_a_type_are_removed() {
    let bench = Bench::new().await;
    bench.recording().await;
    let all = async |asset_type: &str| bench.raw("DELETE", &format!("{ASSETS}/all/{asset_type}"), "").await;
    assert_eq!(all("clip").await.data(), json!({"itemsDeleted": 0, "errors": null}));
    assert_eq!(all("vod").await.data()["itemsDeleted"], 0);
    assert_eq!(all("Recording").await.data(), json!({"itemsDeleted": 1, "errors": null}));
    all("film").await.failed(400);
}
