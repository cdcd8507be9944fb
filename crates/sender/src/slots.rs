//! How many attempts may be in flight, and whose.
//!
//! Pure; the dispatcher feeds it. What always holds: a webhook has at most its cap in flight, and at
//! most as many as are left free for all others. So however many endpoints hang, they squeeze each other
//! before they squeeze one that does not: with `k` of them each ends at about `total / (k + 1)`.

use std::collections::HashMap;

use mediahooks_model::{DeliveryId, WebhookId};

/// The attempts in flight. One counts from its claim until its record is durable.
#[derive(Debug)]
pub(crate) struct Slots {
    per_webhook: u32,
    total: u32,
    held: HashMap<DeliveryId, Held>,
    busy: HashMap<WebhookId, u32>,
}

#[derive(Debug)]
struct Held {
    webhook: WebhookId,
    attempt: u32,
}

/// How much may be claimed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// In flight per webhook at most, with what is in flight already.
    pub(crate) per_webhook_max: u32,
    /// New ones at most.
    pub(crate) total: u32,
}

impl Slots {
    pub(crate) fn new(per_webhook: u32, total: u32) -> Self {
        Self { per_webhook, total, held: HashMap::new(), busy: HashMap::new() }
    }

    /// How much may be claimed; nothing while every slot is taken.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let taken = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let free = self.total.saturating_sub(taken);
        // Half at a time: what is left free, and with it each webhook's share, shrinks as slots are
        // taken, and one claim knows the share only as it was before.
        (free > 0).then(|| Offer { per_webhook_max: self.per_webhook.min(free), total: free.div_ceil(2) })
    }

    /// Takes a slot for an attempt; false when that attempt is in flight already. This happens when it
    /// could not be recorded before its lease ran out: the record is still on its way.
    pub(crate) fn take(&mut self, delivery: DeliveryId, attempt: u32, webhook: WebhookId) -> bool {
        match self.held.insert(delivery, Held { webhook, attempt }) {
            // Recorded, or the database would not ask for the next one; word of it comes later, and must
            // not free the slot that is passed on here.
            Some(before) => before.attempt != attempt,
            None => {
                *self.busy.entry(webhook).or_default() += 1;
                true
            }
        }
    }

    /// Gives the slot of an attempt back.
    pub(crate) fn free(&mut self, delivery: DeliveryId, attempt: u32) {
        if self.held.get(&delivery).is_none_or(|held| held.attempt != attempt) {
            return;
        }
        let Some(Held { webhook, .. }) = self.held.remove(&delivery) else { return };
        if let Some(count) = self.busy.get_mut(&webhook) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&webhook);
            }
        }
    }

    /// How many each webhook has in flight.
    #[cfg(test)]
    fn busy(&self) -> HashMap<WebhookId, u32> {
        self.busy.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets `hanging` endpoints, each owed without end, take all they can get, as the database would
    /// hand it out: turn by turn.
    fn fill(slots: &mut Slots, hanging: i64) {
        let mut next = 0;
        while let Some(offer) = slots.offer() {
            let mut taken = 0;
            let mut turn = true;
            while turn && taken < offer.total {
                turn = false;
                for webhook in (0..hanging).map(WebhookId) {
                    let busy = slots.busy.get(&webhook).copied().unwrap_or(0);
                    if busy < offer.per_webhook_max && taken < offer.total {
                        next += 1;
                        assert!(slots.take(DeliveryId(next), 1, webhook));
                        (taken, turn) = (taken + 1, true);
                    }
                }
            }
            if taken == 0 {
                return;
            }
        }
    }

    #[test]
    fn one_hanging_endpoint_gets_its_cap() {
        let mut slots = Slots::new(16, 256);
        fill(&mut slots, 1);
        assert_eq!(slots.busy(), HashMap::from([(WebhookId(0), 16)]));
        assert_eq!(slots.offer(), Some(Offer { per_webhook_max: 16, total: 120 }));
    }

    #[test]
    fn an_attempt_takes_one_slot_and_gives_it_back_once() {
        let mut slots = Slots::new(2, 2);
        assert!(slots.take(DeliveryId(1), 1, WebhookId(1)));
        assert!(!slots.take(DeliveryId(1), 1, WebhookId(1)));
        assert_eq!(slots.busy(), HashMap::from([(WebhookId(1), 1)]));
        slots.free(DeliveryId(1), 1);
        slots.free(DeliveryId(1), 1);
        assert!(slots.busy().is_empty());
        assert_eq!(slots.offer(), Some(Offer { per_webhook_max: 2, total: 1 }));
    }

    #[test]
    fn the_next_attempt_may_be_claimed_before_word_of_the_last_one_arrives() {
        let mut slots = Slots::new(2, 2);
        assert!(slots.take(DeliveryId(1), 1, WebhookId(1)));
        assert!(slots.take(DeliveryId(1), 2, WebhookId(1)));
        slots.free(DeliveryId(1), 1);
        assert_eq!(slots.busy(), HashMap::from([(WebhookId(1), 1)]));
        slots.free(DeliveryId(1), 2);
        assert!(slots.busy().is_empty());
    }

    proptest! {
        #[test]
        fn hanging_endpoints_leave_room_for_another(
            per_webhook in 1u32..40,
            total in 1u32..300,
            hanging in 1i64..300,
        ) {
            let mut slots = Slots::new(per_webhook, total);
            fill(&mut slots, hanging);
            let highest = slots.busy.values().copied().max().unwrap_or(0);
            prop_assert!(highest <= per_webhook && slots.held.len() <= total as usize);
            if u32::try_from(hanging).unwrap() * 2 < total {
                prop_assert!(slots.offer().is_some(), "{slots:?}");
            }
        }
    }
}
