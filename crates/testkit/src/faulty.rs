//! A disk that fails as it is told: full, slow, or lying after a failed sync.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use mediahooks_storage::{Files, Space, SystemFiles};

/// Real files with faults in between.
#[derive(Debug, Default)]
pub struct FaultyFiles {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    syncs_to_fail: u32,
    /// Bytes that can still be written.
    room: Option<u64>,
    space: Option<Space>,
    held: bool,
    waiting: usize,
}

impl FaultyFiles {
    /// Lets the next `count` syncs fail.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().syncs_to_fail = count;
    }

    /// Lets the disk be full after so many more bytes of media; `None`: never.
    pub fn leave_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// Shows so much room, whatever there is.
    pub fn show_space(&self, space: Space) {
        self.lock().space = Some(space);
    }

    /// Lets every sync wait until [`FaultyFiles::release`].
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets syncs go on.
    pub fn release(&self) {
        self.lock().held = false;
        self.changed.notify_all();
    }

    /// How many syncs wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for FaultyFiles {
    fn write(&self, path: &Path, file: &File, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        let Some(room) = state.room else {
            drop(state);
            return SystemFiles.write(path, file, pieces);
        };
        // As a full disk does: the part that fits, and then nothing.
        let fitting = |piece: &&IoSlice<'_>| !piece.is_empty();
        let Some(first) = pieces.iter().find(fitting) else { return Ok(0) };
        let len = first.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room = Some(room - len as u64);
        drop(state);
        SystemFiles.write(path, file, &[IoSlice::new(&first[..len])])
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        let mut state = self.lock();
        state.waiting += 1;
        let mut state =
            self.changed.wait_while(state, |state| state.held).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        if state.syncs_to_fail > 0 {
            state.syncs_to_fail -= 1;
            // EIO.
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(state);
        SystemFiles.sync(path, file)
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let told = self.lock().space;
        told.map_or_else(|| SystemFiles.space(directory), Ok)
    }
}
