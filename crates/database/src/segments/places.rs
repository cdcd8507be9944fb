//! Where in the tail the newest segments are, in memory: the tail is in the order of its writing and has no index.
//!
//! What always holds: there is a place for every segment that the tail holds, committed or not. There may be places
//! for what is not there, or is in a page by now: who follows one looks whether it is. So a place is kept from the
//! moment its segment is written, and goes after the transaction that moved the segment into a page is durable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mediahooks_model::TimelineId;

/// See the module. Shared by the writer and those who read.
#[derive(Debug, Default)]
pub(crate) struct Places {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By timeline and sequence: the slot.
    timelines: HashMap<TimelineId, Arc<BTreeMap<u64, i64>>>,
    /// How many places are in each slot that has any.
    slots: HashMap<i64, usize>,
    /// Slots that exist and hold nothing that is needed.
    free: Vec<i64>,
    /// Slots that are damaged: they are kept as they are, for whoever can make sense of them.
    aside: BTreeSet<i64>,
    /// What is written next goes here, if there is room.
    open: Option<i64>,
    /// Above all slots that exist.
    next: i64,
}

impl Places {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segments of a timeline that may be in the tail, in order, with their slots. Who reads has to ask
    /// before the first statement of its transaction: what moves into a page afterwards is found in the tail
    /// that the transaction sees, and what moved before is found in the page.
    pub(super) fn of(&self, timeline: TimelineId) -> Arc<BTreeMap<u64, i64>> {
        self.known().timelines.get(&timeline).cloned().unwrap_or_default()
    }

    /// Whether a segment may be in the tail.
    pub(super) fn has(&self, timeline: TimelineId, sequence: u64) -> bool {
        self.known().timelines.get(&timeline).is_some_and(|places| places.contains_key(&sequence))
    }

    /// The same as [`Places::of`] for all timelines.
    pub(super) fn all(&self) -> HashMap<TimelineId, Arc<BTreeMap<u64, i64>>> {
        self.known().timelines.clone()
    }

    /// Tells of a slot that exists.
    pub(super) fn exists(&self, slot: i64) {
        let mut known = self.known();
        known.next = known.next.max(slot + 1);
        known.free_if_empty(slot);
    }

    /// A slot is damaged: it is not filled again.
    pub(super) fn set_aside(&self, slot: i64) {
        let mut known = self.known();
        known.next = known.next.max(slot + 1);
        known.aside.insert(slot);
        known.free.retain(|free| *free != slot);
        if known.open == Some(slot) {
            known.open = None;
        }
    }

    /// Whether any slot was found damaged.
    pub(super) fn are_damaged(&self) -> bool {
        !self.known().aside.is_empty()
    }

    /// Whether no slot holds anything that is needed or could be.
    pub(super) fn are_none(&self) -> bool {
        let known = self.known();
        known.timelines.is_empty() && known.aside.is_empty()
    }

    /// The slot that is being filled.
    pub(super) fn open_slot(&self) -> Option<i64> {
        self.known().open
    }

    /// Another slot to fill, from its first byte on.
    pub(super) fn another_slot(&self) -> i64 {
        let mut known = self.known();
        if let Some(full) = known.open.take() {
            known.free_if_empty(full);
        }
        let slot = known.free.pop().unwrap_or(known.next);
        known.next = known.next.max(slot + 1);
        known.open = Some(slot);
        slot
    }

    /// A segment is written to a slot.
    pub(super) fn put(&self, timeline: TimelineId, sequence: u64, slot: i64) {
        let mut known = self.known();
        *known.slots.entry(slot).or_default() += 1;
        let replaced = Arc::make_mut(known.timelines.entry(timeline).or_default()).insert(sequence, slot);
        if let Some(replaced) = replaced {
            known.leave(replaced);
        }
    }

    /// Segments of a timeline below `below` are in pages, durably.
    pub(crate) fn moved(&self, timeline: TimelineId, below: u64) {
        let mut known = self.known();
        let Some(of_timeline) = known.timelines.get_mut(&timeline).map(Arc::make_mut) else { return };
        let rest = of_timeline.split_off(&below);
        let gone = std::mem::replace(of_timeline, rest);
        if of_timeline.is_empty() {
            known.timelines.remove(&timeline);
        }
        for slot in gone.into_values() {
            known.leave(slot);
        }
    }
}

impl Known {
    /// One place less in a slot.
    fn leave(&mut self, slot: i64) {
        if let Some(count) = self.slots.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.slots.remove(&slot);
            }
        }
        self.free_if_empty(slot);
    }

    fn free_if_empty(&mut self, slot: i64) {
        if !self.slots.contains_key(&slot) && self.open != Some(slot) && !self.aside.contains(&slot) {
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_slot_is_filled_again_when_all_of_it_has_moved() {
        let places = Places::default();
        let timeline = |n| TimelineId(Uuid::from_u128(n));
        let first = places.another_slot();
        places.put(timeline(1), 0, first);
        places.put(timeline(2), 0, first);
        let second = places.another_slot();
        assert!(second != first && places.open_slot() == Some(second));
        places.put(timeline(1), 1, second);
        // Written once more, after its transaction was undone.
        places.put(timeline(1), 1, second);
        assert_eq!(places.of(timeline(1)).len(), 2);

        places.moved(timeline(1), 2);
        assert!(places.of(timeline(1)).is_empty());
        assert_eq!(places.another_slot(), second, "the other one still holds something");
        places.put(timeline(1), 2, second);
        places.moved(timeline(2), 1);
        assert_eq!(places.another_slot(), first);
        places.put(timeline(1), 3, first);
        assert!(![first, second].contains(&places.another_slot()));
        assert_eq!(*places.of(timeline(1)), BTreeMap::from([(2, second), (3, first)]));
    }
}
