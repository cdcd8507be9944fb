//! A webhook on one line.

use std::time::Duration;

use mediahooks_model::Timestamp;
use mediahooks_receiver::{Event, Payload, Scheme, Verified};

use super::human;
use super::style::{Style, Tone};
use super::table::cell;

/// What is shown of an id where a whole one does not fit: enough to tell assets apart.
const SHORT_ID_CHARS: usize = 8;

/// The titles of the columns that [`line()`] fills.
pub fn titles(style: Style) -> String {
    let width = subject_width(style);
    let titles =
        format!("{:<12}  {:<16}  {:<width$}  {:<15}  {}", "TIME", "EVENT", "OF", "SIGNATURE", "AFTER");
    style.paint(Tone::Quiet, &titles)
}

fn subject_width(style: Style) -> usize {
    if style.is_wide() { 46 } else { 10 + SHORT_ID_CHARS }
}

/// The titles of the columns that [`followed()`] fills.
pub fn followed_titles(style: Style) -> String {
    let width = subject_width(style);
    style.paint(Tone::Quiet, &format!("{:<12}  {:<16}  {:<width$}  {}", "HAPPENED", "EVENT", "OF", "ANSWER"))
}

/// When it happened, what, to what, and what became of it here.
pub fn followed(style: Style, happened: Timestamp, event: &Event, outcome: &str) -> String {
    format!("{}  {outcome}", begin(style, happened, event)).trim_end().to_owned()
}

/// When it came, what happened, to what, how it was proven, and how long after the change of state.
pub fn line(style: Style, received: Timestamp, verified: &Verified, event: &Event) -> String {
    format!(
        "{}  {:<15}  {}",
        begin(style, received, event),
        proof(verified.scheme),
        latency(received, event).map_or_else(|| "unknown".to_owned(), human::duration),
    )
}

/// The columns that all lines have.
fn begin(style: Style, at: Timestamp, event: &Event) -> String {
    let kind = format!("{}.{}", cell(&event.type_name), cell(&event.event_name));
    let tone = match event.event_name.as_str() {
        "completed" => Tone::Good,
        "errored" => Tone::Bad,
        "processing" | "started" => Tone::Busy,
        _ => Tone::Quiet,
    };
    let width = subject_width(style);
    format!(
        "{}  {}  {:<width$}",
        human::time_of_day(at),
        style.paint(tone, &format!("{kind:<16}")),
        subject(style, event),
    )
}

fn subject(style: Style, event: &Event) -> String {
    let id = |id: &str| {
        let shown = if style.is_wide() { usize::MAX } else { SHORT_ID_CHARS };
        cell(id).chars().take(shown).collect::<String>()
    };
    match &event.payload {
        Payload::Media(media) => {
            format!("{:<9} {}", cell(media.asset_type.as_str()), id(&media.media_asset_id))
        }
        Payload::Feeds(feed) => format!("feed      {}", id(&feed.feed_id)),
        Payload::Storage(storage) => {
            let free = storage.free_bytes.map(|free| format!(" {} free", human::size(free)));
            format!("disk     {}", free.unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// The verified signature, by its algorithm.
fn proof(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Standard => "verified sha256",
        Scheme::Millicast => "verified sha1",
    }
}

/// From the change of state to its arrival here; zero when the clocks disagree.
pub fn latency(received: Timestamp, event: &Event) -> Option<Duration> {
    event.timestamp.map(|at| received.since(Timestamp::from_millis(at.0)))
}
