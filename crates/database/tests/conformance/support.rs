//! A fresh database, and short ways to say what to store in it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use mediahooks_database::{
    Asset, AssetChange, Attempt, Change, ClaimedDelivery, Database, Feed, NewAsset, Options, RecipePart,
    Room, Run, Segment, Settled, Settlement, Timeline, Timings,
};
use mediahooks_media::sample::TrackConfig;
use mediahooks_model::webhook::Subscriptions;
use mediahooks_model::{
    AssetInput, AssetType, FeedId, MediaAssetId, StreamName, TimelineId, Timestamp, TokenId, Webhook,
    WebhookId,
};
use tempfile::TempDir;
use uuid::Uuid;

/// A database with an account, gone with its directory when dropped.
pub struct Fresh {
    pub db: Database,
    pub dir: TempDir,
}

impl Fresh {
    pub async fn open() -> Fresh {
        Fresh::open_with(Options::default()).await
    }

    pub async fn open_with(options: Options) -> Fresh {
        let dir = TempDir::new().unwrap();
        let db = Database::open(&dir.path().join("mediahooks.db"), options).unwrap();
        db.account_or_create("dkxfvY".parse().unwrap(), at(0)).await.unwrap();
        Fresh { db, dir }
    }

    /// With one webhook that wants everything.
    pub async fn with_webhook() -> (Fresh, WebhookId) {
        let fresh = Fresh::open().await;
        let id = fresh.db.create_webhook(webhook("https://a.example/")).await.unwrap().id;
        (fresh, id)
    }

    /// Changes a webhook in a way that is not refused.
    pub async fn change(
        &self,
        id: WebhookId,
        now: Timestamp,
        change: impl FnOnce(&mut Webhook) + Send + 'static,
    ) -> Webhook {
        let change = move |webhook: &mut Webhook| -> Result<(), Infallible> {
            change(webhook);
            Ok(())
        };
        self.db.update_webhook(id, false, now, change).await.unwrap().unwrap()
    }

    /// As the next process finds it.
    pub fn reopen(self) -> Fresh {
        let Fresh { db, dir } = self;
        drop(db);
        let db = Database::open(&dir.path().join("mediahooks.db"), Options::default()).unwrap();
        Fresh { db, dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mediahooks.db")
    }

    /// Claims everything that is due for the owner `me`, with a lease of a minute.
    pub async fn claim(&self, now: Timestamp) -> Vec<ClaimedDelivery> {
        self.db.claim_deliveries("me", now, MINUTE, |_, _| room(100), 100).await.unwrap()
    }

    /// Records that an attempt of `me` ended so.
    pub async fn settle(&self, claimed: &ClaimedDelivery, settled: Settled, now: Timestamp) {
        self.db.settle(vec![settlement(claimed, settled)], vec![], "me", now).await.unwrap();
    }
}

/// Room for so many more.
pub fn room(more: u32) -> Room {
    Room { more, at: None }
}

pub const MINUTE: Duration = Duration::from_secs(60);

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + ms)
}

pub fn asset_id(n: u64) -> MediaAssetId {
    MediaAssetId(Uuid::from_u64_pair(1, n))
}

pub fn feed_id(n: u64) -> FeedId {
    FeedId(Uuid::from_u64_pair(2, n))
}

pub fn timeline_id(n: u64) -> TimelineId {
    TimelineId(Uuid::from_u64_pair(3, n))
}

pub fn stream() -> StreamName {
    "stage/left".parse().unwrap()
}

pub fn webhook(url: &str) -> Webhook {
    let subscriptions =
        Subscriptions { is_feed_hooks: true, is_media_hooks: true, ..Subscriptions::default() };
    Webhook::new(url, "c2VjcmV0", subscriptions)
}

pub fn feed(n: u64) -> Feed {
    Feed {
        id: feed_id(n),
        token: TokenId(7),
        stream_name: stream(),
        source_id: None,
        simulcast_id: None,
        priority: None,
        target_kbps: Some(2500),
        remote: "192.0.2.1".parse().unwrap(),
        started: at(0),
        ended: None,
    }
}

