//! The delivery log: what endpoints were and are owed, and why something did not come.

use std::time::Duration;

use clap::Args;
use mediahooks_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::{human, table};

/// What to show of the log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Only in this state: waiting, pending, delivered, exhausted or expired; repeat it for more.
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Only of this kind, such as media.completed; repeat it for more.
    #[arg(long, value_name = "KIND")]
    event: Vec<String>,
    /// Only what happened then or later: a time, or how long ago, such as 2h.
    #[arg(long, value_name = "TIME", value_parser = human::parse_past)]
    since: Option<Timestamp>,
    /// Only what happened then or earlier.
    #[arg(long, value_name = "TIME", value_parser = human::parse_past)]
    until: Option<Timestamp>,
    /// How many to show at most.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Go on from here: the cursor that the page before ended with.
    #[arg(long, value_name = "CURSOR")]
    before: Option<i64>,
    /// Show every attempt: where its time went, what was sent and what was answered.
    #[arg(long)]
    attempts: bool,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Delivery>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    id: i64,
    webhook_id: i64,
    event: String,
    subject: String,
    timestamp: Timestamp,
    state: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    next_attempt: Option<Timestamp>,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: u32,
    started: Timestamp,
    duration_ms: f64,
    #[serde(default)]
    dns_ms: Option<f64>,
    #[serde(default)]
    connect_ms: Option<f64>,
    #[serde(default)]
    tls_ms: Option<f64>,
    #[serde(default)]
    first_byte_ms: Option<f64>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    request: Option<String>,
    #[serde(default)]
    response: Option<String>,
}

/// Shows the log at `path`; `of` narrows it further.
pub async fn show(
    rest: &Rest,
    remote: &RemoteArgs,
    path: &str,
    of: Vec<(&'static str, String)>,
    args: &LogArgs,
) -> anyhow::Result<()> {
    let page = fetch(rest, path, of, args).await?;
    remote.show(&page, |page| Ok(text(&read(page)?, args.attempts)))
}

/// One page as it was asked for. The server looks through so much at a time and may answer with less.
async fn fetch(
    rest: &Rest,
    path: &str,
    of: Vec<(&'static str, String)>,
    args: &LogArgs,
) -> anyhow::Result<Value> {
    let mut query = of;
    query.extend(args.state.iter().map(|state| ("state", state.clone())));
    query.extend(args.event.iter().map(|kind| ("event", kind.clone())));
    query.extend(args.since.map(|since| ("since", since.to_string())));
    query.extend(args.until.map(|until| ("until", until.to_string())));
    let mut found: Vec<Value> = Vec::new();
    let mut before = args.before.map(|cursor| cursor.to_string());
    loop {
        let mut asked = query.clone();
        asked.push(("limit", (args.limit as usize - found.len()).to_string()));
        asked.extend(before.map(|cursor| ("before", cursor)));
        let mut page = rest.get(path, &asked).await?;
        let mut data: Vec<Value> = read(&page["data"])?;
        found.append(&mut data);
        let next = page["pagination"]["cursor"].as_str().map(str::to_owned);
        if next.is_none() || found.len() >= args.limit as usize {
            page["data"] = json!(found);
            return Ok(page);
        }
        before = next;
    }
}

fn text(page: &Page, attempts: bool) -> String {
    if page.data.is_empty() {
        return "There are no such deliveries. A webhook that did not want an event when it happened owes nothing.\n"
            .to_owned();
    }
    let mut text =
        if attempts { page.data.iter().map(Delivery::details).collect() } else { overview(&page.data) };
    if let Some(cursor) = &page.pagination.cursor {
        text.push_str(&format!("Older ones: --before {}\n", table::cell(cursor)));
    }
    text
}

fn overview(deliveries: &[Delivery]) -> String {
    let mut rows =
        table::new(&["id", "time", "webhook", "event", "subject", "state", "attempts", "last attempt"]);
    for delivery in deliveries {
        rows.add_row([
            delivery.id.to_string(),
            human::moment(delivery.timestamp),
            delivery.webhook_id.to_string(),
            table::cell(&delivery.event),
            table::cell(&delivery.subject),
            delivery.state(),
            delivery.attempts.len().to_string(),
            delivery.attempts.last().map(Attempt::words).unwrap_or_default(),
        ]);
    }
    table::text(&rows)
}

impl Delivery {
    fn state(&self) -> String {
        let due = self.next_attempt.filter(|_| self.state == "pending" && !self.attempts.is_empty());
        let due = due.map(|at| format!(", again {}", human::moment(at))).unwrap_or_default();
        format!("{}{due}", table::cell(&self.state))
    }

    /// All of it, with an empty line behind it.
    fn details(&self) -> String {
        let mut rows = vec![
            ("Delivery", format!("{} to webhook {}", self.id, self.webhook_id)),
            ("Event", format!("{} of {}", table::cell(&self.event), table::cell(&self.subject))),
            ("Time", human::moment(self.timestamp)),
            ("State", table::cell(&self.state)),
        ];
        rows.extend(self.reason.as_deref().map(|reason| ("Reason", table::cell(reason))));
        rows.extend(self.next_attempt.map(|at| ("Next", human::moment(at))));
        let attempts: String = self.attempts.iter().map(Attempt::details).collect();
        format!("{}{attempts}\n", table::text(&table::facts(rows)))
    }
}

impl Attempt {
    fn words(&self) -> String {
        let status = self.status.map(|status| format!("HTTP {status}, ")).unwrap_or_default();
        let error = self.error.as_deref().map(|error| format!(": {}", table::cell(error)));
        format!("{status}{}{}", span(self.duration_ms), error.unwrap_or_default())
    }

    fn details(&self) -> String {
        let parts = [
            ("DNS", self.dns_ms),
            ("connect", self.connect_ms),
            ("TLS", self.tls_ms),
            ("first byte", self.first_byte_ms),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter_map(|(name, ms)| Some(format!("{name} {}", span(ms?)))).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let head = format!(
            "  attempt {} at {}: {}{parts}\n",
            self.number,
            human::moment(self.started),
            self.words()
        );
        let request = self.request.as_deref().map(|request| indented(">", request)).unwrap_or_default();
        let response = self.response.as_deref().map(|response| indented("<", response)).unwrap_or_default();
        head + &request + &response
    }
}

/// Each line of a text from elsewhere, marked.
fn indented(mark: &str, text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {mark} {}\n", table::cell(line))).collect()
}

fn span(millis: f64) -> String {
    let span = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default();
    if span < Duration::from_millis(10) { format!("{millis:.1} ms") } else { human::duration(span) }
}
