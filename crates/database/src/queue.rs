//! Who attempts what, and which webhook has something due: what the writer keeps in memory of the queue.
//!
//! One process owns a SQLite file, and what a process was attempting is void with its end. So leases are not
//! written: claiming costs no transaction of its own, and recording an attempt finds its lease here. Fed by
//! [`crate::deliveries`] and the writer. What always holds:
//!
//! - a delivery has one lease at most, and memory holds nothing of one that has none;
//! - of a webhook nothing that is pending and not leased is due before its `from`: that is a lower bound, so
//!   whoever makes something due calls [`Queue::look`], before or after it is durable;
//! - what an operation did here is undone with the operation.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use mediahooks_model::{DeliveryId, Timestamp, WebhookId};

/// All leases, and all webhooks that have any or have something pending.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    leases: HashMap<DeliveryId, Lease>,
    /// The leases that have not run out, by their end.
    ends: BTreeSet<(Timestamp, DeliveryId)>,
    lanes: HashMap<WebhookId, Lane>,
    /// Webhooks that may have something due; they take turns.
    ready: VecDeque<WebhookId>,
    /// Webhooks that have to be looked at again, and when.
    later: BTreeSet<(Timestamp, WebhookId)>,
    /// Leases as they were before the running transaction, the newest change last.
    journal: Vec<(DeliveryId, Option<Lease>)>,
    /// Whether every webhook that is owed something is known here.
    sure: bool,
}

/// Who attempts a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) owner: Arc<str>,
    pub(crate) webhook: WebhookId,
    pub(crate) until: Timestamp,
    /// It has run out. Its holder may still record the attempt as long as nobody else takes over.
    pub(crate) over: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// Leases that have not run out.
    leased: u32,
    /// Nothing unleased is due before; absent: nothing is pending.
    from: Option<Timestamp>,
    place: Place,
}

/// Where a lane waits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: it has nothing pending.
    #[default]
    Idle,
    Ready,
    /// In `later`.
    Later(Timestamp),
    /// For the end of one of its leases or a change of its webhook; also in `later` when there is a moment.
    Full(Option<Timestamp>),
}

/// A webhook whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) webhook: WebhookId,
    /// Nothing unleased is due before.
    pub(crate) from: Timestamp,
    /// How many of its deliveries are leased.
    pub(crate) leased: u32,
}

/// What is to become of a webhook after its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After {
    /// It has nothing pending that is not leased.
    Nothing,
    /// The first of what it has pending is due then.
    Due(Timestamp),
    /// It gets nothing until one of its leases ends, it is changed, or the moment given comes.
    Full(Option<Timestamp>),
}

impl Queue {
    /// Something of a webhook may be due at `at`.
    pub(crate) fn look(&mut self, webhook: WebhookId, at: Timestamp) {
        let lane = self.lanes.entry(webhook).or_default();
        let from = lane.from.map_or(at, |from| from.min(at));
        lane.from = Some(from);
        match lane.place {
            Place::Idle => self.put(webhook, Place::Later(from)),
            Place::Later(when) if from < when => self.put(webhook, Place::Later(from)),
            Place::Later(_) | Place::Ready | Place::Full(_) => {}
        }
    }

    /// A webhook was changed: what kept it from being sent to may be over.
    pub(crate) fn renew(&mut self, webhook: WebhookId) {
        if self.lanes.get(&webhook).is_some_and(|lane| lane.from.is_some() && lane.place != Place::Ready) {
            self.put(webhook, Place::Ready);
        }
    }

