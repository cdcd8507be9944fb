//! What is left of files when the power goes: the system calls of a program, recorded, and then any state
//! that a crash could leave.
//!
//! `strace` records ([`record`]). What was synced is there; of the rest each write is there, missing or torn,
//! each new or removed name is there or not, as the dice say ([`Calls::crash`]). A killed process loses
//! nothing it has written. A sync can be made to fail ([`fail`]): what was written before it is then taken for written by
//! the kernel, so that no later sync makes it durable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The system calls that change files.
const CALLS: &str = "trace=openat,open,creat,write,writev,pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync,\
                     rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,lseek";

/// The program and its arguments that record the calls of what follows them, in the file `log`.
pub fn record(log: &Path) -> Vec<String> {
    let log = log.to_str().expect("a path of text");
    let output = ["-q", "-y", "-xx", "-ttt", "-T", "-s", "67108864", "-o", log];
    // Other calls are as quick as ever.
    let wanted = ["-f", "--seccomp-bpf", "-e", CALLS];
    let words = ["strace", "-D"].into_iter().chain(output).chain(wanted);
    words.map(str::to_owned).collect()
}

/// To be added to [`record`]: on each thread, the `first` call of this name and every `period`-th one after it fails with
/// an error of the disk, and does nothing.
pub fn fail(call: &str, first: u32, period: u32) -> Vec<String> {
    vec!["-e".to_owned(), format!("inject={call}:error=EIO:when={first}+{period}")]
}

/// Numbers that repeat for a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % (bound.max(1) as u64)) as usize
    }
}

/// What dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process.
    Kill,
    /// The machine.
    PowerCut,
}

/// A number of a file; it keeps it when it is renamed.
type FileId = usize;

#[derive(Debug)]
enum Change {
    Write { file: FileId, at: u64, data: Vec<u8> },
    Truncate { file: FileId, len: u64 },
    Punch { file: FileId, at: u64, len: u64 },
    Sync { file: FileId },
    FailedSync { file: FileId },
    SyncDirectory { path: PathBuf },
    Create { path: PathBuf, file: FileId },
    MakeDirectory { path: PathBuf },
    Remove { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
}

/// A change, the lines of the record where its call began and returned, and when it returned.
#[derive(Debug)]
struct Call {
    began: usize,
    ended: usize,
    /// The line by which a sync that began after the call had returned was itself done.
    durable: Option<usize>,
    change: Change,
}

/// A record.
#[derive(Debug)]
pub struct Calls {
    calls: Vec<Call>,
    /// When what each line tells of had happened, in seconds since 1970.
    times: Vec<f64>,
    root: PathBuf,
}

impl Calls {
    /// Reads what `strace` wrote about the files below `root`.
    pub fn read(log: &str, root: &Path) -> Self {
        let mut reader = Reader { root: root.to_owned(), ..Reader::default() };
        for (line, text) in log.lines().enumerate() {
            reader.line(line, text);
        }
        let durable: Vec<Option<usize>> =
            reader.calls.iter().map(|call| durable(call, &reader.calls)).collect();
        for (call, durable) in reader.calls.iter_mut().zip(durable) {
            call.durable = durable;
        }
        Self { calls: reader.calls, times: reader.times, root: root.to_owned() }
    }

    /// Number of lines; a crash can come after each.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The lines at which a sync begins or has returned.
    pub fn sync_boundaries(&self) -> Vec<usize> {
        let is_sync = |change: &Change| {
            matches!(change, Change::Sync { .. } | Change::FailedSync { .. } | Change::SyncDirectory { .. })
        };
        let syncs = self.calls.iter().filter(|call| is_sync(&call.change));
        syncs.flat_map(|call| [call.began, call.ended]).collect()
    }

    /// The lines at which the sync of a file failed.
    pub fn failed_syncs(&self) -> Vec<usize> {
        let failed = self.calls.iter().filter(|call| matches!(call.change, Change::FailedSync { .. }));
        failed.map(|call| call.ended).collect()
    }

    /// Until when the files were as they are after `line`, in seconds since 1970: until the next call was done.
    pub fn time(&self, line: usize) -> f64 {
        self.times[(line + 1).min(self.times.len() - 1)]
    }

