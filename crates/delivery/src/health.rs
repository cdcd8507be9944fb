//! Endpoint health: when an endpoint is left alone, when it is tried again, and what that means for the
//! delivery that was just attempted.
//!
//! `sender` keeps one [`Health`] per webhook, asks [`Health::judge`] once per attempt, in the order in which
//! attempts are recorded, and stores the health with the record. What always holds: a delivery is given up
//! only when the endpoint accepted something else meanwhile, a success ends every suspension, and the wait
//! for the next probe is bounded.

use std::num::NonZeroU32;
use std::time::Duration;

use mediahooks_model::Timestamp;
use mediahooks_model::webhook::Disabled;

use crate::outcome::Outcome;
use crate::retry::{RetryPolicy, Verdict, after_attempt};

/// Why a webhook is disabled whose endpoint answered 410 (RFC 9110 §15.5.11).
const GONE: &str = "the endpoint answered 410 Gone: enable the webhook again to go on";

/// When an endpoint is suspended, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// So many attempts in a row have failed, whichever deliveries they were of; default 10.
    pub failures: u32,
    /// And nothing was accepted for so long; default 5 min.
    pub failing_for: Duration,
    /// The first suspension; each failed probe doubles it. Default 1 min.
    pub suspension: Duration,
    /// The longest one; default 1 h.
    pub suspension_max: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            failures: 10,
            failing_for: Duration::from_secs(5 * 60),
            suspension: Duration::from_secs(60),
            suspension_max: Duration::from_secs(3600),
        }
    }
}

impl HealthPolicy {
    /// How long suspension number `times` (1 is the first) lasts. `jitter` from 0.0 to 1.0 stretches it by up
    /// to a fifth, so that endpoints that failed together are not probed together.
    fn suspension(&self, times: u32, jitter: f64) -> Duration {
        let doubled = 1u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
        let planned = self.suspension.saturating_mul(doubled).min(self.suspension_max);
        planned.mul_f64(1.0 + 0.2 * if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) })
    }
}

/// What is known of an endpoint. The default is one that nothing is known of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Attempts that failed in a row.
    pub failures: u32,
    /// When the first of them ended.
    pub failing_since: Option<Timestamp>,
    /// When a delivery was last accepted.
    pub last_success: Option<Timestamp>,
    /// How often in a row it was suspended: 1 at first, one more with each failed probe.
    pub suspensions: u32,
    /// While nothing, or one probe at a time, is sent.
    pub disabled: Option<Disabled>,
}

/// An attempt, as it ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// How.
    pub outcome: &'a Outcome,
    /// In words, if it failed.
    pub error: Option<&'a str>,
    /// The attempts that count in the delivery's schedule, this one included.
    pub number: NonZeroU32,
    /// When the attempt of this delivery before this one was made.
    pub previous: Option<Timestamp>,
    /// Whether it was made to find out if a disabled endpoint is back.
    pub probe: bool,
}

impl Health {
    /// Takes the end of an attempt into account at `now` and says what follows for its delivery.
    ///
    /// `jitter`: the dice, 0.0 to 1.0.
    pub fn judge(
        &mut self,
        retry: &RetryPolicy,
        policy: &HealthPolicy,
        ended: Ended<'_>,
        now: Timestamp,
        jitter: f64,
    ) -> Verdict {
        let verdict = after_attempt(retry, ended.number, ended.outcome, now, jitter);
        match verdict {
            Verdict::Delivered => *self = Self { last_success: Some(now), ..Self::default() },
            Verdict::Gone => {
                self.count_failure(now);
                self.disabled = Some(Disabled { until: None, reason: Some(GONE.into()) });
            }
            Verdict::Retry { .. } | Verdict::Exhausted => {
                return self.failed(verdict, policy, ended, now, jitter);
            }
        }
        verdict
    }

    /// What follows a failure for which the schedule alone says `verdict`.
    fn failed(
        &mut self,
        verdict: Verdict,
        policy: &HealthPolicy,
        ended: Ended<'_>,
        now: Timestamp,
        jitter: f64,
    ) -> Verdict {
        let accepts_others = self.accepted_since(ended.previous);
        self.count_failure(now);
        // An operator's decision, or the endpoint's own (410), stands.
        if matches!(self.disabled, Some(Disabled { until: None, .. })) {
            let gives_up = verdict == Verdict::Exhausted && !accepts_others;
            return if gives_up { Verdict::Retry { at: now } } else { verdict };
        }
        let is_down = self.failures >= policy.failures && self.failing_for(now) >= policy.failing_for;
        let used_up = verdict == Verdict::Exhausted && !accepts_others;
        if ended.probe || self.disabled.is_none() {
            // A pause that the endpoint asked for is over with the first answer after it.
            self.disabled = None;
            if is_down || used_up || self.suspensions > 0 {
                self.suspend(policy, ended.error, now, jitter);
            }
        }
        self.pause(&ended, now);
        let until = self.disabled.as_ref().and_then(|disabled| disabled.until);
        match (until, verdict) {
            (_, Verdict::Exhausted) if accepts_others => verdict,
            // A probe goes behind everything that came meanwhile, so that one event that the endpoint cannot
            // stand is not the only one it is ever probed with.
            (Some(until), _) if ended.probe => Verdict::Retry { at: until },
            (Some(until), Verdict::Exhausted) => Verdict::Retry { at: until },
            _ => verdict,
        }
    }

