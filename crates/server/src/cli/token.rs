//! `mediahooks token`: publish tokens.

use clap::{Args, Subcommand};
use ipnet::IpNet;
use mediahooks_model::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::remote::{HEADING, RemoteArgs};
use super::rest::{Rest, read};
use crate::config::Span;
use crate::output::{human, table};

/// Tokens are read in pages of this size, the largest that servers give.
const PAGE: usize = 100;

/// `mediahooks token …`
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Where encoders publish; the default is the server's host and port 1935.
    #[arg(long, global = true, help_heading = HEADING, value_name = "URL", env = "MEDIAHOOKS_RTMP_URL")]
    rtmp_url: Option<Url>,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print the addresses to publish to.
    Create(CreateArgs),
    /// List all tokens.
    List,
    /// Show a token with its publish addresses.
    Show {
        /// The token's number.
        id: i64,
    },
    /// Admit no more publishers with these tokens. Streams that are live go on.
    Disable {
        /// The tokens' numbers.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Delete a token and end its live streams.
    Delete {
        /// The token's number.
        id: i64,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// A name for people.
    label: String,
    /// A stream that may be published; repeat it for more.
    #[arg(long, value_name = "NAME", required_unless_present = "stream_regex")]
    stream: Vec<String>,
    /// A regular expression that has to match the whole name of a stream; repeat it for more.
    #[arg(long, value_name = "REGEX")]
    stream_regex: Vec<String>,
    /// Record its broadcasts. This is the default; the flag is there to say so.
    #[arg(long, overrides_with = "no_record")]
    record: bool,
    /// Do not record its broadcasts.
    #[arg(long)]
    no_record: bool,
    /// Keep what is needed to cut clips. This is the default; the flag is there to say so.
    #[arg(long, overrides_with = "no_clip")]
    clip: bool,
    /// Make clips impossible.
    #[arg(long)]
    no_clip: bool,
    /// Admit no new publisher after this time, such as 30d or 12h. Default: never.
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
    /// Admit publishers from this address or range only; repeat it for more.
    #[arg(long, value_name = "CIDR", value_parser = address_or_range)]
    allow_ip: Vec<String>,
    /// Rank of its feeds among those of the same source; the highest wins.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i32>,
}

fn address_or_range(text: &str) -> Result<String, String> {
    let known = text.parse::<IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok();
    known.then(|| text.to_owned()).ok_or_else(|| "write it as 192.0.2.7 or 192.0.2.0/24".to_owned())
}

impl CreateArgs {
    fn body(&self) -> Value {
        let rule = |name: &String, is_regex| json!({"streamName": name, "isRegex": is_regex});
        let exact = self.stream.iter().map(|name| rule(name, false));
        let streams: Vec<Value> =
            exact.chain(self.stream_regex.iter().map(|pattern| rule(pattern, true))).collect();
        let mut body = json!({
            "label": self.label,
            "streams": streams,
            "record": self.record || !self.no_record,
            "clip": self.clip || !self.no_clip,
        });
        if let Some(span) = self.expires {
            body["expires"] = span.0.as_secs().max(1).into();
        }
        if !self.allow_ip.is_empty() {
            body["allowedIpAddresses"] = json!(self.allow_ip);
        }
        if let Some(priority) = self.priority {
            body["priority"] = priority.into();
        }
        body
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id: i64,
    label: String,
    token: String,
    added_on: Timestamp,
    #[serde(default)]
    expires_on: Option<Timestamp>,
    is_active: bool,
    streams: Vec<Stream>,
    #[serde(default)]
    allowed_ip_addresses: Vec<String>,
    #[serde(default)]
    record: bool,
    #[serde(default)]
    clip: bool,
    #[serde(default)]
    priority: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    stream_name: String,
    #[serde(default)]
    is_regex: bool,
}

/// Does what was asked.
pub async fn run(args: TokenArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    match &args.command {
        TokenCommand::Create(create) => {
            let made = rest.post("/api/publish_token", &create.body()).await?;
            args.remote.show(&made, |made| args.details(&read(made)?))
        }
        TokenCommand::List => {
            let all = list(&rest).await?;
            args.remote.show(&all, |all| Ok(overview(&read::<Vec<Token>>(all)?)))
        }
        TokenCommand::Show { id } => {
            let token = rest.get(&format!("/api/publish_token/{id}"), &[]).await?;
            args.remote.show(&token, |token| args.details(&read(token)?))
        }
        TokenCommand::Disable { ids } => {
            let outcome = rest.patch("/api/publish_token/disable", &json!({"tokenIds": ids})).await?;
            args.remote.show(&outcome, |outcome| Ok(disabled(outcome)))?;
            let failed = outcome["failedTokens"].as_array().is_some_and(|failed| !failed.is_empty());
            anyhow::ensure!(!failed, "not every token was disabled");
            Ok(())
        }
        TokenCommand::Delete { id } => {
            let answer = rest.delete(&format!("/api/publish_token/{id}"), &[]).await?;
            args.remote.show(&answer, |_| Ok(format!("Token {id} is deleted.\n")))
        }
    }
}

async fn list(rest: &Rest) -> anyhow::Result<Value> {
    let mut all = Vec::new();
    for page in 1.. {
        let query = [("page", page.to_string()), ("itemsOnPage", PAGE.to_string())];
        let mut tokens: Vec<Value> = read(&rest.get("/api/publish_token/list", &query).await?)?;
        let is_last = tokens.len() < PAGE;
        all.append(&mut tokens);
        if is_last {
            break;
        }
    }
    Ok(all.into())
}

fn disabled(outcome: &Value) -> String {
    let done = outcome["successfulTokens"].as_array().into_iter().flatten();
    let failed = outcome["failedTokens"].as_array().into_iter().flatten();
    let done = done.map(|id| format!("Token {id} is disabled.\n"));
    let failed = failed.map(|failed| {
        let why = table::cell(failed["errorMessage"].as_str().unwrap_or_default());
        format!("Token {} is not disabled: {why}\n", failed["tokenId"])
    });
    done.chain(failed).collect()
}

fn overview(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "There are no tokens. Make one with `mediahooks token create LABEL --stream NAME`.\n"
            .to_owned();
    }
    let mut rows = table::new(&["id", "label", "streams", "makes", "state", "added"]);
    for token in tokens {
        rows.add_row([
            token.id.to_string(),
            table::cell(&token.label),
            token.stream_words(),
            token.makes().to_owned(),
            token.state_words(),
            human::moment(token.added_on),
        ]);
    }
    table::text(&rows)
}

impl Token {
    fn stream_words(&self) -> String {
        let word = |stream: &Stream| {
            let name = table::cell(&stream.stream_name);
            if stream.is_regex { format!("/{name}/") } else { name }
        };
        self.streams.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn makes(&self) -> &'static str {
        match (self.record, self.clip) {
            (true, true) => "recordings, clips",
            (true, false) => "recordings",
            (false, true) => "clips",
            (false, false) => "nothing",
        }
    }

    fn state_words(&self) -> String {
        match (self.is_active, self.expires_on) {
            (false, _) => "disabled".to_owned(),
            (true, None) => "active".to_owned(),
            (true, Some(end)) if end <= human::now() => format!("expired {}", human::moment(end)),
            (true, Some(end)) => format!("active until {}", human::moment(end)),
        }
    }
}

/// What a path segment or a query value cannot hold as it is.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'&');

impl TokenArgs {
    fn details(&self, token: &Token) -> anyhow::Result<String> {
        let mut rows = vec![
            ("Token", format!("{} ({})", token.id, table::cell(&token.label))),
            ("Streams", token.stream_words()),
            ("Makes", token.makes().to_owned()),
            ("State", token.state_words()),
        ];
        if !token.allowed_ip_addresses.is_empty() {
            rows.push(("From", token.allowed_ip_addresses.join(", ")));
        }
        if let Some(priority) = token.priority {
            rows.push(("Priority", priority.to_string()));
        }
        rows.push(("Secret", table::cell(&token.token)));
        let mut text = table::text(&table::facts(rows));
        let base = self.rtmp_base();
        for stream in &token.streams {
            text.push_str(&publish_addresses(&base, stream, &token.token));
        }
        Ok(text)
    }

    /// `rtmp://HOST:PORT/v2/pub`
    fn rtmp_base(&self) -> String {
        match &self.rtmp_url {
            Some(url) => {
                let text = url.as_str().trim_end_matches('/');
                if text.ends_with("/v2/pub") { text.to_owned() } else { format!("{text}/v2/pub") }
            }
            None => format!("rtmp://{}:1935/v2/pub", self.remote.server.host_str().unwrap_or("127.0.0.1")),
        }
    }
}

/// What to enter in an encoder, in the two ways that encoders ask for it.
pub fn publish_text(base: &str, stream_name: &str, token: &str) -> String {
    let key = format!("{}?token={token}", utf8_percent_encode(stream_name, ENCODED));
    format!(
        "  ffmpeg      ffmpeg -re -i FILE -c:v libx264 -g 60 -c:a aac -f flv '{base}/{key}'\n  OBS server  {base}\n  OBS key     {key}\n"
    )
}

fn publish_addresses(base: &str, stream: &Stream, token: &str) -> String {
    if stream.is_regex {
        let pattern = table::cell(&stream.stream_name);
        let text = publish_text(base, "STREAM", token);
        return format!("\nPublish any STREAM that matches {pattern}\n{text}");
    }
    let name = table::cell(&stream.stream_name);
    format!("\nPublish {name}\n{}", publish_text(base, &stream.stream_name, token))
}