    /// Writes into `target` what a crash after `line` leaves of the recorded directory.
    pub fn crash(&self, line: usize, crash: Crash, dice: &mut Dice, target: &Path) {
        let mut disk = Disk::default();
        for call in self.calls.iter().filter(|call| call.began <= line) {
            let returned = call.ended <= line;
            let sure =
                if crash == Crash::Kill { returned } else { call.durable.is_some_and(|by| by <= line) };
            disk.apply(&call.change, sure, dice);
        }
        disk.write(&self.root, target);
    }
}

/// The first line by which what a call did survives a power cut.
fn durable(call: &Call, calls: &[Call]) -> Option<usize> {
    let is_synced_by = |change: &Change| match (&call.change, change) {
        (
            Change::Write { file, .. } | Change::Truncate { file, .. } | Change::Punch { file, .. },
            Change::Sync { file: synced },
        ) => file == synced,
        (
            Change::Create { path, .. }
            | Change::MakeDirectory { path }
            | Change::Remove { path }
            | Change::Rename { to: path, .. },
            Change::SyncDirectory { path: synced },
        ) => path.parent() == Some(synced),
        _ => false,
    };
    let syncs = calls.iter().filter(|sync| sync.began >= call.ended && is_synced_by(&sync.change));
    let sync = syncs.min_by_key(|sync| sync.ended)?;
    let is_given_up = |failed: &Call| {
        (call.ended..=sync.began).contains(&failed.ended)
            && matches!((&call.change, &failed.change), (Change::Write { file, .. }, Change::FailedSync { file: failed }) if file == failed)
    };
    (!calls.iter().any(is_given_up)).then_some(sync.ended)
}

/// A disk as it is found after a crash.
#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, FileId>,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<FileId, Vec<u8>>,
}

