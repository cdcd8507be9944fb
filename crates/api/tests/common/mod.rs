//! The whole API over a database, a storage and a recorder in a temporary directory.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod document;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use mediahooks_api::{ApiConfig, router};
use mediahooks_database::{Database, Options};
use mediahooks_delivery::TargetPolicy;
use mediahooks_ingest::gate::{FeedInput, FeedSink, Protocol, PublishEnd, PublishRequest};
use mediahooks_ingest::target::PublishTarget;
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::{Limits, Timestamp};
use mediahooks_recorder::{Clock, Recorder, RecorderSettings, SystemClock};
use mediahooks_storage::DiskStorage;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

pub const SECRET: &str = "an-api-secret-of-the-tests";

pub struct Bench {
    pub directory: tempfile::TempDir,
    pub database: Database,
    pub recorder: Recorder,
    pub router: Router,
    time: Option<Arc<PublishersTime>>,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The `data` of a success.
    pub fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["status"]), (StatusCode::OK, &"success".into()), "{json}");
        json["data"].clone()
    }

    /// `data.message` of a fail envelope with this status.
    pub fn failed(&self, status: u16) -> String {
        let json = self.json();
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(json["status"], "fail", "{json}");
        json["data"]["message"].as_str().unwrap_or_else(|| panic!("no message: {json}")).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::on(Arc::new(SystemClock::default()), change).await
    }

    /// With a recorder whose time passes as its publisher sends, a picture every 40 ms: media is stored as it comes, and
    /// not because its publisher was silent for a while.
    pub async fn in_its_publishers_time() -> Self {
        let time =
            Arc::new(PublishersTime { begun: SystemClock::default().wall(), passed_us: AtomicI64::new(0) });
        Self { time: Some(Arc::clone(&time)), ..Self::on(time, |_| {}).await }
    }

    async fn on(clock: Arc<dyn Clock>, change: impl FnOnce(&mut ApiConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("mediahooks.db"), Options::default()).unwrap();
        let storage = DiskStorage::open(directory.path().join("media")).unwrap();
        let now = Timestamp::EPOCH.plus(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap());
        let account = database.account_or_create("dkxfvY".parse().unwrap(), now).await.unwrap();
        database.add_api_secret("first".into(), Sha256::digest(SECRET).into(), now).await.unwrap();
        let mut config = ApiConfig {
            public_url: Some("https://media.example.com/".parse().unwrap()),
            account: account.clone(),
            limits: Limits::default(),
            target_policy: TargetPolicy::default(),
            secret_grace: Duration::from_secs(24 * 3600),
            storage_check: Arc::new(|| Box::pin(async { Ok(()) })),
            download_key: [7; 32],
            metrics: Arc::new(|| "mediahooks_up 1\n".to_owned()),
            metrics_open: false,
        };
        change(&mut config);
        let settings = RecorderSettings { clock, ..config.limits.into() };
        let recorder = Recorder::open(database.clone(), storage, settings).await.unwrap();
        let router = router(database.clone(), recorder.clone(), config);
        Self { directory, database, recorder, router, time: None }
    }

    /// The answer; what is JSON of it is as the OpenAPI document says.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.headers.get("content-type").is_some_and(|kind| kind == "application/json") {
            let json = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
            document::check(&method, &path, parts.status, &json);
        }
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// With the API secret.
    pub async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        self.send(request(method, path).body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.raw("GET", path, Body::empty()).await
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.raw(method, path, body.to_string()).await
    }

    /// Makes a token that allows every stream, and publishes `pictures` pictures with it.
    pub async fn publish(&self, stream: &str, params: &[(&str, &str)]) -> Publisher {
        let body = serde_json::json!({
            "label": "publisher", "record": true, "clip": true, "streams": [{"streamName": ".+", "isRegex": true}],
        });
        let token = self.call("POST", "/api/publish_token", body).await.data();
        let request = PublishRequest {
            protocol: Protocol::Rtmp,
            target: PublishTarget {
                stream_name: stream.into(),
                token_hex: Some(token["token"].as_str().unwrap().into()),
                params: params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            },
            remote: "127.0.0.1:5000".parse().unwrap(),
            encoder: None,
        };
        let sink = self.recorder.gate().open(request).await.unwrap();
        let time = self.time.clone();
        Publisher { sink, token: token["id"].as_i64().unwrap(), pictures: 0, group: 25, time }
    }

    /// A complete recording, as REST shows it.
    pub async fn recording(&self) -> Value {
        let mut publisher = self.publish("stage/left", &[("sourceId", "cam1")]).await;
        publisher.send(80).await;
        publisher.finish().await;
        self.get("/api/v3/media/assets?type=recording").await.data()[0].clone()
    }
}

