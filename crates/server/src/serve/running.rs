//! A running server: everything wired together, and taken apart again in order.
//!
//! `serve` and `demo` start it. What always holds: what was acknowledged to anybody is durable before it
//! stops, and it stops within [`STOP_MAX`] and [`CLOSE_MAX`], whatever hangs.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_api::{ApiConfig, BoxError, DownloadLinker, StorageCheck};
use mediahooks_database::{Database, Options};
use mediahooks_delivery::TargetPolicy;
use mediahooks_model::{AccountId, chain};
use mediahooks_recorder::{DiskLevel, Recorder};
use mediahooks_sender::{DownloadLink, DownloadLinks, Sender, SenderConfig};
use mediahooks_storage::DiskStorage;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::account::{self, DATABASE_FILE, MEDIA_DIRECTORY};
use super::metrics;
use crate::config::Settings;
use crate::output::failure::Failure;
use crate::output::human;

/// How long a stop may take until the database is closed.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How long hooks may take that are due when everything that was live is finished, one after another of an asset.
/// What is being sent then has the sender's grace on top.
const TELL_MAX: Duration = Duration::from_secs(3);

/// How long closing the database may take. A disk that hangs must not keep the process: what the database
/// acknowledged is durable, and the next start repairs the rest.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Between two looks at whether anything is left to deliver.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A server that serves.
pub struct Running {
    /// Where REST and downloads are served.
    pub http: SocketAddr,
    /// Where encoders publish.
    pub rtmp: SocketAddr,
    /// The account.
    pub account: AccountId,
    /// The API secret that this start made, if it did.
    pub new_secret: Option<String>,
    database: Database,
    recorder: Recorder,
    ingest: Task,
    api: Task,
    sweeper: Task,
    sender: Task,
    metrics: Task,
    ended: CancellationToken,
}

/// A task and how to end it.
struct Task {
    shutdown: CancellationToken,
    handle: JoinHandle<()>,
}

impl Task {
    /// `ended` is cancelled when it ends, by a panic too.
    fn start<F>(ended: &CancellationToken, work: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let work = work(shutdown.clone());
        let guard = ended.clone().drop_guard();
        let handle = tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
        Self { shutdown, handle }
    }

    /// Asks it to end and waits until it has.
    async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "a part of the server had failed");
        }
    }
}

impl Running {
    /// Opens the data directory, repairs what a crash left, and serves. `secret`: from outside, if any.
    pub async fn start(settings: &Settings, secret: Option<&str>) -> anyhow::Result<Self> {
        metrics::start()?;
        let (database, storage) = open(&settings.data, settings.webhook_retry_schedule.first_delay())?;
        let http = listen(settings.http, "REST", "--http").await?;
        let rtmp = listen(settings.rtmp, "RTMP", "--rtmp").await?;
        let (http_address, rtmp_address) = (http.local_addr()?, rtmp.local_addr()?);

        let account = account::account(&database).await?;
        let new_secret = account::secrets(&database, secret).await?;
        let recorder =
            Recorder::open_unrepaired(database.clone(), storage.clone(), settings.recorder_settings())
                .await?;
        let download_key = database.server_key("download", rand::random()).await?;
        let config = ApiConfig {
            public_url: settings.public_url.clone(),
            account: account.clone(),
            limits: settings.limits(),
            target_policy: TargetPolicy::new(settings.webhook_allow.clone()),
            secret_grace: settings.webhook_secret_grace.0,
            storage_check: storage_check(storage, recorder.clone()),
            download_key,
            metrics: metrics::text(),
            metrics_open: settings.metrics_open,
        };
        let router = mediahooks_api::router(database.clone(), recorder.clone(), config);
        let links = download_links(&database, download_key, settings, http_address)?;
        let sender_config = SenderConfig { downloads: Some(links), ..settings.sender_config() };
        let sender = Sender::new(database.clone(), sender_config)?;

        let ended = CancellationToken::new();
        let gate = recorder.gate();
        let rtmp_settings = settings.rtmp_settings();
        let sweeper = recorder.clone();
        let running = Self {
            http: http_address,
            rtmp: rtmp_address,
            account,
            new_secret,
            database,
            recorder,
            sender: Task::start(&ended, |shutdown| sender.run(shutdown)),
            metrics: Task::start(&ended, metrics::run),
            sweeper: Task::start(&ended, |shutdown| maintain(sweeper, shutdown)),
            api: Task::start(&ended, |shutdown| mediahooks_api::serve(http, router, shutdown)),
            ingest: Task::start(&ended, |shutdown| {
                mediahooks_ingest::rtmp::serve(rtmp, gate, rtmp_settings, shutdown)
            }),
            ended,
        };
        tracing::info!(
            account = %running.account,
            data = %settings.data.display(),
            http = %running.http,
            rtmp = %running.rtmp,
            "serving"
        );
        Ok(running)
    }

