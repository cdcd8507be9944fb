//! Counts attempts and how long things take.

use std::time::Duration;

use mediahooks_database::{Attempt, ClaimedDelivery};
use mediahooks_delivery::Verdict;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

/// Says what this crate's metrics mean; call it once, after the recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        "mediahooks_attempts_total",
        Unit::Count,
        "Requests made to deliver webhooks, by webhook and outcome: delivered, retry, exhausted or gone."
    );
    describe_counter!(
        "mediahooks_deliveries_expired_total",
        Unit::Count,
        "Deliveries given up because they were held for too long."
    );
    describe_histogram!(
        "mediahooks_attempt_duration_seconds",
        Unit::Seconds,
        "From the beginning of an attempt to its end."
    );
    describe_histogram!(
        "mediahooks_first_attempt_delay_seconds",
        Unit::Seconds,
        "From an event to the beginning of its first attempt, the wait behind earlier events of its subject included."
    );
}

/// Counts deliveries that were given up because they were held for too long.
pub(crate) fn expired(count: u64) {
    counter!("mediahooks_deliveries_expired_total").increment(count);
}

/// Counts an attempt that is over.
pub(crate) fn attempted(delivery: &ClaimedDelivery, attempt: &Attempt, verdict: Verdict) {
    let outcome = match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Exhausted => "exhausted",
        Verdict::Gone => "gone",
    };
    let webhook = delivery.webhook.id.to_string();
    counter!("mediahooks_attempts_total", "webhook" => webhook, "outcome" => outcome).increment(1);
    histogram!("mediahooks_attempt_duration_seconds").record(Duration::from_micros(attempt.duration_us));
    if attempt.number == 1 {
        let delay = attempt.started.since(delivery.timestamp);
        histogram!("mediahooks_first_attempt_delay_seconds").record(delay);
    }
}
