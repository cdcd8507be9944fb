//! All events, for those who would rather ask than be told: in pages, or as a stream.
//!
//! Ids and bodies are those that webhooks get. What always holds: whoever goes on from the last cursor
//! that it was given misses nothing and reads nothing twice, or is told that there is a gap; nobody who
//! waits holds a database connection, and all waiting ends when the server stops.

pub(crate) mod page;
pub(crate) mod stream;
mod wire;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Streams at a time, and requests that wait for the next event.
const FOLLOWERS_MAX: usize = 256;

/// The places of those who follow or wait.
#[derive(Clone)]
pub(crate) struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FOLLOWERS_MAX)))
    }
}

/// In the extensions of every request that [`crate::serve()`] passes on: cancelled when it stops.
#[derive(Clone)]
pub(crate) struct Stopping(pub(crate) CancellationToken);
