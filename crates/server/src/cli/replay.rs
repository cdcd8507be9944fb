//! `mediahooks webhook resend`, `replay` and what belongs to it.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use mediahooks_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::{human, table};

/// Between two looks at how far a replay is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which events to send once more.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The webhook's number.
    id: i64,
    /// Events that happened then or later: a moment such as `2026-01-31T18:30` or `18:30`, or how long ago, `2h`.
    #[arg(long, value_name = "TIME", value_parser = human::parse_past)]
    since: Timestamp,
    /// And before this [default: now].
    #[arg(long, value_name = "TIME", value_parser = human::parse_past)]
    until: Option<Timestamp>,
    /// Only these types or kinds, such as `media,feeds.started`.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Only what it was owed and never accepted; otherwise all that it wants as it is set now.
    #[arg(long)]
    failed_only: bool,
    /// Do not wait until all of it is delivered.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Replay>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replay {
    id: i64,
    state: String,
    since: Timestamp,
    until: Timestamp,
    failed_only: bool,
    total: u64,
    examined: u64,
    matched: u64,
    queued: u64,
    delivered: u64,
    failed: u64,
}

/// Sends the event of a delivery once more.
pub async fn resend(rest: &Rest, remote: &RemoteArgs, id: i64, delivery: i64) -> anyhow::Result<()> {
    let path = format!("/api/webhooks/{id}/deliveries/{delivery}/resend");
    let sent = rest.post(&path, &json!({})).await?;
    remote.show(&sent, |sent| {
        Ok(match sent["id"].as_i64() {
            Some(same) if same == delivery => {
                format!("Delivery {delivery} is not settled yet: its next attempt is made at once.\n")
            }
            again => format!("The event is sent once more, as delivery {}.\n", again.unwrap_or_default()),
        })
    })
}

/// Begins a replay and, unless told otherwise, waits for its end.
pub async fn replay(rest: &Rest, remote: &RemoteArgs, args: &ReplayArgs) -> anyhow::Result<()> {
    let id = args.id;
    let mut body = json!({"since": args.since, "failedOnly": args.failed_only});
    if let Some(until) = args.until {
        body["until"] = json!(until);
    }
    if !args.types.is_empty() {
        body["types"] = json!(args.types);
    }
    let begun = rest.post(&format!("/api/webhooks/{id}/replay"), &body).await?;
    let number = read::<Replay>(&begun)?.id;
    if args.no_wait {
        return remote.show(&begun, |_| Ok(format!("Replay {number} has begun.\n")));
    }
    let ended = tokio::select! {
        ended = until_ended(rest, id, number) => Some(ended?),
        outcome = crate::serve::until_signal() => outcome.map(|()| None)?,
    };
    match ended {
        Some(ended) => remote.show(&ended, |ended| Ok(summary(&read(ended)?))),
        None => crate::cli::print(&format!(
            "Replay {number} goes on without you. `mediahooks webhook replays {id}` shows how far it is, \
             `mediahooks webhook cancel-replay {id} {number}` stops it.\n"
        )),
    }
}

/// Lists replays, newest first.
pub async fn list(rest: &Rest, remote: &RemoteArgs, id: i64, limit: u32) -> anyhow::Result<()> {
    let page = rest.get(&format!("/api/webhooks/{id}/replays"), &[("limit", limit.to_string())]).await?;
    remote.show(&page, |page| Ok(overview(&read::<Page>(page)?.data)))
}

/// Stops a replay.
pub async fn cancel(rest: &Rest, remote: &RemoteArgs, id: i64, replay: i64) -> anyhow::Result<()> {
    let stopped = rest.delete(&format!("/api/webhooks/{id}/replays/{replay}"), &[]).await?;
    remote.show(&stopped, |stopped| Ok(summary(&read(stopped)?)))
}

async fn until_ended(rest: &Rest, id: i64, number: i64) -> anyhow::Result<Value> {
    let bar = progress_bar();
    loop {
        let answer = rest.get(&format!("/api/webhooks/{id}/replays/{number}"), &[]).await?;
        let replay: Replay = read(&answer)?;
        bar.set_length(replay.total);
        // What is queued is looked at but not over.
        bar.set_position(replay.examined.saturating_sub(replay.queued));
        bar.set_message(format!(
            "{} delivered, {} given up, {} queued",
            replay.delivered, replay.failed, replay.queued
        ));
        if replay.state != "running" {
            bar.finish_and_clear();
            return Ok(answer);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// On standard error, if that is a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} events, {msg} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn summary(replay: &Replay) -> String {
    let Replay { id, state, total, matched, delivered, failed, queued, .. } = replay;
    let rest = if *queued > 0 { format!(", {queued} still under way") } else { String::new() };
    format!(
        "Replay {id} is {}: {matched} of {total} events, {delivered} delivered, {failed} given up{rest}.\n",
        table::cell(state)
    )
}

fn overview(replays: &[Replay]) -> String {
    if replays.is_empty() {
        return "Nothing was replayed to it.\n".to_owned();
    }
    let titles = [
        "id",
        "state",
        "since",
        "until",
        "events",
        "looked at",
        "matched",
        "queued",
        "delivered",
        "given up",
    ];
    let mut rows = table::new(&titles);
    for replay in replays {
        let which = if replay.failed_only { "given up" } else { "wanted" };
        rows.add_row([
            replay.id.to_string(),
            table::cell(&replay.state),
            human::moment(replay.since),
            human::moment(replay.until),
            which.to_owned(),
            format!("{} of {}", replay.examined, replay.total),
            replay.matched.to_string(),
            replay.queued.to_string(),
            replay.delivered.to_string(),
            replay.failed.to_string(),
        ]);
    }
    table::text(&rows)
}
