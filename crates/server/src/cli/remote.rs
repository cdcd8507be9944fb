//! Which server a command speaks to, and how its answer is shown.

use clap::Args;
use serde_json::Value;

use super::rest::Rest;
use super::usage_error;
use crate::output::failure::Failure;
use crate::output::table::cell;

/// Above these options in help texts.
pub const HEADING: &str = "Server";

/// Options of every command that speaks to a server.
#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// Address of the server's REST interface.
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        value_name = "URL",
        env = "MEDIAHOOKS_SERVER",
        default_value = "http://127.0.0.1:8080"
    )]
    pub server: url::Url,
    /// API secret, as `serve` printed it at its first start. Others can see the flag in the process list; the
    /// variable they cannot.
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        value_name = "SECRET",
        env = "MEDIAHOOKS_API_SECRET",
        hide_env_values = true
    )]
    secret: Option<String>,
    /// Print what the server answered, as JSON.
    #[arg(long, global = true, help_heading = HEADING)]
    pub json: bool,
    /// Print only this member of the answer, without quotes: for scripts.
    #[arg(long, global = true, help_heading = HEADING, value_name = "NAME", conflicts_with = "json")]
    field: Option<String>,
}

impl RemoteArgs {
    /// The client for this server. Without a secret the program ends with a usage error.
    pub fn rest(&self) -> anyhow::Result<Rest> {
        Rest::new(self.server.clone(), self.secret())
    }

    /// The API secret. Without one the program ends with a usage error.
    pub fn secret(&self) -> &str {
        match &self.secret {
            // An empty variable is one that was not set.
            Some(secret) if !secret.is_empty() => secret,
            _ => usage_error("no API secret was given: set --secret or MEDIAHOOKS_API_SECRET"),
        }
    }

    /// Prints the answer: as JSON or one member of it when asked to, else as `human` writes it.
    pub fn show(
        &self,
        answer: &Value,
        human: impl FnOnce(&Value) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let text = match &self.field {
            Some(name) => member(answer, name)?,
            None if self.json => format!("{answer:#}\n"),
            None => human(answer)?,
        };
        print(&text)
    }
}

/// One member of an answer; of a list, that of each item on a line of its own.
fn member(answer: &Value, name: &str) -> anyhow::Result<String> {
    let items = answer.as_array().map_or(std::slice::from_ref(answer), Vec::as_slice);
    let lines = items.iter().map(|item| match item.get(name) {
        Some(Value::String(text)) => Ok(format!("{text}\n")),
        Some(value) => Ok(format!("{value}\n")),
        None => Err(Failure::new(format!("the answer has no member `{}`", cell(name)))
            .advise("--json shows all of them")
            .into()),
    });
    lines.collect()
}

/// Writes to standard output. A reader that has gone away, as `head` does, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
