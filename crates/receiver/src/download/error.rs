//! Why a download failed: for good ([`DownloadError`]), or in one attempt that another may repair
//! ([`AttemptError`]). No message holds the URL: its query is a credential.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;

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
    /// Above [`super::DownloadPolicy::size_bytes_max`].
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
    /// Nothing came for as long as [`super::DownloadPolicy::idle_timeout`].
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
pub(super) enum Failure {
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
