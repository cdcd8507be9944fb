//! `mediahooks demo`: the whole of it in half a minute, on this machine alone.
//!
//! A server on a temporary directory, a broadcast over real RTMP, a clip while it is live, and a receiver
//! that verifies each webhook. It uses the server from outside only, as an application would. What always
//! holds: exit code 0 means that every hook that had to come came, in order and verified.

mod broadcast;
mod receiver;
mod story;

use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;
use url::Url;

use crate::cli::print;
use crate::cli::rest::Rest;
use crate::config::{LogFormat, Settings};
use crate::output::failure::Failure;
use crate::output::style::{Style, Tone};
use crate::serve::running::Running;
use crate::serve::{log, until_signal};
use receiver::Receiver;
use story::Story;

/// `mediahooks demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the server running afterwards, to try it with your own encoder.
    #[arg(long)]
    keep: bool,
    /// Where the two files go; default: a directory of their own among the temporary files.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Plays the demo through.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let directives = std::env::var("MEDIAHOOKS_LOG").unwrap_or_default();
    log::start(if directives.is_empty() { "warn" } else { &directives }, LogFormat::Human)?;
    let style = Style::of_stdout();
    let directory = TempDir::with_prefix("mediahooks-demo-data-")?;
    let files = files_directory(args.output)?;

    let running = Running::start(&settings(directory.path())?, None).await?;
    let secret = running.new_secret.clone().unwrap_or_default();
    let server = Url::parse(&format!("http://{}", running.http))?;
    let rest = Rest::new(server.clone(), &secret)?;
    let receiver = Receiver::start(&rest, style).await?;
    print(&style.paint(Tone::Strong, "Media Hooks demo\n"))?;
    print(&format!(
        "  server     {server} and rtmp://{}\n  data       {}\n  receiver   {}, verifies every signature\n",
        running.rtmp,
        directory.path().display(),
        receiver.url,
    ))?;

    let story = Story { rest: &rest, receiver: &receiver, rtmp: running.rtmp, files: &files, style };
    let told = tokio::select! {
        told = story.tell() => told,
        // Interrupted: tidy up as at the end.
        signal = until_signal() => signal.and(Err(Failure::new("the demo was interrupted").into())),
    };
    if told.is_ok() && args.keep {
        print(&keeping(&story, &secret, server.as_str()).await?)?;
        until_signal().await?;
    }
    running.stop().await?;
    told
}

fn settings(data: &Path) -> anyhow::Result<Settings> {
    Ok(Settings {
        data: data.to_owned(),
        http: "127.0.0.1:0".parse()?,
        rtmp: "127.0.0.1:0".parse()?,
        webhook_allow: vec!["127.0.0.0/8".parse()?],
        ..Settings::default()
    })
}

fn files_directory(chosen: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match chosen {
        Some(directory) => {
            std::fs::create_dir_all(&directory)?;
            Ok(directory)
        }
        // Kept, so that the files can be played when the demo is over.
        None => Ok(TempDir::with_prefix("mediahooks-demo-")?.keep()),
    }
}

/// What to know about a server that goes on.
async fn keeping(story: &Story<'_>, secret: &str, server: &str) -> anyhow::Result<String> {
    let token = story.create_token("mine").await?;
    let base = format!("rtmp://{}/v2/pub", story.rtmp);
    let program = std::env::args().next().unwrap_or_else(|| "mediahooks".to_owned());
    let addresses = crate::cli::publish_text(&base, "mine", &token);
    Ok(format!(
        "\n{}\n  REST        {server}\n  API secret  {secret}\n{addresses}\n\
         Use it from another terminal:\n\
         \n  export MEDIAHOOKS_SERVER={server} MEDIAHOOKS_API_SECRET={secret}\n  {program} clip create mine --last 10s --wait\n\n\
         Hooks are shown as they come. Ctrl-C ends the server and removes its data.\n\n",
        story.style.paint(Tone::Strong, "The server stays."),
    ))
}
