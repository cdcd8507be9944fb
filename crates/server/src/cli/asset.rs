//! `mediahooks asset`: recordings, clips and timelines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use mediahooks_model::Timestamp;
use mediahooks_receiver::{Download, DownloadLinks, Metadata, safe_file_name};
use serde::Deserialize;
use serde_json::Value;

use super::deliveries::{self, LogArgs};
use super::export;
use super::remote::RemoteArgs;
use super::rest::{Rest, read};
use crate::output::failure::Failure;
use crate::output::media::{MEDIA_OF_PLAYLIST, played, progress_bar, show_progress, track_words};
use crate::output::{human, table};

/// `mediahooks asset …`
#[derive(Debug, Args)]
pub struct AssetArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(subcommand)]
    command: AssetCommand,
}

#[derive(Debug, Subcommand)]
enum AssetCommand {
    /// List assets, newest first.
    List(ListArgs),
    /// Show an asset.
    Show {
        /// Its id.
        id: String,
    },
    /// Show where its events went, newest first.
    Deliveries {
        /// Its id.
        id: String,
        /// Only to this webhook.
        #[arg(long, value_name = "ID")]
        webhook: Option<i64>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Delete assets for ever.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Write the file of an asset as one object on the server's disk, byte for byte its download.
    Export {
        /// Its id.
        id: String,
        /// Move it here from the server's export directory. Only on the server's machine.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Fetch the file of an asset; of HLS its media, as one file. A broken download goes on where it stopped.
    Download {
        /// Its id.
        id: String,
        /// Where to; default: the asset's name or id in the current directory.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only of this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only of this type; repeat it for more. Default: recordings and clips.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<Type>,
    /// Only with this status; repeat it for more. Default: processing and complete.
    #[arg(long, value_name = "STATUS")]
    status: Vec<Status>,
    /// Only of this token.
    #[arg(long, value_name = "ID")]
    token: Option<i64>,
    /// Only of this source.
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Only with this name.
    #[arg(long)]
    name: Option<String>,
    /// How many to list at most.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Which page of so many.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
    /// What to order by.
    #[arg(long, default_value = "created")]
    sort: Sort,
    /// Smallest or oldest first.
    #[arg(long)]
    ascending: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    Recording,
    Clip,
    Timeline,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Processing,
    Complete,
    Error,
    Deleting,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Created,
    Start,
    Stop,
    Stream,
    Token,
}

impl Sort {
    fn wire(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Start => "startTime",
            Self::Stop => "stopTime",
            Self::Stream => "streamName",
            Self::Token => "tokenId",
        }
    }
}

/// The word of a choice on the command line, which is the one on the wire.
pub fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl ListArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("sort", self.sort.wire().to_owned()),
            ("desc", (!self.ascending).to_string()),
            ("limit", self.limit.to_string()),
            ("page", self.page.to_string()),
        ];
        query.extend(self.types.iter().map(|value| ("type", word(*value))));
        query.extend(self.status.iter().map(|value| ("status", word(*value))));
        query.extend(self.stream.clone().map(|value| ("streamName", value)));
        query.extend(self.token.map(|value| ("tokenId", value.to_string())));
        query.extend(self.source.clone().map(|value| ("sourceId", value)));
        query.extend(self.name.clone().map(|value| ("name", value)));
        query
    }
}

/// An asset, as far as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asset {
    pub id: String,
    #[serde(rename = "type")]
    pub asset_type: String,
    pub status: String,
    #[serde(default)]
    pub feed: Option<Feed>,
    pub start_time: Timestamp,
    #[serde(default)]
    pub stop_time: Option<Timestamp>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub created: Option<Timestamp>,
    #[serde(default)]
    pub expiration: Option<Timestamp>,
    #[serde(default)]
    pub metadata: Option<Metadata>,
    #[serde(default)]
    pub download: Option<DownloadLinks>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    #[serde(default)]
    stream_name: Option<String>,
    #[serde(default)]
    source_id: Option<String>,
    #[serde(default)]
    simulcast_id: Option<String>,
    #[serde(default)]
    token_id: Option<i64>,
}

/// Where an asset is read.
pub fn path(id: &str) -> anyhow::Result<String> {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    anyhow::ensure!(plain, "`{}` is not the id of an asset", table::cell(id));
    Ok(format!("/api/v3/media/assets/{id}"))
}

