//! Fetches the files that are owed, a few at a time, until each is there or is gone for good.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::MultiProgress;
use mediahooks_receiver::{Asset, ClientError, Download, EventKey, MediaClient, Metadata, safe_file_name};
use reqwest::{Client, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::journal::{Accepted, Journal};
use crate::cli::print;
use crate::output::media::{MEDIA_OF_PLAYLIST, progress_bar, show_progress};
use crate::output::style::{Style, Tone};
use crate::output::{human, table};

/// Transfers at one time.
const TRANSFERS_MAX: usize = 4;

/// The wait after a failure; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The downloads of one directory. Clones are one.
#[derive(Clone)]
pub struct Downloads {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    journal: Mutex<Journal>,
    /// Where links are asked for, as messages name it.
    server: String,
    media: MediaClient,
    http: Client,
    slots: Semaphore,
    bars: MultiProgress,
    style: Style,
}

/// How an attempt ended.
enum Attempt {
    /// The file is there.
    Saved { path: PathBuf, size_bytes: u64, already_there: bool, of_playlist: bool },
    /// It never will be; the text says why.
    Gone(String),
}

impl Downloads {
    /// Opens the directory, which is made when it is missing. What is owed from before waits for [`Downloads::resume`].
    pub fn open(directory: &Path, server: &str, secret: &str, style: Style) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let journal = Journal::open(directory)
            .with_context(|| format!("cannot download into {}", directory.display()))?;
        let http = Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self {
            shared: Arc::new(Shared {
                directory: directory.to_owned(),
                journal: Mutex::new(journal),
                server: place(server),
                media: MediaClient::new(http.clone(), server, secret)?,
                http,
                slots: Semaphore::new(TRANSFERS_MAX),
                bars: MultiProgress::new(),
                style,
            }),
        })
    }

    /// Goes on with what is owed from before, and tells of it: once everything else was said that comes first.
    pub fn resume(&self) {
        let owed: Vec<String> = {
            let journal = self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.wanted().map(str::to_owned).collect()
        };
        for asset in owed {
            self.fetch(asset);
        }
    }

    /// Takes a hook and, once it is on disk, begins to fetch the file it asks for.
    pub async fn accept(&self, key: EventKey, asset: Option<String>) -> anyhow::Result<Accepted> {
        let wanted = asset.clone();
        let accepted = self.on_journal(move |journal| journal.accept(key, wanted.as_deref())).await?;
        if accepted == Accepted::New
            && let Some(asset) = asset
        {
            self.fetch(asset);
        }
        Ok(accepted)
    }

    /// Prints a line without disturbing the progress bars.
    pub fn say(&self, line: &str) {
        // Nobody is left to read it.
        self.shared.bars.suspend(|| drop(print(&format!("{line}\n"))));
    }

    async fn on_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Journal) -> std::io::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let shared = Arc::clone(&self.shared);
        let work = move || work(&mut shared.journal.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// One task for each file; their number is bounded by the journal, their transfers by the slots.
    fn fetch(&self, asset: String) {
        let downloads = self.clone();
        tokio::spawn(async move {
            let mut wait = BACKOFF_FIRST;
            loop {
                match downloads.attempt(&asset).await {
                    Ok(ended) => return downloads.settle(&asset, ended).await,
                    Err(error) => downloads.say(&downloads.shared.style.paint(
                        Tone::Bad,
                        &format!("{asset}: {error:#}; again in {}", human::duration(wait)),
                    )),
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        });
    }

    async fn settle(&self, asset: &str, ended: Attempt) {
        match ended {
            Attempt::Saved { path, size_bytes, already_there, of_playlist } => {
                let verb = if already_there { "is there already" } else { "saved" };
                let what = if of_playlist { MEDIA_OF_PLAYLIST } else { "" };
                let text = format!("{verb}: {} ({}){what}", path.display(), human::size(size_bytes));
                self.say(&self.shared.style.paint(Tone::Good, &text));
            }
            Attempt::Gone(why) => self.say(&format!("{asset} cannot be fetched any more: {why}")),
        }
        let id = asset.to_owned();
        if let Err(error) = self.on_journal(move |journal| journal.done(&id)).await {
            self.say(&format!("the journal cannot be written, so {asset} is fetched again: {error:#}"));
        }
    }

    async fn attempt(&self, id: &str) -> anyhow::Result<Attempt> {
        let shared = &self.shared;
        let _slot = shared.slots.acquire().await?;
        let asset = match shared.media.asset(id).await {
            Ok(asset) => asset,
            Err(ClientError::Refused { status, message }) if is_missing(status) => {
                return Ok(Attempt::Gone(format!("{} says: {}", shared.server, table::cell(&message))));
            }
            Err(error) => {
                let advice = advice(&error);
                let what = format!("no download link from {} ({advice})", shared.server);
                return Err(anyhow::Error::new(error).context(what));
            }
        };
        if matches!(asset.status.as_str(), "deleting" | "deleted" | "error") {
            return Ok(Attempt::Gone(format!("it is {}", table::cell(&asset.status))));
        }
        self.transfer(&asset).await
    }

    async fn transfer(&self, asset: &Asset) -> anyhow::Result<Attempt> {
        let link = asset.download.file_url();
        let link = link.with_context(|| format!("{} gave no download link", self.shared.server))?;
        let from = place(link);
        let metadata =
            asset.metadata.clone().and_then(|value| serde_json::from_value::<Metadata>(value).ok());
        let extension = metadata.unwrap_or_default().extension();
        let path = self.shared.directory.join(safe_file_name(asset.name.as_deref(), &asset.id, extension));
        let bar = self.shared.bars.add(progress_bar(&path));
        let shown = bar.clone();
        let outcome = Download::new(self.shared.http.clone(), link)
            .to(path)
            .progress(move |progress| show_progress(&shown, progress))
            .run()
            .await;
        bar.finish_and_clear();
        self.shared.bars.remove(&bar);
        let file = outcome.with_context(|| {
            format!("no file from {from} (download links begin with the server's `public_url`)")
        })?;
        Ok(Attempt::Saved {
            path: file.path,
            size_bytes: file.size_bytes,
            already_there: file.already_there,
            of_playlist: asset.download.media_url.is_some(),
        })
    }
}

/// Where an address leads to, without what may be secret in it: a name and a password, or a signature.
fn place(address: &str) -> String {
    Url::parse(address)
        .map_or_else(|_| "an unusable address".to_owned(), |url| url.origin().ascii_serialization())
}

/// What to do about a server that did not tell of an asset.
fn advice(error: &ClientError) -> &'static str {
    match error {
        ClientError::Transfer(_) => "start it there, or say where it is: --server URL",
        ClientError::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. } => {
            "give an API secret of it: --secret SECRET, or say where the right one is: --server URL"
        }
        _ => "if this is another server, say where the right one is: --server URL",
    }
}

/// Media Hooks and hosted Millicast answer 400 for an asset that is not there.
fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE)
}
