//! The bytes of a range of a file, piece by piece: read, put together, or left to the kernel.
//!
//! What always holds: a download keeps a few hundred kilobytes in memory, whatever it reads, and what it reads is not
//! freed before the client has it.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use mediahooks_media::virtual_file::{Extent, Piece};
use mediahooks_model::TimelineId;
use mediahooks_storage::{ChunkReader, Part, StoredRange, gather};

use crate::error::RecorderError;
use crate::finish::PreparedFile;
use crate::state::{Reading, Shared};

/// Bytes read at a time: what one download keeps in memory.
const READ_MAX: u64 = 256 << 10;

/// The same where a connection carries many downloads, each of which keeps a piece for as long as its client likes.
const READ_MAX_OF_MANY: u64 = 16 << 10;

/// Bytes that the kernel is given to send at a time; they take no memory.
const SEND_MAX: u64 = 1 << 20;

/// Bytes in one place from which on they are sent as they are. Fewer are put together with what is around them:
/// copying costs less than a system call, or a packet, for each.
const LONG: u64 = 64 << 10;

/// A part of a file on its way to a client.
pub enum DownloadPiece {
    /// The bytes.
    Bytes(Bytes),
    /// Bytes that need not be read here.
    Stored(StoredPiece),
}

/// Stored bytes that the kernel can send to a socket from its page cache. While this exists, they are not
/// freed.
pub struct StoredPiece {
    range: StoredRange,
    hold: Hold,
}

/// While this exists, the bytes of a download are not freed.
///
/// What the kernel has taken from its page cache is on its way as that very page: freeing the bytes then may
/// fill it with zeros, before the client or a repeat after a loss has it. So a hold is let go of only once the
/// client has shown that it has them, or is cut off.
#[derive(Clone)]
pub struct Hold(Arc<Reading>);

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl StoredPiece {
    /// Bytes; at least one.
    pub fn len(&self) -> u64 {
        self.range.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Keeps the bytes from being freed for longer than this piece does.
    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// See [`StoredRange::send`].
    pub fn send(&self, socket: impl AsFd, skip: u64, max: u64) -> io::Result<usize> {
        self.range.send(socket, skip, max)
    }

    /// Reads them after all.
    ///
    /// Errors: [`RecorderError`] when they cannot be read.
    pub async fn read(&self) -> Result<Bytes, RecorderError> {
        Ok(self.range.read().await?)
    }
}

/// What is left of a range to be read.
pub(super) struct Body {
    shared: Arc<Shared>,
    file: Arc<PreparedFile>,
    reading: Arc<Reading>,
    /// What is left.
    pub(super) range: Range<u64>,
    open: Option<(TimelineId, u32, ChunkReader)>,
}

/// What follows in a file.
pub(super) enum Next {
    /// Many bytes that were made.
    Made(Bytes),
    /// Many bytes in one place.
    Stored { reader: ChunkReader, start: u64, len: u64 },
    /// Few bytes each, and not too many together.
    Short(Vec<Part>),
}

impl Body {
    /// Of a file that is there as long as `reading` is.
    pub(super) fn new(
        shared: Arc<Shared>,
        file: Arc<PreparedFile>,
        reading: Arc<Reading>,
        range: Range<u64>,
    ) -> Self {
        Self { shared, file, reading, range, open: None }
    }

    /// What comes next: something long, or all that is short up to there. It stays in the range.
    pub(super) async fn next(&mut self) -> Result<Option<Next>, RecorderError> {
        let (mut parts, mut len) = (Vec::new(), 0);
        while len < READ_MAX && self.range.start + len < self.range.end {
            let piece = self.file.movie.file.piece(self.range.start + len..self.range.end)?;
            let is_long = piece.len() >= LONG;
            if is_long && !parts.is_empty() {
                break;
            }
            let room = READ_MAX - len;
            let part = match piece {
                Piece::Bytes(bytes) if is_long => return Ok(Some(Next::Made(bytes))),
                Piece::Bytes(mut bytes) => {
                    bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                    Part::Made(bytes)
                }
                Piece::Extent(extent) => {
                    let (reader, start) = self.locate(extent).await?;
                    if is_long {
                        return Ok(Some(Next::Stored { reader, start, len: extent.len }));
                    }
                    Part::Stored(reader.range(start, extent.len.min(room)))
                }
            };
            len += part.len();
            parts.push(part);
        }
        Ok((!parts.is_empty()).then_some(Next::Short(parts)))
    }

    /// Takes a small piece off the range.
    pub(super) async fn take_small(&mut self) -> Result<Option<Bytes>, RecorderError> {
        let end = self.range.end.min(self.range.start.saturating_add(READ_MAX_OF_MANY));
        let (mut parts, mut at) = (Vec::new(), self.range.start);
        while at < end {
            let part = match self.file.movie.file.piece(at..end)? {
                Piece::Bytes(bytes) => Part::Made(bytes),
                Piece::Extent(extent) => {
                    let (reader, start) = self.locate(extent).await?;
                    Part::Stored(reader.range(start, extent.len))
                }
            };
            at += part.len();
            parts.push(part);
        }
        self.range.start = at;
        Ok(if parts.is_empty() { None } else { Some(gather(parts).await?) })
    }

    /// Takes a piece off the range. `by_kernel`: what is in the page cache need not be read.
    pub(super) async fn take(&mut self, by_kernel: bool) -> Result<Option<DownloadPiece>, RecorderError> {
        let Some(next) = self.next().await? else { return Ok(None) };
        let bytes = match next {
            Next::Made(bytes) => bytes,
            Next::Short(parts) => gather(parts).await?,
            Next::Stored { reader, start, len } => {
                let cached = if by_kernel { reader.cached(start, len.min(SEND_MAX)) } else { None };
                if let Some(range) = cached {
                    self.range.start += range.len();
                    let hold = Hold(Arc::clone(&self.reading));
                    return Ok(Some(DownloadPiece::Stored(StoredPiece { range, hold })));
                }
                reader.range(start, len.min(READ_MAX)).read().await?
            }
        };
        self.range.start += bytes.len() as u64;
        Ok(Some(DownloadPiece::Bytes(bytes)))
    }

    /// The open file that holds an extent, and where in it.
    async fn locate(&mut self, extent: Extent) -> Result<(ChunkReader, u64), RecorderError> {
        let place = self.file.places.get(extent.source as usize).ok_or(RecorderError::SegmentsMissing)?;
        let (timeline, chunk) = (place.timeline, place.chunk);
        let start = place.offset.checked_add(extent.offset).ok_or(RecorderError::SegmentsMissing)?;
        let reader = match &self.open {
            Some((of, open, reader)) if (*of, *open) == (timeline, chunk) => reader.clone(),
            _ => self.shared.storage.open_chunk(timeline, chunk).await?,
        };
        self.open = Some((timeline, chunk, reader.clone()));
        Ok((reader, start))
    }
}
