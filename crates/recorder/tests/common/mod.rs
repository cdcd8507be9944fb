//! A recorder over a temporary directory, and a publisher that needs no network.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod ffmpeg;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_database::{Asset, AssetQuery, Database, Options};
use mediahooks_ingest::gate::{FeedInput, FeedSink, Protocol, PublishEnd, PublishRefused, PublishRequest};
use mediahooks_ingest::target::PublishTarget;
use mediahooks_media::codec::CodecConfig;
use mediahooks_media::colour::{ColourInfo, ContentLight};
use mediahooks_media::sample::{Sample, Ticks, TrackConfig, TrackKind};
use mediahooks_model::token::StreamRule;
use mediahooks_model::webhook::Subscriptions;
use mediahooks_model::{
    AssetType, Limits, MediaAssetId, PublishToken, Timestamp, TokenId, Webhook, WebhookId,
};
use mediahooks_recorder::{ClipRequest, Clock, Recorder, RecorderSettings};
use mediahooks_storage::{DiskStorage, Files, SystemFiles};
use mediahooks_testkit::synthetic::SimulatedClock;

pub const SECRET: &str = "5c7a1529abababababababababababababababababababababababababababab";

pub struct Bench {
    pub directory: tempfile::TempDir,
    pub database: Database,
    pub storage: DiskStorage,
    pub recorder: Recorder,
    pub settings: RecorderSettings,
    /// Moved by what is published here.
    time: Option<Arc<TestClock>>,
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct TestClock(pub SimulatedClock);

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(self.0.wall_us())
    }

    fn steady(&self) -> Duration {
        self.0.steady()
    }
}

pub fn token() -> PublishToken {
    PublishToken {
        id: TokenId(0),
        label: "test".into(),
        token: SECRET.into(),
        added_on: Timestamp::EPOCH,
        expires_on: None,
        is_active: true,
        streams: vec![StreamRule { stream_name: ".+".into(), is_regex: true }],
        allowed_ip_addresses: Vec::new(),
        bind_ips_on_usage: None,
        record: true,
        clip: true,
        multisource: true,
        priority: None,
        other: serde_json::Map::new(),
    }
}

