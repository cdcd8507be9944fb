//! Real time that stands still while a server is behind: what a test then finds to be lost is the server's doing, not
//! that of a machine which has other things to do.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::patiently;
use crate::power::Dice;

/// Steps after which the server has done all there was to do, at most.
const BEHIND_MAX: usize = 3;

/// What of a step may be made up for; later than that is a pause.
const LATE_MAX: Duration = Duration::from_millis(20);

/// How often a server is looked at; it may have little time between two things that it does by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The clock of whoever publishes to the server `pid`, in steps.
///
/// What always holds: of what was sent, the server has read all and done what it does without another cause, but for the
/// last three steps (how many of them, the dice say). So a disk and a processor that are slow are as slow as these.
#[derive(Debug)]
pub struct Pace {
    step: Duration,
    due: Instant,
    ahead: usize,
    dice: Dice,
}

impl Pace {
    /// Begins now.
    pub fn new(step: Duration, dice: Dice) -> Self {
        Self { step, due: Instant::now(), ahead: 0, dice }
    }

    /// Returns when the next step begins.
    pub async fn step(&mut self, pid: u32) {
        self.due += self.step;
        tokio::time::sleep_until(self.due).await;
        if self.ahead == 0 {
            idle(pid).await;
            self.ahead = self.dice.below(BEHIND_MAX);
        } else {
            self.ahead -= 1;
        }
        if self.due.elapsed() > LATE_MAX {
            self.due = Instant::now();
        }
    }
}

/// Waits until a process has nothing to do: it has read what was sent to it, all of its threads sleep, and none has run
/// while it was looked at. One that has ended has nothing to do.
pub async fn idle(pid: u32) {
    let is_idle = || {
        if has_unread(pid) {
            return false;
        }
        let before = threads(pid);
        before.iter().all(Thread::sleeps) && before == threads(pid)
    };
    patiently("the server has nothing to do", async {
        while !is_idle() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// Whether bytes wait in a connection of a process; it may sleep meanwhile, until it is time to look.
fn has_unread(pid: u32) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let inodes: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    ["tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().any(|line| {
            // Number, both addresses, state, bytes to send and to read, three that do not matter, owner, timeout, inode.
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, state, queues, _, _, _, _, inode, ..] = words.as_slice() else { return false };
            let is_listening = *state == "0A";
            let unread = queues.split_once(':').and_then(|(_, unread)| u64::from_str_radix(unread, 16).ok());
            !is_listening && unread.is_some_and(|unread| unread > 0) && inodes.contains(*inode)
        })
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Thread {
    id: String,
    /// A letter: `S` sleeps, `R` runs or would like to, `D` waits for a disk, `t` is held by who traces it.
    state: String,
    /// How often it gave the processor up or lost it.
    switches: u64,
}

impl Thread {
    fn sleeps(&self) -> bool {
        !["R", "D", "t", "T"].contains(&self.state.as_str())
    }
}

fn threads(pid: u32) -> Vec<Thread> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let threads = tasks.filter_map(|task| {
        let task = task.ok()?;
        // One that ends meanwhile is not there any more.
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let values = |name: &'static str| {
            let lines = status.lines().filter_map(|line| line.split_once(':'));
            lines.filter(move |(known, _)| known.ends_with(name)).map(|(_, value)| value.trim())
        };
        let switches = values("voluntary_ctxt_switches").filter_map(|count| count.parse::<u64>().ok());
        Some(Thread {
            id: task.file_name().to_string_lossy().into_owned(),
            state: values("State").next()?.chars().take(1).collect(),
            switches: switches.sum(),
        })
    });
    threads.collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_was_sent_and_not_read_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut sender = TcpStream::connect(listener.local_addr().expect("it")).expect("a connection");
        let (mut receiver, _) = listener.accept().expect("a connection");
        let this = std::process::id();
        assert!(!has_unread(this));
        sender.write_all(b"media").expect("it is sent");
        receiver.peek(&mut [0]).expect("it has come");
        assert!(has_unread(this));
        receiver.read_exact(&mut [0; 5]).expect("it is read");
        assert!(!has_unread(this));
    }

    #[tokio::test]
    async fn a_process_that_computes_is_not_idle() {
        let busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        let mut busy = busy.expect("a shell");
        let looks: Vec<_> = (0..100).map(|_| threads(busy.id())).collect();
        assert!(looks.iter().all(|threads| threads.len() == 1 && !threads[0].sleeps()), "{looks:?}");
        busy.kill().expect("it can be killed");
        idle(busy.id()).await;
        busy.wait().expect("it ended");

        let mut sleeper = std::process::Command::new("sleep").arg("600").spawn().expect("`sleep`");
        idle(sleeper.id()).await;
        assert_eq!(threads(sleeper.id()).len(), 1);
        sleeper.kill().expect("it can be killed");
        sleeper.wait().expect("it ended");
        assert_eq!(threads(sleeper.id()), []);
    }
}