    /// Resolves when a part has ended though nobody asked it to: the server is of no more use.
    pub async fn failed(&self) {
        self.ended.cancelled().await;
    }

    /// Stops in the order of the data's way: nothing new comes in, what came in is finished, what was
    /// finished is told. What cannot be told in [`TELL_MAX`] is told by the next start, and so is what is to be
    /// tried again later.
    pub async fn stop(self) -> anyhow::Result<()> {
        let deadline = Instant::now() + STOP_MAX;
        let Self { database, recorder, ingest, api, sweeper, sender, metrics, .. } = self;
        let broadcasts = async {
            ingest.stop().await;
            recorder.drain().await;
            nothing_due(&database, Instant::now() + TELL_MAX).await;
            sender.stop().await;
        };
        let unsettled = Unsettled::default();
        let settled = async {
            tokio::join!(
                unsettled.until("broadcasts and what is due of their hooks", broadcasts),
                unsettled.until("HTTP requests", api.stop()),
                unsettled.until("the removal of what is over", sweeper.stop()),
                unsettled.until("metrics", metrics.stop()),
            )
        };
        if tokio::time::timeout_at(deadline, settled).await.is_err() {
            let parts = unsettled.parts.into_inner().join(", ");
            tracing::warn!(
                parts,
                "not everything was settled in {} s; the next start goes on",
                STOP_MAX.as_secs()
            );
        }
        let closed = tokio::time::timeout(CLOSE_MAX, database.close()).await.map_err(|_| {
            Failure::new(format!("the database could not be closed in {} s", CLOSE_MAX.as_secs()))
                .because("its disk does not answer, or another program holds it")
                .advise("look at the disk; what was acknowledged is safe, the next start repairs the rest")
        })?;
        closed?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The parts of a stop that go on.
#[derive(Default)]
struct Unsettled {
    parts: RefCell<Vec<&'static str>>,
}

impl Unsettled {
    /// Names `part` among them until it is done.
    async fn until(&self, part: &'static str, done: impl Future<Output = ()>) {
        self.parts.borrow_mut().push(part);
        done.await;
        self.parts.borrow_mut().retain(|other| *other != part);
    }
}

/// Repairs what a crash left, behind everything else, and then removes what is over.
async fn maintain(recorder: Recorder, shutdown: CancellationToken) {
    if let Some(Err(error)) = shutdown.run_until_cancelled(recorder.repair()).await {
        tracing::error!(
            error = chain(&error),
            "not everything that a crash left was repaired; the rest is tried again"
        );
    }
    recorder.run_sweeper(shutdown).await;
}

/// Resolves when no delivery is under way or due, and at the deadline: the next one of the same asset may be waiting
/// behind it. What falls due later is not waited for: it is most often a retry, which most often fails like the one
/// before.
async fn nothing_due(database: &Database, deadline: Instant) {
    let is_due = |now| database.next_due(now).is_some_and(|due| due <= now);
    while Instant::now() < deadline && (is_due(human::now()) || database.has_leases()) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn open(data: &Path, first_attempt_after: Duration) -> anyhow::Result<(Database, DiskStorage)> {
    let media = data.join(MEDIA_DIRECTORY);
    std::fs::create_dir_all(&media).map_err(|error| {
        Failure::new(format!("cannot use {} as data directory", data.display()))
            .caused_by(&error)
            .advise("choose a directory that this user can write to, with --data")
    })?;
    let opened =
        Database::open(&data.join(DATABASE_FILE), Options { first_attempt_after, ..Options::default() });
    let database = opened.map_err(|error| {
        Failure::new(format!("cannot use {} as data directory", data.display()))
            .caused_by(&error)
            .advise("one server at a time has a data directory, and its user has to be able to write to it")
    })?;
    Ok((database, DiskStorage::open(media)?))
}

/// Makes the links of webhooks that ask for them. They begin with `public_url`; without it with the server's own
/// address, which endpoints on the same machine can use.
fn download_links(
    database: &Database,
    key: [u8; 32],
    settings: &Settings,
    http: SocketAddr,
) -> anyhow::Result<DownloadLinks> {
    let own = || {
        let ip = if http.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { http.ip() };
        Url::parse(&format!("http://{}", SocketAddr::new(ip, http.port())))
    };
    let base = settings.public_url.clone().map_or_else(own, Ok)?;
    let linker = DownloadLinker::new(key, &base);
    let (database, ttl) = (database.clone(), settings.limits().download_ttl);
    Ok(DownloadLinks::new(move |id| {
        let (database, linker) = (database.clone(), linker.clone());
        Box::pin(async move {
            let asset = database.asset(id).await.unwrap_or_else(|error| {
                // The hook is worth more than its link, which can be asked for.
                tracing::warn!(error = chain(&error), asset = %id, "a webhook goes out without a download link");
                None
            });
            let link = linker.link(&asset?, human::now().plus(ttl))?;
            Some(DownloadLink { url: link.url, media_url: link.media_url, expires: link.expires })
        })
    }))
}

async fn listen(address: SocketAddr, what: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(format!("cannot listen on {address} for {what}")).caused_by(&error);
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("stop the program that has this port, or choose another with {flag}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 belong to the administrator: choose another with {flag}")
            }
            _ => format!("choose an address of this machine with {flag}"),
        };
        failure.advise(advice).into()
    })
}

