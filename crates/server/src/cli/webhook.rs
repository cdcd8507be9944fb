//! `mediahooks webhook`: whom to tell.

use std::time::Duration;

use clap::{Args, Subcommand};
use mediahooks_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::{human, table};

/// Webhooks are read in pages of this size, the largest that servers give.
const PAGE: usize = 100;

/// `mediahooks webhook …`
#[derive(Debug, Args)]
pub struct WebhookArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Add a webhook. Without --media and --feeds it gets both.
    Add {
        /// Where to send.
        url: String,
        #[command(flatten)]
        kinds: Kinds,
        /// Only about streams whose name this regular expression is found in.
        #[arg(long, value_name = "REGEX")]
        filter: Option<String>,
    },
    /// List all webhooks.
    List,
    /// Show a webhook with its signing secret.
    Show {
        /// Its number.
        id: i64,
    },
    /// Delete a webhook with all that it is still owed.
    Delete {
        /// Its number.
        id: i64,
    },
    /// Send a test event. Without --media and --feeds there is one of both.
    Test {
        /// The webhook's number; without it every webhook that wants such events gets them.
        id: Option<i64>,
        #[command(flatten)]
        kinds: Kinds,
        /// The stream that the event shall name.
        #[arg(long, value_name = "NAME")]
        stream: Option<String>,
    },
    /// Show what it was and is owed, newest first.
    Deliveries {
        /// Its number.
        id: i64,
        /// How many to show at most.
        #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Go on from here: the cursor that the page before ended with.
        #[arg(long, value_name = "CURSOR")]
        before: Option<i64>,
    },
    /// Send to it again at once, if it was disabled.
    Enable {
        /// Its number.
        id: i64,
    },
}

#[derive(Debug, Args)]
struct Kinds {
    /// Recordings and clips: processing, completed, errored, deleted.
    #[arg(long)]
    media: bool,
    /// Live feeds: started, ended.
    #[arg(long)]
    feeds: bool,
}

impl Kinds {
    fn media(&self) -> bool {
        self.media || !self.feeds
    }

    fn feeds(&self) -> bool {
        self.feeds || !self.media
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: i64,
    url: String,
    secret: String,
    #[serde(default)]
    is_feed_hooks: bool,
    #[serde(default)]
    is_media_hooks: bool,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    disabled: Option<Disabled>,
}

#[derive(Deserialize)]
struct Disabled {
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Deliveries {
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
    event: String,
    subject: String,
    timestamp: Timestamp,
    state: String,
    #[serde(default)]
    next_attempt: Option<Timestamp>,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    duration_ms: f64,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    error: Option<String>,
}

/// Does what was asked.
pub async fn run(args: WebhookArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    let remote = &args.remote;
    match args.command {
        WebhookCommand::Add { url, ref kinds, filter } => {
            let mut body = json!({"url": url, "isFeedHooks": kinds.feeds(), "isMediaHooks": kinds.media()});
            if let Some(filter) = filter {
                body["filter"] = filter.into();
            }
            let made = rest.post("/api/webhooks", &body).await?;
            remote.show(&made, |made| Ok(details(&read(made)?)))
        }
        WebhookCommand::List => {
            let all = list(&rest).await?;
            remote.show(&all, |all| Ok(overview(&read::<Vec<Webhook>>(all)?)))
        }
        WebhookCommand::Show { id } => {
            let webhook = rest.get(&format!("/api/webhooks/{id}"), &[]).await?;
            remote.show(&webhook, |webhook| Ok(details(&read(webhook)?)))
        }
        WebhookCommand::Delete { id } => {
            let answer = rest.delete(&format!("/api/webhooks/{id}"), &[]).await?;
            remote.show(&answer, |_| Ok(format!("Webhook {id} is deleted.\n")))
        }
        WebhookCommand::Test { id, ref kinds, stream } => test(&rest, remote, id, kinds, stream).await,
        WebhookCommand::Deliveries { id, limit, before } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(before.map(|cursor| ("before", cursor.to_string())));
            let page = rest.get(&format!("/api/webhooks/{id}/deliveries"), &query).await?;
            remote.show(&page, |page| Ok(deliveries(&read(page)?)))
        }
        WebhookCommand::Enable { id } => {
            let webhook = rest.put(&format!("/api/webhooks/{id}"), &json!({"reEnable": true})).await?;
            remote.show(&webhook, |webhook| Ok(details(&read(webhook)?)))
        }
    }
}

async fn list(rest: &Rest) -> anyhow::Result<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let next = all.last().and_then(|webhook| webhook["id"].as_i64()).map_or(0, |id| id + 1);
        let query = [("startingId", next.to_string()), ("itemCount", PAGE.to_string())];
        let mut page: Vec<Value> = read(&rest.get("/api/webhooks/list", &query).await?)?;
        let is_last = page.len() < PAGE;
        all.append(&mut page);
        if is_last {
            return Ok(all.into());
        }
    }
}

