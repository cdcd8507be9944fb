//! What was received and what is still owed, on disk.
//!
//! A file of lines, appended and synced: `seen KEY` for a hook, `seen KEY want ASSET` for one that asks for a
//! file, `done ASSET` when it is there or never will be. A line that was cut off by a crash was never
//! answered for and is dropped. The file is rewritten at each start and whenever it has grown, so that it
//! stays within [`SEEN_MAX`] hooks and [`WANTED_MAX`] files.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mediahooks_receiver::{EventKey, SeenIds};

use crate::output::failure::Failure;

/// Hooks that are remembered; the oldest are forgotten.
pub const SEEN_MAX: usize = 10_000;

/// Files that may be owed at one time.
pub const WANTED_MAX: usize = 10_000;

/// Appended lines after which the file is rewritten.
const APPENDED_MAX: usize = 50_000;

/// The file's name, in the download directory.
const FILE: &str = ".mediahooks-receive";

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the journal.
    New,
    /// It was before.
    Repeat,
    /// It is not: too many files are owed already.
    Full,
}

/// The journal of one download directory; one process has it at a time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Keeps other processes out; the journal itself is replaced by renaming and so cannot be locked.
    _lock: File,
    seen: SeenIds,
    keys: VecDeque<EventKey>,
    wanted: BTreeSet<String>,
    appended: usize,
    /// An append failed half-way, so the file may end in a piece of a line.
    torn: bool,
}

impl Journal {
    /// Opens the journal in `directory`, which exists, and tidies it.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let lock = lock(&directory.join(format!("{FILE}.lock")), directory)?;
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let mut keys = VecDeque::new();
        let mut wanted = BTreeSet::new();
        // What follows the last line break was cut off.
        for line in text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines() {
            replay(line, &mut keys, &mut wanted);
        }
        let mut seen = SeenIds::new(SEEN_MAX);
        for key in &keys {
            seen.insert(*key);
        }
        let file = rewrite(&path, &keys, &wanted)?;
        Ok(Self { path, file, _lock: lock, seen, keys, wanted, appended: 0, torn: false })
    }

    /// The files that are owed.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().map(String::as_str)
    }

    /// Takes a hook, and the file it asks for; returns once both are on disk.
    pub fn accept(&mut self, key: EventKey, asset: Option<&str>) -> io::Result<Accepted> {
        if self.seen.contains(&key) {
            return Ok(Accepted::Repeat);
        }
        if asset.is_some() && self.wanted.len() >= WANTED_MAX {
            return Ok(Accepted::Full);
        }
        let asset = asset.filter(|asset| is_plain(asset));
        let want = asset.map(|asset| format!(" want {asset}")).unwrap_or_default();
        self.append(&format!("seen {}{want}\n", hex::encode(key.as_bytes())))?;
        self.seen.insert(key);
        remember(&mut self.keys, key);
        self.wanted.extend(asset.map(str::to_owned));
        Ok(Accepted::New)
    }

    /// A file is there, or never will be.
    pub fn done(&mut self, asset: &str) -> io::Result<()> {
        self.append(&format!("done {asset}\n"))?;
        self.wanted.remove(asset);
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.torn || self.appended >= APPENDED_MAX {
            self.file = rewrite(&self.path, &self.keys, &self.wanted)?;
            self.appended = 0;
        }
        self.torn = true;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.torn = false;
        self.appended += 1;
        Ok(())
    }
}

fn lock(path: &Path, directory: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(format!("another receiver downloads into {}", directory.display()))
                .advise("stop it, or choose another directory")
                .into())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Ids of assets are letters, digits, `-` and `_`; another text would break the journal's lines.
fn is_plain(asset: &str) -> bool {
    !asset.is_empty()
        && asset.len() <= 128
        && asset.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn remember(keys: &mut VecDeque<EventKey>, key: EventKey) {
    keys.push_back(key);
    if keys.len() > SEEN_MAX {
        keys.pop_front();
    }
}

fn replay(line: &str, keys: &mut VecDeque<EventKey>, wanted: &mut BTreeSet<String>) {
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("seen"), Some(key), want, asset) => {
            let mut bytes = [0; 32];
            if hex::decode_to_slice(key, &mut bytes).is_ok() {
                remember(keys, EventKey::from_bytes(bytes));
            }
            if want == Some("want") {
                wanted.extend(asset.filter(|asset| is_plain(asset)).map(str::to_owned));
            }
        }
        (Some("done"), Some(asset), None, None) => {
            wanted.remove(asset);
        }
        _ => {}
    }
}

fn rewrite(path: &Path, keys: &VecDeque<EventKey>, wanted: &BTreeSet<String>) -> io::Result<File> {
    let mut text = String::new();
    for key in keys {
        text.push_str(&format!("seen {}\n", hex::encode(key.as_bytes())));
    }
    for asset in wanted {
        // The key of the hook that asked for it is among those above, or was forgotten with the oldest.
        text.push_str(&format!("seen - want {asset}\n"));
    }
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> EventKey {
        EventKey::from_bytes([number; 32])
    }

    fn owed(journal: &Journal) -> Vec<&str> {
        journal.wanted().collect()
    }

    #[test]
    fn what_was_accepted_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.accept(key(1), Some("a1")).unwrap(), Accepted::New);
        assert_eq!(journal.accept(key(2), Some("b2")).unwrap(), Accepted::New);
        assert_eq!(journal.accept(key(3), None).unwrap(), Accepted::New);
        assert_eq!(journal.accept(key(1), Some("a1")).unwrap(), Accepted::Repeat);
        journal.done("a1").unwrap();
        for _ in 0..2 {
            drop(journal);
            journal = Journal::open(directory.path()).unwrap();
            assert_eq!(owed(&journal), ["b2"]);
            assert_eq!(journal.accept(key(3), None).unwrap(), Accepted::Repeat);
        }
    }

    #[test]
    fn a_line_cut_off_by_a_crash_was_never_promised() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        journal.accept(key(1), Some("a1")).unwrap();
        journal.accept(key(2), Some("b2")).unwrap();
        drop(journal);
        let path = directory.path().join(FILE);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 2]).unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(owed(&journal), ["a1"]);
        assert_eq!(journal.accept(key(2), Some("b2")).unwrap(), Accepted::New);
        assert_eq!(owed(&journal), ["a1", "b2"]);
    }

    #[test]
    fn an_id_that_is_no_id_is_not_fetched() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.accept(key(1), Some("a\ndone b")).unwrap(), Accepted::New);
        assert_eq!(journal.accept(key(2), Some("../x")).unwrap(), Accepted::New);
        assert!(owed(&journal).is_empty());
    }

    #[test]
    fn a_directory_belongs_to_one_receiver() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Journal::open(directory.path()).unwrap();
        assert!(Journal::open(directory.path()).is_err());
    }
}
