//! `mediahooks serve`: from the command line to a running server, and from a signal to its end.

pub mod account;
mod files;
pub mod log;
mod metrics;
pub mod running;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

use crate::config::{self, Environment, Flags, LogFormat};
use crate::output::failure::Failure;
use running::Running;

/// `mediahooks serve`
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ServeArgs {
    /// Directory of the database and of all media [default: ./mediahooks-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where REST and downloads are served [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Where encoders publish [default: 127.0.0.1:1935].
    #[arg(long, value_name = "ADDR:PORT")]
    rtmp: Option<SocketAddr>,
    /// How this server is reached from outside; download links begin with it.
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// A private network that webhooks may reach all the same; repeat it for more. Without it loopback and
    /// private addresses are refused.
    #[arg(long, value_name = "CIDR")]
    webhook_allow: Vec<IpNet>,
    /// A TOML file with these and all other settings; see mediahooks.example.toml.
    #[arg(long, value_name = "FILE", env = "MEDIAHOOKS_CONFIG")]
    config: Option<PathBuf>,
    /// How log lines look [default: human].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

const AFTER_HELP: &str = "\
Every setting is also an environment variable, --data as MEDIAHOOKS_DATA. A flag beats the environment, \
the environment the file, and the file the default.
The first start makes the account and an API secret and prints them; MEDIAHOOKS_API_SECRET sets the secret instead.
MEDIAHOOKS_LOG says what to log: error, warn, info, debug, or info,mediahooks_sender=debug.";

impl ServeArgs {
    fn flags(self) -> Flags {
        Flags {
            data: self.data,
            http: self.http,
            rtmp: self.rtmp,
            public_url: self.public_url,
            log_format: self.log_format,
            webhook_allow: self.webhook_allow,
        }
    }
}

/// Serves until a signal comes.
pub async fn run(mut args: ServeArgs) -> anyhow::Result<()> {
    let file = args.config.take();
    let environment = Environment::of_process();
    let strangers = environment.unknown();
    let settings = config::load(&args.flags(), environment, file.as_deref())?;
    log::start(&settings.log, settings.log_format)?;
    for name in strangers {
        tracing::warn!(name, "this environment variable is no setting and was ignored");
    }
    files::make_room();
    let mut signals = Signals::listen()?;
    let secret = std::env::var(account::SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty());
    let running = Running::start(&settings, secret.as_deref()).await?;
    if let Some(secret) = &running.new_secret {
        crate::cli::print(&account::introduction(&running.account, secret, &settings.data))?;
    }
    let failed = tokio::select! {
        () = signals.next() => false,
        () = running.failed() => true,
    };
    tracing::info!("stopping: finishing live recordings and deliveries; a second signal stops at once");
    tokio::select! {
        outcome = running.stop() => match outcome {
            Ok(()) if failed => Err(Failure::new("a part of the server failed, so all of it was stopped")
                .advise("the log says which; start it again, nothing is lost")
                .into()),
            outcome => outcome,
        },
        () = signals.next() => {
            tracing::warn!("stopped at once; the next start repairs what was cut off");
            std::process::exit(1)
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Resolves when SIGTERM or SIGINT comes.
pub async fn until_signal() -> anyhow::Result<()> {
    Signals::listen()?.next().await;
    Ok(())
}
