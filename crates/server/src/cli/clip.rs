//! `mediahooks clip`: cuts clips from streams, live or past.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use mediahooks_model::Timestamp;
use serde_json::{Value, json};

use super::asset::{Asset, details, overview, path, word};
use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::config::Span;
use crate::output::failure::Failure;
use crate::output::human;

/// Between two looks at a clip that is not complete yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// `mediahooks clip …`
#[derive(Debug, Args)]
pub struct ClipArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(subcommand)]
    command: ClipCommand,
}

#[derive(Debug, Subcommand)]
enum ClipCommand {
    /// Cut a clip. Several come of a stream with several sources, or one that was interrupted.
    Create(CreateArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The stream's name.
    stream: String,
    /// The last so much of it, such as 30s or 5m, by the server's clock.
    #[arg(long, value_name = "SPAN", required_unless_present_any = ["start", "next"], conflicts_with_all = ["start", "stop"])]
    last: Option<Span>,
    /// And so much that is still to come.
    #[arg(long, value_name = "SPAN", conflicts_with = "stop")]
    next: Option<Span>,
    /// From when: 18:30:05 (today), 2026-01-31T18:30:05 (your zone) or 2026-01-31T18:30:05Z.
    #[arg(long, value_name = "TIME", value_parser = human::parse_moment)]
    start: Option<Timestamp>,
    /// Until when; default: the last frame that the server has. A time to come is waited for.
    #[arg(long, value_name = "TIME", value_parser = human::parse_moment)]
    stop: Option<Timestamp>,
    /// What becomes of breaks, such as a reconnect.
    #[arg(long, value_name = "MODE", default_value = "split")]
    gaps: Gaps,
    /// Cut at the exact frames, or at the key frame before the start, which needs no edit list.
    #[arg(long, value_name = "WHERE", default_value = "frame")]
    cut: Cut,
    /// What file it becomes. Default: what suits its codecs.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// A name for people, and for the file.
    #[arg(long)]
    name: Option<String>,
    /// Only from this token's feeds.
    #[arg(long, value_name = "ID")]
    token: Option<i64>,
    /// Only from this source.
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Delete it after this time, such as 30d.
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
    /// Makes repeating the same request harmless: the same key gives the same clip.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Return when the clip is complete.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "SPAN", default_value = "10m", requires = "wait")]
    timeout: Span,
}

/// See `--gaps`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gaps {
    /// A clip of each uninterrupted stretch.
    Split,
    /// One clip that leaves them out.
    Collapse,
    /// One clip that shows the last picture meanwhile.
    Hold,
    /// No clip.
    Refuse,
}

/// See `--cut`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Cut {
    /// At the exact frames.
    Frame,
    /// At the key frame before the start.
    Keyframe,
}

/// See `--format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// An MP4 with its index in front.
    Mp4,
    /// A playlist of HTTP Live Streaming.
    Hls,
    /// A fragmented MP4.
    Fmp4,
    /// A WebM.
    Webm,
}

impl CreateArgs {
    fn body(&self, now: Timestamp) -> Value {
        let mut body = json!({"streamName": self.stream, "gaps": word(self.gaps), "cut": word(self.cut)});
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        set("startTime", self.start.map(|start| start.to_string().into()));
        set("last", self.last.map(|span| span.0.as_secs_f64().into()));
        set("next", self.next.map(|span| span.0.as_secs_f64().into()));
        set("stopTime", self.stop.map(|stop| stop.to_string().into()));
        set("targetFormat", self.format.map(|format| word(format).into()));
        set("name", self.name.clone().map(Value::from));
        set("tokenId", self.token.map(Value::from));
        set("sourceId", self.source.clone().map(Value::from));
        set("expiration", self.expires.map(|span| now.plus(span.0).to_string().into()));
        body
    }
}

/// Does what was asked.
pub async fn run(args: ClipArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    let ClipCommand::Create(create) = &args.command;
    let body = create.body(human::now());
    let key = create.idempotency_key.as_deref();
    let mut made = rest.post_once("/api/v3/media/assets", &body, key).await?;
    if create.wait {
        made = tokio::time::timeout(create.timeout.0, completed(&rest, &made)).await.map_err(|_| {
            Failure::new(format!("the clip is not complete after {}", create.timeout))
                .advise("its webhook will tell when it is; `mediahooks asset show` tells now")
        })??;
    }
    args.remote.show(&made, |made| {
        let clips: Vec<Asset> = read(made)?;
        Ok(match &clips[..] {
            [clip] => details(clip),
            clips => overview(clips),
        })
    })?;
    let clips: Vec<Asset> = read(&made)?;
    anyhow::ensure!(clips.iter().all(|clip| clip.status != "error"), "not every clip could be made");
    Ok(())
}

/// The same assets, once none of them is processing any more.
async fn completed(rest: &Rest, made: &Value) -> anyhow::Result<Value> {
    let mut done = Vec::new();
    for clip in read::<Vec<Asset>>(made)? {
        loop {
            let answer = rest.get(&path(&clip.id)?, &[]).await?;
            if answer["status"] != "processing" {
                done.push(answer);
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(done.into())
}
