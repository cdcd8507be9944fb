//! The feeds that are live now, and the decision which of two publishers of one source stays.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mediahooks_database::Feed;
use mediahooks_ingest::gate::FeedEnded;
use mediahooks_model::{FeedId, StreamName, TimelineId, Timestamp, TokenId};
use mediahooks_timeline::segmenter::Received;
use tokio::sync::{mpsc, oneshot, watch};

/// Which feeds to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopScope {
    /// Every one.
    All,
    /// Those of one stream.
    Stream(StreamName),
    /// Those published with one token.
    Token(TokenId),
    /// One.
    Feed(FeedId),
}

impl StopScope {
    fn holds(&self, feed: &Feed) -> bool {
        match self {
            Self::All => true,
            Self::Stream(name) => feed.stream_name == *name,
            Self::Token(token) => feed.token == *token,
            Self::Feed(id) => feed.id == *id,
        }
    }
}

/// Asks a feed's task to store what it has received.
#[derive(Debug)]
pub(crate) struct FlushRequest {
    /// Only if what was captured before this is not stored yet.
    pub before: Timestamp,
    /// Answered when it is stored, with the wall clock up to which everything captured is.
    pub reply: oneshot::Sender<Option<Timestamp>>,
}

/// The handle to a feed's task.
#[derive(Debug)]
struct LiveFeed {
    feed: Feed,
    timeline: TimelineId,
    /// Clips can be cut from it.
    clips: bool,
    stop: watch::Sender<Option<FeedEnded>>,
    flush: mpsc::Sender<FlushRequest>,
    received: watch::Receiver<Option<Received>>,
    /// Changes whenever a segment is stored.
    stored: watch::Sender<()>,
}

/// What a feed's task holds of its entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub stop: watch::Receiver<Option<FeedEnded>>,
    pub flush: mpsc::Receiver<FlushRequest>,
    /// Where the task says how far the feed has come.
    pub received: watch::Sender<Option<Received>>,
    /// Feeds that this one replaces, once it has begun.
    pub rivals: Vec<FeedId>,
}

/// A feed that outranks the one that wants in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outranked;

/// All live feeds.
#[derive(Debug, Default)]
pub(crate) struct LiveFeeds {
    feeds: Mutex<HashMap<FeedId, LiveFeed>>,
    count: watch::Sender<usize>,
    left: Mutex<Left>,
}

/// The feeds that have left of which clips could be cut.
#[derive(Debug, Default)]
struct Left {
    count: u64,
    /// The last [`LEFT_KEPT_MAX`] of them, the latest one last.
    latest: VecDeque<Feed>,
}

/// Feeds that have left and are remembered. Whoever looks seldom enough to miss some takes it that all were meant.
const LEFT_KEPT_MAX: usize = 256;

/// Why a feed ends whose source another publisher has taken over, which may be the same one on another connection.
pub(crate) const REPLACED: &str = "replaced";

/// Flush requests that may wait at a feed's task; then those who ask wait.
const FLUSHES_WAITING_MAX: usize = 1024;

impl LiveFeeds {
    /// Enters a feed. Of two feeds of one source and layer the one of higher priority stays, and of
    /// equal ones the newer: this one is refused, or the others are its rivals, which
    /// [`LiveFeeds::replace`] ends. `clips` says whether clips can be cut from it.
    pub(crate) fn enter(&self, feed: Feed, timeline: TimelineId, clips: bool) -> Result<Entry, Outranked> {
        let mut feeds = self.lock();
        let rivals =
            || feeds.values().filter(|live| same_source(&live.feed, &feed) && live.stop.borrow().is_none());
        if rivals().any(|live| rank(live.feed.priority) > rank(feed.priority)) {
            return Err(Outranked);
        }
        let rivals = rivals().map(|live| live.feed.id).collect();
        let (received, received_by) = watch::channel(None);
        let (stop, stop_receiver) = watch::channel(None);
        let (flush, flush_receiver) = mpsc::channel(FLUSHES_WAITING_MAX);
        let stored = watch::channel(()).0;
        feeds.insert(feed.id, LiveFeed { feed, timeline, clips, stop, flush, received: received_by, stored });
        self.count.send_replace(feeds.len());
        Ok(Entry { stop: stop_receiver, flush: flush_receiver, received, rivals })
    }

