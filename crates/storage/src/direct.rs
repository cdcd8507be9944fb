//! Large appends past the page cache, while there are many.
//!
//! As every append is synced, what the page cache takes in is written back from there at once: pages are found for it,
//! filled, and told to the file system one by one. Without them an append with its sync takes a third less computing
//! time, but who wants the bytes has the disk read them first. So they go past the page cache while so much is recorded
//! that it would keep them for moments only. What always holds: only whole blocks behind whole blocks do, so that no page
//! of the cache has a part of them; a file system that does not take them gets them the other way.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use crate::files::Files;
use crate::padding::BLOCK;

/// From how many bytes per second on appends go past the page cache: a gibibyte of it would keep them for half a minute.
const BUSY: f64 = 32e6;

/// What is written at once, in bytes.
const PIECE: usize = 1 << 20;

/// Buffers that are kept for the next appends.
const BUFFERS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    /// The file system has no such writes, or not of our blocks.
    refused: AtomicBool,
    buffers: Mutex<Vec<Vec<u8>>>,
    rate: Mutex<Rate>,
}

/// How much is appended.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    counted: u64,
    per_second: f64,
}

impl Direct {
    /// Whether `len` bytes that begin at `offset` of a file are to go past the page cache; counts them.
    pub(crate) fn takes(&self, offset: u64, len: u64, now: Instant) -> bool {
        let is_busy = lock(&self.rate).note(len, now) >= BUSY;
        is_busy && len > 0 && (offset | len).is_multiple_of(BLOCK) && !self.refused.load(Ordering::Relaxed)
    }

    /// Appends `parts` to `file`, which is open for appending. What cannot go past the page cache goes through it: its
    /// error, if that fails too, is the one that counts.
    ///
    /// Errors: what the operating system says.
    pub(crate) fn append(
        &self,
        files: &dyn Files,
        path: &Path,
        file: &File,
        parts: &[Bytes],
    ) -> io::Result<()> {
        let mut is_direct = set_direct(file, true).is_ok();
        if !is_direct {
            self.refused.store(true, Ordering::Relaxed);
        }
        let written = self.write_pieces(parts, |pieces| match files.write(path, file, pieces) {
            Err(error) if is_direct => {
                if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
                    self.refused.store(true, Ordering::Relaxed);
                }
                set_direct(file, false)?;
                is_direct = false;
                files.write(path, file, pieces)
            }
            written => written,
        });
        if is_direct {
            set_direct(file, false)?;
        }
        written
    }

    fn write_pieces(
        &self,
        parts: &[Bytes],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let block = BLOCK as usize;
        let mut buffer = lock(&self.buffers).pop().unwrap_or_else(|| vec![0; PIECE + block]);
        // The disk takes its bytes from whole pages.
        let begin = buffer.as_ptr().align_offset(block).min(block);
        let piece = &mut buffer[begin..begin + PIECE];
        let mut filled = 0;
        for mut part in parts.iter().map(|part| &part[..]) {
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(PIECE - filled));
                piece[filled..filled + now.len()].copy_from_slice(now);
                (filled, part) = (filled + now.len(), later);
                if filled == PIECE {
                    write_all(&mut write, &mut [IoSlice::new(piece)])?;
                    filled = 0;
                }
            }
        }
        write_all(&mut write, &mut [IoSlice::new(&piece[..filled])])?;
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
        Ok(())
    }
}

impl Rate {
    /// So many more bytes came. Answers with what came in the last whole second, per second.
    fn note(&mut self, len: u64, now: Instant) -> f64 {
        self.counted += len;
        let elapsed = now.duration_since(*self.since.get_or_insert(now)).as_secs_f64();
        if elapsed >= 1.0 {
            self.per_second = self.counted as f64 / elapsed;
            (self.since, self.counted) = (Some(now), 0);
        }
        self.per_second
    }
}

fn set_direct(file: &File, is_direct: bool) -> io::Result<()> {
    let flags = if is_direct { OFlags::APPEND | OFlags::DIRECT } else { OFlags::APPEND };
    Ok(fcntl_setfl(file, flags)?)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic is done under the locks.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One system call takes at most this many pieces (`UIO_MAXIOV` of Linux).
const PIECES_MAX: usize = 1024;

/// Writes all of `pieces` with as many calls of `write` as it takes.
pub(crate) fn write_all(
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    mut pieces: &mut [IoSlice<'_>],
) -> io::Result<()> {
    // Takes away those at the front that are empty.
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match write(&pieces[..pieces.len().min(PIECES_MAX)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut pieces, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::fs::fcntl_getfl;

    use super::*;
    use crate::files::{Space, SystemFiles};

    /// A file system that takes nothing but what goes through its page cache.
    #[derive(Debug)]
    struct OnlyCached;

    impl Files for OnlyCached {
        fn write(&self, path: &Path, file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            if fcntl_getfl(file)?.contains(OFlags::DIRECT) {
                return Err(Errno::INVAL.into());
            }
            SystemFiles.write(path, file, pieces)
        }

        fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
            SystemFiles.sync(path, file)
        }

        fn space(&self, directory: &Path) -> io::Result<Space> {
            SystemFiles.space(directory)
        }
    }

    /// Appends on `files` and answers whether more is taken then.
    fn appends_are_whole(files: &dyn Files) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chunk");
        let file = File::options().append(true).create_new(true).open(&path).unwrap();
        let direct = Direct::default();
        let mut expected = Vec::new();
        // Less than a piece, some of them and a rest, exactly two.
        for len in [40 * 4096, (2 << 20) + 4096, 2 << 20] {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 7 + len) as u8).collect();
            let parts: Vec<Bytes> = bytes.chunks(30_011).map(Bytes::copy_from_slice).collect();
            direct.append(files, &path, &file, &parts).unwrap();
            expected.extend(bytes);
        }
        assert!(std::fs::read(&path).unwrap() == expected);
        assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::DIRECT));
        !direct.refused.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_appended_is_there_whole() {
        // Whether this file system takes it or not.
        appends_are_whole(&SystemFiles);
    }

    #[test]
    fn where_it_is_refused_it_goes_through_the_page_cache() {
        assert!(!appends_are_whole(&OnlyCached));
    }

    #[test]
    fn only_whole_blocks_of_many_go_past_the_page_cache() {
        let begun = Instant::now();
        let (direct, megabyte) = (Direct::default(), 1 << 20);
        let takes = |offset, len| direct.takes(offset, len, begun);
        assert!(!takes(0, megabyte));
        lock(&direct.rate).per_second = BUSY;
        assert!(takes(0, megabyte) && takes(megabyte, 40 * BLOCK));
        assert!(!takes(100, megabyte) && !takes(0, megabyte + 100));
        let mut rate = Rate::default();
        for at_ms in (0..=1000).step_by(20) {
            rate.note(megabyte, begun + Duration::from_millis(at_ms));
        }
        assert!(rate.per_second > BUSY);
        assert!(rate.note(megabyte, begun + Duration::from_secs(2)) < BUSY);
    }
}
