//! The ways to misbehave, and the paths that ask for them.

use std::time::Duration;

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Answers with this status; with 429 and 503, asks for so many seconds of patience.
    Status {
        /// The status.
        code: u16,
        /// For `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Fails this many times with 503, answers 200 once, and begins anew.
    Flap {
        /// How often.
        failures: u32,
    },
    /// Answers 307 to a path beside it.
    Redirect,
    /// What [`Mode::Redirect`] leads to: nobody should come here.
    Followed,
    /// Takes the request and never answers.
    Hang,
    /// Answers with a head and never with the body it promised.
    HangBody,
    /// A body of one byte now and then.
    Drip {
        /// Between two bytes.
        every: Duration,
    },
    /// A head of one byte now and then.
    DripHead {
        /// Between two bytes.
        every: Duration,
    },
    /// A body without end.
    Huge,
    /// A head without end.
    Headers,
    /// Interim responses without end.
    Interim,
    /// Resets the connection instead of answering.
    Reset,
    /// Closes its half of the connection instead of answering, and reads on.
    HalfClose,
    /// Promises a longer body than it sends.
    Short,
    /// Sends a longer body than it promised.
    Long,
    /// Says something that is not HTTP.
    Garbage,
    /// Ends a body of unknown length by the end of the connection.
    Unframed,
    /// Switches to a protocol nobody asked for.
    Upgrade,
    /// Answers 200, lets the connection live, and closes it without an answer on the next request.
    Stale,
    /// HTTP/2: answers 200 and says goodbye. HTTP/1.1: answers 200 with `connection: close`.
    Goaway,
}

/// A path, what it asks for, and what a good sender does about it.
pub struct Line {
    /// As written in a URL; letters in capitals are numbers.
    pub path: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What is expected.
    pub expects: &'static str,
}

const fn line(path: &'static str, does: &'static str, expects: &'static str) -> Line {
    Line { path, does, expects }
}

/// Every path, for people.
pub const LINES: [Line; 21] = [
    line("/ok", "answers 200", "delivered"),
    line("/status/CODE", "answers this status", "only 2xx is delivered; 410 ends the subscription"),
    line("/status/CODE/SECONDS", "the same with Retry-After", "not tried again before"),
    line("/flap/N", "N times 503, then 200", "delivered at attempt N + 1, with the same id and body"),
    line("/redirect", "307 to /followed", "a failure; /followed is never asked"),
    line("/hang", "never answers", "ended by the sender, and soon"),
    line("/hang-body", "200, and never the body", "ended by the sender; delivered, since it said 200"),
    line("/drip/MS", "200, and a byte every MS", "the same: a slow body must not hold a place"),
    line("/drip-head/MS", "the head, a byte every MS", "ended by the sender: one deadline for all"),
    line("/huge", "200, and a body without end", "ended by the sender after some KiB"),
    line("/headers", "a head without end", "ended by the sender after some KiB; a failure"),
    line("/interim", "100 Continue without end", "ended by the sender; a failure"),
    line("/reset", "resets the connection", "a failure, tried again on record"),
    line("/half-close", "closes its half without an answer", "a failure, tried again on record"),
    line(
        "/short",
        "promises 100 bytes, sends 10",
        "delivered, since it said 200; the connection is not used again",
    ),
    line("/long", "promises 2 bytes, sends 100", "delivered; what follows is not taken for the next answer"),
    line("/garbage", "speaks SMTP", "a failure"),
    line("/unframed", "200, ends the body by closing", "delivered"),
    line("/upgrade", "101 to another protocol", "a failure"),
    line("/goaway", "200 and a goodbye (HTTP/2: GOAWAY)", "delivered; the next on another connection"),
    line("/stale", "200, then closes on the next request", "no event is lost or sent twice unrecorded"),
];

impl Mode {
    /// Reads the path of a request. What is not known is answered with 200.
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let word = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
        let every = |number: Option<u32>| Duration::from_millis(u64::from(number.unwrap_or(1000).max(1)));
        match word {
            "status" => Self::Status {
                code: number().and_then(|code| u16::try_from(code).ok()).filter(is_final).unwrap_or(200),
                retry_after: number(),
            },
            "flap" => Self::Flap { failures: number().unwrap_or(1) },
            "redirect" => Self::Redirect,
            "followed" => Self::Followed,
            "hang" => Self::Hang,
            "hang-body" => Self::HangBody,
            "drip" => Self::Drip { every: every(number()) },
            "drip-head" => Self::DripHead { every: every(number()) },
            "huge" => Self::Huge,
            "headers" => Self::Headers,
            "interim" => Self::Interim,
            "reset" => Self::Reset,
            "half-close" => Self::HalfClose,
            "short" => Self::Short,
            "long" => Self::Long,
            "garbage" => Self::Garbage,
            "unframed" => Self::Unframed,
            "upgrade" => Self::Upgrade,
            "stale" => Self::Stale,
            "goaway" => Self::Goaway,
            _ => Self::Status { code: 200, retry_after: None },
        }
    }
}

/// Interim statuses do not end an answer.
fn is_final(code: &u16) -> bool {
    (200..=999).contains(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_with_their_numbers() {
        assert_eq!(Mode::of_path("/status/429/7"), Mode::Status { code: 429, retry_after: Some(7) });
        assert_eq!(Mode::of_path("/status/100"), Mode::Status { code: 200, retry_after: None });
        assert_eq!(Mode::of_path("/flap/3?a=b"), Mode::Flap { failures: 3 });
        assert_eq!(Mode::of_path("/drip/5"), Mode::Drip { every: Duration::from_millis(5) });
        assert_eq!(Mode::of_path("/drip"), Mode::Drip { every: Duration::from_secs(1) });
    }

    #[test]
    fn every_line_leads_to_a_mode_of_its_own() {
        let ok = Mode::of_path("/ok");
        for line in &LINES[1..] {
            let path =
                line.path.replace("CODE", "503").replace("SECONDS", "9").replace("MS", "5").replace('N', "2");
            assert_ne!(Mode::of_path(&path), ok, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "\\PC*") {
            let _ = Mode::of_path(&path);
        }
    }
}
