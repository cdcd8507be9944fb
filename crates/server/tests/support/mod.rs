//! What these tests share: the program, run as a user runs it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::process::Stdio;

use mediahooks_testkit::{ServerOptions, TestServer, patiently};

/// The built program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mediahooks");

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A server on free ports and a fresh data directory.
pub async fn server() -> TestServer {
    ServerOptions::new(PROGRAM).start().await
}

/// Runs the program without any settings of the caller's.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = tokio::process::Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MEDIAHOOKS_"))
    {
        command.env_remove(name);
    }
    // Help texts are as wide as the terminal; without one, as the variable says.
    command.args(arguments).env("COLUMNS", "100").env("TZ", "UTC").envs(environment.iter().copied());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = patiently("the command ends", output).await.expect("the program runs");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs a client command against a server; it has to succeed. Returns what it printed.
pub async fn client(server: &TestServer, arguments: &[&str]) -> String {
    let url = server.url();
    let environment = [("MEDIAHOOKS_SERVER", &*url), ("MEDIAHOOKS_API_SECRET", server.secret())];
    let outcome = run(arguments, &environment).await;
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

/// Replaces what differs from run to run: secrets, ids, times, lengths of time, ports.
pub fn redact(text: &str) -> String {
    let rules = [
        (r"\b[0-9a-f]{64}\b", "SECRET"),
        (r"[A-Za-z0-9+/]{43}=", "WEBHOOK-SECRET"),
        (r"\b[0-9a-f]{32}\b", "ASSET"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "FEED"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
        (r"\b\d\d:\d\d:\d\d\.\d{3}\b", "TIME"),
        (r"\b\d+(\.\d)? (ms|s)\b", "SPAN"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"\?sig[^ ]*|/download/[^ \n]*", "LINK"),
        // Columns are as wide as what was replaced.
        (r"(SECRET|ASSET|FEED|TIME|SPAN)  +", "$1  "),
    ];
    rules.into_iter().fold(text.to_owned(), |text, (pattern, by)| {
        regex::Regex::new(pattern).expect("a pattern").replace_all(&text, by).into_owned()
    })
}
