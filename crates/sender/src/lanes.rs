//! What is claimed and not recorded yet: which of it may be sent now, and whose turn is next.
//!
//! [`Lanes`] is pure; the dispatcher, the attempts and the settler feed it. A webhook has at most its cap in flight, and at most as many
//! as are left free for all others: however many endpoints hang, they squeeze each other before they squeeze
//! one that does not; with `k` of
//! them each ends at about `total / (k + 1)`. What cannot be sent yet waits here,
//! claimed, so that the next request to a quick endpoint leaves when one before it is answered, and not a
//! transaction later. What always holds: who has something waiting and less in flight than its cap is in the
//! queue for a slot, and an attempt is held here once, from its claim until its record is written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mediahooks_database::ClaimedDelivery;
use mediahooks_model::{DeliveryId, Timestamp, WebhookId};
use tokio::sync::Notify;

/// Deliveries that may be claimed and not recorded, for each request that may be in flight: the others wait
/// for their turn, or for the disk.
const HELD_PER_SLOT: u32 = 8;

/// All that is claimed.
#[derive(Debug)]
pub(crate) struct Lanes {
    per_webhook: u32,
    total: u32,
    in_flight: u32,
    /// Started and not recorded: what a crash would have sent again. Never more than `total`.
    unrecorded: u32,
    /// Claimed and not recorded, with the number of the attempt.
    held: HashMap<DeliveryId, u32>,
    lanes: HashMap<WebhookId, Lane>,
    /// Webhooks that wait for a slot, in turn.
    queue: VecDeque<WebhookId>,
    /// Claimed, and not to be sent after all.
    returned: Vec<DeliveryId>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: u32,
    waiting: VecDeque<Waiting>,
    is_queued: bool,
}

#[derive(Debug)]
struct Waiting {
    delivery: ClaimedDelivery,
    /// An attempt that began later could outlast its lease.
    start_by: Timestamp,
}

impl Lanes {
    pub(crate) fn new(per_webhook: u32, total: u32) -> Self {
        Self {
            per_webhook,
            total,
            in_flight: 0,
            unrecorded: 0,
            held: HashMap::new(),
            lanes: HashMap::new(),
            queue: VecDeque::new(),
            returned: Vec::new(),
            closed: false,
        }
    }

    /// How many more may be claimed, in all and, with what is claimed already, for one webhook.
    pub(crate) fn room(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.total.saturating_mul(HELD_PER_SLOT).saturating_sub(held)
    }

    /// Takes in what was claimed. Nothing happens when the same attempt is here already: its record could not
    /// be written before its lease ran out, and still may be.
    pub(crate) fn push(&mut self, delivery: ClaimedDelivery, start_by: Timestamp) {
        if self.held.insert(delivery.id, delivery.attempt) == Some(delivery.attempt) {
            return;
        }
        if self.closed {
            return self.give_back([delivery.id]);
        }
        let webhook = delivery.webhook.id;
        self.lanes.entry(webhook).or_default().waiting.push_back(Waiting { delivery, start_by });
        self.enqueue(webhook);
    }

    /// What is to be sent now, if anything may be. One that waited for too long is left to its lease.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<ClaimedDelivery> {
        for _ in 0..self.queue.len() {
            let free = self.total.saturating_sub(self.in_flight);
            if self.is_full() {
                break;
            }
            let webhook = self.queue.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&webhook) else { continue };
            lane.is_queued = false;
            while let Some(late) = lane.waiting.pop_front_if(|first| first.start_by < now) {
                self.held.remove(&late.delivery.id);
            }
            let has_slot = lane.in_flight < self.per_webhook && lane.in_flight < free;
            let started = if has_slot { lane.waiting.pop_front() } else { None };
            if started.is_some() {
                lane.in_flight += 1;
                self.in_flight += 1;
                self.unrecorded += 1;
            }
            self.enqueue(webhook);
            if let Some(Waiting { delivery, .. }) = started {
                return Some(delivery);
            }
        }
        None
    }

    /// A request to `webhook` has ended. Returns what is to be sent in its place, to whomever it is.
    pub(crate) fn ended(&mut self, webhook: WebhookId, now: Timestamp) -> Option<ClaimedDelivery> {
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.in_flight -= 1;
            self.in_flight -= 1;
        }
        self.enqueue(webhook);
        self.next(now)
    }

    /// Whether somebody waits for a slot while there are some.
    pub(crate) fn may_have_next(&self) -> bool {
        !self.queue.is_empty() && !self.is_full()
    }

    /// Whether nothing may be started. What is answered and not on record counts too, so that neither a crash nor
    /// a disk that fails has more sent again than may be in flight.
    fn is_full(&self) -> bool {
        self.in_flight.max(self.unrecorded) >= self.total
    }

    /// The record of an attempt is written, or is certain not to be. This may be told before its end.
    pub(crate) fn recorded(&mut self, delivery: DeliveryId, attempt: u32) {
        self.unrecorded = self.unrecorded.saturating_sub(1);
        if self.held.get(&delivery) == Some(&attempt) {
            self.held.remove(&delivery);
        }
    }

    /// Gives back what waits for a webhook: its endpoint does not take what it gets.
    pub(crate) fn hold_back(&mut self, webhook: WebhookId) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        let waiting: Vec<_> = lane.waiting.drain(..).map(|waiting| waiting.delivery.id).collect();
        self.give_back(waiting);
    }

    /// Sends nothing more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        let webhooks: Vec<_> = self.lanes.keys().copied().collect();
        webhooks.into_iter().for_each(|webhook| self.hold_back(webhook));
    }

    /// What is to be given back to the database.
    pub(crate) fn take_returned(&mut self) -> Vec<DeliveryId> {
        std::mem::take(&mut self.returned)
    }

    fn give_back(&mut self, ids: impl IntoIterator<Item = DeliveryId>) {
        for id in ids {
            self.held.remove(&id);
            self.returned.push(id);
        }
    }

    /// Has a webhook wait for a slot if it could use one, and forgets one that has nothing here.
    fn enqueue(&mut self, webhook: WebhookId) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        if lane.is_queued {
            return;
        }
        if !lane.waiting.is_empty() && lane.in_flight < self.per_webhook {
            lane.is_queued = true;
            self.queue.push_back(webhook);
        } else if lane.waiting.is_empty() && lane.in_flight == 0 {
            self.lanes.remove(&webhook);
        }
    }
}

