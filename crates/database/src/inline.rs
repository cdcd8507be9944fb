//! Operations that run on their callers, for simulations.
//!
//! No thread, no waiting, no syncing: with a simulated clock, a run is the same every time. The
//! transactions and the code in them are those of a real database. Around each commit a simulation is
//! asked what happens there, and may have it fail, or let the process die.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{DatabaseError, Result};

/// How a database runs in a simulation. Clones share one fate.
#[derive(Clone)]
pub struct Inline {
    fate: Arc<Decide>,
    dead: Arc<AtomicBool>,
}

type Decide = dyn Fn(Step<'_>) -> Fate + Send + Sync;

/// A moment at which a process can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// The function whose operation it is, by its path.
    pub operation: &'a str,
    /// Where in it.
    pub moment: Moment,
}

/// A side of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Everything is written and nothing is durable.
    BeforeCommit,
    /// Everything is durable and nobody knows.
    AfterCommit,
}

/// What happens at a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    GoOn,
    /// The commit fails, as on a full disk. After a commit this is the same as [`Fate::GoOn`].
    Fail,
    /// The process dies: this operation and all later ones are never answered.
    Die,
}

/// Why a commit failed that was made to.
#[derive(Debug, thiserror::Error)]
#[error("the simulation says so")]
struct Simulated;

impl Inline {
    /// Asks `fate` around each commit.
    pub fn new(fate: impl Fn(Step<'_>) -> Fate + Send + Sync + 'static) -> Self {
        Self { fate: Arc::new(fate), dead: Arc::default() }
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Resolves at once, or never once the process is dead.
    pub(crate) async fn alive(&self) {
        if self.is_dead() {
            std::future::pending().await
        }
    }

    pub(crate) fn reach(&self, operation: &str, moment: Moment) -> Result<()> {
        match (self.fate)(Step { operation, moment }) {
            Fate::GoOn => return Ok(()),
            Fate::Fail => {}
            Fate::Die => self.dead.store(true, Ordering::Relaxed),
        }
        Err(DatabaseError::unavailable("write", Simulated))
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}
