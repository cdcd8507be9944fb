//! Tells repeats apart. Delivery is at least once: a receiver that answered too late gets the same event
//! again, with the same id.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::verify::Verified;

/// What makes an event the same event: a hash, so that a long id costs no more memory than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// The key of a verified request: its `webhook-id`, or the hash of its body where the sender gives
    /// none (hosted Millicast). Bodies hold their sending time, so two events never share one.
    pub fn of(verified: &Verified, body: &[u8]) -> Self {
        match &verified.id {
            // The leading byte keeps an id from being mistaken for a body with the same bytes.
            Some(id) => Self(Sha256::new().chain_update([1]).chain_update(id).finalize().into()),
            None => Self(Sha256::new().chain_update([0]).chain_update(body).finalize().into()),
        }
    }

    /// The key that [`EventKey::as_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key to keep in a file or a database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The events handled lately, in memory. About 100 bytes for each; the oldest is forgotten when it is full.
///
/// Ask [`SeenIds::contains`] first, do the work, then [`SeenIds::insert`]: an event marked before it is
/// handled is lost when the handling fails. Where a repeat after a restart would do harm, keep the ids in
/// your database instead, in the transaction that does the work.
#[derive(Debug, Clone)]
pub struct SeenIds {
    seen: HashSet<EventKey>,
    oldest_first: VecDeque<EventKey>,
    capacity: usize,
}

impl SeenIds {
    /// Remembers the last `capacity` events, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { seen: HashSet::new(), oldest_first: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Whether the event was handled before.
    pub fn contains(&self, key: &EventKey) -> bool {
        self.seen.contains(key)
    }

    /// Marks the event as handled. False when it was already.
    pub fn insert(&mut self, key: EventKey) -> bool {
        if !self.seen.insert(key) {
            return false;
        }
        self.oldest_first.push_back(key);
        if self.oldest_first.len() > self.capacity
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

/// The events handled lately and those being handled, shared by all handlers. A sender that waited too long
/// sends the event again while the first request is still being worked on: two handlers must not do it twice.
///
/// ```
/// # use mediahooks_receiver::{Inbox, Start, EventKey};
/// # let (inbox, key) = (Inbox::new(1000), EventKey::from_bytes([0; 32]));
/// let status = match inbox.start(key) {
///     Start::New(handling) => {
///         // … the work. When it fails or panics, `handling` is dropped and the event may come again.
///         handling.done();
///         200
///     }
///     Start::Repeat => 200,
///     Start::Underway => 503, // come again: the other handler may still fail
/// };
/// # assert_eq!(status, 200);
/// ```
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Mutex<Shelf>>);

#[derive(Debug)]
struct Shelf {
    done: SeenIds,
    underway: HashSet<EventKey>,
}

/// What to do with an event.
#[derive(Debug)]
pub enum Start {
    /// Nobody has it: handle it, then say so with [`Handling::done`].
    New(Handling),
    /// Somebody is handling it and may still fail. Answer with an error, so that it comes again.
    Underway,
    /// It was handled. Answer 2xx and do nothing.
    Repeat,
}

/// The right to handle one event, held by one handler. Dropped without [`Handling::done`], as by a failure,
/// a panic or a cancelled request, it leaves the event to whoever gets it next.
#[derive(Debug)]
pub struct Handling {
    inbox: Inbox,
    key: EventKey,
}

impl Inbox {
    /// Remembers the last `capacity` handled events, at least one, and all that are being handled.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Shelf { done: SeenIds::new(capacity), underway: HashSet::new() })))
    }

    /// Asks for the right to handle the event.
    pub fn start(&self, key: EventKey) -> Start {
        let mut shelf = self.shelf();
        if shelf.done.contains(&key) {
            Start::Repeat
        } else if shelf.underway.insert(key) {
            Start::New(Handling { inbox: self.clone(), key })
        } else {
            Start::Underway
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // No code of others runs while it is locked, so that it is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handling {
    /// The event was handled: whoever gets it again sees [`Start::Repeat`].
    pub fn done(self) {
        self.inbox.shelf().done.insert(self.key);
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.inbox.shelf().underway.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Scheme;

    fn key(id: Option<&str>, body: &[u8]) -> EventKey {
        let verified =
            Verified { scheme: Scheme::Standard, id: id.map(str::to_owned), timestamp_seconds: None };
        EventKey::of(&verified, body)
    }

    #[test]
    fn an_id_counts_before_the_body() {
        assert_eq!(key(Some("a"), b"1"), key(Some("a"), b"2"));
        assert_ne!(key(Some("a"), b"1"), key(Some("b"), b"1"));
        assert_eq!(key(None, b"1"), key(None, b"1"));
        assert_ne!(key(None, b"1"), key(None, b"2"));
        assert_ne!(key(Some("x"), b""), key(None, b"x"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let keys = ["a", "b", "c"].map(|id| key(Some(id), b""));
        let mut seen = SeenIds::new(2);
        assert!(seen.insert(keys[0]) && seen.insert(keys[1]));
        assert!(!seen.insert(keys[0]));
        assert!(seen.insert(keys[2]));
        assert_eq!(keys.map(|key| seen.contains(&key)), [false, true, true]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = SeenIds::new(0);
        for number in 0..1000 {
            seen.insert(key(Some(&number.to_string()), b""));
        }
        assert_eq!((seen.seen.len(), seen.oldest_first.len()), (1, 1));
    }

    #[test]
    fn one_of_two_handlers_does_the_work() {
        let inbox = Inbox::new(10);
        let one = key(Some("a"), b"");
        let Start::New(handling) = inbox.start(one) else { panic!("taken") };
        assert!(matches!(inbox.clone().start(one), Start::Underway));
        assert!(matches!(inbox.start(key(Some("b"), b"")), Start::New(_)));
        handling.done();
        assert!(matches!(inbox.start(one), Start::Repeat));
        assert!(inbox.shelf().underway.is_empty());
    }

    #[test]
    fn what_failed_may_come_again() {
        let inbox = Inbox::new(10);
        let one = key(Some("a"), b"");
        let shared = inbox.clone();
        let failed = std::panic::catch_unwind(move || {
            let _handling = shared.start(one);
            panic!("the work failed");
        });
        assert!(failed.is_err());
        assert!(matches!(inbox.start(one), Start::New(_)));
    }
}
