//! How fast an endpoint is sent to: requests in flight, and requests per second.
//!
//! `sender` keeps one [`Pace`] per webhook beside its [`Health`]. What always holds: an endpoint that is left
//! alone gets nothing, one that may be back gets one request, one that is back gets more as it accepts them,
//! and one that fails gets less and less, so that a dead one hardly holds a slot. An endpoint that accepts
//! what it gets is held back by nothing but its rate limit.

use std::time::Duration;

use mediahooks_model::Timestamp;
use mediahooks_model::webhook::Disabled;

use crate::health::Health;

/// Requests of a rate limit that may be made at once: those of a tenth of a second.
const BURST_PARTS: u32 = 10;

/// How fast one endpoint may be sent to. The default holds nothing back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pace {
    /// In flight at most, while it is finding out how much the endpoint takes.
    window: Option<u32>,
    bucket: Option<Bucket>,
}

/// A token bucket: one token is one request.
#[derive(Debug, Clone, PartialEq)]
struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// How much may be started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Requests that may be started.
    pub requests: u32,
    /// When there may be more though nothing else happens: the next token, or the next probe.
    pub more_at: Option<Timestamp>,
}

impl Pace {
    /// How many requests may be started at `now`, with `in_flight` under way, of which `granted` are about to be
    /// started.
    ///
    /// - `cap`: in flight at most, at full speed;
    /// - `rate_limit`: requests per second, on average; up to a tenth of them at once.
    pub fn room(
        &mut self,
        health: &Health,
        cap: u32,
        rate_limit: Option<u32>,
        (in_flight, granted): (u32, u32),
        now: Timestamp,
    ) -> Room {
        let free = match &health.disabled {
            Some(Disabled { until: None, .. }) => return Room { requests: 0, more_at: None },
            Some(Disabled { until: Some(until), .. }) if *until > now => {
                return Room { requests: 0, more_at: Some(*until) };
            }
            Some(_) => 1u32.saturating_sub(in_flight),
            None => self.window(health, cap).saturating_sub(in_flight),
        };
        let Some(rate) = rate_limit.filter(|rate| *rate > 0) else {
            self.bucket = None;
            return Room { requests: free, more_at: None };
        };
        let bucket = self.bucket.get_or_insert_with(|| Bucket::full(rate, now));
        bucket.fill(rate, now);
        let tokens = bucket.whole().saturating_sub(granted);
        let more_at = (tokens < free).then(|| bucket.next_token(rate));
        Room { requests: free.min(tokens), more_at }
    }

    /// Somebody says that the endpoint is back, or that it is another one: it is sent to at once, at first one
    /// request.
    pub fn restart(&mut self) {
        self.window = Some(1);
    }

    /// A request was started.
    pub fn started(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.tokens -= 1.0;
        }
    }

    /// An attempt was recorded, and `health` is what it left behind. `was_disabled`: before it.
    pub fn ended(&mut self, health: &Health, delivered: bool, was_disabled: bool, cap: u32) {
        self.window = match self.window {
            // It may be back: one request, and one more with each that is accepted, which doubles them with
            // every round trip.
            _ if health.disabled.is_some() => Some(1),
            None if was_disabled => Some(2),
            Some(window) if delivered => Some(window.saturating_add(1)).filter(|window| *window < cap),
            Some(window) => Some((window / 2).max(1)),
            None => None,
        };
    }

    /// Halved with each failure in a row.
    fn window(&self, health: &Health, cap: u32) -> u32 {
        let failing = cap.checked_shr(health.failures).unwrap_or(0).max(1);
        self.window.unwrap_or(cap).min(failing)
    }
}

impl Bucket {
    fn full(rate: u32, now: Timestamp) -> Self {
        Self { tokens: f64::from(Self::size(rate)), filled: now }
    }

    fn size(rate: u32) -> u32 {
        rate.div_ceil(BURST_PARTS)
    }

    fn fill(&mut self, rate: u32, now: Timestamp) {
        let more = now.since(self.filled).as_secs_f64() * f64::from(rate);
        self.tokens = (self.tokens + more).min(f64::from(Self::size(rate)));
        // Also backwards: after a step of the clock it fills on from the new time.
        self.filled = now;
    }

    fn whole(&self) -> u32 {
        // In range: from a few below zero up to the size.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = self.tokens.max(0.0) as u32;
        whole
    }

