//! Real time that stands still while a server is behind: what a test then finds to be lost is the server's doing, not
//! that of a machine which has other things to do.

use std::time::Duration;

use tokio::time::Instant;

use crate::eventually;
use crate::power::Dice;

/// Steps after which the server has done all there was to do, at most.
const BEHIND_MAX: usize = 3;

/// What of a step may be made up for; later than that is a pause.
const LATE_MAX: Duration = Duration::from_millis(20);

/// The clock of whoever publishes to the server `pid`, in steps.
///
/// What always holds: of what was sent, the server has done everything that it does without another cause, but for the
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

/// Waits until a process has nothing to do: all of its threads sleep, and none has run while they were looked at. One
/// that has ended has nothing to do.
pub async fn idle(pid: u32) {
    eventually("the server has nothing to do", async || {
        let before = threads(pid);
        (before.iter().all(Thread::sleeps) && before == threads(pid)).then_some(())
    })
    .await;
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
    use super::*;

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
