//! Fetches a file so that what stands at its final path is always whole.
//!
//! Bytes go to `path.part`, with `path.part.state` beside it, and are renamed once their number is what
//! the server announced and they are synced. A broken transfer, also one broken by the end of the process,
//! goes on where it stopped as long as the server vouches with a strong ETag that the file is
//! still the same (RFC 9110 §13.1.5, `If-Range`); otherwise it begins anew.

mod error;
mod part;
mod patience;
mod reply;

use std::path::{Path, PathBuf};

use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, Response};

use error::Failure;
use part::PartFile;
use patience::Patience;
use reply::{Plan, ReplyHead};

pub use error::{AttemptError, DownloadError};
pub use patience::DownloadPolicy;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, those of earlier attempts included. Falls back to zero when a transfer begins anew.
    pub received_bytes: u64,
    /// Bytes of the whole file, when the server said.
    pub total_bytes: Option<u64>,
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// Whether it was there already, with the length that the server announces, and nothing was fetched.
    pub already_there: bool,
    /// HTTP requests made.
    pub requests: u32,
}

/// How an attempt ends when it succeeds.
enum Attempt {
    Whole,
    AlreadyThere { size_bytes: u64 },
}

type OnProgress = Box<dyn FnMut(Progress) + Send>;

/// One file to fetch. Made with [`Download::new`], aimed with [`Source::to`], started with [`Download::run`].
pub struct Download {
    client: Client,
    url: String,
    target: PathBuf,
    policy: DownloadPolicy,
    replace: bool,
    on_progress: OnProgress,
}

impl std::fmt::Debug for Download {
    /// Leaves the URL out: its query is a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A [`Download`] that has no target yet.
#[derive(Clone)]
pub struct Source {
    client: Client,
    url: String,
}

impl std::fmt::Debug for Source {
    /// Leaves the URL out: its query is a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source(..)")
    }
}

impl Source {
    /// Aims at `path`, whose folder has to exist. `path.part` and `path.part.state` are used meanwhile.
    pub fn to(self, path: impl AsRef<Path>) -> Download {
        Download {
            client: self.client,
            url: self.url,
            target: path.as_ref().to_owned(),
            policy: DownloadPolicy::default(),
            replace: false,
            on_progress: Box::new(|_| {}),
        }
    }
}

impl Download {
    /// Begins with the link, as [`crate::DownloadLinks::file_url`] of an asset gives it.
    #[allow(clippy::new_ret_no_self)] // A download without a target could not be run.
    pub fn new(client: Client, url: impl Into<String>) -> Source {
        Source { client, url: url.into() }
    }

