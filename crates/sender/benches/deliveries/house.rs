//! A server's database with its webhooks, assets that change, and a sender.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mediahooks_database::{Asset, AssetChange, Change, Database, NewAsset, Options};
use mediahooks_delivery::TargetPolicy;
use mediahooks_model::webhook::{Disabled, StreamFilter, Subscriptions};
use mediahooks_model::{
    AssetInput, AssetType, FeedId, MediaAssetId, StreamName, Timestamp, TokenId, Webhook,
};
use mediahooks_sender::{Sender, SenderConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::receiver::Receiver;

pub const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How many endpoints there are, and who is told what.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// Each event is told to one of so many.
    OneEach(usize),
    /// Each event is told to all of so many.
    AllEach(usize),
}

impl Load {
    /// Deliveries per event.
    pub fn copies(self) -> usize {
        match self {
            Self::OneEach(_) => 1,
            Self::AllEach(endpoints) => endpoints,
        }
    }

    pub fn deliveries(self, events: usize) -> usize {
        events * self.copies()
    }

    fn endpoints(self) -> usize {
        match self {
            Self::OneEach(endpoints) | Self::AllEach(endpoints) => endpoints,
        }
    }
}

pub struct House {
    database: Database,
    load: Load,
    _dir: Option<TempDir>,
}

impl House {
    /// A new database whose webhooks are endpoints of `receiver`.
    pub async fn new(receiver: &Receiver, load: Load) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("mediahooks.sqlite"), Options::default()).unwrap();
        database.account_or_create("dkxfvY".parse().unwrap(), now()).await.unwrap();
        for n in 0..load.endpoints() {
            let filter = matches!(load, Load::OneEach(_)).then(|| format!("^{}$", stream(n, load).as_str()));
            database.create_webhook(webhook(receiver.url(n), filter)).await.unwrap();
        }
        Self { database, load, _dir: Some(dir) }
    }

    /// The database at `path`, whose only webhook gets `receiver`'s URL and is enabled.
    pub async fn open(path: &Path, receiver: &Receiver) -> Self {
        let database = Database::open(path, Options::default()).unwrap();
        let [webhook]: [Webhook; 1] = database.webhooks(None, 2, false).await.unwrap().try_into().unwrap();
        let url = receiver.url(0);
        let enable = move |webhook: &mut Webhook| {
            webhook.url = url;
            webhook.disabled = None;
            Ok::<_, Infallible>(())
        };
        database.update_webhook(webhook.id, false, now(), enable).await.unwrap().unwrap();
        Self { database, load: Load::OneEach(1), _dir: None }
    }

    pub fn send(&self) -> Running {
        let config = config();
        let sender = Sender::new(self.database.clone(), config).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sender.run(shutdown.clone()));
        Running { shutdown, task }
    }

    /// A clip is asked for: `processing`.
    pub async fn create(&self, n: usize) {
        self.database.commit(vec![created(n, self.load)], now()).await.unwrap();
    }

    /// So many clips are asked for and completed, by so many at once.
    pub async fn run_assets(&self, first: usize, count: usize, committers: usize) {
        let next = Arc::new(AtomicUsize::new(first));
        let load = self.load;
        let committers: Vec<_> = (0..committers)
            .map(|_| {
                let (database, next) = (self.database.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= first + count {
                            return;
                        }
                        database.commit(vec![created(n, load)], now()).await.unwrap();
                        database.commit(vec![completed(n)], now()).await.unwrap();
                    }
                })
            })
            .collect();
        for committer in committers {
            committer.await.unwrap();
        }
    }

    /// Waits until so many requests have arrived and nothing is under way any more.
    pub async fn wait_until_recorded(&self, receiver: &Receiver, count: usize) {
        receiver.wait_for(count).await;
        while self.database.has_leases() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(receiver.count(), count, "nothing is sent twice");
    }

    /// Transactions so far.
    pub fn transactions(&self) -> u64 {
        self.database.stats().transactions
    }
}

/// Writes a database in which a webhook is owed so many deliveries, each of an asset of its own.
pub async fn owe(path: &Path, count: usize) {
    const BATCH: usize = 1000;
    let database = Database::open(path, Options::default()).unwrap();
    database.account_or_create("dkxfvY".parse().unwrap(), now()).await.unwrap();
    let disabled = Some(Disabled { until: None, reason: None });
    database.create_webhook(Webhook { disabled, ..webhook("http://127.0.0.1/".into(), None) }).await.unwrap();
    for first in (0..count).step_by(BATCH) {
        let changes = (first..first + BATCH).map(|n| created(n, Load::OneEach(1))).collect();
        database.commit(changes, now()).await.unwrap();
    }
    database.close().await.unwrap();
}

/// A sender at work.
pub struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

pub fn config() -> SenderConfig {
    SenderConfig {
        targets: TargetPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]),
        ..SenderConfig::new("bench")
    }
}

pub fn webhook(url: String, filter: Option<String>) -> Webhook {
    let subscriptions = Subscriptions { is_media_hooks: true, ..Subscriptions::default() };
    let filter = filter.map(|filter| StreamFilter::new(filter).unwrap());
    Webhook { filter, ..Webhook::new(url, SECRET, subscriptions) }
}

pub fn asset_id(n: usize) -> MediaAssetId {
    // Spread like random ones, as the indexes meet them.
    let spread = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    MediaAssetId(Uuid::from_u64_pair(spread, n as u64))
}

fn stream(n: usize, load: Load) -> StreamName {
    format!("cam{}", n % load.endpoints()).parse().unwrap()
}

fn created(n: usize, load: Load) -> Change {
    let now = now();
    let asset = Asset {
        token: Some(TokenId(7)),
        expiration: Some(now.plus(Duration::from_secs(30 * 24 * 3600))),
        ..Asset::new(asset_id(n), AssetType::Clip, FeedId(Uuid::from_u64_pair(1, 1)), stream(n, load), now)
    };
    Change::CreateAsset(Box::new(NewAsset { asset }))
}

fn completed(n: usize) -> Change {
    let input = AssetInput::Finish { metadata: Box::default() };
    let change = AssetChange { id: asset_id(n), input, recipe: None, stop_time: None, expiration: None };
    Change::StepAsset(Box::new(change))
}

pub fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}
