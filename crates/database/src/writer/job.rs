//! An operation on its way through the writer: what is to be done, and who waits for the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::Writing;
use crate::error::{DatabaseError, Result};

/// An operation on its way through the writer.
pub(super) trait Job: Send {
    /// Carries it out inside its savepoint and keeps the outcome.
    fn run(&mut self, tx: &Writing<'_>) -> Kept;
    /// Answers the caller; `lost` when what was done did not become durable.
    fn answer(self: Box<Self>, lost: Option<DatabaseError>);
    /// Who asked for it.
    fn name(&self) -> &'static str;
}

/// Whether an operation's changes are to be committed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

pub(super) struct Operation<F, R> {
    pub(super) work: Option<F>,
    pub(super) outcome: Option<Result<R>>,
    pub(super) reply: oneshot::Sender<Result<R>>,
}

impl<F, R> Job for Operation<F, R>
where
    F: FnOnce(&Writing<'_>) -> Result<R> + Send,
    R: Send,
{
    fn run(&mut self, tx: &Writing<'_>) -> Kept {
        let Some(work) = self.work.take() else { return Kept::No };
        // The savepoint undoes what a panicking operation did, so nothing half-done is seen again.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|panic| {
            let what = panic_text(panic.as_ref());
            tracing::error!(panic = what, "a database operation panicked and was undone");
            Err(DatabaseError::internal(format!("an operation panicked: {what}")))
        });
        let kept = if outcome.is_ok() { Kept::Yes } else { Kept::No };
        self.outcome = Some(outcome);
        kept
    }

    fn answer(self: Box<Self>, lost: Option<DatabaseError>) {
        let outcome = match (self.outcome, lost) {
            (Some(Ok(_)) | None, Some(lost)) => Err(lost),
            (Some(outcome), _) => outcome,
            (None, None) => Err(DatabaseError::Closed),
        };
        // A caller that has gone away wants no answer.
        let _ = self.reply.send(outcome);
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Why operations fail that shared a transaction with one that ended it.
#[derive(Debug, thiserror::Error)]
#[error("another operation of the same transaction met a full or failing disk")]
pub(super) struct Undone;
