//! Fetches a file so that what stands at its final path is always whole.
//!
//! Bytes go to `path.part`, with `path.part.state` beside it, and are renamed once their number is what
//! the server announced and they are synced. A broken transfer, also one broken by the end of the process,
//! goes on where it stopped as long as the server vouches with a strong ETag that the file is
//! still the same (RFC 9110 §13.1.5, `If-Range`); otherwise it begins anew.

mod part;
mod reply;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};

use part::PartFile;
use reply::{Plan, ReplyHead};

/// How patient a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPolicy {
    /// How often in a row to try without getting at least 1 MiB further, or to the end. Default 8.
    pub attempts_max: NonZeroU32,
    /// The wait after the first failure; each further one doubles it. Default 500 ms.
    pub backoff_first: Duration,
    /// The longest wait, also when the server asks for more by `Retry-After`. Default 30 s.
    pub backoff_max: Duration,
    /// How long to wait for the response head, and between two pieces of the body. Default 30 s.
    pub idle_timeout: Duration,
    /// The largest file accepted, in bytes. Default 1 TiB; a day at 20 Mbit/s is a fifth of it.
    pub size_bytes_max: u64,
}

impl Default for DownloadPolicy {
    fn default() -> Self {
        Self {
            attempts_max: NonZeroU32::MIN.saturating_add(7),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            size_bytes_max: 1 << 40,
        }
    }
}

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

/// Why there is no file. No message holds the URL: its query is a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The link cannot be used.
    #[error("the download link is not a usable http or https URL")]
    Url(#[source] reqwest::Error),
    /// The server refused, and asking again will not help.
    #[error("the server answered {0}: links expire, so read the asset again for a new one")]
    Refused(StatusCode),
    /// Another file is at the final path.
    #[error("{path} exists and is another file: move it away, or allow replacing")]
    TargetExists {
        /// The final path.
        path: PathBuf,
    },
    /// Another download writes to the same path.
    #[error("{path} is being downloaded already")]
    Busy {
        /// The final path.
        path: PathBuf,
    },
    /// Above [`DownloadPolicy::size_bytes_max`].
    #[error("the file is larger than the {max} bytes allowed")]
    TooLarge {
        /// What is allowed.
        max: u64,
    },
    /// The server compressed the body though it was asked not to, so its length proves nothing.
    #[error("the server sent the file with a content encoding that was not asked for")]
    Encoded,
    /// The end of the body could not be told from a broken connection.
    #[error("the server does not say how long the file is, so a broken transfer could not be noticed")]
    NoLength,
    /// Too many attempts brought nothing.
    #[error("gave up after {requests} requests; what was received is kept for the next time")]
    GaveUp {
        /// HTTP requests made.
        requests: u32,
        /// How the last one failed.
        source: AttemptError,
    },
    /// The disk refused.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// How one attempt failed in a way that another may not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// No connection, or it broke.
    #[error("the transfer broke")]
    Transfer(#[source] reqwest::Error),
    /// Nothing came for as long as [`DownloadPolicy::idle_timeout`].
    #[error("nothing arrived for {} s", .0.as_secs())]
    Idle(Duration),
    /// The server is busy or broken.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// A partial response for something else than was asked.
    #[error("the server answered the range request with another range")]
    WrongRange,
    /// The body ended early or went on too long.
    #[error("{received} bytes arrived where {expected} were announced")]
    WrongLength {
        /// Bytes on disk.
        received: u64,
        /// Bytes announced.
        expected: u64,
    },
}

/// What an attempt ends with when it does not succeed.
enum Failure {
    /// May go away.
    Passing { error: AttemptError, retry_after: Option<Duration> },
    /// Will not.
    Lasting(DownloadError),
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Lasting(error)
    }
}

impl From<AttemptError> for Failure {
    fn from(error: AttemptError) -> Self {
        Self::Passing { error, retry_after: None }
    }
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
    /// Begins with the link, as `download.downloadUrl` of an asset holds it.
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

    async fn send(&self, part: &PartFile) -> Result<Response, Failure> {
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
    async fn look_at_target(&self, total: Option<u64>) -> Result<Option<Attempt>, DownloadError> {
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

/// Counts attempts that brought nothing. Only what lies beyond the farthest byte so far counts as
/// progress: a server whose file changes at each request would be asked for ever otherwise.
#[derive(Debug, Default)]
struct Patience {
    requests: u32,
    failures: u32,
    farthest: u64,
}

impl Patience {
    const PROGRESS_BYTES: u64 = 1 << 20;

    /// The wait before the next attempt; `None` when there shall be none.
    fn wait(
        &mut self,
        policy: &DownloadPolicy,
        received: u64,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        if received >= self.farthest.saturating_add(Self::PROGRESS_BYTES) {
            self.farthest = received;
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures >= policy.attempts_max.get() {
            return None;
        }
        let doubled = 1u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        let planned = policy.backoff_first.saturating_mul(doubled);
        Some(planned.max(retry_after.unwrap_or_default()).min(policy.backoff_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn waits(received: &[u64], retry_after: Option<Duration>) -> Vec<Option<u64>> {
        let policy = DownloadPolicy {
            attempts_max: NonZeroU32::new(4).unwrap(),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(3),
            ..DownloadPolicy::default()
        };
        let mut patience = Patience::default();
        received
            .iter()
            .map(|received| patience.wait(&policy, *received, retry_after).map(|wait| wait.as_secs()))
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_bound_and_end() {
        assert_eq!(waits(&[0, 0, 0, 0], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[0, 0], Some(Duration::from_secs(600))), [Some(3), Some(3)]);
    }

    #[test]
    fn only_new_bytes_count_as_progress() {
        assert_eq!(waits(&[0, MIB, 2 * MIB], None), [Some(1), Some(1), Some(1)]);
        assert_eq!(waits(&[MIB, MIB, MIB, MIB], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[MIB, 0, MIB, 0], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[1, 2, 3, 4], None), [Some(1), Some(2), Some(3), None]);
    }
}