pub fn now() -> Timestamp {
    Timestamp::EPOCH.plus(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

impl Bench {
    pub async fn new() -> Self {
        Self::in_its_publishers_time(token(), Limits::default()).await
    }

    /// With a recorder whose time passes as its publishers send, a picture every 40 ms: a test that is kept waiting is
    /// no publisher that falls silent.
    pub async fn in_its_publishers_time(token: PublishToken, settings: impl Into<RecorderSettings>) -> Self {
        let time = Arc::new(TestClock(SimulatedClock::new()));
        let settings = RecorderSettings { clock: time.clone(), ..settings.into() };
        Self { time: Some(time), ..Self::with(token, settings).await }
    }

    pub async fn with(token: PublishToken, settings: impl Into<RecorderSettings>) -> Self {
        Self::on_disk(token, settings, Arc::new(SystemFiles)).await
    }

    pub async fn on_disk(
        token: PublishToken,
        settings: impl Into<RecorderSettings>,
        files: Arc<dyn Files>,
    ) -> Self {
        Self::open(tempfile::tempdir().unwrap(), token, settings.into(), files).await
    }

    /// In a directory that is there.
    pub async fn at(directory: tempfile::TempDir, token: PublishToken, settings: RecorderSettings) -> Self {
        Self::open(directory, token, settings, Arc::new(SystemFiles)).await
    }

    async fn open(
        directory: tempfile::TempDir,
        token: PublishToken,
        settings: RecorderSettings,
        files: Arc<dyn Files>,
    ) -> Self {
        let (database, storage, recorder) = open(&directory, settings.clone(), files).await;
        database.account_or_create("dkxfvY".parse().unwrap(), now()).await.unwrap();
        database.create_token(token).await.unwrap();
        Self { directory, database, storage, recorder, settings, time: None }
    }

    /// Now, on the recorder's clock.
    pub fn now(&self) -> Timestamp {
        self.settings.clock.wall()
    }

    /// Lets time pass in which nothing is published.
    pub fn pass_ms(&self, ms: i64) {
        let clock = &self.time.as_ref().expect("a clock that can be moved").0;
        clock.pass_until(i64::try_from(clock.steady().as_micros()).unwrap() + ms * 1000);
    }

    /// A start on what a crash at this moment leaves: a copy of the directory, made while everything
    /// is still running.
    pub async fn crash_and_restart(self) -> Self {
        self.crash_and_restart_after(|_| {}).await
    }

    /// The same, after something was done to the copy.
    pub async fn crash_and_restart_after(self, damage: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(self.directory.path(), directory.path());
        damage(directory.path());
        let files = Arc::new(SystemFiles);
        let (database, storage, recorder) = open(&directory, self.settings.clone(), files).await;
        Self { directory, database, storage, recorder, settings: self.settings, time: self.time }
    }

    pub async fn publish(&self, stream: &str, params: &[(&str, &str)]) -> Result<Publisher, PublishRefused> {
        let sink = self.open_feed(stream, params).await?;
        let time = self.time.clone();
        let begun = self.settings.clock.steady();
        Ok(Publisher { sink, time, begun, pictures: 0, sounds: 0 })
    }

    pub async fn open_feed(
        &self,
        stream: &str,
        params: &[(&str, &str)],
    ) -> Result<Box<dyn FeedSink>, PublishRefused> {
        let request = PublishRequest {
            protocol: Protocol::Rtmp,
            target: PublishTarget {
                stream_name: stream.into(),
                token_hex: Some(SECRET.into()),
                params: params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            },
            remote: "127.0.0.1:5000".parse().unwrap(),
            encoder: None,
        };
        self.recorder.gate().open(request).await
    }

    pub async fn assets(&self, asset_type: AssetType) -> Vec<Asset> {
        let query = AssetQuery { types: vec![asset_type], limit: 100, ..AssetQuery::default() };
        self.database.assets(query).await.unwrap()
    }

    pub async fn asset(&self, id: MediaAssetId) -> Asset {
        self.database.asset(id).await.unwrap().unwrap()
    }

    /// The whole file of an asset.
    pub async fn file(&self, id: MediaAssetId) -> Vec<u8> {
        let download = self.recorder.open_download(id).await.unwrap();
        let pieces: Vec<Bytes> = download.read(0..download.len).try_collect().await.unwrap();
        pieces.concat()
    }

    /// A clip of `from_ms..to_ms` after the start of the stream's first timeline.
    pub async fn clip_request(&self, stream: &str, from_ms: i64, to_ms: i64) -> ClipRequest {
        let timelines = eventually(async || {
            let found = self.assets(AssetType::Timeline).await;
            (!found.is_empty()).then_some(found)
        })
        .await;
        let start = timelines[0].start_time;
        ClipRequest {
            stop: Some(start.plus_micros(to_ms * 1000)),
            ..ClipRequest::new(stream.parse().unwrap(), start.plus_micros(from_ms * 1000), self.now())
        }
    }
}

async fn open(
    directory: &tempfile::TempDir,
    settings: RecorderSettings,
    files: Arc<dyn Files>,
) -> (Database, DiskStorage, Recorder) {
    let database = Database::open(&directory.path().join("mediahooks.db"), Options::default()).unwrap();
    let storage = DiskStorage::open_on(directory.path().join("media"), files).unwrap();
    let recorder = Recorder::open(database.clone(), storage.clone(), settings).await.unwrap();
    (database, storage, recorder)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits for a condition, for as long as a busy machine may need.
pub async fn eventually<T>(mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + mediahooks_testkit::PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "the condition did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub struct Publisher {
    pub sink: Box<dyn FeedSink>,
    time: Option<Arc<TestClock>>,
    /// On the steady clock.
    begun: Duration,
    pictures: i64,
    sounds: i64,
}

impl Publisher {
    pub async fn config(&mut self) {
        self.config_telling(ColourInfo::default()).await;
    }

    /// The same, and how bright the pictures are.
    pub async fn config_with_colours(&mut self) {
        let light = Some(ContentLight { pixel_max: 1000, picture_max: 400 });
        self.config_telling(ColourInfo { light, ..ColourInfo::default() }).await;
    }

    async fn config_telling(&mut self, told: ColourInfo) {
        self.track(TrackConfig { told, ..TrackConfig::new(90_000, h264()) }).await;
        self.track(TrackConfig::new(48_000, aac())).await;
    }

    /// As [`Publisher::config`], VP9 and Opus.
    pub async fn config_for_webm(&mut self) {
        let vp9 = CodecConfig::vp9(Bytes::from_static(&[0, 10, 0x82, 2, 2, 2, 0, 0])).unwrap();
        let frame = [0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 2, 0xf6, 6, 0x38, 0x24, 0x1c, 0x18, 0x42, 0];
        let video = vp9.with_dimensions_from_sample(&frame).unwrap();
        self.track(TrackConfig::new(90_000, video)).await;
        let head = [&b"OpusHead\x01\x02"[..], &[0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0]].concat();
        let audio = CodecConfig::opus_from_id_header(&head).unwrap();
        self.track(TrackConfig::new(48_000, audio)).await;
    }

    /// Announces pictures of another size.
    pub async fn reconfigure(&mut self) {
        let avcc =
            "0164000dffe1001a6764000dacd941519e226c0440000003004000000f03c50a658001000668ebe3cb22c0fdf8f800";
        let record: Vec<u8> =
            (0..avcc.len()).step_by(2).map(|at| u8::from_str_radix(&avcc[at..at + 2], 16).unwrap()).collect();
        let video = CodecConfig::h264(record.into()).unwrap();
        self.track(TrackConfig::new(90_000, video)).await;
    }

    async fn track(&mut self, config: TrackConfig) {
        self.sink.push(&mut vec![FeedInput::Config(config)]).unwrap();
    }

    /// Sends `count` pictures of 40 ms, every 25th a sync sample, and the sound that goes with them,
    /// as fast as they are taken; where publishers make the time, 40 ms pass with each.
    pub async fn send(&mut self, count: i64) {
        for _ in 0..count {
            let picture = Sample {
                dts: Ticks(self.pictures * 3600),
                cts_offset: 0,
                is_sync: self.pictures % 25 == 0,
                data: Bytes::from(format!("<picture {}>", self.pictures)),
            };
            self.sample(TrackKind::Video, picture).await;
            self.pictures += 1;
            while self.sounds * 1024 * 1000 <= self.pictures * 40 * 48_000 {
                let dts = Ticks(self.sounds * 1024);
                let data = Bytes::from(format!("<sound {}>", self.sounds));
                self.sample(TrackKind::Audio, Sample { dts, cts_offset: 0, is_sync: true, data }).await;
                self.sounds += 1;
            }
            if let Some(time) = &self.time {
                let begun_us = i64::try_from(self.begun.as_micros()).unwrap();
                time.0.pass_until(begun_us + self.pictures * 40_000);
            }
        }
    }

    async fn sample(&mut self, kind: TrackKind, sample: Sample) {
        self.sink.push(&mut vec![FeedInput::Sample { kind, sample }]).unwrap();
        self.sink.ready().await;
    }

    pub async fn finish(self) {
        self.sink.finish(PublishEnd::Unpublished).await;
    }
}

/// 320x180, Main profile.
pub fn h264() -> CodecConfig {
    let avcc = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";
    let record: Vec<u8> =
        (0..avcc.len()).step_by(2).map(|at| u8::from_str_radix(&avcc[at..at + 2], 16).unwrap()).collect();
    CodecConfig::h264(record.into()).unwrap()
}

/// AAC-LC, 48 kHz, stereo.
pub fn aac() -> CodecConfig {
    CodecConfig::aac(Bytes::from_static(&[0x11, 0x90])).unwrap()
}

/// The numbers of the pictures whose bytes are in a file, in order.
pub fn pictures_in(file: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(file);
    let parts = text.split("<picture ").skip(1);
    parts.map(|part| part.split('>').next().unwrap().parse().unwrap()).collect()
}

/// A webhook that wants everything of media and feeds; nobody sends to it.
pub async fn webhook(bench: &Bench) -> WebhookId {
    let subscriptions =
        Subscriptions { is_feed_hooks: true, is_media_hooks: true, ..Subscriptions::default() };
    let new = Webhook::new("https://example.com/", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=", subscriptions);
    bench.database.create_webhook(new).await.unwrap().id
}

/// `type.event` of everything that happened, per subject, in order.
pub async fn events(database: &Database, webhook: WebhookId, subject: &str) -> Vec<String> {
    let mut log = database.deliveries(webhook, None, 1000).await.unwrap();
    log.reverse();
    log.into_iter().filter(|delivery| delivery.subject == subject).map(|delivery| delivery.kind).collect()
}
