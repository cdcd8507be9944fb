//! Tells news from what is overtaken. Media Hooks delivers the events of one asset in order; hosted
//! Millicast promises no order, and repeats and replays bring old news from anybody.

use std::collections::{BTreeMap, HashMap};

use crate::event::Millis;

/// The newest time seen of each subject (an asset's or a feed's id), in memory. The subject that was
/// heard of least recently is forgotten when it is full.
#[derive(Debug, Clone)]
pub struct Newest {
    subjects: HashMap<String, Heard>,
    /// Subjects by the moment they were last heard of, counted by `next_turn`.
    turns: BTreeMap<u64, String>,
    next_turn: u64,
    capacity: usize,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    newest: Millis,
    turn: u64,
}

impl Newest {
    /// Remembers the last `capacity` subjects, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { subjects: HashMap::new(), turns: BTreeMap::new(), next_turn: 0, capacity: capacity.max(1) }
    }

    /// Whether something newer about `subject` was recorded. A repeat of the newest itself is not
    /// stale: [`crate::dedupe::SeenIds`] tells repeats.
    pub fn is_stale(&self, subject: &str, timestamp: Millis) -> bool {
        self.subjects.get(subject).is_some_and(|heard| timestamp < heard.newest)
    }

    /// Records an event that was handled.
    pub fn record(&mut self, subject: &str, timestamp: Millis) {
        let turn = self.next_turn;
        self.next_turn += 1;
        let before = self.subjects.get(subject).copied();
        let newest = before.map_or(timestamp, |heard| heard.newest.max(timestamp));
        if let Some(heard) = before {
            self.turns.remove(&heard.turn);
        }
        self.turns.insert(turn, subject.to_owned());
        self.subjects.insert(subject.to_owned(), Heard { newest, turn });
        if self.subjects.len() > self.capacity
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.subjects.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_newest_is_stale() {
        let mut newest = Newest::new(10);
        assert!(!newest.is_stale("a", Millis(5)));
        newest.record("a", Millis(5));
        assert!(newest.is_stale("a", Millis(4)));
        assert!(!newest.is_stale("a", Millis(5)) && !newest.is_stale("a", Millis(6)));
        assert!(!newest.is_stale("b", Millis(1)));
        newest.record("a", Millis(3));
        assert!(newest.is_stale("a", Millis(4)));
    }

    #[test]
    fn the_subject_not_heard_of_for_longest_is_forgotten() {
        let mut newest = Newest::new(2);
        for (subject, timestamp) in [("a", 10), ("b", 10), ("a", 11), ("c", 10)] {
            newest.record(subject, Millis(timestamp));
        }
        assert!(newest.is_stale("a", Millis(1)) && newest.is_stale("c", Millis(1)));
        assert!(!newest.is_stale("b", Millis(1)));
        assert_eq!((newest.subjects.len(), newest.turns.len()), (2, 2));
    }
}