    /// Tells the feeds that a new one replaces to stop.
    pub(crate) fn replace(&self, rivals: &[FeedId]) {
        let feeds = self.lock();
        for rival in rivals.iter().filter_map(|id| feeds.get(id)) {
            rival.end(REPLACED, "Another publisher took over this stream".into());
        }
    }

    /// Takes a feed out again, once all of it is stored.
    pub(crate) fn leave(&self, feed: FeedId) {
        let gone = {
            let mut feeds = self.lock();
            let gone = feeds.remove(&feed);
            self.count.send_replace(feeds.len());
            gone
        };
        // Only now: who is told that it has left finds it gone.
        if let Some(gone) = gone.filter(|gone| gone.clips) {
            self.lock_left().push(gone.feed);
        }
    }

    /// How many have left so far: [`LiveFeeds::has_left`] goes on from here.
    pub(crate) fn left(&self) -> u64 {
        self.lock_left().count
    }

    /// Whether one of those that clips could be cut from has left that is `wanted`, or may have. `since` is how many had
    /// when this was asked last, and becomes how many have.
    pub(crate) fn has_left(&self, since: &mut u64, wanted: impl Fn(&Feed) -> bool) -> bool {
        let left = self.lock_left();
        let new = usize::try_from(left.count - *since).unwrap_or(usize::MAX);
        *since = left.count;
        new > left.latest.len() || left.latest.iter().rev().take(new).any(wanted)
    }

    pub(crate) fn feeds(&self) -> Vec<Feed> {
        self.lock().values().map(|live| live.feed.clone()).collect()
    }

    /// Whether a feed still writes to this timeline.
    pub(crate) fn writes_to(&self, timeline: TimelineId) -> bool {
        self.lock().values().any(|live| live.timeline == timeline)
    }

    /// Tells that a segment was stored.
    pub(crate) fn stored(&self, feed: FeedId) {
        if let Some(live) = self.lock().get(&feed) {
            live.stored.send_replace(());
        }
    }

    /// Follows what is stored of a timeline that a feed writes to: changes with each segment, and closes when the
    /// feed is over; `None` when it is already.
    pub(crate) fn follow(&self, timeline: TimelineId) -> Option<watch::Receiver<()>> {
        self.lock().values().find(|live| live.timeline == timeline).map(|live| live.stored.subscribe())
    }

    pub(crate) fn stop(&self, which: &StopScope, why: &'static str) -> usize {
        let feeds = self.lock();
        let told = feeds.values().filter(|live| which.holds(&live.feed) && live.end("stopped", why.into()));
        told.count()
    }

    /// Ends every feed.
    pub(crate) fn end_all(&self, code: &'static str, message: &str) {
        for live in self.lock().values() {
            live.end(code, message.to_owned());
        }
    }

    /// Tells a feed that it cannot be kept, so that its encoder reconnects.
    pub(crate) fn fail(&self, feed: FeedId) {
        if let Some(live) = self.lock().get(&feed) {
            live.end("storage_failed", "The server could not store this stream; reconnect".into());
        }
    }

    /// Asks the task of a feed to store what it has received; see [`FlushRequest`]. `None` when the
    /// feed is not live any more: everything it sent is stored.
    pub(crate) async fn flush(&self, feed: FeedId, before: Timestamp) -> Option<Timestamp> {
        let sender = self.lock().get(&feed)?.flush.clone();
        let (reply, answer) = oneshot::channel();
        sender.send(FlushRequest { before, reply }).await.ok()?;
        answer.await.ok().flatten()
    }

    /// The feeds that clips can be cut from, each with how far it has come.
    pub(crate) fn clippable(&self) -> Vec<(Feed, Option<Received>)> {
        let feeds = self.lock();
        let clippable = feeds.values().filter(|live| live.clips);
        clippable.map(|live| (live.feed.clone(), *live.received.borrow())).collect()
    }

    /// Follows how far a feed has come. It closes when the feed is over; `None` when it is already.
    pub(crate) fn received(&self, feed: FeedId) -> Option<watch::Receiver<Option<Received>>> {
        self.lock().get(&feed).map(|live| live.received.clone())
    }

