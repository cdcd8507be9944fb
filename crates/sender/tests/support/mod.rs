//! A database with webhooks and events in it, and senders that work on it.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod endpoint;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mediahooks_database::{Change, Database, Delivery, Options};
use mediahooks_delivery::TargetPolicy;
use mediahooks_model::event::FeedEvent;
use mediahooks_model::webhook::Subscriptions;
use mediahooks_model::{Event, EventId, EventKind, Timestamp, Webhook, WebhookId};
use mediahooks_sender::{Sender, SenderConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use endpoint::{Endpoint, Received, Reply, status};

/// The secret of every webhook here.
pub const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Nothing here takes longer, unless it hangs.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("something hangs")
}

pub fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

/// Loopback allowed, and retries without waiting.
pub fn config(schedule: &str) -> SenderConfig {
    SenderConfig {
        retry: schedule.parse().unwrap(),
        targets: TargetPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]),
        ..SenderConfig::new("sender-under-test")
    }
}

/// A server's data: its database and what happened in it.
pub struct House {
    pub database: Database,
    path: PathBuf,
    _dir: TempDir,
}

impl House {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mediahooks.sqlite");
        let database = Database::open(&path, Options::default()).unwrap();
        database.account_or_create("dkxfvY".parse().unwrap(), now()).await.unwrap();
        Self { database, path, _dir: dir }
    }

    /// Closes the database as the end of a process does, and opens it again.
    pub async fn reopen(self) -> Self {
        let Self { database, path, _dir } = self;
        drop(database);
        // Reads in progress may hold on to it a moment longer.
        let database = eventually(async || Database::open(&path, Options::default()).ok()).await;
        Self { database, path, _dir }
    }

    pub async fn webhook(&self, url: impl Into<String>) -> WebhookId {
        let subscriptions = Subscriptions { is_feed_hooks: true, ..Subscriptions::default() };
        let webhook = Webhook::new(url, SECRET, subscriptions);
        self.database.create_webhook(webhook).await.unwrap().id
    }

    /// Changes a webhook.
    pub async fn change(&self, id: WebhookId, change: impl FnOnce(&mut Webhook) + Send + 'static) {
        let change = move |webhook: &mut Webhook| -> Result<(), Infallible> {
            change(webhook);
            Ok(())
        };
        self.database.update_webhook(id, false, now(), change).await.unwrap().unwrap();
    }

    /// Something happened to `subject`; returns the event's id as webhooks carry it.
    pub async fn emit(&self, subject: &str) -> String {
        let id = EventId(Uuid::now_v7());
        let event = Event {
            id,
            kind: EventKind::Feeds(FeedEvent::Started),
            subject: subject.into(),
            stream_name: Some("auction".parse().unwrap()),
            token: None,
            timestamp: now(),
            body: format!(r#"{{"type":"feeds","of":"{subject}","text":"größer 🎥"}}"#),
        };
        self.database.commit(vec![Change::Emit(event)], now()).await.unwrap();
        id.to_string()
    }

    /// Several things happened to `subject`, one after another.
    pub async fn emit_many(&self, subject: &str, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.emit(subject).await);
        }
        ids
    }

    /// Everything owed to `webhook`, newest first.
    pub async fn deliveries(&self, webhook: WebhookId) -> Vec<Delivery> {
        self.database.deliveries(webhook, None, 1000).await.unwrap()
    }

    /// Waits until what is owed to `webhook` is as `wanted`, and returns it.
    pub async fn deliveries_once(
        &self,
        webhook: WebhookId,
        wanted: impl Fn(&[Delivery]) -> bool,
    ) -> Vec<Delivery> {
        eventually(async || Some(self.deliveries(webhook).await).filter(|deliveries| wanted(deliveries)))
            .await
    }

    pub fn send(&self, config: SenderConfig) -> Running {
        let sender = Sender::new(self.database.clone(), config).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sender.run(shutdown.clone()));
        Running { shutdown, task }
    }
}

/// Looks again until there is something.
pub async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    in_time(async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A sender at work.
pub struct Running {
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    /// A clean shutdown.
    pub async fn stop(self) {
        self.shutdown.cancel();
        in_time(self.task).await.unwrap();
    }

    /// The end of the process at whatever it is doing.
    pub async fn crash(self) {
        self.task.abort();
        let _ = in_time(self.task).await;
    }
}