/// AAC-LC, 48 kHz, stereo.
pub fn track() -> TrackConfig {
    static TRACK: OnceLock<TrackConfig> = OnceLock::new();
    let json = r#"{"kind":"audio","timescale":48000,"codec":{"codec":"AAC","asc":"1190"}}"#;
    TRACK.get_or_init(|| serde_json::from_str(json).unwrap()).clone()
}

pub fn run(timeline: u64, number: u32) -> Run {
    Run { timeline: timeline_id(timeline), number, tracks: vec![track()], earlier: Vec::new() }
}

/// Segments of 2 s and 100 bytes, one after the other, ten per chunk file.
pub fn segment(timeline: u64, sequence: u64) -> Segment {
    let media_start_us = i64::try_from(sequence).unwrap() * 2_000_000;
    Segment {
        timeline: timeline_id(timeline),
        sequence,
        run: 0,
        chunk: u32::try_from(sequence / 10).unwrap(),
        offset: sequence % 10 * 100,
        len: 100,
        media_start_us,
        media_end_us: media_start_us + 2_000_000,
        wall_offset_us: at(0).as_micros(),
        starts_with_sync: true,
        index: vec![1, 2, 3].into(),
    }
}

/// Feed `n` with timeline `n`, one run, and its first `segments` segments.
pub fn timeline_with(n: u64, segments: u64) -> Vec<Change> {
    let timeline = Timeline { id: timeline_id(n), feed: feed_id(n), created: at(0) };
    let mut changes =
        vec![Change::StartFeed(feed(n)), Change::OpenTimeline(timeline), Change::PutRun(run(n, 0))];
    changes.extend((0..segments).map(|sequence| Change::AddSegment(segment(n, sequence))));
    changes
}

pub fn recipe(timeline: u64, first: u64, last: Option<u64>) -> RecipePart {
    RecipePart {
        timeline: timeline_id(timeline),
        run: 0,
        first,
        last,
        start_us: None,
        stop_us: None,
        late_us: 7,
    }
}

pub fn asset(n: u64, asset_type: AssetType, recipe: Option<RecipePart>) -> Asset {
    Asset {
        token: Some(TokenId(7)),
        recipe: recipe.into_iter().collect(),
        ..Asset::new(asset_id(n), asset_type, feed_id(1), stream(), at(0))
    }
}

pub fn create(asset: Asset) -> Change {
    Change::CreateAsset(Box::new(NewAsset { asset }))
}

pub fn clip(n: u64) -> Change {
    create(asset(n, AssetType::Clip, None))
}

pub fn step(n: u64, input: AssetInput) -> Change {
    let change = AssetChange { id: asset_id(n), input, recipe: None, stop_time: None, expiration: None };
    Change::StepAsset(Box::new(change))
}

pub fn fail() -> AssetInput {
    AssetInput::Fail { reason: "no media".into() }
}

pub fn finish() -> AssetInput {
    AssetInput::Finish { metadata: Box::default() }
}

pub fn settlement(claimed: &ClaimedDelivery, settled: Settled) -> Settlement {
    let delivered = settled == Settled::Delivered;
    let attempt = Attempt {
        number: claimed.attempt,
        started: at(0),
        duration_us: 1500,
        // What failed was sent on a connection that was open already.
        timings: Timings {
            dns_us: delivered.then_some(200),
            connect_us: delivered.then_some(300),
            tls_us: None,
            first_byte_us: Some(1400),
        },
        status: Some(if delivered { 204 } else { 500 }),
        error: (!delivered).then(|| "status 500".into()),
        request: Some("POST / HTTP/1.1\nhost: example.com".into()),
        response: Some("body".into()),
    };
    Settlement { id: claimed.id, attempt, probe: claimed.is_probe(), settled }
}
