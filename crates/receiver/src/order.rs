//! Tells news from what is overtaken, and what is missing.
//!
//! Media Hooks numbers the events of each asset and feed (`seq`: 1, 2, 3 …) and delivers them in order, so
//! that a hole means that something was given up on, or is on its way after a replay. Hosted Millicast
//! promises no order and numbers nothing: there the `timestamp` decides, and holes cannot be seen.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use crate::event::{Event, Millis};

/// Holes remembered for one subject. Past that the lowest are taken for one, so that what came between
/// them counts as overtaken instead of repeated: nothing is ever taken for a repeat that is none.
const HOLES_MAX: usize = 16;

/// Where an event stands among those recorded of its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It is news, and nothing is known to be missing before it.
    Next,
    /// It is news, but the events with these numbers have not been recorded: they were given up on, have
    /// not come yet, or the webhook does not ask for them (`events`, `isMediaHooks`, …). Also so for an
    /// asset that was never heard of, or forgotten.
    AfterHole {
        /// Their numbers.
        missing: RangeInclusive<u64>,
    },
    /// Something newer was recorded before. What the newer one said stands.
    Overtaken,
    /// The event with this number was recorded.
    Repeat,
}

/// What is known of the order of the subjects (assets and feeds) heard of lately, in memory: about 300 bytes
/// for each. The subject that was heard of least recently is forgotten when it is full.
///
/// Ask [`Order::place`] first, do the work, then [`Order::record`]. [`crate::dedupe`] tells repeats too, by
/// their ids, also where there are no numbers: ask it before.
#[derive(Debug, Clone)]
pub struct Order {
    subjects: HashMap<String, Heard>,
    /// Subjects by the moment they were last heard of, counted by `next_turn` from 1.
    turns: BTreeMap<u64, String>,
    next_turn: u64,
    capacity: usize,
}

#[derive(Debug, Clone, Default)]
struct Heard {
    newest_seq: u64,
    newest_time: Option<Millis>,
    /// Numbers below `newest_seq` that were not recorded, lowest first.
    holes: Vec<RangeInclusive<u64>>,
    /// 0 before the first.
    turn: u64,
}

impl Order {
    /// Remembers the last `capacity` subjects, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { subjects: HashMap::new(), turns: BTreeMap::new(), next_turn: 1, capacity: capacity.max(1) }
    }

    /// Where `event` stands. An event of nobody (of an unknown type) is always [`Place::Next`].
    pub fn place(&self, event: &Event) -> Place {
        let nothing = Heard::default();
        let heard = key(event).and_then(|key| self.subjects.get(&key)).unwrap_or(&nothing);
        match (number(event), event.timestamp) {
            (Some(seq), _) => heard.place_of(seq),
            (None, Some(time)) if heard.newest_time.is_some_and(|newest| time < newest) => Place::Overtaken,
            _ => Place::Next,
        }
    }

    /// Records an event that was handled.
    pub fn record(&mut self, event: &Event) {
        let Some(key) = key(event) else { return };
        let turn = self.next_turn;
        self.next_turn += 1;
        let heard = self.subjects.entry(key.clone()).or_default();
        self.turns.remove(&heard.turn);
        heard.turn = turn;
        heard.newest_time = heard.newest_time.max(event.timestamp);
        if let Some(seq) = number(event) {
            heard.record(seq);
        }
        self.turns.insert(turn, key);
        if self.subjects.len() > self.capacity
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.subjects.remove(&oldest);
        }
    }
}

impl Heard {
    fn place_of(&self, seq: u64) -> Place {
        if seq <= self.newest_seq {
            let is_missing = self.holes.iter().any(|hole| hole.contains(&seq));
            return if is_missing { Place::Overtaken } else { Place::Repeat };
        }
        match self.newest_seq + 1 {
            expected if seq == expected => Place::Next,
            expected => Place::AfterHole { missing: expected..=seq - 1 },
        }
    }

    fn record(&mut self, seq: u64) {
        match self.place_of(seq) {
            Place::Next => self.newest_seq = seq,
            Place::AfterHole { missing } => {
                self.holes.push(missing);
                self.newest_seq = seq;
            }
            Place::Overtaken => self.holes = self.holes.iter().flat_map(|hole| without(hole, seq)).collect(),
            Place::Repeat => {}
        }
        if self.holes.len() > HOLES_MAX {
            let lowest = self.holes.remove(0);
            self.holes[0] = *lowest.start()..=*self.holes[0].end();
        }
    }
}

/// Counting begins with 1: zero numbers nothing.
fn number(event: &Event) -> Option<u64> {
    event.seq().filter(|seq| *seq > 0)
}

/// What is left of a hole when `seq` came: two, one or none.
fn without(hole: &RangeInclusive<u64>, seq: u64) -> Vec<RangeInclusive<u64>> {
    if !hole.contains(&seq) {
        return vec![hole.clone()];
    }
    let below = (seq > *hole.start()).then(|| *hole.start()..=seq - 1);
    let above = (seq < *hole.end()).then(|| seq + 1..=*hole.end());
    below.into_iter().chain(above).collect()
}