/// Does what was asked.
pub async fn run(args: AssetArgs) -> anyhow::Result<()> {
    let rest = args.remote.rest()?;
    match &args.command {
        AssetCommand::List(list) => {
            let assets = rest.get("/api/v3/media/assets", &list.query()).await?;
            args.remote.show(&assets, |assets| Ok(overview(&read::<Vec<Asset>>(assets)?)))
        }
        AssetCommand::Show { id } => {
            let asset = rest.get(&path(id)?, &[]).await?;
            args.remote.show(&asset, |asset| Ok(details(&read(asset)?)))
        }
        AssetCommand::Deliveries { id, webhook, log } => {
            let mut of = vec![("asset", id.clone())];
            of.extend(webhook.map(|webhook| ("webhookId", webhook.to_string())));
            deliveries::show(&rest, &args.remote, "/api/deliveries", of, log).await
        }
        AssetCommand::Delete { ids } => delete(&rest, &args.remote, ids).await,
        AssetCommand::Export { id, to } => export::run(&rest, &args.remote, id, to.as_deref()).await,
        AssetCommand::Download { id, output } => download(&rest, &args.remote, id, output.as_deref()).await,
    }
}

/// A table of assets.
pub fn overview(assets: &[Asset]) -> String {
    if assets.is_empty() {
        return "There are no such assets.\n".to_owned();
    }
    let mut rows = table::new(&["id", "type", "status", "stream", "start", "length", "size", "name"]);
    for asset in assets {
        rows.add_row([
            table::cell(&asset.id),
            table::cell(&asset.asset_type),
            table::cell(&asset.status),
            asset.stream(),
            human::moment(asset.start_time),
            asset.length(),
            asset.size(),
            table::cell(asset.name.as_deref().unwrap_or_default()),
        ]);
    }
    table::text(&rows)
}

/// Everything about one asset.
pub fn details(asset: &Asset) -> String {
    let kept = asset
        .expiration
        .map_or_else(|| "until it is deleted".to_owned(), |end| format!("until {}", human::moment(end)));
    let mut rows = vec![
        ("Asset", table::cell(&asset.id)),
        ("Type", table::cell(&asset.asset_type)),
        ("Status", table::cell(&asset.status)),
        ("Stream", asset.stream()),
        ("Start", human::moment(asset.start_time)),
    ];
    rows.extend(asset.stop_time.map(|stop| ("Stop", human::moment(stop))));
    rows.push(("Length", asset.length()));
    rows.push(("Size", asset.size()));
    rows.extend(asset.name.as_deref().map(|name| ("Name", table::cell(name))));
    rows.extend(asset.error.as_deref().map(|error| ("Error", table::cell(error))));
    rows.extend(asset.created.map(|created| ("Made", human::moment(created))));
    rows.push(("Kept", kept));
    rows.extend(asset.metadata.iter().flat_map(exact_range));
    let tracks = asset.metadata.as_ref().and_then(|metadata| metadata.tracks.as_deref()).unwrap_or_default();
    rows.extend(tracks.iter().map(|track| ("Track", table::cell(&track_words(track)))));
    let link = asset.download.as_ref().and_then(|links| links.download_url.as_deref());
    rows.extend(link.map(|link| ("Download", table::cell(link))));
    table::text(&table::facts(rows))
}

/// What a file shows to the millisecond: from when to when, what it holds before, and what is missing inside.
fn exact_range(metadata: &Metadata) -> Vec<(&'static str, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Gap {
        start_time: Timestamp,
        stop_time: Timestamp,
        reason: String,
    }
    fn member<T: serde::de::DeserializeOwned>(metadata: &Metadata, name: &str) -> Option<T> {
        serde_json::from_value(metadata.other.get(name)?.clone()).ok()
    }
    let span = |start, stop| format!("{} to {}", human::time_of_day(start), human::time_of_day(stop));
    let mut rows = Vec::new();
    if let (Some(start), Some(stop)) = (member(metadata, "startTime"), member(metadata, "stopTime")) {
        rows.push(("Shown", span(start, stop)));
    }
    if let Some(millis) = member::<u64>(metadata, "preRollMs").filter(|millis| *millis > 0) {
        rows.push(("Pre-roll", human::duration(Duration::from_millis(millis))));
    }
    for gap in member::<Vec<Gap>>(metadata, "gaps").unwrap_or_default() {
        let length = human::duration(gap.stop_time.since(gap.start_time));
        let text = format!("{}, {length}, {}", span(gap.start_time, gap.stop_time), table::cell(&gap.reason));
        rows.push(("Gap", text));
    }
    rows
}

impl Asset {
    fn stream(&self) -> String {
        let Some(feed) = &self.feed else { return String::new() };
        let mut words = vec![feed.stream_name.clone().unwrap_or_default()];
        words.extend(feed.source_id.as_ref().map(|id| format!("source {id}")));
        words.extend(feed.simulcast_id.as_ref().map(|id| format!("layer {id}")));
        words.extend(feed.token_id.filter(|_| feed.stream_name.is_none()).map(|id| format!("token {id}")));
        table::cell(&words.join(", "))
    }

