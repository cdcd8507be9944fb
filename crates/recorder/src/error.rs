//! What can go wrong, for the people concerned.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mediahooks_database::DatabaseError;
use mediahooks_media::error::MuxError;
use mediahooks_media::virtual_file::PieceError;
use mediahooks_model::{AssetStatus, Gap, Refused};
use mediahooks_storage::StorageError;
use mediahooks_timeline::index::IndexError;
use mediahooks_timeline::movie::MovieError;

use crate::clip::Absence;

/// A failure of the machinery, not of the request.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DatabaseError),
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
    /// A stored sample table cannot be read.
    #[error("a stored segment index cannot be read")]
    Index(#[from] IndexError),
    /// Media cannot be written as a file.
    #[error("media cannot be written as a file")]
    Mux(#[from] MuxError),
    /// An asset's file cannot be built from what is stored.
    #[error("the file of an asset cannot be built")]
    Movie(#[from] MovieError),
    /// A part of a file cannot be generated.
    #[error("a part of the file cannot be generated")]
    Piece(#[from] PieceError),
    /// Segments that an asset refers to are not there.
    #[error("segments that the asset refers to are missing")]
    SegmentsMissing,
    /// Segments in the midst of what an asset refers to are not there.
    #[error("segments are missing between others that the asset refers to")]
    SegmentsLost,
    /// A request for clips cannot be written down.
    #[error("a request for clips cannot be written as JSON")]
    Unwritable,
    /// The media directory carries the identity of another database.
    #[error(
        "the media directory {} belongs to another database: this one would remove all media in it; start with the database it was written with, or move the directory away to begin with an empty one",
        .directory.display()
    )]
    ForeignMedia {
        /// The directory.
        directory: PathBuf,
    },
    /// The media directory holds chunk files of nobody known, and the database knows no segment.
    #[error(
        "the media directory {} holds media, but the database is new and would remove it: start with the database it was written with, or move the directory away to begin with an empty one",
        .directory.display()
    )]
    UnknownMedia {
        /// The directory.
        directory: PathBuf,
    },
}

impl RecorderError {
    /// Whether the same request can succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient()) || matches!(self, Self::Storage(_))
    }

    /// Whether what the database holds of the media is damaged: trying again does not help.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Database(DatabaseError::Corrupt { .. }) | Self::SegmentsLost)
    }
}

/// Why a clip is not made. The texts are for the API's client.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// Nothing that can be clipped was received from such a stream in that range. The text is that of the hosted
    /// service; [`Absence`] says more.
    #[error(
        "No timelines found matching clipping requirements. Ensure clipping is enabled on token and Timeline(s) with specified conditions exist."
    )]
    NoTimelines(Absence),
    /// The range begins later than now.
    #[error("startTime must be in the past, and it is {} ahead of the server's clock", seconds(.ahead))]
    StartsInFuture {
        /// By how much.
        ahead: Duration,
    },
    /// The range has no length.
    #[error("stopTime must be after startTime")]
    StopNotAfterStart,
    /// The range is too short.
    #[error("a clip must be at least {} long", seconds(.min))]
    TooShort {
        /// Shortest clip.
        min: Duration,
    },
    /// The range is too long.
    #[error("a clip must be at most {} long", seconds(.max))]
    TooLong {
        /// Longest clip.
        max: Duration,
    },
    /// The range has gaps, and the one who asked wants none.
    #[error("the range has gaps: {}; ask for another range, or for gaps `split`, `collapse` or `hold`", gap_words(.gaps))]
    Gaps {
        /// In order.
        gaps: Vec<Gap>,
    },
    /// What was sent cannot be a WebM.
    #[error("targetFormat webm is for VP8, VP9, AV1 and Opus, and the range has {codec}: ask for mp4")]
    NotInWebm {
        /// The codec that it has not.
        codec: &'static str,
    },
    /// The stream was interrupted more often than that.
    #[error(
        "the range makes {clips} clips, and one request makes at most {max}: ask for a shorter range, for one source, or for gaps `collapse` or `hold`"
    )]
    TooManyClips {
        /// How many clips the range makes, or more.
        clips: usize,
        /// So many may be.
        max: usize,
    },
    /// It would expire before it is made.
    #[error("expiration must be in the future")]
    ExpiresInPast,
    /// The idempotency key came with another request before.
    #[error("this Idempotency-Key was used with a different request; use a new key for a new clip")]
    KeyReused,
    /// One path cannot lead to two files.
    #[error("customPath is taken by another asset")]
    CustomPathTaken,
    /// One path was asked for, but the range makes several clips.
    #[error("customPath cannot be used here: the range makes {clips} clips; narrow it by sourceId or time")]
    CustomPathForSeveral {
        /// How many clips the range makes.
        clips: usize,
    },
    /// Not the request's fault.
    #[error("the clip could not be made")]
    Internal(#[from] RecorderError),
}

