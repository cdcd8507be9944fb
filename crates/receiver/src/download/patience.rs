//! How often and when a broken download is tried again. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

/// How patient a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPolicy {
    /// How often in a row to try without getting at least 1 MiB further, or to the end. Default 8.
    pub attempts_max: NonZeroU32,
    /// The wait after the first failure; each further one doubles it. Default 500 ms.
    pub backoff_first: Duration,
    /// The longest wait, also when the server asks for more by `Retry-After`. Default 30 s.
    pub backoff_max: Duration,
    /// How long to wait for the response head, and between two pieces of the body. Default 30 s.
    pub idle_timeout: Duration,
    /// The largest file accepted, in bytes. Default 1 TiB; a day at 20 Mbit/s is a fifth of it.
    pub size_bytes_max: u64,
}

impl Default for DownloadPolicy {
    fn default() -> Self {
        Self {
            attempts_max: NonZeroU32::MIN.saturating_add(7),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            size_bytes_max: 1 << 40,
        }
    }
}

/// Counts attempts that brought nothing. Only what lies beyond the farthest byte so far counts as
/// progress: a server whose file changes at each request would be asked for ever otherwise.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// HTTP requests made.
    pub requests: u32,
    failures: u32,
    farthest: u64,
}

impl Patience {
    const PROGRESS_BYTES: u64 = 1 << 20;

    /// The wait before the next attempt; `None` when there shall be none.
    pub(super) fn wait(
        &mut self,
        policy: &DownloadPolicy,
        received: u64,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        if received >= self.farthest.saturating_add(Self::PROGRESS_BYTES) {
            self.farthest = received;
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures >= policy.attempts_max.get() {
            return None;
        }
        let doubled = 1u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        let planned = policy.backoff_first.saturating_mul(doubled);
        Some(planned.max(retry_after.unwrap_or_default()).min(policy.backoff_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn waits(received: &[u64], retry_after: Option<Duration>) -> Vec<Option<u64>> {
        let policy = DownloadPolicy {
            attempts_max: NonZeroU32::new(4).unwrap(),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(3),
            ..DownloadPolicy::default()
        };
        let mut patience = Patience::default();
        received
            .iter()
            .map(|received| patience.wait(&policy, *received, retry_after).map(|wait| wait.as_secs()))
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_bound_and_end() {
        assert_eq!(waits(&[0, 0, 0, 0], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[0, 0], Some(Duration::from_secs(600))), [Some(3), Some(3)]);
    }

    #[test]
    fn only_new_bytes_count_as_progress() {
        assert_eq!(waits(&[0, MIB, 2 * MIB], None), [Some(1), Some(1), Some(1)]);
        assert_eq!(waits(&[MIB, MIB, MIB, MIB], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[MIB, 0, MIB, 0], None), [Some(1), Some(2), Some(3), None]);
        assert_eq!(waits(&[1, 2, 3, 4], None), [Some(1), Some(2), Some(3), None]);
    }
}