    /// Whether the endpoint took another delivery over after `previous`, the last time this one failed.
    fn accepted_since(&self, previous: Option<Timestamp>) -> bool {
        self.last_success.is_some_and(|success| previous.is_none_or(|previous| success >= previous))
    }

    fn count_failure(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
    }

    fn failing_for(&self, now: Timestamp) -> Duration {
        self.failing_since.map(|since| now.since(since)).unwrap_or_default()
    }

    fn suspend(&mut self, policy: &HealthPolicy, error: Option<&str>, now: Timestamp, jitter: f64) {
        self.suspensions = self.suspensions.saturating_add(1);
        let until = now.plus(policy.suspension(self.suspensions, jitter));
        let since = self.failing_since.unwrap_or(now);
        let (attempts, have) =
            if self.failures == 1 { ("attempt", "has") } else { ("attempts in a row", "have") };
        let reason = format!(
            "{} {attempts} {have} failed since {}; the last one: {}",
            self.failures,
            Timestamp::from_millis(since.as_seconds().saturating_mul(1000)),
            error.unwrap_or("no reason is known")
        );
        self.disabled = Some(Disabled { until: Some(until), reason: Some(reason) });
    }

    /// Honours the patience that an answer asks for (429 and 503 with `Retry-After`, RFC 9110 §10.2.3): it is
    /// about the endpoint, not about this delivery.
    fn pause(&mut self, ended: &Ended<'_>, now: Timestamp) {
        let Some((code, wait)) = ended.outcome.asks_for_patience() else { return };
        let until = now.plus(wait.min(RetryPolicy::DELAY_MAX));
        let held_until = self.disabled.as_ref().and_then(|disabled| disabled.until);
        if wait.is_zero() || held_until.is_some_and(|held| held >= until) {
            return;
        }
        let reason =
            format!("the endpoint answered {code} and asked to be left alone for {} s", wait.as_secs());
        self.disabled = Some(Disabled { until: Some(until), reason: Some(reason) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{AttemptResult, FailureKind};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_700_000_000 + seconds) * 1000)
    }