impl Disk {
    /// Applies a change: surely, or as the dice say.
    fn apply(&mut self, change: &Change, surely: bool, dice: &mut Dice) {
        let fate = if surely { 0 } else { dice.below(4) };
        match change {
            Change::Write { file, at, data } => {
                let content = self.files.entry(*file).or_default();
                let (start, end) = (*at as usize, *at as usize + data.len());
                match fate {
                    // The size was there before the bytes.
                    1 if content.len() < end && dice.below(2) == 0 => content.resize(end, 0),
                    1 => {}
                    // Some sectors.
                    2 => {
                        for (number, sector) in data.chunks(512).enumerate() {
                            if dice.below(2) == 0 {
                                put(content, start + number * 512, sector);
                            }
                        }
                    }
                    3 => put(content, start, &data[..dice.below(data.len() + 1)]),
                    _ => put(content, start, data),
                }
            }
            _ if fate % 2 == 1 => {}
            Change::Truncate { file, len } => self.files.entry(*file).or_default().resize(*len as usize, 0),
            Change::Punch { file, at, len } => {
                let content = self.files.entry(*file).or_default();
                let end = content.len().min((at + len) as usize);
                content[(*at as usize).min(end)..end].fill(0);
            }
            Change::Create { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Change::MakeDirectory { path } => {
                self.directories.insert(path.clone());
            }
            Change::Remove { path } => {
                self.names.remove(path);
                self.directories.remove(path);
            }
            Change::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Change::Sync { .. } | Change::FailedSync { .. } | Change::SyncDirectory { .. } => {}
        }
    }

    fn write(&self, root: &Path, target: &Path) {
        let place = |path: &Path| target.join(path.strip_prefix(root).expect("below the root"));
        for directory in &self.directories {
            // One whose parent is lost is lost.
            let _ = std::fs::create_dir(place(directory));
        }
        for (path, file) in &self.names {
            let content = self.files.get(file).map_or(&[][..], Vec::as_slice);
            let _ = std::fs::write(place(path), content);
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, data: &[u8]) {
    if content.len() < at + data.len() {
        content.resize(at + data.len(), 0);
    }
    content[at..at + data.len()].copy_from_slice(data);
}

/// Follows descriptors and names through the record.
#[derive(Debug, Default)]
struct Reader {
    root: PathBuf,
    calls: Vec<Call>,
    times: Vec<f64>,
    unfinished: BTreeMap<String, (usize, String)>,
    names: BTreeMap<PathBuf, FileId>,
    sizes: BTreeMap<FileId, u64>,
    positions: BTreeMap<String, u64>,
    appending: BTreeSet<String>,
    next: FileId,
}

impl Reader {
    fn line(&mut self, line: usize, text: &str) {
        let mut words = text.splitn(3, ' ').filter(|word| !word.is_empty());
        let (Some(thread), rest) = (words.next(), words.collect::<Vec<_>>().join(" ")) else { return };
        let rest = rest.trim_start();
        let (time, call) = rest.split_once(' ').unwrap_or((rest, ""));
        let (call, lasted) = without_duration(call);
        let last = self.times.last().copied().unwrap_or_default();
        // The line of a call that went on while others came was written when it returned.
        let after = if call.starts_with("<... ") { 0.0 } else { lasted };
        self.times.push(time.parse().map_or(last, |began: f64| last.max(began + after)));
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            self.unfinished.insert(thread.to_owned(), (line, start.trim_end().to_owned()));
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let Some((began, start)) = self.unfinished.remove(thread) else { return };
            let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
            self.call(began, line, &format!("{start}{rest}"));
        } else {
            self.call(line, line, call);
        }
    }

    fn call(&mut self, began: usize, ended: usize, text: &str) {
        let Some((name, rest)) = text.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(")= ")) else {
            return;
        };
        let arguments = arguments.trim_end().trim_end_matches(')');
        let result = result.trim();
        let name = match name {
            "fsync" | "fdatasync" if result.starts_with('-') => "failed sync",
            _ if result.starts_with(['-', '?']) => return,
            _ => name,
        };
        let count: u64 = result.split([' ', '<']).next().and_then(|text| text.parse().ok()).unwrap_or(0);
        if let Some(change) = self.change(name, arguments, result, count) {
            self.calls.push(Call { began, ended, durable: None, change });
        }
    }

    fn change(&mut self, name: &str, arguments: &str, result: &str, count: u64) -> Option<Change> {
        let path_of = |text: &str| -> Option<PathBuf> {
            let inner = text.split_once('<')?.1.rsplit_once('>')?.0;
            Some(PathBuf::from(unhex(inner)))
        };
        let strings = || arguments.split('"').skip(1).step_by(2).map(unhex_bytes);
        let names = || strings().map(|bytes| PathBuf::from(String::from_utf8_lossy(&bytes).into_owned()));
        let first = arguments.split(", ").next().unwrap_or_default();
        let number = |position: usize| arguments.rsplit(", ").nth(position)?.trim().parse::<u64>().ok();
        match name {
            "openat" | "open" | "creat" => {
                let path = path_of(result)?;
                if !path.starts_with(&self.root) {
                    return None;
                }
                let descriptor = result.split('<').next()?.to_owned();
                self.positions.insert(descriptor.clone(), 0);
                self.appending.remove(&descriptor);
                if arguments.contains("O_APPEND") {
                    self.appending.insert(descriptor);
                }
                if let Some(file) = self.names.get(&path) {
                    let file = *file;
                    return arguments.contains("O_TRUNC").then(|| {
                        self.sizes.insert(file, 0);
                        Change::Truncate { file, len: 0 }
                    });
                }
                if !arguments.contains("O_CREAT") {
                    return None;
                }
                self.next += 1;
                self.names.insert(path.clone(), self.next);
                Some(Change::Create { path, file: self.next })
            }
            "write" | "writev" | "pwrite64" | "pwritev" => {
                let file = *self.names.get(&path_of(first)?)?;
                let descriptor = first.split('<').next()?.to_owned();
                let mut data: Vec<u8> = strings().flatten().collect();
                data.truncate(count as usize);
                let size = self.sizes.get(&file).copied().unwrap_or(0);
                let at = match name {
                    "pwrite64" | "pwritev" => number(0)?,
                    _ if self.appending.contains(&descriptor) => size,
                    _ => {
                        let position = self.positions.entry(descriptor).or_default();
                        let at = *position;
                        *position += count;
                        at
                    }
                };
                self.sizes.insert(file, size.max(at + data.len() as u64));
                Some(Change::Write { file, at, data })
            }
            "lseek" => {
                self.positions.insert(first.split('<').next()?.to_owned(), count);
                None
            }
            "ftruncate" => {
                let (file, len) = (*self.names.get(&path_of(first)?)?, number(0)?);
                self.sizes.insert(file, len);
                Some(Change::Truncate { file, len })
            }
            "fallocate" => {
                let file = *self.names.get(&path_of(first)?)?;
                assert!(arguments.contains("PUNCH_HOLE"), "{arguments}");
                Some(Change::Punch { file, at: number(1)?, len: number(0)? })
            }
            "fsync" | "fdatasync" => {
                let path = path_of(first)?;
                match self.names.get(&path) {
                    Some(file) => Some(Change::Sync { file: *file }),
                    None if path.starts_with(&self.root) => Some(Change::SyncDirectory { path }),
                    None => None,
                }
            }
            "failed sync" => Some(Change::FailedSync { file: *self.names.get(&path_of(first)?)? }),
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = (names().next()?, names().nth(1)?);
                let file = self.names.remove(&from)?;
                self.names.insert(to.clone(), file);
                Some(Change::Rename { from, to })
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = names().next()?;
                self.names.remove(&path);
                path.starts_with(&self.root).then_some(Change::Remove { path })
            }
            "mkdir" | "mkdirat" => {
                let path = names().next()?;
                (path.starts_with(&self.root) && path != self.root).then_some(Change::MakeDirectory { path })
            }
            _ => None,
        }
    }
}