/// A clock that a publisher moves.
#[derive(Debug)]
struct PublishersTime {
    begun: Timestamp,
    passed_us: AtomicI64,
}

impl Clock for PublishersTime {
    fn wall(&self) -> Timestamp {
        self.begun.plus(self.steady())
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(self.passed_us.load(Ordering::Relaxed).unsigned_abs())
    }
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {SECRET}"))
}

pub struct Publisher {
    pub sink: Box<dyn FeedSink>,
    pub token: i64,
    pictures: i64,
    /// Pictures from one sync sample to the next.
    pub group: i64,
    time: Option<Arc<PublishersTime>>,
}

impl Publisher {
    /// Sends `count` pictures of 40 ms, one of [`Publisher::group`] a sync sample, as fast as they are taken.
    pub async fn send(&mut self, count: i64) {
        self.send_large(count, 0).await;
    }

    /// As [`Publisher::send`], each picture of at least `bytes`, which differ.
    pub async fn send_large(&mut self, count: i64, bytes: usize) {
        if self.pictures == 0 {
            let avcc = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";
            let codec = CodecConfig::h264(hex::decode(avcc).unwrap().into()).unwrap();
            let track = TrackConfig::new(90_000, codec);
            self.sink.push(&mut vec![FeedInput::Config(track)]).unwrap();
        }
        for _ in 0..count {
            let mut data = format!("<picture {}>", self.pictures);
            while data.len() < bytes {
                data.push_str(&format!("{} of picture {};", data.len(), self.pictures));
            }
            let sample = Sample {
                dts: Ticks(self.pictures * 3600),
                cts_offset: 0,
                is_sync: self.pictures % self.group == 0,
                data: data.into(),
            };
            if let Some(time) = &self.time {
                time.passed_us.store(self.pictures * 40_000, Ordering::Relaxed);
            }
            self.sink.push(&mut vec![FeedInput::Sample { kind: TrackKind::Video, sample }]).unwrap();
            self.sink.ready().await;
            self.pictures += 1;
        }
    }

    pub async fn finish(self) {
        self.sink.finish(PublishEnd::Unpublished).await;
    }
}

/// Replaces what differs from run to run, for golden replies.
pub fn settled(mut value: Value) -> Value {
    let patterns = [
        (r"[0-9a-f]{64}", "<64 hex digits>"),
        (r"evt_[0-9a-f]{32}", "<event id>"),
        (r"[0-9a-f]{32}", "<32 hex digits>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"expires=\d+", "expires=<seconds>"),
        (r"^[A-Za-z0-9+/]{43}=$", "<base64 of 32 bytes>"),
    ];
    for (pattern, shown) in patterns {
        replace(&mut value, &regex::Regex::new(pattern).unwrap(), shown);
    }
    value
}

fn replace(value: &mut Value, pattern: &regex::Regex, shown: &str) {
    match value {
        Value::String(text) => *text = pattern.replace_all(text, shown).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, pattern, shown)),
        Value::Object(members) => members.values_mut().for_each(|item| replace(item, pattern, shown)),
        _ => {}
    }
}
