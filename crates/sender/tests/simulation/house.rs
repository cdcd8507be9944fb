//! The inside: a data directory that outlives the process, and lives of the process on it.

use std::path::PathBuf;
use std::time::Duration;

use mediahooks_database::{Change, Database, Fate, Inline, Options, Step};
use mediahooks_model::webhook::Subscriptions;
use mediahooks_model::{Event, EventId, EventKind, MediaEvent, Timestamp, Webhook, WebhookId};
use mediahooks_sender::{Dice, Sender, SenderConfig};
use rand::Rng as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::World;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The data directory, and how senders on it are configured.
pub struct House {
    pub world: World,
    pub config: SenderConfig,
    dir: TempDir,
}

/// A process.
pub struct Life {
    pub database: Database,
    shutdown: CancellationToken,
    sender: JoinHandle<()>,
}

impl House {
    pub fn new(world: World) -> Self {
        let config = SenderConfig::new("simulated");
        Self { world, config, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mediahooks.db")
    }

    /// The database alone.
    pub async fn open(&self, inline: Inline) -> Database {
        let options = Options { inline: Some(inline), ..Options::default() };
        let database = Database::open(&self.path(), options).unwrap();
        database.account_or_create("dkxfvY".parse().unwrap(), self.world.now()).await.unwrap();
        database
    }

    /// A process whose fate at each commit is `fate`'s to decide.
    pub async fn live(&self, fate: impl Fn(Step<'_>) -> Fate + Send + Sync + 'static) -> Life {
        self.world.begin_life();
        // Opening is not what is tested here.
        let opened = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let inline = Inline::new({
            let opened = opened.clone();
            move |step| {
                if opened.load(std::sync::atomic::Ordering::Relaxed) { fate(step) } else { Fate::GoOn }
            }
        });
        let database = self.open(inline).await;
        opened.store(true, std::sync::atomic::Ordering::Relaxed);
        let dice = Dice::seeded(self.world.random(|dice| dice.random()));
        let sender =
            Sender::within(database.clone(), self.config.clone(), self.world.clone(), self.world.clock, dice);
        let shutdown = CancellationToken::new();
        let sender = tokio::spawn(sender.unwrap().run(shutdown.clone()));
        Life { database, shutdown, sender }
    }

    /// A process that nothing happens to.
    pub async fn live_on(&self) -> Life {
        self.live(|_| Fate::GoOn).await
    }
}

impl Life {
    pub async fn webhook(&self, name: &str) -> WebhookId {
        let subscriptions = Subscriptions { is_media_hooks: true, ..Subscriptions::default() };
        let webhook = Webhook::new(format!("https://{name}.example/"), SECRET, subscriptions);
        self.database.create_webhook(webhook).await.unwrap().id
    }

    /// A clean shutdown.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.sender.await.unwrap();
    }

    /// The end of the process at whatever it is doing.
    pub async fn die(self) {
        self.sender.abort();
        match self.sender.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => {}
        }
    }
}

/// Event number `seq` of `subject`, for one webhook.
pub fn event(webhook: WebhookId, subject: &str, seq: u64, now: Timestamp) -> Change {
    let event = Event {
        id: EventId(Uuid::now_v7()),
        kind: EventKind::Media(MediaEvent::Completed),
        subject: subject.into(),
        stream_name: Some("stage".parse().unwrap()),
        token: None,
        timestamp: now,
        body: format!(r#"{{"data":{{"mediaAssetId":"{subject}","seq":{seq}}}}}"#),
    };
    Change::EmitTo(webhook, event)
}

/// Waits for `condition`, looking whenever something was accepted and every `every`.
pub async fn until(world: &World, every: Duration, condition: impl Fn() -> bool) {
    while !condition() {
        let _ = tokio::time::timeout(every, world.progress.notified()).await;
    }
}
