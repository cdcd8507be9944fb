//! Reads ranges of chunk files, and bytes that belong between them, into one piece of memory.
//!
//! Some files have hundreds of small ranges a second. Those that follow one another where they are stored are
//! read by one system call, wherever in the piece they go.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::reader::{ChunkReader, StoredRange};
use crate::{StorageError, blocking};

/// What the kernel is asked to read ahead once a piece had to come from the disk: some 4 MiB, a hundredth of
/// a second of an ordinary one.
const READ_AHEAD: Option<NonZeroU64> = NonZeroU64::new(4 << 20);

/// Slices that one system call takes on Linux.
const SLICES_MAX: usize = 1024;

/// What a piece is made of.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes that are in memory.
    Made(Bytes),
    /// Bytes to be read.
    Stored(StoredRange),
}

impl Part {
    /// Bytes.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether there are none")]
    pub fn len(&self) -> u64 {
        match self {
            Self::Made(bytes) => bytes.len() as u64,
            Self::Stored(range) => range.len(),
        }
    }

    /// The same of a part that memory has room for, as the caller has seen to.
    fn size(&self) -> usize {
        usize::try_from(self.len()).unwrap_or(usize::MAX)
    }
}

/// The bytes of `parts`, one behind the other; the caller bounds them.
///
/// Errors: [`StorageError::TooShort`]; [`StorageError::Io`].
pub async fn gather(parts: Vec<Part>) -> Result<Bytes, StorageError> {
    let mut buffer = vec![0; parts.iter().map(Part::size).sum()];
    if fill(&parts, &mut buffer, Patience::Cached)? {
        return Ok(buffer.into());
    }
    blocking(move || {
        fill(&parts, &mut buffer, Patience::Blocking)?;
        Ok(buffer.into())
    })
    .await
}

/// Where bytes may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Only from the page cache.
    Cached,
    /// From the disk, too.
    Blocking,
}

/// Tells whether all of `buffer` could be filled; always, unless only from the page cache.
fn fill(parts: &[Part], buffer: &mut [u8], patience: Patience) -> Result<bool, StorageError> {
    let mut wanted = Vec::with_capacity(parts.len());
    let mut rest = buffer;
    for part in parts {
        let (place, after) = rest.split_at_mut(part.size());
        rest = after;
        match part {
            Part::Made(bytes) => place.copy_from_slice(bytes),
            Part::Stored(range) => wanted.push((range, place)),
        }
    }
    let file = |range: &StoredRange| Arc::as_ptr(&range.reader.file).addr();
    wanted.sort_by_key(|(range, _)| (file(range), range.offset));
    let mut wanted = wanted.into_iter().peekable();
    while let Some((first, place)) = wanted.next() {
        let mut end = first.offset + first.len;
        let mut slices = vec![IoSliceMut::new(place)];
        let follows = |range: &StoredRange, end| file(range) == file(first) && range.offset == end;
        while slices.len() < SLICES_MAX
            && let Some((range, place)) = wanted.next_if(|(range, _)| follows(range, end))
        {
            end += range.len;
            slices.push(IoSliceMut::new(place));
        }
        if !read_slices(&first.reader, &mut slices, first.offset, end, patience)? {
            return Ok(false);
        }
        if wanted.peek().is_none() && patience == Patience::Blocking {
            // Advice may be refused; then it is read when it is asked for.
            let _ = fadvise(&first.reader.file, end, READ_AHEAD, Advice::WillNeed);
        }
    }
    Ok(true)
}

/// Fills `slices`, which have room for the bytes from `at` to `end`. Tells whether it could.
fn read_slices(
    reader: &ChunkReader,
    mut slices: &mut [IoSliceMut<'_>],
    mut at: u64,
    end: u64,
    patience: Patience,
) -> Result<bool, StorageError> {
    let flags = match patience {
        Patience::Cached => ReadWriteFlags::NOWAIT,
        Patience::Blocking => ReadWriteFlags::empty(),
    };
    while at < end {
        let read = match preadv2(&reader.file, slices, at, flags) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            // Not an error yet, whatever it says: the ordinary read says it better.
            Err(_) if patience == Patience::Cached => 0,
            Err(errno) => return Err(StorageError::io("read", reader.path.as_ref())(errno.into())),
        };
        match (read, patience) {
            (0, Patience::Cached) => return Ok(false),
            (0, Patience::Blocking) => return Err(reader.too_short(end)),
            _ => {}
        }
        at += read as u64;
        IoSliceMut::advance_slices(&mut slices, read);
    }
    Ok(true)
}