/// A line without the seconds its call lasted, which stand in angle brackets at its end, and these seconds.
fn without_duration(line: &str) -> (&str, f64) {
    let split =
        line.rsplit_once(" <").and_then(|(line, end)| Some((line, end.strip_suffix('>')?.parse().ok()?)));
    split.unwrap_or((line, 0.0))
}

/// Bytes written as `\x41\x42`, or as they are.
fn unhex_bytes(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes().chunks_exact(4).map(|escape| digit(escape[2]) << 4 | digit(escape[3])).collect()
}

fn unhex(text: &str) -> String {
    String::from_utf8_lossy(&unhex_bytes(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the power cut leaves of `/d/f` in the worst of many cases: the least of `A`s and `B`s.
    fn left(calls: &[&str]) -> (usize, usize) {
        let lines = ["openat(AT_FDCWD, \"/d/f\", O_RDWR|O_CREAT) = 3</d/f>", "fsync(4</d>) = 0"];
        let lines =
            lines.iter().chain(calls).enumerate().map(|(at, call)| format!("7 {at}.5 {call} <0.001>"));
        let log = lines.collect::<Vec<_>>().join("\n");
        let calls = Calls::read(&log, Path::new("/d"));
        let cases = (0..100).map(|seed| {
            let target = tempfile::tempdir().expect("a temporary directory");
            calls.crash(calls.len() - 1, Crash::PowerCut, &mut Dice(seed), target.path());
            let content = std::fs::read(target.path().join("f")).expect("its name was synced");
            [b'A', b'B'].map(|byte| content.iter().filter(|found| **found == byte).count())
        });
        let cases: Vec<_> = cases.collect();
        (
            cases.iter().map(|case| case[0]).min().unwrap_or(0),
            cases.iter().map(|case| case[1]).min().unwrap_or(0),
        )
    }

    #[test]
    fn a_sync_that_fails_gives_up_what_was_written_before_it() {
        let (a, b) = ("pwrite64(3</d/f>, \"AAAA\", 4, 0) = 4", "pwrite64(3</d/f>, \"BB\", 2, 4) = 2");
        let (sync, failed) =
            ("fsync(3</d/f>) = 0", "fsync(3</d/f>) = -1 EIO (Input/output error) (INJECTED)");
        assert_eq!(left(&[a, sync, b]), (4, 0));
        assert_eq!(left(&[a, sync, b, sync]), (4, 2));
        assert_eq!(left(&[a, failed, b, sync]), (0, 2), "the next sync says nothing of what came before");
        assert_eq!(left(&[a, failed, a, b, sync]), (4, 2), "written again");
        assert_eq!(left(&[a, sync, failed, b, sync]), (4, 2));
    }
}
