//! Where a connection puts its feed's media, and the feed's task takes whole segments out.
//!
//! Samples are grouped on the connection's own task, under a lock that nobody else wants but once a second: handing
//! each over would cost more than all that is done with it. What always holds: segments come out in the order in
//! which they were closed, and a connection waits when [`SEGMENTS_WAITING_MAX`] of them wait for the disk.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mediahooks_ingest::gate::{FeedInput, PublishEnd, Room};
use mediahooks_media::dropped::DropReason;
use mediahooks_media::error::MuxError;
use mediahooks_media::sample::TrackKind;
use mediahooks_model::Timestamp;
use mediahooks_timeline::segmenter::{ClosedSegment, Held, Output, Received, Segmenter, SegmenterSettings};
use tokio::sync::{Notify, watch};

use super::NewFeed;
use crate::counted;
use crate::live;

/// Segments that may wait for the disk; then the publisher's socket waits too. A few seconds of media.
const SEGMENTS_WAITING_MAX: usize = 8;

/// See the module.
pub(super) struct Intake {
    state: Mutex<State>,
    /// Something came for the feed's task.
    filled: Notify,
    /// The feed's task took something, or will take nothing more.
    taken: Notify,
}

struct State {
    /// Its clock stamps the arrivals.
    new: NewFeed,
    segmenter: Segmenter,
    waiting: VecDeque<Box<ClosedSegment>>,
    /// The connection was told to wait: its feed is not silent, however long nothing comes.
    is_held_up: bool,
    end: Option<PublishEnd>,
    /// When the publisher was known to be there last, once it has left.
    left: Option<Timestamp>,
    failure: Option<MuxError>,
    is_closed: bool,
    /// Says how far the feed has come; gone when it is over.
    received: Option<watch::Sender<Option<Received>>>,
    dropped: u64,
}

/// What the feed's task is to do.
pub(super) enum Next {
    /// Store this.
    Segment(Box<ClosedSegment>),
    /// The publisher has left; what is open is still here.
    End(PublishEnd),
    /// A segment could not be made.
    Failed(MuxError),
}

/// The feed takes nothing more.
#[derive(Debug)]
pub(super) struct Closed;

impl Intake {
    pub(super) fn new(new: NewFeed, received: watch::Sender<Option<Received>>) -> Self {
        let state = State {
            new,
            segmenter: Segmenter::new(SegmenterSettings::default()),
            waiting: VecDeque::new(),
            is_held_up: false,
            end: None,
            left: None,
            failure: None,
            is_closed: false,
            received: Some(received),
            dropped: 0,
        };
        Self { state: Mutex::new(state), filled: Notify::new(), taken: Notify::new() }
    }

    /// Takes out of `inputs` what has just arrived.
    pub(super) fn push(&self, inputs: &mut Vec<FeedInput>) -> Result<Room, Closed> {
        let mut state = self.lock();
        if state.is_closed || state.failure.is_some() {
            return Err(Closed);
        }
        if let Err(failure) = state.take(inputs) {
            state.failure = Some(failure);
        }
        if !state.waiting.is_empty() || state.failure.is_some() {
            self.filled.notify_one();
        }
        state.is_held_up = state.waiting.len() >= SEGMENTS_WAITING_MAX;
        Ok(if state.is_held_up { Room::None } else { Room::Left })
    }

    /// Resolves when there is room for more.
    pub(super) async fn room(&self) {
        let has_room = || {
            let mut state = self.lock();
            state.is_held_up = state.waiting.len() >= SEGMENTS_WAITING_MAX && !state.is_closed;
            !state.is_held_up
        };
        while !has_room() {
            self.taken.notified().await;
        }
    }

    /// Nothing more comes. What was said first counts.
    pub(super) fn end(&self, end: PublishEnd) {
        let mut state = self.lock();
        if state.left.is_none() {
            let now = state.new.clock.now();
            // One that fell silent, or has come back meanwhile, may have been gone before.
            let is_certain = match &end {
                PublishEnd::TimedOut => false,
                PublishEnd::Stopped(ended) => ended.code != live::REPLACED,
                _ => true,
            };
            let heard_of = |state: &mut State| Some(state.segmenter.received(now)?.until);
            state.left = if is_certain { Some(now) } else { heard_of(&mut state) };
        }
        state.end.get_or_insert(end);
        drop(state);
        self.filled.notify_one();
    }