/// [`Lanes`] as the dispatcher, the attempts and the settler share them.
#[derive(Debug)]
pub(crate) struct SharedLanes {
    lanes: Mutex<Lanes>,
    /// Something is to be done that only the dispatcher does.
    pub(crate) changed: Notify,
}

impl SharedLanes {
    pub(crate) fn new(per_webhook: u32, total: u32) -> Self {
        Self { lanes: Mutex::new(Lanes::new(per_webhook, total)), changed: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request to `webhook` has ended; `well` unless its endpoint did not take it. Returns what is to be sent
    /// in its place.
    pub(crate) fn ended(&self, webhook: WebhookId, well: bool, now: Timestamp) -> Option<ClaimedDelivery> {
        let mut lanes = self.lock();
        if !well {
            lanes.hold_back(webhook);
        }
        let next = lanes.ended(webhook, now);
        if !lanes.returned.is_empty() || lanes.may_have_next() {
            self.changed.notify_one();
        }
        next
    }

    /// The records of attempts are written, or are certain not to be.
    pub(crate) fn recorded(&self, attempts: impl Iterator<Item = (DeliveryId, u32)>) {
        let mut lanes = self.lock();
        let was_full = lanes.room() == 0 || lanes.is_full();
        attempts.for_each(|(delivery, attempt)| lanes.recorded(delivery, attempt));
        if was_full {
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mediahooks_model::webhook::Subscriptions;
    use mediahooks_model::{EventId, Webhook};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn delivery(id: i64, attempt: u32, webhook: i64) -> ClaimedDelivery {
        let url = "https://example.com/";
        let webhook = Webhook { id: WebhookId(webhook), ..Webhook::new(url, "", Subscriptions::default()) };
        ClaimedDelivery {
            id: DeliveryId(id),
            webhook: Arc::new(webhook),
            attempt,
            probes: 0,
            previous: None,
            event: EventId(uuid::Uuid::from_u128(1)),
            timestamp: NOW,
            kind: "media.completed".into(),
            body: "{}".into(),
        }
    }

    /// Has `webhook` owed so many, and starts what may be started.
    fn owe(lanes: &mut Lanes, webhook: i64, count: i64) -> Vec<i64> {
        let first = lanes.held.len() as i64;
        (first..first + count).for_each(|id| lanes.push(delivery(id, 1, webhook), NOW));
        std::iter::from_fn(|| lanes.next(NOW)).map(|started| started.webhook.id.0).collect()
    }

    #[test]
    fn one_hanging_endpoint_gets_its_cap_and_the_rest_waits() {
        let mut lanes = Lanes::new(16, 256);
        assert_eq!(owe(&mut lanes, 1, 20), [1; 16]);
        assert!(!lanes.may_have_next());
        assert_eq!(owe(&mut lanes, 2, 3), [2; 3]);
        let next = lanes.ended(WebhookId(1), NOW).unwrap();
        assert_eq!((next.webhook.id, next.id), (WebhookId(1), DeliveryId(16)), "in order");
        assert_eq!(lanes.room(), 256 * 8 - 23, "an attempt that ended counts until its record is written");
        lanes.recorded(DeliveryId(0), 2);
        lanes.recorded(DeliveryId(0), 1);
        lanes.recorded(DeliveryId(0), 1);
        assert_eq!(lanes.room(), 256 * 8 - 22);
    }

    #[test]
    fn those_who_wait_for_a_slot_take_turns() {
        let mut lanes = Lanes::new(4, 3);
        assert_eq!(owe(&mut lanes, 1, 9), [1, 1]);
        assert_eq!(owe(&mut lanes, 2, 9), [2]);
        assert!(owe(&mut lanes, 3, 9).is_empty());
        let mut in_flight = VecDeque::from([1, 1, 2]);
        for _ in 0..12 {
            let ended = in_flight.pop_front().unwrap();
            // Which one it was does not matter here.
            lanes.recorded(DeliveryId(-1), 1);
            in_flight.push_back(lanes.ended(WebhookId(ended), NOW).unwrap().webhook.id.0);
        }
        in_flight.make_contiguous().sort_unstable();
        assert_eq!(in_flight, [1, 2, 3], "each has one of three slots");
    }

    #[test]
    fn what_is_answered_takes_a_slot_until_it_is_on_record() {
        let mut lanes = Lanes::new(2, 3);
        assert_eq!(owe(&mut lanes, 1, 9), [1, 1]);
        assert!(lanes.ended(WebhookId(1), NOW).is_some());
        assert!(lanes.ended(WebhookId(1), NOW).is_none(), "three are not on record");
        assert!(!lanes.may_have_next());
        lanes.recorded(DeliveryId(0), 1);
        assert!(lanes.may_have_next() && lanes.next(NOW).is_some());
    }

    #[test]
    fn an_attempt_is_held_once() {
        let mut lanes = Lanes::new(2, 2);
        lanes.push(delivery(1, 1, 1), NOW);
        lanes.push(delivery(1, 1, 1), NOW);
        assert!(lanes.next(NOW).is_some() && lanes.next(NOW).is_none());
        // The next attempt may be claimed before word of the last one's record arrives.
        assert!(lanes.ended(WebhookId(1), NOW).is_none());
        lanes.push(delivery(1, 2, 1), NOW);
        lanes.recorded(DeliveryId(1), 1);
        assert_eq!(lanes.next(NOW).unwrap().attempt, 2);
        lanes.recorded(DeliveryId(1), 2);
        assert!(lanes.ended(WebhookId(1), NOW).is_none());
        assert!(lanes.held.is_empty() && lanes.lanes.is_empty() && lanes.queue.is_empty());
    }

    #[test]
    fn what_waits_is_given_back_or_left_to_its_lease() {
        let mut lanes = Lanes::new(1, 9);
        assert_eq!(owe(&mut lanes, 1, 3), [1]);
        lanes.hold_back(WebhookId(1));
        assert_eq!(lanes.take_returned(), [DeliveryId(1), DeliveryId(2)]);
        assert!(owe(&mut lanes, 1, 1).is_empty());
        assert!(lanes.ended(WebhookId(1), NOW.plus_micros(1)).is_none(), "its lease may run out too early");
        assert_eq!((lanes.held.len(), lanes.lanes.len()), (1, 0));
        assert_eq!(owe(&mut lanes, 2, 2), [2]);
        lanes.close();
        assert_eq!(lanes.take_returned().len(), 1);
        assert!(owe(&mut lanes, 3, 1).is_empty());
        assert_eq!(lanes.take_returned().len(), 1);
    }

    proptest! {
        #[test]
        fn hanging_endpoints_leave_room_for_another(
            per_webhook in 1u32..40,
            total in 1u32..300,
            hanging in 1i64..300,
        ) {
            let mut lanes = Lanes::new(per_webhook, total);
            for id in 0..hanging * 50 {
                lanes.push(delivery(id, 1, id % hanging), NOW);
            }
            let started = std::iter::from_fn(|| lanes.next(NOW)).count();
            let highest = lanes.lanes.values().map(|lane| lane.in_flight).max().unwrap_or(0);
            prop_assert!(highest <= per_webhook && started <= total as usize);
            if u32::try_from(hanging).unwrap() * 2 < total {
                prop_assert_eq!(owe(&mut lanes, hanging, 1), [hanging]);
            }
        }

        #[test]
        fn nothing_waits_for_ever(ends in prop::collection::vec(0usize..8, 1..400)) {
            let mut lanes = Lanes::new(3, 7);
            let mut in_flight = Vec::new();
            for webhook in 0..8 {
                in_flight.extend(owe(&mut lanes, webhook, 10));
            }
            for end in ends {
                if in_flight.is_empty() {
                    break;
                }
                let ended = in_flight.swap_remove(end % in_flight.len());
                in_flight.extend(lanes.ended(WebhookId(ended), NOW).map(|next| next.webhook.id.0));
                lanes.recorded(DeliveryId(-1), 1);
                in_flight.extend(std::iter::from_fn(|| lanes.next(NOW)).map(|next| next.webhook.id.0));
                let waiting = lanes.lanes.values().any(|lane| !lane.waiting.is_empty());
                prop_assert!(!in_flight.is_empty() || !waiting);
                prop_assert_eq!(in_flight.len(), lanes.in_flight as usize);
            }
        }
    }
}
