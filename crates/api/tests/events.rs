//! Events are read in pages and as a stream, with the ids and bodies that webhooks get.

mod common;

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use common::{Bench, SECRET, request, settled};
use futures::StreamExt as _;
use mediahooks_database::{EventFilter, EventStart, Retention};
use mediahooks_model::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Adds events of the types given; returns their ids, oldest first.
async fn happen(bench: &Bench, types: &[&str]) -> Vec<String> {
    let before = latest(bench).await;
    for kind in types {
        bench.raw("POST", &format!("/api/webhooks/test/{kind}"), "").await.data();
    }
    ids(&bench.get(&format!("/api/events?after={before}")).await.data())
}

async fn latest(bench: &Bench) -> String {
    let page = bench.get("/api/events?after=latest").await.data();
    assert_eq!((&page["data"], &page["pagination"]["hasMore"]), (&json!([]), &json!(false)));
    page["pagination"]["cursor"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Forgets everything that happened so far.
async fn forget(bench: &Bench) {
    let later = Timestamp::EPOCH.plus(Duration::from_secs(9_000_000_000));
    bench.database.prune(later, Retention { history: Duration::ZERO, ..Retention::default() }).await.unwrap();
}

#[tokio::test]
async fn pages_go_on_at_their_cursor_and_tell_what_webhooks_get() {
    let bench = Bench::new().await;
    let webhook = json!({"url": "https://hooks.example.com/in", "isFeedHooks": true, "isMediaHooks": true});
    let webhook = bench.call("POST", "/api/webhooks", webhook).await.data()["id"].clone();
    let happened = happen(&bench, &["media", "feeds", "media", "feeds", "media"]).await;
    let (mut after, mut read) = ("oldest".to_owned(), Vec::new());
    loop {
        let page = bench.get(&format!("/api/events?after={after}&limit=2")).await.data();
        if read.is_empty() {
            let mut event = settled(page["data"][1].clone());
            for time in ["/body/timestamp", "/body/data/started"] {
                *event.pointer_mut(time).unwrap() = "<ms>".into();
            }
            insta::assert_json_snapshot!("events", event);
        }
        read.extend(ids(&page));
        after = page["pagination"]["cursor"].as_str().unwrap().to_owned();
        if page["pagination"]["hasMore"] == false {
            break;
        }
    }
    assert_eq!(read, happened);
    assert_eq!(after, latest(&bench).await);
    let log = bench.get(&format!("/api/webhooks/{webhook}/deliveries")).await.data();
    let told = log["data"].as_array().unwrap().iter().rev().map(|line| line["eventId"].as_str().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), happened);

    // The reply holds the very bytes that are sent and signed.
    let stored =
        bench.database.events(EventStart::Oldest, &EventFilter::default(), 9).await.unwrap().unwrap();
    let reply = bench.get("/api/events").await;
    for event in stored.events {
        let body = format!("\"body\":{}", event.body);
        assert!(std::str::from_utf8(&reply.body).unwrap().contains(&body), "{body}");
    }
}

#[tokio::test]
async fn filters_keep_events_back_and_the_cursor_passes_them() {
    let bench = Bench::new().await;
    let some = happen(&bench, &["media", "feeds", "transcoder"]).await;
    let get = async |query: &str| bench.get(&format!("/api/events?{query}")).await;
    assert_eq!(ids(&get("types=media").await.data()), some[..1]);
    assert_eq!(ids(&get("types=feeds.started,transcoder").await.data()), some[1..]);
    let nothing = get("types=media.errored").await.data();
    assert_eq!(ids(&nothing), [""; 0]);
    assert_eq!(nothing["pagination"]["cursor"], latest(&bench).await);
    let subject = bench.get("/api/events?types=feeds").await.data()["data"][0]["subject"].clone();
    assert_eq!(ids(&get(&format!("feedId={}", subject.as_str().unwrap())).await.data()), some[1..2]);
    assert_eq!(ids(&get("streamName=nobody").await.data()), [""; 0]);

    let webhook = json!({"url": "https://hooks.example.com/in", "isFeedHooks": false, "isMediaHooks": true});
    let webhook = bench.call("POST", "/api/webhooks", webhook).await.data()["id"].clone();
    assert_eq!(ids(&get(&format!("webhookId={webhook}")).await.data()), some[..1]);

    get("webhookId=99").await.failed(400);
    get("webhookId=99&after=latest").await.failed(400);
    for wrong in ["types=movies", "after=soon", "after=-1", "limit=0", "limit=1001", "wait=31", "wait=-1"] {
        assert_eq!(get(wrong).await.failed(400), "Validation errors", "{wrong}");
    }
    assert!(get("after=4711").await.failed(400).contains("never gave such a cursor"));
}

#[tokio::test]
async fn who_waits_is_answered_by_the_next_event() {
    let bench = Bench::new().await;
    let after = latest(&bench).await;
    let path = format!("/api/events?after={after}&types=feeds&wait=30");
    let (answer, happened) = tokio::join!(bench.get(&path), happen(&bench, &["media", "feeds"]));
    assert_eq!(ids(&answer.data()), happened[1..]);
    tokio::time::pause();
    let path = format!("/api/events?after={}&wait=30", latest(&bench).await);
    let began = tokio::time::Instant::now();
    assert_eq!(ids(&bench.get(&path).await.data()), [""; 0]);
    assert!(began.elapsed() >= Duration::from_secs(30));
}

#[tokio::test]
async fn who_was_away_for_longer_than_events_are_kept_is_told() {
    let bench = Bench::new().await;
    happen(&bench, &["media", "media"]).await;
    let seen = latest(&bench).await;
    happen(&bench, &["media"]).await;
    forget(&bench).await;
    let reply = bench.get(&format!("/api/events?after={seen}")).await;
    assert!(reply.failed(410).contains("go on with after="));
    let oldest = reply.json()["data"]["oldest"].as_str().unwrap().to_owned();
    let fresh = happen(&bench, &["feeds"]).await;
    for after in [oldest.as_str(), "oldest"] {
        assert_eq!(ids(&bench.get(&format!("/api/events?after={after}")).await.data()), fresh);
    }
}

/// A stream, message by message.
struct Messages {
    body: BodyDataStream,
    text: String,
}

impl Messages {
    async fn open(bench: &Bench, query: &str, last_seen: Option<&str>) -> Self {
        let request = request("GET", &format!("/api/events/stream{query}"));
        let request = last_seen.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = bench.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The fields of the next message; none at the end.
    async fn next(&mut self) -> Option<Vec<(String, String)>> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let fields = message.lines().map(|line| {
                    let (name, value) = line.split_once(':').unwrap();
                    (name.to_owned(), value.trim_start().to_owned())
                });
                let fields = fields.collect();
                self.text = rest.to_owned();
                return Some(fields);
            }
            self.text.push_str(std::str::from_utf8(&self.body.next().await?.unwrap()).unwrap());
        }
    }

    /// The next message that is an event: its cursor and the event's id.
    async fn event(&mut self) -> (String, String) {
        loop {
            let fields = self.next().await.expect("the stream goes on");
            let field = |name| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone());
            assert_eq!(field("event"), None, "{fields:?}");
            if let Some(data) = field("data") {
                let data: Value = serde_json::from_str(&data).unwrap();
                assert_eq!(Some(data["cursor"].as_str().unwrap()), field("id").as_deref());
                return (field("id").unwrap(), data["id"].as_str().unwrap().to_owned());
            }
        }
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_its_client_was_cut_off() {
    let bench = Bench::new().await;
    let past = happen(&bench, &["media"]).await;
    let mut fresh = Messages::open(&bench, "", None).await;
    let mut whole = Messages::open(&bench, "?after=oldest", None).await;
    let mut feeds = Messages::open(&bench, "?after=oldest&types=feeds", None).await;
    let happened = happen(&bench, &["media", "feeds", "media"]).await;
    assert_eq!(whole.event().await.1, past[0]);
    assert_eq!(feeds.event().await.1, happened[1]);
    let mut cursor = String::new();
    for id in &happened {
        assert_eq!(&fresh.event().await.1, id);
        let (at, event) = whole.event().await;
        assert_eq!(&event, id);
        if id == &happened[0] {
            cursor = at;
        }
    }
    let mut again = Messages::open(&bench, "?after=latest", Some(&cursor)).await;
    assert_eq!([again.event().await.1, again.event().await.1], happened[1..]);
}

