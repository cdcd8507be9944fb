//! CPU time and memory of this process, and how much of it the receiver's thread took.

use rustix::time::{ClockId, clock_gettime};

use crate::receiver::Receiver;

/// CPU seconds used so far.
pub struct Usage {
    pub ours: f64,
    pub receiver: f64,
}

impl Usage {
    pub fn now(receiver: &Receiver) -> Self {
        let receiver = receiver.cpu_seconds();
        Self { ours: cpu_seconds(ClockId::ProcessCPUTime) - receiver, receiver }
    }

    pub fn since(self, before: &Self) -> Self {
        Self { ours: self.ours - before.ours, receiver: self.receiver - before.receiver }
    }
}

/// CPU seconds that the calling thread or the process has used.
pub fn cpu_seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Memory that is resident now and that was at most, in MiB.
pub fn resident_mib() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}
