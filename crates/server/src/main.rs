//! Media Hooks: records and clips live streams and tells applications by signed webhook.
//!
//! The `mediahooks` program. [`cli`] reads the command line; [`serve`] wires the server out of the other
//! crates; [`demo`] and [`receive`] show and use it from outside.

mod cli;
mod config;
mod conformance;
mod demo;
mod listen;
mod output;
mod receive;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use mimalloc::MiMalloc;
use tokio::runtime::Runtime;

/// Media is taken in on one thread and let go on another, thousands of times a second: the allocator of the C library
/// needs a twentieth more computing time for all that recording does.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long work on blocking threads may go on after the command is done. A system call on a disk that hangs
/// never returns, and must not keep the process.
const THREADS_MAX: Duration = Duration::from_millis(500);

/// Exit codes: 0 done, 1 it went wrong, 2 the command line is wrong.
fn main() -> ExitCode {
    let command = cli::Cli::parse();
    let outcome = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(command.run());
        runtime.shutdown_timeout(THREADS_MAX);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", output::failure::describe(&error));
            ExitCode::FAILURE
        }
    }
}
