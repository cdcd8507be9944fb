//! A script of what a receiver meets in its life.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};

use super::{FakeSender, Hook, life_of_a_recording};
use crate::event::Event;
use crate::verify::Scheme;

/// One request of a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it is, for the message of a test that fails.
    pub what: &'static str,
    /// To be sent in its turn.
    pub request: Request<Bytes>,
    /// What a receiver should do with it.
    pub expected: Expected,
}

/// What a receiver should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Handle it and answer 2xx.
    Handled,
    /// Answer 2xx, since any other answer brings it again, and do nothing.
    Ignored,
    /// Answer 400 or another 4xx, and do nothing.
    Refused,
}

impl Expected {
    /// Whether that is an answer with which a receiver says it did.
    pub fn agrees_with(self, status: StatusCode) -> bool {
        match self {
            Self::Handled | Self::Ignored => status.is_success(),
            Self::Refused => status.is_client_error(),
        }
    }
}

/// Further from now than any receiver tolerates.
const LONG: Duration = Duration::from_secs(3600);

impl FakeSender {
    /// What every receiver has to stand, in this order: genuine events, repeats, an event that comes after a
    /// later one, a type of the future, and all kinds of requests that are not genuine. Signed when it is
    /// called, so send them within minutes.
    pub fn rehearsal(&self) -> Vec<Step> {
        let [processing, completed, deleted] =
            life_of_a_recording("rehearsed").map(|event| self.hook(&event));
        let refused = |what, spoil: fn(Hook) -> Hook| {
            step(what, &spoil(self.hook(&super::completed_clip(what))), Expected::Refused)
        };
        let mut steps = vec![
            step("a genuine event", &processing, Expected::Handled),
            step("a repeat of it", &processing, Expected::Ignored),
            step("the last event of the asset, too early", &deleted, Expected::Handled),
            step("the event before, too late", &completed, Expected::Handled),
            step("a repeat of what was overtaken", &completed, Expected::Ignored),
            step("a type not known yet", &self.hook(&of_the_future()), Expected::Handled),
            refused("a changed body", Hook::tampered),
            refused("another secret", Hook::forged),
            refused("no signature", Hook::unsigned),
        ];
        if self.scheme == Scheme::Standard {
            steps.extend([
                refused("signed an hour ago", |hook| hook.late(LONG)),
                refused("signed in an hour", |hook| hook.early(LONG)),
                refused("an id that was not signed", Hook::with_an_id_not_signed),
            ]);
            let mut both = self.clone();
            both.keys.insert(0, crate::key::Key::from_bytes(b"the secret of the future"));
            let hook = both.hook(&super::completed_clip("rotated"));
            steps.push(step("a second signature beside an unknown one", &hook, Expected::Handled));
        }
        steps
    }
}

fn step(what: &'static str, hook: &Hook, expected: Expected) -> Step {
    Step { what, request: hook.request(), expected }
}

fn of_the_future() -> Event {
    let body =
        br#"{"type":"holograms","event":"projected","timestamp":1767261600000,"data":{"hologramId":"h"}}"#;
    Event::from_json(body).expect("an event")
}
