//! Appends through the page cache or, large ones while there are many, past it.
//!
//! As every append is synced, what the page cache takes in is written back from there at once: pages are found for it,
//! filled, and told to the file system one by one. Without them an append with its sync takes a third less computing
//! time, but who wants the bytes has the disk read them first. So they go past the page cache while so much is recorded
//! that it would keep them for moments only. What always holds: only whole blocks behind whole blocks do, so that no page
//! of the cache has a part of them; [`BUFFERS_MAX`] appends do at once, whatever the disk is like; a file system that does
//! not take them gets them the other way.

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

/// Buffers of that size that there are. Appends that find none go through the page cache.
const BUFFERS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    /// The file system has no such writes, or not of our blocks.
    refused: AtomicBool,
    buffers: Mutex<Buffers>,
    rate: Mutex<Rate>,
}

#[derive(Debug, Default)]
struct Buffers {
    idle: Vec<Vec<u8>>,
    in_use: usize,
}

/// How much is appended.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    counted: u64,
    per_second: f64,
}

impl Direct {
    /// Appends `parts` to `file`, which is open for appending and ends at `end`.
    ///
    /// Errors: what the operating system says.
    pub(crate) fn append(
        &self,
        files: &dyn Files,
        path: &Path,
        file: &File,
        end: u64,
        parts: &[Bytes],
    ) -> io::Result<()> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        if self.takes(end, len, Instant::now())
            && let Some(mut buffer) = self.take_buffer()
        {
            let written = self.append_past(&mut buffer, files, path, file, end, parts);
            self.put_back(buffer);
            return written;
        }
        let mut pieces: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_all(|pieces| files.write(path, file, pieces), &mut pieces)
    }

    /// Whether `len` bytes that begin at `offset` of a file are to go past the page cache; counts them.
    fn takes(&self, offset: u64, len: u64, now: Instant) -> bool {
        let is_busy = lock(&self.rate).note(len, now) >= BUSY;
        is_busy && len > 0 && (offset | len).is_multiple_of(BLOCK) && !self.refused.load(Ordering::Relaxed)
    }

    fn take_buffer(&self) -> Option<Vec<u8>> {
        let mut buffers = lock(&self.buffers);
        let may_take = buffers.in_use < BUFFERS_MAX;
        buffers.in_use += usize::from(may_take);
        may_take.then(|| buffers.idle.pop().unwrap_or_else(|| vec![0; PIECE + BLOCK as usize]))
    }

    fn put_back(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        buffers.in_use -= 1;
        buffers.idle.push(buffer);
    }

    /// Past the page cache, to a file that ends at `end`. What cannot go there goes through it: its error, if that fails
    /// too, is the one that counts.
    fn append_past(
        &self,
        buffer: &mut [u8],
        files: &dyn Files,
        path: &Path,
        file: &File,
        mut end: u64,
        parts: &[Bytes],
    ) -> io::Result<()> {
        let mut is_direct = set_direct(file, true).is_ok();
        if !is_direct {
            self.refused.store(true, Ordering::Relaxed);
        }
        let written = write_pieces(buffer, parts, |pieces| {
            let asked: usize = pieces.iter().map(|piece| piece.len()).sum();
            let written = match files.write(path, file, pieces) {
                Ok(written) if is_direct && written < asked => {
                    is_direct = false;
                    leave_direct(file, end + written as u64)?;
                    written
                }
                Err(error) if is_direct => {
                    if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
                        self.refused.store(true, Ordering::Relaxed);
                    }
                    is_direct = false;
                    leave_direct(file, end)?;
                    files.write(path, file, pieces)?
                }
                written => written?,
            };
            end += written as u64;
            Ok(written)
        });
        if is_direct {
            set_direct(file, false)?;
        }
        written
    }
}

/// Writes `parts` out of the part of `buffer` that begins on a page: the disk takes its bytes from whole ones.
fn write_pieces(
    buffer: &mut [u8],
    parts: &[Bytes],
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<()> {
    let block = BLOCK as usize;
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
    write_all(&mut write, &mut [IoSlice::new(&piece[..filled])])
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

/// Goes on through the page cache behind the first `len` bytes. There are file systems whose file is longer then by all
/// that was to be written, and the next append would leave a hole.
fn leave_direct(file: &File, len: u64) -> io::Result<()> {
    set_direct(file, false)?;
    file.set_len(len)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic is done under the locks.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One system call takes at most this many pieces (`UIO_MAXIOV` of Linux).
const PIECES_MAX: usize = 1024;

/// Writes all of `pieces` with as many calls of `write` as it takes.
fn write_all(
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

    /// A file system that lengthens a file by all that is to go past its page cache, takes a block, and fails or is content.
    #[derive(Debug)]
    struct LongerThanWritten {
        fails: bool,
    }

    impl Files for LongerThanWritten {
        fn write(&self, path: &Path, file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            if !fcntl_getfl(file)?.contains(OFlags::DIRECT) {
                return SystemFiles.write(path, file, pieces);
            }
            let before = file.metadata()?.len();
            let written = SystemFiles.write(path, file, &[IoSlice::new(&pieces[0][..BLOCK as usize])])?;
            file.set_len(before + pieces[0].len() as u64)?;
            if self.fails { Err(Errno::IO.into()) } else { Ok(written) }
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
            let mut buffer = direct.take_buffer().unwrap();
            let end = expected.len() as u64;
            direct.append_past(&mut buffer, files, &path, &file, end, &parts).unwrap();
            direct.put_back(buffer);
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
    fn what_was_not_written_leaves_no_room_in_the_file() {
        for fails in [false, true] {
            appends_are_whole(&LongerThanWritten { fails });
        }
    }

    #[test]
    fn there_are_only_so_many_buffers() {
        let direct = Direct::default();
        let taken: Vec<_> = std::iter::from_fn(|| direct.take_buffer()).collect();
        assert_eq!(taken.len(), BUFFERS_MAX);
        taken.into_iter().for_each(|buffer| direct.put_back(buffer));
        assert!(direct.take_buffer().is_some());
        assert_eq!(lock(&direct.buffers).idle.len(), BUFFERS_MAX - 1);
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