    /// Ends the leases that have run out by `now`, and has everybody take turns who may have something due.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            lease.over = true;
            let webhook = lease.webhook;
            self.unlease(webhook);
            self.look(webhook, Timestamp::EPOCH);
        }
        while let Some((_, webhook)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.put(webhook, Place::Ready);
        }
    }

    /// How many webhooks take turns.
    pub(crate) fn turns(&self) -> usize {
        self.ready.len()
    }

    /// Whose turn it is; [`Queue::put_back`] ends it.
    pub(crate) fn next_turn(&mut self) -> Option<Turn> {
        loop {
            let webhook = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&webhook) else { continue };
            lane.place = Place::Idle;
            if let Some(from) = lane.from {
                return Some(Turn { webhook, from, leased: lane.leased });
            }
        }
    }

    /// Ends the turn of a webhook.
    pub(crate) fn put_back(&mut self, webhook: WebhookId, after: After, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        let place = match after {
            After::Nothing => {
                lane.from = None;
                Place::Idle
            }
            After::Due(at) => {
                lane.from = Some(at);
                if at <= now { Place::Ready } else { Place::Later(at) }
            }
            After::Full(more_at) => Place::Full(more_at),
        };
        self.put(webhook, place);
        self.drop_if_idle(webhook);
    }

    /// The lease of a delivery, run out or not.
    pub(crate) fn lease(&self, id: DeliveryId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Whether somebody attempts a delivery, as far as is known.
    pub(crate) fn is_leased(&self, id: DeliveryId) -> bool {
        self.leases.get(&id).is_some_and(|lease| !lease.over)
    }

    /// Whether anything is attempted.
    pub(crate) fn has_leases(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Leases a delivery, or ends its lease.
    pub(crate) fn set(&mut self, id: DeliveryId, lease: Option<Lease>) {
        let before = self.replace(id, lease);
        self.journal.push((id, before));
    }

    /// Ends every lease of `owner`; whether there were any.
    pub(crate) fn release(&mut self, owner: &str) -> bool {
        let theirs = self.leases.iter().filter(|(_, lease)| &*lease.owner == owner);
        let theirs: Vec<_> = theirs.map(|(id, lease)| (*id, lease.webhook)).collect();
        for (id, webhook) in &theirs {
            self.set(*id, None);
            self.look(*webhook, Timestamp::EPOCH);
        }
        !theirs.is_empty()
    }

    /// When there may be something to claim.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let ready = (!self.ready.is_empty()).then_some(Timestamp::EPOCH);
        let later = self.later.first().map(|(at, _)| *at);
        let end = self.ends.first().map(|(end, _)| *end);
        ready.into_iter().chain(later).chain(end).min()
    }

    /// What the operations so far did stays.
    pub(crate) fn keep(&mut self) {
        self.journal.clear();
    }

    /// Nothing that the operations of this transaction did stays.
    pub(crate) fn lost(&mut self) {
        self.undo(0);
        self.sure = false;
    }

    /// Whether every webhook that is owed something is known here. Not at the start, nor after an operation
    /// failed that had begun to change that; [`Queue::look`] at all of them then.
    pub(crate) fn is_sure(&self) -> bool {
        self.sure
    }

    /// Says so.
    pub(crate) fn set_sure(&mut self, sure: bool) {
        self.sure = sure;
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Takes back what was done to leases since `mark`, and looks again at whom it was about.
    pub(crate) fn undo(&mut self, mark: usize) {
        for (id, before) in self.journal.split_off(mark).into_iter().rev() {
            let webhook = before.as_ref().map(|lease| lease.webhook);
            let undone = self.replace(id, before);
            for webhook in webhook.into_iter().chain(undone.map(|lease| lease.webhook)) {
                self.look(webhook, Timestamp::EPOCH);
            }
        }
    }

    fn replace(&mut self, id: DeliveryId, lease: Option<Lease>) -> Option<Lease> {
        let before = match lease.clone() {
            Some(lease) => self.leases.insert(id, lease),
            None => self.leases.remove(&id),
        };
        if let Some(before) = before.as_ref().filter(|before| !before.over) {
            self.ends.remove(&(before.until, id));
            self.unlease(before.webhook);
        }
        if let Some(lease) = lease.filter(|lease| !lease.over) {
            self.ends.insert((lease.until, id));
            self.lanes.entry(lease.webhook).or_default().leased += 1;
        }
        before
    }

    /// A lease of a webhook has ended: there may be room for another.
    fn unlease(&mut self, webhook: WebhookId) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        lane.leased = lane.leased.saturating_sub(1);
        if matches!(lane.place, Place::Full(_)) {
            self.put(webhook, Place::Ready);
        }
        self.drop_if_idle(webhook);
    }

    fn put(&mut self, webhook: WebhookId, place: Place) {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        if let Place::Later(at) | Place::Full(Some(at)) = lane.place {
            self.later.remove(&(at, webhook));
        }
        lane.place = place;
        match place {
            Place::Later(at) | Place::Full(Some(at)) => _ = self.later.insert((at, webhook)),
            Place::Ready => self.ready.push_back(webhook),
            Place::Idle | Place::Full(None) => {}
        }
    }

    fn drop_if_idle(&mut self, webhook: WebhookId) {
        let idle = self
            .lanes
            .get(&webhook)
            .is_some_and(|lane| lane.leased == 0 && lane.from.is_none() && lane.place == Place::Idle);
        if idle {
            self.lanes.remove(&webhook);
        }
    }
}
