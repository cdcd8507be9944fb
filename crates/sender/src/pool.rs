//! The open connections to one endpoint.
//!
//! Filled and emptied by `endpoint`. What always holds: an HTTP/1.1 connection is with one attempt or idle here,
//! never both; what is idle for [`IDLE_MAX`], closed or over the bound is let go.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use crate::connect::{Connection, Remote};

/// Below the 5 s after which Node.js closes an idle connection: a request that crosses with the close
/// is a failed attempt, for no fault of the endpoint.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(4);

/// The same for HTTP/2, where the server says goodbye and in-time pings tell whether it is still there.
const SHARED_IDLE_MAX: Duration = Duration::from_secs(60);

/// The connections.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// HTTP/1.1, the one used last at the end.
    idle: Vec<Idle>,
    /// HTTP/2.
    shared: Option<Shared>,
}

struct Idle {
    sender: http1::SendRequest<Full<Bytes>>,
    remote: Remote,
    since: Instant,
}

struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    remote: Remote,
    used: Instant,
}

impl Pool {
    /// An open connection for one request.
    pub(crate) fn take(&self) -> Option<(Connection, Remote)> {
        let mut open = self.lock();
        if let Some(shared) = &mut open.shared {
            if !shared.sender.is_closed() {
                shared.used = Instant::now();
                return Some((Connection::Http2(shared.sender.clone()), shared.remote));
            }
            open.shared = None;
        }
        while let Some(idle) = open.idle.pop() {
            if idle.sender.is_ready() && idle.since.elapsed() < IDLE_MAX {
                return Some((Connection::Http1(idle.sender), idle.remote));
            }
        }
        None
    }

    /// Lets others use an HTTP/2 connection too.
    pub(crate) fn share(&self, sender: &http2::SendRequest<Full<Bytes>>, remote: Remote) {
        self.lock().shared = Some(Shared { sender: sender.clone(), remote, used: Instant::now() });
    }

    /// Keeps an HTTP/1.1 connection whose last answer was read to its end; `idle_max` at most.
    pub(crate) fn put(&self, sender: http1::SendRequest<Full<Bytes>>, remote: Remote, idle_max: usize) {
        let mut open = self.lock();
        if open.idle.len() < idle_max {
            open.idle.push(Idle { sender, remote, since: Instant::now() });
        }
    }

    /// Lets go of everything: one of them turned out dead, so the others may be.
    pub(crate) fn clear(&self) {
        *self.lock() = Open::default();
    }

    /// Lets go of what nobody used lately; returns whether anything is left.
    pub(crate) fn sweep(&self) -> bool {
        let mut open = self.lock();
        open.idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE_MAX);
        if open
            .shared
            .as_ref()
            .is_some_and(|shared| shared.sender.is_closed() || shared.used.elapsed() >= SHARED_IDLE_MAX)
        {
            open.shared = None;
        }
        open.shared.is_some() || !open.idle.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