fn storage_check(storage: DiskStorage, recorder: Recorder) -> StorageCheck {
    Arc::new(move || {
        let (storage, level) = (storage.clone(), recorder.disk_level());
        Box::pin(async move {
            if level >= DiskLevel::Refusing {
                return Err("the disk is almost full: new publishers are refused".into());
            }
            storage.probe().await.map_err(BoxError::from)
        })
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use mediahooks_database::{Change, Room};
    use mediahooks_model::event::FeedEvent;
    use mediahooks_model::webhook::Subscriptions;
    use mediahooks_model::{Event, EventId, EventKind, Webhook};

    use super::*;

    /// A database that owes a webhook since now, to be sent `after` that.
    async fn owing(directory: &Path, after: Duration) -> Database {
        let options = Options { first_attempt_after: after, ..Options::default() };
        let database = Database::open(&directory.join(DATABASE_FILE), options).unwrap();
        account::account(&database).await.unwrap();
        let subscriptions = Subscriptions { is_feed_hooks: true, ..Subscriptions::default() };
        let webhook = Webhook::new("https://example.com/", "", subscriptions);
        database.create_webhook(webhook).await.unwrap();
        let event = Event {
            id: EventId(uuid::Uuid::now_v7()),
            kind: EventKind::Feeds(FeedEvent::Started),
            subject: "feed".into(),
            stream_name: None,
            token: None,
            timestamp: human::now(),
            body: "{}".into(),
        };
        database.commit(vec![Change::Emit(event)], human::now()).await.unwrap();
        database
    }

    #[tokio::test]
    async fn a_stop_waits_for_what_is_due_or_under_way_and_for_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let deadline = Instant::now() + Duration::from_secs(3600);
        let database = owing(directory.path(), Duration::ZERO).await;
        assert!(nothing_due(&database, deadline).now_or_never().is_none(), "it is due");
        let (now, lease) = (human::now(), Duration::from_secs(60));
        let claimed =
            database.claim_deliveries("sender", now, lease, |_, _| Room { more: 1, at: None }, 1).await;
        assert_eq!(claimed.unwrap().len(), 1);
        assert!(nothing_due(&database, deadline).now_or_never().is_none(), "it is being sent");
        assert!(nothing_due(&database, Instant::now()).now_or_never().is_some(), "it takes too long");

        let directory = tempfile::tempdir().unwrap();
        let database = owing(directory.path(), Duration::from_secs(5)).await;
        assert!(nothing_due(&database, deadline).now_or_never().is_some(), "it is due later");
    }
}
