//! Media Hooks: records and clips live streams and tells applications by signed webhook.
//!
//! The `mediahooks` program. [`cli`] reads the command line; [`serve`] wires the server out of the other
//! crates; [`demo`] and [`receive`] show and use it from outside.

mod cli;
mod config;
mod demo;
mod output;
mod receive;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

/// Exit codes: 0 done, 1 it went wrong, 2 the command line is wrong.
#[tokio::main]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", output::failure::describe(&error));
            ExitCode::FAILURE
        }
    }
}