    /// When it holds one more whole token; rounded up to the microsecond.
    fn next_token(&self, rate: u32) -> Timestamp {
        let missing = self.tokens.max(0.0).floor() + 1.0 - self.tokens;
        let wait = Duration::from_secs_f64(missing / f64::from(rate));
        self.filled.plus(wait).plus_micros(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP: u32 = 16;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn failing(failures: u32) -> Health {
        Health { failures, ..Health::default() }
    }

    fn disabled(until: Option<Timestamp>) -> Health {
        Health { disabled: Some(Disabled { until, reason: None }), ..Health::default() }
    }

    fn requests(pace: &mut Pace, health: &Health, in_flight: u32) -> u32 {
        pace.room(health, CAP, None, (in_flight, 0), at(0)).requests
    }

    #[test]
    fn a_healthy_endpoint_gets_its_cap_and_a_failing_one_less() {
        let mut pace = Pace::default();
        assert_eq!(requests(&mut pace, &Health::default(), 0), 16);
        assert_eq!(requests(&mut pace, &Health::default(), 15), 1);
        assert_eq!(requests(&mut pace, &Health::default(), 17), 0);
        let windows = [1, 2, 3, 4, 5, 40].map(|failures| requests(&mut pace, &failing(failures), 0));
        assert_eq!(windows, [8, 4, 2, 1, 1, 1]);
        // One that is accepted ends that at once.
        assert_eq!(requests(&mut pace, &Health::default(), 0), 16);
    }

    #[test]
    fn a_disabled_endpoint_gets_nothing_and_then_one_at_a_time() {
        let mut pace = Pace::default();
        let room =
            |pace: &mut Pace, until, in_flight| pace.room(&disabled(until), CAP, None, (in_flight, 0), at(0));
        assert_eq!(room(&mut pace, None, 0), Room { requests: 0, more_at: None });
        assert_eq!(room(&mut pace, Some(at(1)), 0), Room { requests: 0, more_at: Some(at(1)) });
        assert_eq!(room(&mut pace, Some(at(0)), 0), Room { requests: 1, more_at: None });
        assert_eq!(room(&mut pace, Some(at(0)), 1), Room { requests: 0, more_at: None });
    }

    #[test]
    fn an_endpoint_that_is_back_is_sent_more_as_it_accepts() {
        let mut pace = Pace::default();
        let healthy = Health::default();
        pace.restart();
        assert_eq!(requests(&mut pace, &healthy, 0), 1);
        pace.ended(&disabled(Some(at(0))), false, true, CAP);
        pace.ended(&healthy, true, true, CAP);
        let mut windows = vec![requests(&mut pace, &healthy, 0)];
        for _ in 0..3 {
            // A round trip: all of them are accepted.
            (0..windows[windows.len() - 1]).for_each(|_| pace.ended(&healthy, true, false, CAP));
            windows.push(requests(&mut pace, &healthy, 0));
        }
        assert_eq!(windows, [2, 4, 8, 16]);
        assert_eq!(pace, Pace::default());
    }

    #[test]
    fn a_failure_on_the_way_back_halves() {
        let mut pace = Pace { window: Some(9), bucket: None };
        pace.ended(&failing(1), false, false, CAP);
        pace.ended(&Health::default(), true, false, CAP);
        assert_eq!(requests(&mut pace, &Health::default(), 0), 5);
    }

    #[test]
    fn a_rate_limit_spaces_requests() {
        let mut pace = Pace::default();
        let healthy = Health::default();
        let mut starts = Vec::new();
        let mut now = at(0);
        while starts.len() < 6 {
            let room = pace.room(&healthy, CAP, Some(5), (0, 0), now);
            (0..room.requests).for_each(|_| {
                starts.push(now.as_millis() - at(0).as_millis());
                pace.started();
            });
            now = pace.room(&healthy, CAP, Some(5), (0, 0), now).more_at.unwrap();
        }
        assert_eq!(starts, [0, 200, 400, 600, 800, 1000]);
    }

    proptest! {
        #[test]
        fn a_rate_limit_is_kept_whatever_the_clock_does(
            rate in 1u32..3000,
            steps in proptest::collection::vec(0i64..400_000, 1..60),
        ) {
            let (mut pace, mut now, mut sent) = (Pace::default(), at(0), 0u32);
            for step in steps {
                now = now.plus_micros(step);
                let room = pace.room(&Health::default(), u32::MAX, Some(rate), (0, 0), now);
                (0..room.requests).for_each(|_| pace.started());
                sent += room.requests;
                let more_at = pace.room(&Health::default(), u32::MAX, Some(rate), (0, 0), now).more_at.unwrap();
                prop_assert!(more_at > now);
                prop_assert!(pace.clone().room(&Health::default(), u32::MAX, Some(rate), (0, 0), more_at).requests >= 1);
            }
            let allowed = now.since(at(0)).as_secs_f64() * f64::from(rate) + f64::from(rate.div_ceil(10));
            prop_assert!(f64::from(sent) <= allowed + 0.001, "{sent} of {allowed}");
        }
    }
}