    pub(crate) async fn wait_until_empty(&self) {
        let mut count = self.count.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|&count| count == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FeedId, LiveFeed>> {
        // The map is whole after every statement that touches it.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_left(&self) -> MutexGuard<'_, Left> {
        // Whoever it counts without remembering it is one of those that may be meant.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    fn push(&mut self, feed: Feed) {
        self.count += 1;
        if self.latest.len() == LEFT_KEPT_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(feed);
    }
}

impl LiveFeed {
    /// Tells the feed to stop; false when it was told before.
    fn end(&self, code: &'static str, message: String) -> bool {
        self.stop.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(FeedEnded { code, message });
            first
        })
    }
}

fn same_source(a: &Feed, b: &Feed) -> bool {
    a.stream_name == b.stream_name && a.source_id == b.source_id && a.simulcast_id == b.simulcast_id
}

/// A feed without priority ranks below every other.
fn rank(priority: Option<i32>) -> i64 {
    priority.map_or(i64::MIN, i64::from)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn feed(number: u128, source: Option<&str>, priority: Option<i32>) -> Feed {
        Feed {
            id: FeedId(Uuid::from_u128(number)),
            token: TokenId(1),
            stream_name: "stage".parse().unwrap(),
            source_id: source.map(str::to_owned),
            simulcast_id: None,
            priority,
            target_kbps: None,
            remote: "127.0.0.1".parse().unwrap(),
            started: Timestamp::EPOCH,
            ended: None,
        }
    }

    fn enter(live: &LiveFeeds, feed: Feed) -> Result<Entry, Outranked> {
        let timeline = TimelineId(feed.id.0);
        let entry = live.enter(feed, timeline, true)?;
        live.replace(&entry.rivals);
        Ok(entry)
    }

    #[test]
    fn the_higher_priority_stays_and_of_equals_the_newer() {
        let live = LiveFeeds::default();
        let first = enter(&live, feed(1, None, None)).unwrap();
        let equal = enter(&live, feed(2, None, None)).unwrap();
        assert_eq!(first.stop.borrow().as_ref().unwrap().code, "replaced");
        let higher = enter(&live, feed(3, None, Some(-5))).unwrap();
        assert!(equal.stop.borrow().is_some());
        assert!(enter(&live, feed(4, None, None)).is_err());
        assert!(higher.stop.borrow().is_none());
        assert!(enter(&live, feed(5, Some("side"), None)).is_ok());
    }

    #[test]
    fn who_has_left_is_told_once_and_whoever_looks_too_seldom_is_told_in_any_case() {
        let live = LiveFeeds::default();
        let leave = |number: u128| {
            let _entry = enter(&live, feed(number, None, None)).unwrap();
            live.leave(FeedId(Uuid::from_u128(number)));
        };
        leave(1);
        let mut since = live.left();
        let is = |number: u128| move |feed: &Feed| feed.id == FeedId(Uuid::from_u128(number));
        assert!(!live.has_left(&mut since, |_| true));
        leave(2);
        leave(3);
        let mut again = since;
        assert!(live.has_left(&mut since, is(2)) && !live.has_left(&mut since, |_| true));
        assert!(!live.has_left(&mut again, is(1)));
        (0..LEFT_KEPT_MAX as u128).for_each(|number| leave(100 + number));
        assert!(!live.has_left(&mut again, is(1)));
        (0..=LEFT_KEPT_MAX as u128).for_each(|number| leave(1000 + number));
        assert!(live.has_left(&mut again, is(1)));
    }

    #[test]
    fn stopping_tells_each_feed_once() {
        let live = LiveFeeds::default();
        let entry = enter(&live, feed(1, None, None)).unwrap();
        assert_eq!(live.stop(&StopScope::Token(TokenId(2)), "x"), 0);
        assert_eq!(live.stop(&StopScope::Token(TokenId(1)), "x"), 1);
        assert_eq!(live.stop(&StopScope::All, "y"), 0);
        assert_eq!(entry.stop.borrow().as_ref().unwrap().message, "x");
    }
}