async fn test(
    rest: &Rest,
    remote: &RemoteArgs,
    id: Option<i64>,
    kinds: &Kinds,
    stream: Option<String>,
) -> anyhow::Result<()> {
    let mut body = json!({});
    let mut to = "every webhook that wants it".to_owned();
    if let Some(id) = id {
        body["webhookId"] = id.into();
        to = format!("webhook {id}");
    }
    if let Some(stream) = stream {
        body["streamName"] = stream.into();
    }
    let wanted = [(kinds.media(), "Media"), (kinds.feeds(), "Feeds")];
    let wanted: Vec<&str> = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| kind).collect();
    let mut answers = serde_json::Map::new();
    for kind in &wanted {
        let answer = rest.post(&format!("/api/webhooks/test/{kind}"), &body).await?;
        answers.insert((*kind).to_owned(), answer);
    }
    remote.show(&answers.into(), |_| {
        Ok(wanted.iter().map(|kind| format!("A {kind} test event is on its way to {to}.\n")).collect())
    })
}

fn overview(webhooks: &[Webhook]) -> String {
    if webhooks.is_empty() {
        return "There are no webhooks. Add one with `mediahooks webhook add URL`.\n".to_owned();
    }
    let mut rows = table::new(&["id", "url", "events", "filter", "state"]);
    for webhook in webhooks {
        rows.add_row([
            webhook.id.to_string(),
            table::cell(&webhook.url),
            webhook.events(),
            table::cell(webhook.filter.as_deref().unwrap_or_default()),
            webhook.state(),
        ]);
    }
    table::text(&rows)
}

fn details(webhook: &Webhook) -> String {
    let mut rows = vec![
        ("Webhook", webhook.id.to_string()),
        ("URL", table::cell(&webhook.url)),
        ("Events", webhook.events()),
    ];
    rows.extend(webhook.filter.as_deref().map(|filter| ("Filter", table::cell(filter))));
    rows.push(("State", webhook.state()));
    rows.push(("Secret", table::cell(&webhook.secret)));
    table::text(&table::facts(rows))
}

impl Webhook {
    fn events(&self) -> String {
        let kinds = [(self.is_media_hooks, "media"), (self.is_feed_hooks, "feeds")];
        let wanted: Vec<&str> = kinds.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| *kind).collect();
        wanted.join(", ")
    }

    fn state(&self) -> String {
        let Some(disabled) = &self.disabled else { return "active".to_owned() };
        let until = disabled.until.map(|end| format!(" until {}", human::moment(end))).unwrap_or_default();
        let why = disabled.reason.as_deref().map(|why| format!(": {}", table::cell(why))).unwrap_or_default();
        format!("disabled{until}{why}")
    }
}

fn deliveries(page: &Deliveries) -> String {
    if page.data.is_empty() {
        return "Nothing was sent to it.\n".to_owned();
    }
    let mut rows = table::new(&["time", "event", "subject", "state", "attempts", "last attempt"]);
    for delivery in &page.data {
        rows.add_row([
            human::moment(delivery.timestamp),
            table::cell(&delivery.event),
            table::cell(&delivery.subject),
            delivery.state(),
            delivery.attempts.len().to_string(),
            delivery.attempts.last().map(Attempt::words).unwrap_or_default(),
        ]);
    }
    let more = page.pagination.cursor.as_deref();
    let more = more.map(|cursor| format!("Older ones: --before {}\n", table::cell(cursor)));
    table::text(&rows) + &more.unwrap_or_default()
}

impl Delivery {
    fn state(&self) -> String {
        let due = self.next_attempt.filter(|_| self.state == "pending" && !self.attempts.is_empty());
        let due = due.map(|at| format!(", again {}", human::moment(at))).unwrap_or_default();
        format!("{}{due}", table::cell(&self.state))
    }
}

impl Attempt {
    fn words(&self) -> String {
        let span = Duration::try_from_secs_f64(self.duration_ms / 1000.0).unwrap_or_default();
        let status = self.status.map(|status| format!("HTTP {status}, ")).unwrap_or_default();
        let error = self.error.as_deref().map(|error| format!(": {}", table::cell(error)));
        format!("{status}{}{}", human::duration(span), error.unwrap_or_default())
    }
}
