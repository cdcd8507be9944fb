//! When to try again: the schedule, and the verdict after each attempt.
//!
//! `sender` asks [`after_attempt`] once per attempt and `database` records the answer. A verdict never
//! lies before the schedule says, nor more than 1.2 × [`RetryPolicy::DELAY_MAX`] ahead.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use mediahooks_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// The delay before each attempt. One entry is one attempt; after the last the delivery is exhausted.
///
/// Written `0s,5s,30s,2m,10m`: whole numbers with `ms`, `s`, `m`, `h` or `d`, separated by commas. The
/// first entry is the delay between the event and the first attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryPolicy {
    /// Never empty.
    delays: Vec<Duration>,
}

/// A text that is not a retry schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetryPolicy {
    /// Nothing in it.
    #[error("the retry schedule is empty: write one delay per attempt, as in `0s,5s,30s,2m`")]
    Empty,
    /// An entry that is not a delay.
    #[error(
        "entry {position} of the retry schedule, `{entry}`, is not a delay: write a whole number and ms, s, m, h or d, as in `30s`"
    )]
    NotADelay {
        /// Counted from 1.
        position: usize,
        /// The entry, cut after 32 characters.
        entry: String,
    },
    /// An entry above [`RetryPolicy::DELAY_MAX`].
    #[error(
        "entry {position} of the retry schedule, `{entry}`, is longer than 24h: use more entries instead"
    )]
    DelayTooLong {
        /// Counted from 1.
        position: usize,
        /// The entry, cut after 32 characters.
        entry: String,
    },
    /// More than [`RetryPolicy::ATTEMPTS_MAX`] entries.
    #[error("the retry schedule has {0} entries: at most 100 attempts are made")]
    TooManyAttempts(usize),
}

impl RetryPolicy {
    /// The longest delay of a schedule, and the longest `Retry-After` that is honoured: 24 h.
    pub const DELAY_MAX: Duration = Duration::from_secs(24 * 3600);

    /// The most entries of a schedule.
    pub const ATTEMPTS_MAX: usize = 100;

    /// The delay between an event and its first attempt.
    pub fn first_delay(&self) -> Duration {
        self.delays.first().copied().unwrap_or_default()
    }

    /// The planned delay between attempt number `attempt` (1 is the first) and the next; none after the last.
    pub fn delay_after(&self, attempt: NonZeroU32) -> Option<Duration> {
        self.delays.get(usize::try_from(attempt.get()).ok()?).copied()
    }

    /// How many attempts are made.
    pub fn attempts(&self) -> usize {
        self.delays.len()
    }
}

impl Default for RetryPolicy {
    /// At once, 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 5 h, 10 h, 10 h: ten attempts over 27.7 hours and more.
    fn default() -> Self {
        let seconds = [0, 5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 36_000];
        Self { delays: seconds.map(Duration::from_secs).to_vec() }
    }
}

impl FromStr for RetryPolicy {
    type Err = InvalidRetryPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(InvalidRetryPolicy::Empty);
        }
        let attempts = text.split(',').count();
        if attempts > Self::ATTEMPTS_MAX {
            return Err(InvalidRetryPolicy::TooManyAttempts(attempts));
        }
        let delays = text.split(',').enumerate().map(|(index, entry)| parse_entry(index + 1, entry.trim()));
        Ok(Self { delays: delays.collect::<Result<_, _>>()? })
    }
}

fn parse_entry(position: usize, entry: &str) -> Result<Duration, InvalidRetryPolicy> {
    let shown = || entry.chars().take(32).collect();
    match parse_delay(entry) {
        None => Err(InvalidRetryPolicy::NotADelay { position, entry: shown() }),
        Some(delay) if delay > RetryPolicy::DELAY_MAX => {
            Err(InvalidRetryPolicy::DelayTooLong { position, entry: shown() })
        }
        Some(delay) => Ok(delay),
    }
}

/// Reads `30s`; `None` when it is anything else. What does not fit 64 bits counts as very long.
fn parse_delay(entry: &str) -> Option<Duration> {
    let digits = entry.len() - entry.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = entry.split_at_checked(digits)?;
    if number.is_empty() {
        return None;
    }
    let number: u64 = number.parse().unwrap_or(u64::MAX);
    let seconds = |each: u64| Duration::from_secs(number.saturating_mul(each));
    match unit.trim_start() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(seconds(1)),
        "m" => Some(seconds(60)),
        "h" => Some(seconds(3600)),
        "d" => Some(seconds(86_400)),
        _ => None,
    }
}