/// Gaps in words, the first few of many.
pub(crate) fn gap_words(gaps: &[Gap]) -> String {
    const TOLD_MAX: usize = 10;
    let one = |gap: &Gap| {
        let length = Duration::from_millis(gap.duration_ms).as_secs_f64();
        format!("{} to {} ({length} s, {})", gap.start_time, gap.stop_time, gap.reason.as_str())
    };
    let mut words: Vec<String> = gaps.iter().take(TOLD_MAX).map(one).collect();
    if gaps.len() > TOLD_MAX {
        words.push(format!("and {} more", gaps.len() - TOLD_MAX));
    }
    words.join(", ")
}

fn seconds(span: &Duration) -> String {
    match span.as_secs() {
        hours if hours >= 3600 && hours % 3600 == 0 => format!("{} h", hours / 3600),
        _ => format!("{} s", span.as_secs_f64()),
    }
}

impl From<DatabaseError> for ClipError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

/// Why a timeline cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// There is no such timeline, or it has nothing of this name.
    #[error("There is no such timeline, or nothing of this name in it")]
    NotFound,
    /// It has just begun: how long its segments are is not known.
    #[error("The timeline has just begun; ask again in some seconds")]
    NotYet,
    /// It was deleted or has expired.
    #[error("The timeline was deleted or has expired")]
    Gone,
    /// What is waited for is further off than the next segment.
    #[error("The segment asked for is too far ahead: ask for the next one, or the one after it")]
    TooFarAhead,
    /// A fault of ours.
    #[error("the timeline cannot be read")]
    Internal(#[from] RecorderError),
}

impl From<DatabaseError> for PreviewError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is no such asset, or it never has a file.
    #[error("there is no such file")]
    NotFound,
    /// A timeline: it is what clips are cut from.
    #[error("the asset is a timeline, which has no file: make a clip of it")]
    Timeline,
    /// The asset is not complete.
    #[error("the asset is `{status}`; its file can be downloaded once it is `complete`")]
    NotReady {
        /// Where it stands.
        status: AssetStatus,
    },
    /// The asset was deleted.
    #[error("the asset was deleted")]
    Gone,
    /// Not the request's fault.
    #[error("the file could not be opened")]
    Internal(#[from] RecorderError),
}

impl From<DatabaseError> for DownloadError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

/// Why a file is not exported. The texts are for the API's client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExportError {
    /// The asset has no file, or not yet, or not any more.
    #[error(transparent)]
    NoFile(Arc<DownloadError>),
    /// The file would fill the disk; nothing of it was left there.
    #[error(
        "the file has {needed_bytes} bytes, and the export directory's disk has {free_bytes} free, of which {reserve_bytes} are kept for what is being recorded: make room there, or set `export_dir` to another disk"
    )]
    NoRoom {
        /// Bytes of the file.
        needed_bytes: u64,
        /// Bytes that are free; 0 when they ran out on the way.
        free_bytes: u64,
        /// Bytes of them that are kept, where the media lies on the same disk.
        reserve_bytes: u64,
    },
    /// Too many are asked for.
    #[error("{max} exports are running or waiting already: ask again when some are done")]
    TooMany {
        /// So many may be.
        max: usize,
    },
    /// The server stops; nothing of it was left.
    #[error("the server stops, and the export with it: ask again when it is back")]
    Stopping,
    /// Not the request's fault; nothing of it was left.
    #[error("the file could not be exported")]
    Internal(#[source] Arc<RecorderError>),
}

impl From<DownloadError> for ExportError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Internal(error) => error.into(),
            error => Self::NoFile(Arc::new(error)),
        }
    }
}

impl From<RecorderError> for ExportError {
    fn from(error: RecorderError) -> Self {
        Self::Internal(Arc::new(error))
    }
}

impl From<StorageError> for ExportError {
    fn from(error: StorageError) -> Self {
        RecorderError::from(error).into()
    }
}

/// Why an asset is not marked for removal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRefused {
    /// There is none of this id, or not any more.
    #[error("there is no media asset with this id")]
    NotFound,
    /// It is a recording or a timeline whose feed is live.
    #[error("it is still being received: stop its stream first, or delete it once it is complete")]
    BeingReceived,
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
}