#[tokio::test]
async fn a_stream_tells_of_a_gap_and_goes_on() {
    let bench = Bench::new().await;
    happen(&bench, &["media", "media", "media"]).await;
    forget(&bench).await;
    let fresh = happen(&bench, &["feeds"]).await;
    let mut stream = Messages::open(&bench, "", Some("1")).await;
    let hello = stream.next().await.unwrap();
    assert!(hello.contains(&("retry".into(), "1000".into())), "{hello:?}");
    let gap = stream.next().await.unwrap();
    assert!(gap.contains(&("event".into(), "gap".into())), "{gap:?}");
    assert!(gap.contains(&("data".into(), r#"{"after":"1","oldest":"3"}"#.into())), "{gap:?}");
    assert_eq!(stream.event().await.1, fresh[0]);
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives_until_its_secret_is_gone() {
    let bench = Bench::new().await;
    let now = Timestamp::EPOCH.plus(Duration::from_secs(1));
    bench.database.add_api_secret("second".into(), [1; 32], now).await.unwrap();
    let mut stream = Messages::open(&bench, "?types=feeds", None).await;
    stream.next().await.unwrap();
    happen(&bench, &["media"]).await;
    tokio::time::pause();
    let beat = stream.next().await.unwrap();
    assert_eq!(
        beat,
        [("".into(), "".into()), ("id".into(), "1".into())],
        "the cursor passes what is kept back"
    );
    bench.database.remove_api_secret("first".into()).await.unwrap();
    assert_eq!(bench.get("/api/events").await.failed(403), "Unauthorized");
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_server() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(mediahooks_api::serve(listener, bench.router.clone(), shutdown.clone()));
    let waiting = format!(
        "GET /api/events?after=latest&wait=30 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    );
    let mut waiting_client = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut waiting_client, waiting.as_bytes()).await.unwrap();
    let follow = waiting.replace("/api/events?after=latest&wait=30", "/api/events/stream");
    let mut following = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut following, follow.as_bytes()).await.unwrap();
    let mut head = vec![0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut following, &mut head).await.unwrap();
    assert_eq!(head, b"HTTP/1.1 200");

    let mut streams = Vec::new();
    let refused = loop {
        let request = request("GET", "/api/events/stream").body(Body::empty()).unwrap();
        let response = bench.router.clone().oneshot(request).await.unwrap();
        if response.status() != 200 {
            break response.status();
        }
        streams.push(response);
        assert!(streams.len() < 300);
    };
    assert_eq!(refused, 429);
    shutdown.cancel();
    served.await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut following, &mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "it ends as a whole reply");
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut waiting_client, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") || answer.is_empty(), "{answer}");
}

#[tokio::test]
async fn the_room_on_the_disk_is_of_no_stream() {
    let bench = Bench::new().await;
    happen(&bench, &["media", "storage"]).await;
    let events = bench.get("/api/events?types=storage").await.data()["data"].clone();
    assert_eq!(events.as_array().unwrap().len(), 1);
    let event = &events[0];
    assert_eq!(
        (&event["event"], &event["body"]["data"]["action"]),
        (&json!("storage.low"), &json!("freeingTimelines"))
    );
    assert!(event.get("streamName").is_none(), "{event}");
    assert_eq!(
        bench.get("/api/events?streamName=test-stream").await.data()["data"].as_array().unwrap().len(),
        1
    );

    let body = json!({"url": "https://a.example/", "isFeedHooks": false, "events": ["storage.low"]});
    let message = bench.call("POST", "/api/webhooks", body.clone()).await;
    assert!(message.json().to_string().contains("isStorageHooks"), "{}", message.json());
    let mut body = body;
    body["isStorageHooks"] = true.into();
    let webhook = bench.call("POST", "/api/webhooks", body).await.data();
    assert_eq!((&webhook["isStorageHooks"], &webhook["events"]), (&json!(true), &json!(["storage.low"])));
    let id = &webhook["id"];
    happen(&bench, &["storage", "media"]).await;
    let owed = bench.get(&format!("/api/webhooks/{id}/deliveries")).await.data();
    assert_eq!(owed["data"].as_array().unwrap().len(), 1, "{owed}");
}