impl fmt::Display for RetryPolicy {
    /// Writes each delay in the largest unit that holds it whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, delay) in self.delays.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let (seconds, millis) = (delay.as_secs(), delay.as_millis());
            match seconds {
                _ if millis % 1000 != 0 => write!(f, "{separator}{millis}ms")?,
                0 => write!(f, "{separator}0s")?,
                _ if seconds % 3600 == 0 => write!(f, "{separator}{}h", seconds / 3600)?,
                _ if seconds % 60 == 0 => write!(f, "{separator}{}m", seconds / 60)?,
                _ => write!(f, "{separator}{seconds}s")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for RetryPolicy {
    type Error = InvalidRetryPolicy;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RetryPolicy> for String {
    fn from(policy: RetryPolicy) -> Self {
        policy.to_string()
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it: the delivery is settled.
    Delivered,
    /// Try again.
    Retry {
        /// Not before this moment.
        at: Timestamp,
    },
    /// That was the last attempt: the delivery is settled as failed, for the operator to see.
    Exhausted,
    /// The receiver wants no more events: its webhook is disabled and what it is owed is held.
    Gone,
}

/// Decides what follows attempt number `attempt` (1 is the first).
///
/// - `now`: when the attempt ended.
/// - `jitter`: the dice, 0.0 to 1.0; stretches the wait by up to 20 %, so that endpoints that failed
///   together do not come back together. Anything else is brought into that range.
///
/// A receiver may ask for more patience (`Retry-After`, RFC 9110 §10.2.3), never for less than planned
/// and never for more than [`RetryPolicy::DELAY_MAX`].
pub fn after_attempt(
    policy: &RetryPolicy,
    attempt: NonZeroU32,
    outcome: &Outcome,
    now: Timestamp,
    jitter: f64,
) -> Verdict {
    if outcome.delivered() {
        return Verdict::Delivered;
    }
    if outcome.gone() {
        return Verdict::Gone;
    }
    let Some(planned) = policy.delay_after(attempt) else { return Verdict::Exhausted };
    let wait = outcome.retry_after().unwrap_or(planned).max(planned).min(RetryPolicy::DELAY_MAX);
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
    Verdict::Retry { at: now.plus(wait.mul_f64(1.0 + 0.2 * jitter)) }
}

/// The wait that a `Retry-After` header asks for, read at `now`: whole seconds or an HTTP date
/// (RFC 9110 §10.2.3). A date in the past is no wait; what is neither is `None`.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH.plus(date).since(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{AttemptResult, FailureKind};

    const NOW: i64 = 1_700_000_000_000;

    fn answered(code: u16, retry_after_seconds: Option<u64>) -> Outcome {
        let retry_after = retry_after_seconds.map(Duration::from_secs);
        Outcome { result: AttemptResult::Status { code, retry_after }, duration: Duration::ZERO }
    }

    fn verdict(attempt: u32, outcome: &Outcome, jitter: f64) -> Verdict {
        let attempt = NonZeroU32::new(attempt).unwrap();
        after_attempt(&RetryPolicy::default(), attempt, outcome, Timestamp::from_millis(NOW), jitter)
    }

    fn retry_in_ms(wait_ms: i64) -> Verdict {
        Verdict::Retry { at: Timestamp::from_millis(NOW + wait_ms) }
    }

    #[test]
    fn the_default_is_the_documented_schedule() {
        let policy: RetryPolicy = "0s,5s,30s,2m,10m,30m,2h,5h,10h,10h".parse().unwrap();
        assert_eq!(policy, RetryPolicy::default());
        assert_eq!(policy.to_string(), "0s,5s,30s,2m,10m,30m,2h,5h,10h,10h");
        assert_eq!((policy.first_delay(), policy.attempts()), (Duration::ZERO, 10));
    }

    #[test]
    fn a_receiver_that_never_answers_is_tried_ten_times() {
        let silent = Outcome {
            result: AttemptResult::Failed { kind: FailureKind::Timeout },
            duration: Duration::ZERO,
        };
        let (mut now, mut attempt, mut at_seconds) = (Timestamp::EPOCH, NonZeroU32::MIN, vec![0]);
        while let Verdict::Retry { at } = after_attempt(&RetryPolicy::default(), attempt, &silent, now, 0.0) {
            (now, attempt) = (at, attempt.saturating_add(1));
            at_seconds.push(at.as_seconds());
        }
        assert_eq!(at_seconds, [0, 5, 35, 155, 755, 2555, 9755, 27_755, 63_755, 99_755]);
    }

    #[test]
    fn success_and_410_end_it_at_any_attempt() {
        for attempt in [1, 10, u32::MAX] {
            assert_eq!(verdict(attempt, &answered(204, None), 0.5), Verdict::Delivered);
            assert_eq!(verdict(attempt, &answered(410, Some(60)), 0.5), Verdict::Gone);
        }
    }

    #[test]
    fn redirects_and_errors_are_retried_until_the_last() {
        for code in [100, 301, 302, 304, 400, 404, 429, 500, 503] {
            assert_eq!(verdict(1, &answered(code, None), 0.0), retry_in_ms(5000));
            assert_eq!(verdict(9, &answered(code, None), 0.0), retry_in_ms(36_000_000));
            assert_eq!(verdict(10, &answered(code, None), 0.0), Verdict::Exhausted);
        }
    }

    #[test]
    fn retry_after_is_honoured_upward_and_within_a_day() {
        assert_eq!(verdict(1, &answered(503, Some(1)), 0.0), retry_in_ms(5000));
        assert_eq!(verdict(1, &answered(429, Some(90)), 0.0), retry_in_ms(90_000));
        assert_eq!(verdict(1, &answered(503, Some(u64::MAX)), 0.0), retry_in_ms(86_400_000));
        assert_eq!(verdict(10, &answered(503, Some(90)), 0.0), Verdict::Exhausted);
    }

    #[test]
    fn jitter_stretches_by_a_fifth_at_most() {
        let failed = answered(500, None);
        for (jitter, wait_ms) in [(0.0, 5000), (0.5, 5500), (1.0, 6000), (7.0, 6000), (-1.0, 5000)] {
            assert_eq!(verdict(1, &failed, jitter), retry_in_ms(wait_ms));
        }
        assert_eq!(verdict(1, &failed, f64::NAN), retry_in_ms(5000));
    }

    #[test]
    fn a_bad_schedule_is_refused_with_the_entry_that_is_bad() {
        let refused = |text: &str| text.parse::<RetryPolicy>().unwrap_err().to_string();
        assert!(refused(" ").contains("is empty"));
        assert!(refused("0s,5,30s").contains("entry 2 of the retry schedule, `5`, is not a delay"));
        assert!(refused("0s,").contains("entry 2 of the retry schedule, ``"));
        assert!(refused("-5s").contains("is not a delay"));
        assert!(refused("1.5h").contains("is not a delay"));
        assert!(refused("0s,25h").contains("entry 2 of the retry schedule, `25h`, is longer than 24h"));
        assert!(refused("99999999999999999999999d").contains("is longer than 24h"));
        assert!(refused(&["1s"; 101].join(",")).contains("101 entries"));
    }

    #[test]
    fn configuration_reads_and_writes_the_same_text() {
        let policy: RetryPolicy = serde_json::from_str("\"0s, 1500ms, 1d\"").unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), "\"0s,1500ms,24h\"");
        assert!(serde_json::from_str::<RetryPolicy>("\"soon\"").is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let check = |value, seconds: Option<u64>| {
            assert_eq!(parse_retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("99999999999999999999", Some(u64::MAX));
        check("Mon, 23 Nov 2026 10:02:00 GMT", Some(120));
        check("Mon, 23 Nov 2026 09:00:00 GMT", Some(0));
        check("Fri, 31 Dec 1999 23:59:59 GMT", Some(0));
        check("", None);
        check("-5", None);
        check("1.5", None);
        check("soon", None);
    }

    proptest! {
        #[test]
        fn a_verdict_is_never_early_and_never_far(
            attempt in 1u32..10,
            retry_after in proptest::option::of(any::<u64>()),
            jitter in any::<f64>(),
        ) {
            let outcome = answered(503, retry_after);
            let planned = RetryPolicy::default().delay_after(NonZeroU32::new(attempt).unwrap()).unwrap();
            let Verdict::Retry { at } = verdict(attempt, &outcome, jitter) else { panic!("not a retry") };
            let wait = at.since(Timestamp::from_millis(NOW));
            prop_assert!(wait >= planned && wait <= RetryPolicy::DELAY_MAX.mul_f64(1.2));
        }

        #[test]
        fn every_schedule_is_read_as_written(millis in proptest::collection::vec(0u64..=86_400_000, 1..=100)) {
            let policy = RetryPolicy { delays: millis.into_iter().map(Duration::from_millis).collect() };
            prop_assert_eq!(policy.to_string().parse::<RetryPolicy>().unwrap(), policy);
        }

        #[test]
        fn no_text_panics(text in "\\PC*", now in any::<i64>()) {
            let _ = text.parse::<RetryPolicy>();
            let _ = parse_retry_after(&text, Timestamp::from_micros(now));
        }
    }
}
