//! `mediahooks webhook`: whom to tell.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use mediahooks_model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::deliveries::{self, LogArgs};
use super::members::{ClearArgs, MemberArgs};
use super::remote::RemoteArgs;
use super::replay;
use super::rest::{Rest, read};
use super::usage_error;
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
        #[command(flatten)]
        members: Box<MemberArgs>,
    },
    /// Change a webhook. What is not named stays as it is, what it is owed already stays owed.
    Update {
        /// Its number.
        id: i64,
        /// Where to send from now on; lifts a disable.
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        members: Box<MemberArgs>,
        #[command(flatten)]
        clear: ClearArgs,
    },
    /// Give it a new signing secret. The old one signs beside it for a while, a day unless the server was told
    /// otherwise.
    RotateSecret {
        /// Its number.
        id: i64,
        /// The old secret signs nothing any more, from now on.
        #[arg(long)]
        expire_old: bool,
    },
    /// End the time in which the secret before the newest one still signs.
    ExpireSecret {
        /// Its number.
        id: i64,
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
        /// Only of this asset.
        #[arg(long, value_name = "ID")]
        asset: Option<String>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Send the event of a delivery once more.
    Resend {
        /// The webhook's number.
        id: i64,
        /// The delivery's number.
        delivery: i64,
    },
    /// Send the events of a time once more, and wait until all are delivered.
    Replay(replay::ReplayArgs),
    /// Show its replays and how far they are, newest first.
    Replays {
        /// Its number.
        id: i64,
        /// How many to show at most.
        #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Stop a replay; what is not attempted yet is not sent.
    CancelReplay {
        /// The webhook's number.
        id: i64,
        /// The replay's number.
        replay: i64,
    },
    /// Send what it is owed at once, also if it was disabled.
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
    /// The room on the server's disk: low, refusing, full, recovered.
    #[arg(long)]
    storage: bool,
}

#[derive(Debug, Args)]
struct Types {
    /// Tell of recordings and clips.
    #[arg(long, overrides_with = "no_media")]
    media: bool,
    /// Do not.
    #[arg(long)]
    no_media: bool,
    /// Tell of live feeds.
    #[arg(long, overrides_with = "no_feeds")]
    feeds: bool,
    /// Do not.
    #[arg(long)]
    no_feeds: bool,
    /// Tell of the room on the server's disk.
    #[arg(long, overrides_with = "no_storage")]
    storage: bool,
    /// Do not.
    #[arg(long)]
    no_storage: bool,
}

impl Types {
    fn body(&self) -> Map<String, Value> {
        let flags = [
            ("isMediaHooks", self.media, self.no_media),
            ("isFeedHooks", self.feeds, self.no_feeds),
            ("isStorageHooks", self.storage, self.no_storage),
        ];
        let given = flags.into_iter().filter(|(_, wanted, unwanted)| *wanted || *unwanted);
        given.map(|(name, wanted, _)| (name.to_owned(), wanted.into())).collect()
    }
}

impl Kinds {
    fn media(&self) -> bool {
        self.media || !(self.feeds || self.storage)
    }

    fn feeds(&self) -> bool {
        self.feeds || !(self.media || self.storage)
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
    is_storage_hooks: bool,
    #[serde(default)]
    previous_secret_expires_on: Option<Timestamp>,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    token_ids: Vec<i64>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    rate_limit: Option<u32>,
    #[serde(default)]
    include_download: bool,
    #[serde(default)]
    client_certificate: Option<String>,
    #[serde(default)]
    ca_certificate: Option<String>,
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

/// Does what was asked.
pub async fn run(args: WebhookArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    let remote = &args.remote;
    match args.command {
        WebhookCommand::Add { url, ref kinds, ref members } => {
            let mut body = members.body()?;
            let types = [
                ("isMediaHooks", kinds.media()),
                ("isFeedHooks", kinds.feeds()),
                ("isStorageHooks", kinds.storage),
            ];
            body.extend(types.map(|(name, wanted)| (name.to_owned(), wanted.into())));
            body.insert("url".to_owned(), url.into());
            let made = rest.post("/api/webhooks", &body.into()).await?;
            remote.show(&made, |made| Ok(details(&read(made)?)))
        }
        WebhookCommand::Update { id, url, ref types, ref members, ref clear } => {
            let mut body = members.body()?;
            body.extend(types.body());
            body.extend(clear.body());
            body.extend(url.map(|url| ("url".to_owned(), url.into())));
            if body.is_empty() {
                usage_error(
                    "nothing was given to change: `mediahooks webhook update --help` lists what can be",
                );
            }
            change(&rest, remote, id, body.into()).await
        }
        WebhookCommand::RotateSecret { id, expire_old } => {
            change(&rest, remote, id, json!({"refreshSecret": true, "expireOldSecret": expire_old})).await
        }
        WebhookCommand::ExpireSecret { id } => {
            change(&rest, remote, id, json!({"expireOldSecret": true})).await
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
        WebhookCommand::Deliveries { id, asset, ref log } => {
            let of = asset.map(|asset| ("asset", asset)).into_iter().collect();
            deliveries::show(&rest, remote, &format!("/api/webhooks/{id}/deliveries"), of, log).await
        }
        WebhookCommand::Resend { id, delivery } => replay::resend(&rest, remote, id, delivery).await,
        WebhookCommand::Replay(ref args) => replay::replay(&rest, remote, args).await,
        WebhookCommand::Replays { id, limit } => replay::list(&rest, remote, id, limit).await,
        WebhookCommand::CancelReplay { id, replay } => replay::cancel(&rest, remote, id, replay).await,
        WebhookCommand::Enable { id } => change(&rest, remote, id, json!({"reEnable": true})).await,
    }
}

async fn change(rest: &Rest, remote: &RemoteArgs, id: i64, body: Value) -> anyhow::Result<()> {
    let webhook = rest.put(&format!("/api/webhooks/{id}"), &body).await?;
    remote.show(&webhook, |webhook| Ok(details(&read(webhook)?)))
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
    let wanted = [(kinds.media(), "Media"), (kinds.feeds(), "Feeds"), (kinds.storage, "Storage")];
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
    if !webhook.token_ids.is_empty() {
        let tokens: Vec<String> = webhook.token_ids.iter().map(ToString::to_string).collect();
        rows.push(("Tokens", tokens.join(", ")));
    }
    rows.extend(
        webhook.headers.iter().map(|(name, value)| ("Header", table::cell(&format!("{name}: {value}")))),
    );
    rows.extend(webhook.rate_limit.map(|limit| ("At most", format!("{limit} requests a second"))));
    if webhook.include_download {
        rows.push(("Download", "a fresh link in media.completed".to_owned()));
    }
    if webhook.client_certificate.is_some() {
        rows.push(("Client", "shows a certificate".to_owned()));
    }
    if webhook.ca_certificate.is_some() {
        rows.push(("CA", "trusts authorities of its own".to_owned()));
    }
    rows.push(("State", webhook.state()));
    rows.push(("Secret", table::cell(&webhook.secret)));
    let previous = webhook.previous_secret_expires_on;
    rows.extend(previous.map(|end| ("Old secret", format!("signs too until {}", human::moment(end)))));
    table::text(&table::facts(rows))
}

impl Webhook {
    fn events(&self) -> String {
        if !self.events.is_empty() {
            return table::cell(&self.events.join(", "));
        }
        let kinds = [
            (self.is_media_hooks, "media"),
            (self.is_feed_hooks, "feeds"),
            (self.is_storage_hooks, "storage"),
        ];
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