    fn length(&self) -> String {
        let played = self.metadata.as_ref().and_then(played);
        let span = played.or_else(|| self.stop_time.map(|stop| stop.since(self.start_time)));
        span.map(human::duration).unwrap_or_default()
    }

    fn size(&self) -> String {
        let sizes = self.metadata.as_ref().and_then(|metadata| metadata.sizes.as_ref());
        sizes
            .map(|sizes| human::size(sizes.values().copied().fold(0, u64::saturating_add)))
            .unwrap_or_default()
    }
}

async fn delete(rest: &Rest, remote: &RemoteArgs, ids: &[String]) -> anyhow::Result<()> {
    /// The most ids of one request.
    const IDS_MAX: usize = 100;
    let mut count = 0;
    let mut errors: Vec<Value> = Vec::new();
    for ids in ids.chunks(IDS_MAX) {
        let query: Vec<_> = ids.iter().map(|id| ("id", id.clone())).collect();
        let outcome = rest.delete("/api/v3/media/assets", &query).await?;
        count += outcome["itemsDeleted"].as_u64().unwrap_or_default();
        errors.extend(outcome["errors"].as_array().into_iter().flatten().cloned());
    }
    let all_deleted = errors.is_empty();
    let outcome = serde_json::json!({"itemsDeleted": count, "errors": errors});
    remote.show(&outcome, |outcome| Ok(deleted(outcome)))?;
    anyhow::ensure!(all_deleted, "not every asset was deleted");
    Ok(())
}

fn deleted(outcome: &Value) -> String {
    let mut text = match outcome["itemsDeleted"].as_u64() {
        Some(1) => "1 asset is deleted.\n".to_owned(),
        count => format!("{} assets are deleted.\n", count.unwrap_or_default()),
    };
    for error in outcome["errors"].as_array().into_iter().flatten() {
        let word = |name: &str| table::cell(error[name].as_str().unwrap_or_default());
        text.push_str(&format!("{} is not deleted: {}\n", word("id"), word("error")));
    }
    text
}

async fn download(rest: &Rest, remote: &RemoteArgs, id: &str, output: Option<&Path>) -> anyhow::Result<()> {
    let answer = rest.get(&path(id)?, &[]).await?;
    let asset: Asset = read(&answer)?;
    let links = asset.download.unwrap_or_default();
    let Some(link) = links.file_url() else {
        return Err(Failure::new(format!("asset {id} cannot be downloaded"))
            .because(format!("it is {}", table::cell(&asset.status)))
            .advise("wait until it is complete: `mediahooks asset show` tells")
            .into());
    };
    let target = match output {
        Some(path) => path.to_owned(),
        None => {
            let extension = asset.metadata.as_ref().map_or("mp4", Metadata::extension);
            safe_file_name(asset.name.as_deref(), &asset.id, extension).into()
        }
    };
    let bar = progress_bar(&target);
    let shown = bar.clone();
    let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
    let outcome = Download::new(client, link)
        .to(&target)
        .progress(move |progress| show_progress(&shown, progress))
        .run()
        .await;
    bar.finish_and_clear();
    let file = outcome.with_context(|| format!("cannot download asset {id}"))?;
    let facts = serde_json::json!({
        "path": file.path, "sizeBytes": file.size_bytes, "alreadyThere": file.already_there,
    });
    remote.show(&facts, |_| {
        let verb = if file.already_there { "is there already" } else { "is complete" };
        let what = if links.media_url.is_some() { MEDIA_OF_PLAYLIST } else { "" };
        Ok(format!("{} {verb}: {}{what}\n", file.path.display(), human::size(file.size_bytes)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_file_shows_is_told_to_the_millisecond() {
        let metadata = json!({"format": "MPEG-4", "startTime": "2026-01-31T18:30:05.250Z",
            "stopTime": "2026-01-31T18:30:15Z", "preRollMs": 1250, "gaps": [{"startTime": "2026-01-31T18:30:08Z",
            "stopTime": "2026-01-31T18:30:10.500Z", "durationMs": 2500, "reason": "reconnect"}]});
        let rows = exact_range(&serde_json::from_value(metadata).unwrap());
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Shown", "Pre-roll", "Gap"]);
        // The hours are of the reader's zone.
        assert!(rows[0].1.contains(":05.250 to ") && rows[0].1.ends_with(":15.000"), "{rows:?}");
        assert_eq!(rows[1].1, "1.2 s");
        assert!(
            rows[2].1.contains(":08.000 to ") && rows[2].1.ends_with(":10.500, 2.5 s, reconnect"),
            "{rows:?}"
        );
        let strange = json!({"startTime": 7, "gaps": "x", "preRollMs": -1});
        assert_eq!(exact_range(&serde_json::from_value(strange).unwrap()), []);
    }
}
