//! What can go wrong, in the domain's words; the engine's own error is only ever a source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mediahooks_model::Refused;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// The outcome of an operation on the database.
pub type Result<T, E = DatabaseError> = std::result::Result<T, E>;

/// The engine's error: shared, because a commit that fails does so for every operation in it.
type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why an operation did not happen. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The storage below failed: a full or failing disk, or a missing file. Trying again can help.
    #[error("cannot {doing}{}", in_file(.path))]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// The file concerned, where it matters.
        path: Option<PathBuf>,
        /// Why.
        source: Source,
    },
    /// The database was closed, or opened for reading only.
    #[error("the database is closed for writing")]
    Closed,
    /// Another process has it open.
    #[error(
        "the database {} is in use by another process: stop that one, or choose another data directory",
        .path.display()
    )]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: run the newer program"
    )]
    NewerSchema {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The asset does not take the step.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What the operation is about does not exist.
    #[error("there is no such object")]
    NotFound,
    /// The idempotency key has a stored reply already: read it and answer with that.
    #[error("the idempotency key was used before")]
    KeyUsed,
    /// Something else stands in the way.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The database is of an earlier version and there is no room to bring it up to date; nothing was changed.
    #[error(
        "bringing the database up to date takes {needed_bytes} bytes, and its disk has {free_bytes} free: make room there and start again"
    )]
    NoRoom {
        /// Bytes that it takes meanwhile, about.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// What is stored cannot be understood. Trying again does not help.
    #[error("the database holds something unreadable: {what}")]
    Corrupt {
        /// What, without the contents.
        what: String,
    },
    /// A mistake in this program; nothing was stored.
    #[error("internal error in the database layer: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

/// What stands in the way of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another asset is published at this path.
    #[error("the custom path is taken by another asset")]
    CustomPath,
    /// The id, name or secret exists already.
    #[error("it exists already")]
    Exists,
    /// The media that a recipe asks for is not there, or no longer.
    #[error("the media is not stored any more")]
    MediaGone,
}

fn in_file(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default()
}

impl DatabaseError {
    /// Whether the same operation can succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(
        doing: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unavailable { doing, path: None, source: Arc::new(source) }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// Names the file, where the error has room for it.
    pub(crate) fn at(mut self, file: &Path) -> Self {
        if let Self::Unavailable { path, .. } = &mut self {
            *path = Some(file.to_owned());
        }
        self
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match &error {
            E::QueryReturnedNoRows => Self::NotFound,
            E::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation => constraint(failure.extended_code, &error),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::corrupt(error.to_string()),
                // SQLITE_ERROR and SQLITE_MISUSE: the statement itself is wrong.
                ErrorCode::Unknown | ErrorCode::ApiMisuse => Self::internal(error.to_string()),
                _ => Self::unavailable("read or write the database", error),
            },
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..) => Self::corrupt(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

/// Every foreign key here points at what the operation is about, or at what it should belong to.
fn constraint(extended: i32, error: &rusqlite::Error) -> DatabaseError {
    match extended {
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => DatabaseError::NotFound,
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Conflict::Exists.into(),
        _ => DatabaseError::internal(error.to_string()),
    }
}