    fn answered(code: u16, retry_after: Option<u64>) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome { result: AttemptResult::Status { code, retry_after }, duration: Duration::ZERO }
    }

    fn silent() -> Outcome {
        Outcome { result: AttemptResult::Failed { kind: FailureKind::Timeout }, duration: Duration::ZERO }
    }

    /// One endpoint, judged without jitter.
    #[derive(Default)]
    struct Endpoint(Health);

    impl Endpoint {
        /// The first attempt of some delivery.
        fn first(&mut self, outcome: &Outcome, seconds: i64) -> Verdict {
            self.attempt(outcome, 1, None, seconds)
        }

        fn attempt(
            &mut self,
            outcome: &Outcome,
            number: u32,
            previous: Option<i64>,
            seconds: i64,
        ) -> Verdict {
            let ended = Ended {
                outcome,
                error: (!outcome.delivered()).then_some("the endpoint answered 500"),
                number: NonZeroU32::new(number).unwrap(),
                previous: previous.map(at),
                probe: self.0.disabled.is_some(),
            };
            self.0.judge(&RetryPolicy::default(), &HealthPolicy::default(), ended, at(seconds), 0.0)
        }

        fn until(&self) -> Option<i64> {
            let until = self.0.disabled.as_ref()?.until?;
            Some(until.as_seconds() - at(0).as_seconds())
        }

        fn reason(&self) -> &str {
            self.0.disabled.as_ref().unwrap().reason.as_deref().unwrap()
        }

        /// Down since 0, suspended at 300 until 360.
        fn down() -> Self {
            let mut endpoint = Self::default();
            for n in 0..10 {
                assert_eq!(endpoint.until(), None);
                endpoint.first(&silent(), if n == 9 { 300 } else { n });
            }
            assert_eq!(endpoint.until(), Some(360));
            endpoint
        }
    }

    #[test]
    fn many_failures_over_some_time_suspend_and_a_failed_probe_doubles() {
        let mut endpoint = Endpoint::down();
        assert_eq!(
            endpoint.reason(),
            "10 attempts in a row have failed since 2023-11-14T22:13:20Z; the last one: the endpoint answered 500"
        );
        let mut now = 360;
        let mut waits = Vec::new();
        for _ in 0..8 {
            // Whatever its own schedule says, it comes again with the next probe.
            assert_eq!(
                endpoint.attempt(&silent(), 3, Some(0), now),
                Verdict::Retry { at: at(endpoint.until().unwrap()) }
            );
            let until = endpoint.until().unwrap();
            waits.push(until - now);
            now = until;
        }
        assert_eq!(waits, [120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(endpoint.first(&answered(204, None), now), Verdict::Delivered);
        assert_eq!(endpoint.0, Health { last_success: Some(at(now)), ..Health::default() });
    }

    #[test]
    fn failures_in_a_burst_or_a_few_over_long_do_not_suspend() {
        let mut burst = Endpoint::default();
        for n in 0..500 {
            burst.first(&answered(500, None), n / 10);
        }
        assert_eq!(burst.until(), None);
        let mut few = Endpoint::default();
        for n in 0..9 {
            few.first(&answered(500, None), n * 3600);
        }
        assert_eq!(few.until(), None);
        few.first(&answered(200, None), 100_000);
        for n in 0..9 {
            few.first(&answered(500, None), 200_000 + n * 3600);
        }
        assert_eq!(few.until(), None);
    }

    #[test]
    fn attempts_from_before_the_suspension_neither_extend_it_nor_lose_their_schedule() {
        let mut endpoint = Endpoint::down();
        let outcome = silent();
        let ended =
            Ended { outcome: &outcome, error: None, number: NonZeroU32::MIN, previous: None, probe: false };
        let verdict =
            endpoint.0.judge(&RetryPolicy::default(), &HealthPolicy::default(), ended, at(305), 0.0);
        assert_eq!((verdict, endpoint.until()), (Verdict::Retry { at: at(310) }, Some(360)));
        // One that is accepted late says that the endpoint is back.
        endpoint.first(&answered(200, None), 306);
        assert_eq!(endpoint.until(), None);
    }

    #[test]
    fn a_schedule_is_used_up_only_while_the_endpoint_accepts_others() {
        let mut dead = Endpoint::default();
        assert_eq!(dead.attempt(&silent(), 10, Some(-36_000), 0), Verdict::Retry { at: at(60) });
        assert_eq!(dead.until(), Some(60));
        assert!(dead.reason().starts_with("1 attempt has failed since "), "{}", dead.reason());

        let mut picky = Endpoint::default();
        picky.first(&answered(200, None), -100);
        assert_eq!(picky.attempt(&answered(400, None), 10, Some(-36_000), 0), Verdict::Exhausted);
        assert_eq!(picky.until(), None);

        // What it accepted before it failed this one the last time proves nothing.
        let mut died = Endpoint::default();
        died.first(&answered(200, None), -36_001);
        assert_eq!(died.attempt(&silent(), 10, Some(-36_000), 0), Verdict::Retry { at: at(60) });
    }

    #[test]
    fn a_delivery_whose_schedule_was_used_up_in_an_outage_gets_its_chance_after_it() {
        let mut endpoint = Endpoint::down();
        assert!(matches!(endpoint.attempt(&silent(), 12, Some(0), 360), Verdict::Retry { .. }));
        endpoint.first(&answered(200, None), 500);
        assert_eq!(endpoint.attempt(&answered(500, None), 12, Some(360), 501), Verdict::Exhausted);
    }

    #[test]
    fn patience_that_is_asked_for_pauses_the_endpoint() {
        let mut endpoint = Endpoint::default();
        assert!(matches!(endpoint.first(&answered(429, Some(30)), 0), Verdict::Retry { .. }));
        assert_eq!(endpoint.until(), Some(30));
        assert_eq!(endpoint.reason(), "the endpoint answered 429 and asked to be left alone for 30 s");
        // It is not suspended: the first failure after the pause does not begin another wait.
        endpoint.first(&answered(500, None), 30);
        assert_eq!(endpoint.until(), None);
        endpoint.first(&answered(503, Some(u64::MAX)), 31);
        assert_eq!(endpoint.until(), Some(31 + 86_400));
        endpoint.first(&answered(200, None), 90_000);
        assert_eq!(endpoint.until(), None);
        // Other answers may not ask.
        endpoint.first(&answered(500, Some(30)), 90_001);
        assert_eq!(endpoint.until(), None);
    }

    #[test]
    fn patience_is_honoured_where_it_exceeds_a_suspension() {
        let mut endpoint = Endpoint::down();
        endpoint.first(&answered(503, Some(7200)), 360);
        assert_eq!(endpoint.until(), Some(360 + 7200));
        endpoint.first(&answered(503, Some(5)), 7560);
        assert_eq!(endpoint.until(), Some(7560 + 240));
    }

    #[test]
    fn gone_is_for_an_operator_to_end() {
        let mut endpoint = Endpoint::default();
        assert_eq!(endpoint.first(&answered(410, None), 0), Verdict::Gone);
        assert_eq!((endpoint.until(), endpoint.reason()), (None, GONE));
        // What was in flight beside it changes nothing.
        endpoint.attempt(&answered(503, Some(60)), 10, Some(-1), 1);
        assert_eq!((endpoint.until(), endpoint.reason()), (None, GONE));
    }

    proptest! {
        #[test]
        fn no_suspension_is_longer_than_documented(times in 1u32..200, jitter in any::<f64>()) {
            let policy = HealthPolicy::default();
            let lasts = policy.suspension(times, jitter);
            prop_assert!(lasts >= policy.suspension && lasts <= policy.suspension_max.mul_f64(1.2));
        }
    }
}
