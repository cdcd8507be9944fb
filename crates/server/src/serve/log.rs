//! The log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;
use crate::output::failure::Failure;

/// Starts logging. `directives`: a level, or levels by module.
pub fn start(directives: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        Failure::new(format!("`{directives}` does not say what to log"))
            .caused_by(&error)
            .advise("set `log` to a level such as info or debug, or to info,mediahooks_sender=debug")
    })?;
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
