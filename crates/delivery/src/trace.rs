//! The `traceparent` header of an attempt (W3C Trace Context, level 1).
//!
//! Pure: nothing is drawn. The trace is the event, so that all attempts to tell of it, to all webhooks, are
//! one trace; the span is the attempt, so that each is a step of its own in it.

use mediahooks_model::{DeliveryId, EventId};
use sha2::{Digest as _, Sha256};

/// The header's name.
pub const TRACEPARENT: &str = "traceparent";

/// `00-<trace>-<span>-01`: version 0; the event's id; the first half of a hash of delivery and attempt; sampled,
/// because the delivery log has every attempt.
pub fn traceparent(event: EventId, delivery: DeliveryId, attempt: u32) -> String {
    let digest = Sha256::new()
        .chain_update(event.0.as_bytes())
        .chain_update(delivery.0.to_be_bytes())
        .chain_update(attempt.to_be_bytes())
        .finalize();
    let mut span = [0; 8];
    span.copy_from_slice(&digest[..8]);
    // Zero is no span (§3.2.2.4).
    let span = u64::from_be_bytes(span).max(1);
    format!("00-{:032x}-{span:016x}-01", event.0.as_u128().max(1))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn parent(delivery: i64, attempt: u32) -> String {
        let event = EventId(Uuid::from_u128(0x0190_a1b2_c3d4_7e5f_8a9b_0c1d_2e3f_4a5b));
        traceparent(event, DeliveryId(delivery), attempt)
    }

    #[test]
    fn attempts_are_spans_of_one_trace() {
        let all = [parent(1, 1), parent(1, 2), parent(2, 1)];
        for one in &all {
            let parts: Vec<&str> = one.split('-').collect();
            assert_eq!((parts.len(), parts[0], parts[3]), (4, "00", "01"));
            assert_eq!(parts[1], "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b");
            assert!(parts[2].len() == 16 && parts[2].bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(parent(1, 1), all[0]);
    }
}