/// Assets and feeds may have the same ids.
fn key(event: &Event) -> Option<String> {
    Some(format!("{}/{}", event.type_name, event.subject()?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{AssetType, FeedEvent, FeedEventKind, MediaEvent, MediaEventKind};

    fn numbered(asset: &str, seq: u64) -> Event {
        let mut media = MediaEvent::new(MediaEventKind::Completed, AssetType::Clip, asset);
        media.seq = Some(seq);
        media.into()
    }

    fn timed(asset: &str, time: i64) -> Event {
        Event::from(MediaEvent::new(MediaEventKind::Completed, AssetType::Clip, asset)).at(Millis(time))
    }

    fn after(events: &[Event]) -> Order {
        let mut order = Order::new(10);
        events.iter().for_each(|event| order.record(event));
        order
    }

    #[test]
    fn numbers_tell_holes_repeats_and_what_is_overtaken() {
        let order = after(&[numbered("a", 1), numbered("a", 2), numbered("a", 5)]);
        let place = |seq| order.place(&numbered("a", seq));
        assert_eq!(place(6), Place::Next);
        assert_eq!(place(9), Place::AfterHole { missing: 6..=8 });
        assert_eq!([place(3), place(4)], [Place::Overtaken, Place::Overtaken]);
        assert_eq!([place(1), place(2), place(5)], [Place::Repeat, Place::Repeat, Place::Repeat]);
        assert_eq!([0, 1].map(|seq| order.place(&numbered("b", seq))), [Place::Next, Place::Next]);
        assert_eq!(order.place(&numbered("b", 3)), Place::AfterHole { missing: 1..=2 });
    }

    #[test]
    fn a_hole_closes_when_what_was_missing_comes() {
        let order = after(&[1, 6, 4].map(|seq| numbered("a", seq)));
        let place = |seq| order.place(&numbered("a", seq));
        assert_eq!([2, 3, 5].map(place), [Place::Overtaken, Place::Overtaken, Place::Overtaken]);
        assert_eq!([4, 6].map(place), [Place::Repeat, Place::Repeat]);
    }

    #[test]
    fn without_numbers_time_decides() {
        let order = after(&[timed("a", 5), timed("a", 3)]);
        assert_eq!(order.place(&timed("a", 4)), Place::Overtaken);
        assert_eq!([5, 6].map(|time| order.place(&timed("a", time))), [Place::Next, Place::Next]);
        assert_eq!(order.place(&timed("b", 1)), Place::Next);
    }

    #[test]
    fn assets_and_feeds_are_counted_apart() {
        let mut feed = FeedEvent::new(FeedEventKind::Started, "a");
        feed.seq = Some(1);
        assert_eq!(after(&[numbered("a", 1)]).place(&feed.into()), Place::Next);
        let unknown = Event::from_json(br#"{"type":"x","event":"y","timestamp":1}"#).unwrap();
        assert_eq!(after(std::slice::from_ref(&unknown)).place(&unknown), Place::Next);
    }

    #[test]
    fn the_subject_not_heard_of_for_longest_is_forgotten() {
        let mut order = Order::new(2);
        for (asset, seq) in [("z", 1), ("a", 1), ("b", 1), ("a", 2), ("c", 1)] {
            order.record(&numbered(asset, seq));
            assert_eq!(order.subjects.len(), order.turns.len());
        }
        assert_eq!(order.place(&numbered("z", 1)), Place::Next);
        assert_eq!(order.place(&numbered("a", 2)), Place::Repeat);
        assert_eq!(order.place(&numbered("b", 1)), Place::Next);
        assert_eq!(order.subjects.len(), 2);
    }

    proptest! {
        /// Against a set of all that was recorded.
        #[test]
        fn nothing_new_is_taken_for_a_repeat(
            seqs in proptest::collection::vec(prop_oneof![1..80_u64, Just(u64::MAX)], 0..120),
        ) {
            let mut order = Order::new(1);
            let mut recorded = HashSet::new();
            for seq in seqs {
                let newest = recorded.iter().copied().max().unwrap_or(0);
                let event = numbered("a", seq);
                match order.place(&event) {
                    Place::Next => prop_assert_eq!(seq - 1, newest),
                    Place::AfterHole { missing } => prop_assert_eq!(missing, newest + 1..=seq - 1),
                    Place::Overtaken => prop_assert!(seq < newest),
                    Place::Repeat => prop_assert!(recorded.contains(&seq)),
                }
                order.record(&event);
                recorded.insert(seq);
                let holes = &order.subjects.values().next().unwrap().holes;
                prop_assert!(holes.len() <= HOLES_MAX);
                prop_assert!(holes.is_sorted_by(|a, b| a.end() < b.start()), "{:?}", holes);
            }
        }
    }
}
