//! Room for the files and sockets of a full server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a full server has open: 1024 HTTP connections with a file each, as many RTMP connections, webhooks, the database.
const WANTED: u64 = 8192;

/// More than this is of no use.
const MOST: u64 = 65_536;

/// Raises the number of files that this process may have open as far as it may: 1024, which is what a process mostly begins
/// with, is less than the connections that are served.
pub fn make_room() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is without a limit.
    let wanted = maximum.map_or(MOST, |maximum| maximum.min(MOST));
    let is_enough = current.is_none_or(|current| current >= wanted);
    let raised = Rlimit { current: Some(wanted), maximum };
    if !is_enough && let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?current, "cannot raise the number of open files");
    } else if wanted < WANTED {
        tracing::warn!(
            max = wanted,
            "few files may be open: a full server needs {WANTED} (`ulimit -n`, LimitNOFILE)"
        );
    }
}
