//! `mediahooks listen`: follows events from wherever this is run, and hands them to a local receiver.
//!
//! `follow` reads the server's stream and comes back to it; `forward` posts each event as the server's
//! sender would, signed with a webhook's secret. What always holds: events are handled one after the other in
//! the order in which they became durable, so those of an asset are never out of order; the place to go on
//! from is behind the last event that was handled.

mod follow;
mod forward;
mod place;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use mediahooks_model::Timestamp;
use mediahooks_receiver::{Event, EventKey, Scheme, Verified};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::cli::{RemoteArgs, print};
use crate::output::style::{Style, Tone};
use crate::output::{hook, human, table};
use crate::receive::completed_asset;
use crate::receive::downloads::Downloads;
use crate::receive::journal::Accepted;
use follow::{Follow, Message};
use forward::Forward;
use place::Place;

/// `mediahooks listen`
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("begin").multiple(false))]
pub struct ListenArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Post every event to this local URL, signed as the webhook's own deliveries are.
    #[arg(long, value_name = "URL")]
    forward: Option<Url>,
    /// The webhook whose secret signs and whose wishes choose; without it every event is followed, and the only
    /// webhook's secret signs.
    #[arg(long, value_name = "ID")]
    webhook: Option<i64>,
    /// Only these types or kinds, such as `media,feeds.started`.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Fetch the file of every completed asset into this directory.
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
    /// Begin here: `oldest`, or the cursor of an event, behind which it goes on [default: what happens from now on].
    #[arg(long, value_name = "CURSOR", group = "begin")]
    from: Option<String>,
    /// Keep the place in this file, and go on from there when started again.
    #[arg(long, value_name = "FILE", group = "begin")]
    state: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
It needs no address that the server can reach: it asks, the server answers. A connection that breaks is made again, and nothing is \
missed or told twice meanwhile. An event that the local server does not take is shown as such and not sent again: \
`mediahooks webhook replay` is for that.";

/// An event as the server shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    cursor: String,
    id: String,
    timestamp: Timestamp,
    /// Byte by byte what webhooks get.
    body: Box<RawValue>,
}

/// Listens until a signal comes.
pub async fn run(args: ListenArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    let style = Style::of_stdout();
    let forward = match &args.forward {
        Some(url) => Some(Forward::new(&rest, url.clone(), args.webhook).await?),
        None => None,
    };
    let downloads = match &args.download {
        Some(directory) => {
            Some(Downloads::open(directory, args.remote.server.as_str(), args.remote.secret(), style)?)
        }
        None => None,
    };
    let mut place = Place::open(args.state.as_deref())?;
    let from = args.from.clone().or(place.cursor().map(str::to_owned)).unwrap_or_else(|| "latest".to_owned());
    let mut query = vec![("types", args.types.join(",")), ("after", from)];
    query.extend(args.webhook.map(|id| ("webhookId", id.to_string())));
    query.retain(|(_, value)| !value.is_empty());
    let listener = Listener { style, forward, downloads };
    let mut follow = Follow::new(rest, query);
    // What is refused is told before anything is promised.
    follow.connect().await.map_err(|refused| refused.failure)?;
    listener.say(&introduction(&args, style));
    if let Some(downloads) = &listener.downloads {
        downloads.resume();
    }
    tokio::select! {
        outcome = listener.listen(&mut follow, &mut place) => outcome,
        outcome = crate::serve::until_signal() => outcome,
    }
}

fn introduction(args: &ListenArgs, style: Style) -> String {
    let to = args.forward.as_ref().map(|url| format!(", forwarding to {url}")).unwrap_or_default();
    format!("Following the events of {}{to}\n{}", args.remote.server, hook::followed_titles(style))
}

struct Listener {
    style: Style,
    forward: Option<Forward>,
    downloads: Option<Downloads>,
}

impl Listener {
    async fn listen(&self, follow: &mut Follow, place: &mut Place) -> anyhow::Result<()> {
        loop {
            match follow.next().await? {
                Message::Event(event) => {
                    self.handle(&event).await?;
                    follow.handled(&event.cursor);
                    place.keep(&event.cursor)?;
                }
                Message::Passed(cursor) => place.keep(&cursor)?,
                Message::Gap { after, oldest } => self.say(&self.style.paint(
                    Tone::Bad,
                    &format!(
                        "Events between the cursors {} and {} were forgotten by the server: some are missing here.",
                        table::cell(&after),
                        table::cell(&oldest)
                    ),
                )),
                Message::Lost { why, wait } => self.say(&self.style.paint(
                    Tone::Busy,
                    &format!("The connection was lost: {why}; again in {}", human::duration(wait)),
                )),
            }
        }
    }

    async fn handle(&self, event: &Shown) -> anyhow::Result<()> {
        let body = event.body.get();
        let answer = match &self.forward {
            Some(forward) => forward.post(event).await,
            None => forward::Answer::none(),
        };
        let typed = Event::from_json(body.as_bytes());
        match &typed {
            Ok(typed) => {
                self.say(&hook::followed(self.style, event.timestamp, typed, &answer.shown(self.style)))
            }
            Err(error) => self.say(&format!("{}  {error}", table::cell(&event.id))),
        }
        if let (Some(downloads), Ok(typed)) = (&self.downloads, &typed) {
            let verified =
                Verified { scheme: Scheme::Standard, id: Some(event.id.clone()), timestamp_seconds: None };
            let key = EventKey::of(&verified, body.as_bytes());
            if downloads.accept(key, completed_asset(typed)).await? == Accepted::Full {
                self.say(
                    &self.style.paint(Tone::Bad, "Too many files are owed already: this one is not fetched."),
                );
            }
        }
        Ok(())
    }

    /// Prints a line without disturbing the progress bars of downloads.
    fn say(&self, line: &str) {
        match &self.downloads {
            Some(downloads) => downloads.say(line),
            // Nobody is left to read it.
            None => drop(print(&format!("{line}\n"))),
        }
    }
}