    /// What is to be done next, in order. Cancel-safe.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.lock().next() {
                self.taken.notify_one();
                return next;
            }
            self.filled.notified().await;
        }
    }

    /// Takes out what waits.
    pub(super) fn waiting(&self) -> VecDeque<Box<ClosedSegment>> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        self.taken.notify_one();
        waiting
    }

    /// Closes the open segment, behind those that wait. Returns how far the feed has come with them.
    pub(super) fn flush(&self) -> Result<Option<Received>, MuxError> {
        let mut state = self.lock();
        state.close(Segmenter::flush)?;
        let now = state.new.clock.now();
        Ok(state.segmenter.received(now))
    }

    /// As [`Segmenter::poll`], unless media waits behind a slow disk. Tells how far the feed has come, too: of one that
    /// sends little the time tells.
    pub(super) fn poll(&self) -> Result<(), MuxError> {
        let mut state = self.lock();
        if state.is_held_up || !state.waiting.is_empty() {
            return Ok(());
        }
        let now = state.new.clock.now();
        state.tell_received(now);
        state.close(|segmenter, out| segmenter.poll(now, out))
    }

    /// As [`Segmenter::held`], of what is stored. Of a publisher that has left: until it did.
    pub(super) fn held(&self) -> Option<Held> {
        let state = self.lock();
        if state.left.is_none() && state.is_held_up || !state.waiting.is_empty() {
            return None;
        }
        state.segmenter.held(state.left.unwrap_or_else(|| state.new.clock.now()))
    }

    /// Takes nothing more from here on.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.taken.notify_one();
    }

    /// The feed is over, and everything of it is stored.
    pub(super) fn over(&self) {
        self.close();
        self.lock().received = None;
    }

    /// Samples that were not kept.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside loses at most what was being pushed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<Next> {
        if let Some(segment) = self.waiting.pop_front() {
            return Some(Next::Segment(segment));
        }
        if let Some(failure) = self.failure.take() {
            return Some(Next::Failed(failure));
        }
        self.end.take().map(Next::End)
    }

    fn take(&mut self, inputs: &mut Vec<FeedInput>) -> Result<(), MuxError> {
        if let Some(by_us) = self.new.clock.follow() {
            self.clock_set(by_us)?;
        }
        let arrival = self.new.clock.now();
        for input in inputs.drain(..) {
            match input {
                FeedInput::Config(config) if self.keeps(config.kind) => {
                    self.close(|segmenter, out| segmenter.set_track(config, out))?;
                }
                FeedInput::Sample { kind, sample } if self.keeps(kind) => {
                    self.close(|segmenter, out| segmenter.push(kind, sample, arrival, out))?;
                }
                FeedInput::Ignored { kind, reason } => self.note_dropped(kind, reason),
                FeedInput::Config(_) | FeedInput::Sample { .. } => {}
            }
        }
        self.tell_received(arrival);
        Ok(())
    }

    /// Tells who waits how far the feed has come. Between two runs what is known of the first one holds.
    fn tell_received(&mut self, now: Timestamp) {
        let received = self.segmenter.received(now);
        if let Some(watched) = self.received.as_ref().filter(|_| received.is_some()) {
            watched.send_if_modified(|known| std::mem::replace(known, received) != received);
        }
    }

    /// Follows a wall clock that was set: what was received until now keeps the time it had.
    fn clock_set(&mut self, by_us: i64) -> Result<(), MuxError> {
        let feed = &self.new.feed;
        tracing::warn!(
            feed = %feed.id, stream = %feed.stream_name, by_ms = by_us / 1000,
            "the system's clock was set; the recording goes on, times of day jump"
        );
        counted::clock_set();
        self.close(|segmenter, out| segmenter.set_clock(by_us, out))
    }

    /// Lets the segmenter do something that may close segments.
    fn close(
        &mut self,
        work: impl FnOnce(&mut Segmenter, &mut Vec<Output>) -> Result<(), MuxError>,
    ) -> Result<(), MuxError> {
        let mut outputs = Vec::new();
        let done = work(&mut self.segmenter, &mut outputs);
        for output in outputs {
            self.note(output);
        }
        done
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Segment(segment) => self.waiting.push_back(segment),
            Output::Dropped { kind, reason } => self.note_dropped(kind, reason),
            Output::RunEnded { reason } => {
                let feed = &self.new.feed;
                tracing::warn!(
                    feed = %feed.id, stream = %feed.stream_name, reason, "what follows makes another recording"
                );
                counted::run_ended(reason);
            }
            Output::Gap { kind, len_us } => counted::gap(kind, len_us),
            Output::Restamped { kind } => counted::restamped(kind),
        }
    }

    fn note_dropped(&mut self, kind: TrackKind, reason: DropReason) {
        self.dropped += 1;
        counted::dropped(kind, reason);
        // The first few tell what is wrong; the count at the end tells how much.
        if self.dropped <= 8 {
            let feed = &self.new.feed;
            tracing::warn!(feed = %feed.id, stream = %feed.stream_name, ?kind, %reason, "not kept");
        }
    }

    fn keeps(&self, kind: TrackKind) -> bool {
        let wanted = match kind {
            TrackKind::Video => self.new.keeps_video,
            TrackKind::Audio => self.new.keeps_audio,
        };
        wanted && (self.new.records || self.new.clips)
    }
}