    /// Sets the patience; [`DownloadPolicy::default`] otherwise.
    #[must_use]
    pub fn policy(mut self, policy: DownloadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Allows replacing a file at the final path, in one step, once the new one is whole. Otherwise a file of
    /// the announced length is taken for the same one and left alone, and any other is an error.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Calls `on_progress` after each piece. It runs between reads, so it has to be quick.
    #[must_use]
    pub fn progress(mut self, on_progress: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Fetches the file. Dropping the future stops the transfer; a later run goes on from there.
    ///
    /// # Errors
    /// [`DownloadError`]; the final path is untouched then.
    pub async fn run(mut self) -> Result<Downloaded, DownloadError> {
        let mut part = PartFile::open(&self.target).await?;
        let mut patience = Patience::default();
        loop {
            patience.requests += 1;
            match self.attempt(&mut part).await {
                Ok(ended) => return self.finish(part, ended, patience.requests).await,
                Err(Failure::Lasting(error)) => {
                    // The first error says more than one that tidying up may add.
                    let _ = part.put_aside().await;
                    return Err(error);
                }
                Err(Failure::Passing { error, retry_after }) => {
                    part.checkpoint().await?;
                    match patience.wait(&self.policy, part.len(), retry_after) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => {
                            part.put_aside().await?;
                            return Err(DownloadError::GaveUp { requests: patience.requests, source: error });
                        }
                    }
                }
            }
        }
    }

    async fn finish(
        self,
        part: PartFile,
        ended: Attempt,
        requests: u32,
    ) -> Result<Downloaded, DownloadError> {
        let (size_bytes, already_there) = match ended {
            Attempt::AlreadyThere { size_bytes } => {
                part.discard().await?;
                (size_bytes, true)
            }
            Attempt::Whole => (part.publish(self.replace).await?, false),
        };
        Ok(Downloaded { path: self.target, size_bytes, already_there, requests })
    }

    /// One request, and its body as far as it comes.
    async fn attempt(&mut self, part: &mut PartFile) -> Result<Attempt, Failure> {
        let mut response = self.send(part).await?;
        let head = ReplyHead::of(&response);
        let plan = reply::judge(&head, part.len(), part.validator())?;
        if plan.total().is_some_and(|total| total > self.policy.size_bytes_max) {
            return Err(DownloadError::TooLarge { max: self.policy.size_bytes_max }.into());
        }
        if let Some(already) = self.look_at_target(plan.total()).await? {
            return Ok(already);
        }
        let expected = match plan {
            Plan::Whole { .. } => return Ok(Attempt::Whole),
            Plan::Restart => {
                part.restart(None, None).await?;
                return Err(AttemptError::WrongRange.into());
            }
            Plan::FromStart { total } => {
                part.restart(head.etag, total).await?;
                total
            }
            Plan::Continue { total } => Some(total),
        };
        self.receive(&mut response, part, expected).await?;
        Ok(Attempt::Whole)
    }

    /// Takes `self` as mutable so that a download can run in a task: the callback in it is not `Sync`.
    async fn send(&mut self, part: &PartFile) -> Result<Response, Failure> {
        // Range and length speak of the bytes as stored, so no encoding may come in between.
        let mut request = self.client.get(&self.url).header(ACCEPT_ENCODING, "identity");
        if let Some(etag) = part.validator().filter(|_| part.len() > 0) {
            request = request.header(RANGE, format!("bytes={}-", part.len())).header(IF_RANGE, etag);
        }
        match tokio::time::timeout(self.policy.idle_timeout, request.send()).await {
            Err(_) => Err(AttemptError::Idle(self.policy.idle_timeout).into()),
            Ok(Err(error)) if error.is_builder() || error.is_redirect() => {
                Err(DownloadError::Url(error.without_url()).into())
            }
            Ok(Err(error)) => Err(AttemptError::Transfer(error.without_url()).into()),
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// What a file at the final path means, when it may not be replaced.
    async fn look_at_target(&mut self, total: Option<u64>) -> Result<Option<Attempt>, DownloadError> {
        if self.replace {
            return Ok(None);
        }
        match tokio::fs::symlink_metadata(&self.target).await {
            Ok(there) if there.is_file() && Some(there.len()) == total => {
                Ok(Some(Attempt::AlreadyThere { size_bytes: there.len() }))
            }
            Ok(_) => Err(DownloadError::TargetExists { path: self.target.clone() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DownloadError::File { action: "look at", path: self.target.clone(), source }),
        }
    }

    async fn receive(
        &mut self,
        response: &mut Response,
        part: &mut PartFile,
        expected: Option<u64>,
    ) -> Result<(), Failure> {
        let limit = expected.unwrap_or(self.policy.size_bytes_max);
        loop {
            (self.on_progress)(Progress { received_bytes: part.len(), total_bytes: expected });
            let piece = match tokio::time::timeout(self.policy.idle_timeout, response.chunk()).await {
                Err(_) => return Err(AttemptError::Idle(self.policy.idle_timeout).into()),
                Ok(Err(error)) => return Err(AttemptError::Transfer(error.without_url()).into()),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(piece))) => piece,
            };
            let received = part.len().saturating_add(piece.len() as u64);
            match expected {
                Some(expected) if received > expected => {
                    return Err(AttemptError::WrongLength { received, expected }.into());
                }
                None if received > limit => return Err(DownloadError::TooLarge { max: limit }.into()),
                _ => part.append(&piece).await?,
            }
        }
        match expected {
            Some(expected) if part.len() != expected => {
                Err(AttemptError::WrongLength { received: part.len(), expected }.into())
            }
            _ => Ok(()),
        }
    }
}
