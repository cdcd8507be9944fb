//! The connection as an operation sees it, and what is kept beside it from one operation to the next.
//!
//! Made by the worker for each operation of a transaction.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mediahooks_model::{EventKind, StreamName, TimelineId, Timestamp, Webhook, WebhookId};
use rusqlite::Connection;

use crate::error::{DatabaseError, Result};
use crate::queue::Queue;
use crate::segments::Places;
use crate::webhooks;

/// The connection as one operation sees it: inside a transaction.
pub(crate) struct Writing<'a> {
    pub(super) connection: &'a Connection,
    pub(super) webhooks: &'a RefCell<Option<KeptWebhooks>>,
    pub(super) webhooks_changed: Cell<bool>,
    pub(super) queue: &'a Mutex<Queue>,
    pub(super) events: RefCell<Vec<EventKind>>,
    pub(super) places: &'a Places,
    /// Timelines with the segment below which their segments are in pages now.
    pub(super) moved: RefCell<Vec<(TimelineId, u64)>>,
    pub(super) first_attempt_after: Duration,
}

/// Webhooks, oldest first, with their filters compiled.
pub(crate) type Webhooks = Arc<[Arc<Webhook>]>;

/// What is kept of the webhooks until one of them changes.
pub(super) struct KeptWebhooks {
    all: Webhooks,
    /// Whose filter lets a stream pass.
    by_stream: HashMap<StreamName, Webhooks>,
}

/// Streams of which it is kept who wants to hear of them; beyond that it is found out anew.
const STREAMS_KEPT: usize = 1024;

impl Writing<'_> {
    /// Every webhook, as this operation sees them. Read once and kept until one of them changes: each
    /// event asks.
    pub(crate) fn webhooks(&self) -> Result<Webhooks> {
        Ok(self.kept()?.all.clone())
    }

    /// Those whose filter lets a stream pass. Kept too: a server has few streams, and may have many filters.
    pub(crate) fn webhooks_of(&self, stream: &StreamName) -> Result<Webhooks> {
        let mut kept = self.kept()?;
        if let Some(known) = kept.by_stream.get(stream) {
            return Ok(known.clone());
        }
        let passes =
            |webhook: &&Arc<Webhook>| webhook.filter.as_ref().is_none_or(|filter| filter.passes(stream));
        let found: Webhooks = kept.all.iter().filter(passes).cloned().collect();
        if kept.by_stream.len() >= STREAMS_KEPT {
            kept.by_stream.clear();
        }
        kept.by_stream.insert(stream.clone(), found.clone());
        Ok(found)
    }

    fn kept(&self) -> Result<RefMut<'_, KeptWebhooks>> {
        if self.webhooks.borrow().is_none() {
            let all = webhooks::all(self)?.into_iter().map(Arc::new).collect();
            *self.webhooks.borrow_mut() = Some(KeptWebhooks { all, by_stream: HashMap::new() });
        }
        let kept = RefMut::filter_map(self.webhooks.borrow_mut(), Option::as_mut);
        kept.map_err(|_| DatabaseError::internal("the webhooks were not kept"))
    }

    /// Has to be called after a webhook was written.
    pub(crate) fn webhook_changed(&self, id: WebhookId) {
        self.webhooks_changed.set(true);
        self.webhooks.take();
        self.queue().renew(id);
    }

    /// Who attempts what, and which webhook has something due. Held for moments.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first attempt of a delivery that may begin at `now` is due.
    pub(crate) fn first_attempt(&self, now: Timestamp) -> Timestamp {
        now.plus(self.first_attempt_after)
    }

    /// Where in the tail segments are.
    pub(crate) fn places(&self) -> &Places {
        self.places
    }

    /// Has to be called after the segments of a timeline below `below` moved into pages.
    pub(crate) fn moved_into_pages(&self, timeline: TimelineId, below: u64) {
        self.moved.borrow_mut().push((timeline, below));
    }

    /// Tells followers of events, once this is durable, that there is one more.
    pub(crate) fn wake_followers(&self, kind: EventKind) {
        self.events.borrow_mut().push(kind);
    }
}

impl Deref for Writing<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
