//! The command line: what can be said, and who does it.

mod account;
mod asset;
mod check;
mod clip;
mod deliveries;
mod export;
mod members;
mod remote;
mod replay;
pub mod rest;
mod token;
mod webhook;

use clap::{Parser, Subcommand};

use crate::{conformance, demo, listen, receive, serve};

pub use remote::{RemoteArgs, print};
pub use rest::{NoStream, Rest, read};
pub use token::publish_text;

/// Records and clips live streams and tells applications by signed webhook.
#[derive(Debug, Parser)]
#[command(name = "mediahooks", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// See everything work in half a minute: a broadcast, a recording, a clip and their webhooks.
    Demo(demo::DemoArgs),
    /// Receive webhooks: verify and print them, and fetch every finished file.
    Receive(receive::ReceiveArgs),
    /// Follow events from behind any NAT: print them, forward them to a local URL, fetch the files.
    Listen(listen::ListenArgs),
    /// Misbehave on purpose: a hostile endpoint to try webhook senders on.
    ConformanceReceiver(conformance::ConformanceArgs),
    /// Verify a data directory: every row's bytes are there and can be read.
    Check(check::CheckArgs),
    /// Publish tokens: who may broadcast which stream.
    Token(token::TokenArgs),
    /// Webhooks: whom to tell.
    Webhook(webhook::WebhookArgs),
    /// Recordings, clips and timelines.
    Asset(asset::AssetArgs),
    /// Cut clips.
    Clip(clip::ClipArgs),
    /// The account, how long its media is kept, and its API secrets.
    Account(account::AccountArgs),
}

impl Cli {
    /// Does what was asked. The error is for [`crate::output::failure::describe`].
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Receive(args) => receive::run(args).await,
            Command::Listen(args) => listen::run(args).await,
            Command::ConformanceReceiver(args) => conformance::run(args).await,
            Command::Check(args) => check::run(args).await,
            Command::Token(args) => token::run(args).await,
            Command::Webhook(args) => webhook::run(args).await,
            Command::Asset(args) => asset::run(args).await,
            Command::Clip(args) => clip::run(args).await,
            Command::Account(args) => account::run(args).await,
        }
    }
}

/// Ends the program as a mistake on the command line does: the message, how to use it, exit code 2.
fn usage_error(message: impl std::fmt::Display) -> ! {
    use clap::CommandFactory as _;
    Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, message).exit()
}
