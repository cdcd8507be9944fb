//! The members of webhooks as options of the command line.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

/// What a new webhook and a change of one have in common.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// Only about streams whose name this regular expression is found in.
    #[arg(long, value_name = "REGEX")]
    filter: Option<String>,
    /// Only this kind of event, such as media.completed; repeat it for more.
    #[arg(long, value_name = "KIND")]
    event: Vec<String>,
    /// Only what is published with this token; repeat it for more.
    #[arg(long, value_name = "ID")]
    token: Vec<i64>,
    /// A header for every request; repeat it for more.
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// Requests per second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate_limit: Option<u32>,
    /// Put a fresh download link into media.completed.
    #[arg(long)]
    include_download: bool,
    /// PEM file with a certificate to show to the endpoint, and its chain.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// PEM file with certificate authorities that may vouch for the endpoint beside the public ones.
    #[arg(long, value_name = "FILE")]
    ca_certificate: Option<PathBuf>,
}

/// What a change can take away.
#[derive(Debug, Args)]
pub struct ClearArgs {
    /// About streams of any name.
    #[arg(long, conflicts_with = "filter")]
    no_filter: bool,
    /// All kinds of events of the types it wants.
    #[arg(long, conflicts_with = "event")]
    all_events: bool,
    /// What is published with any token.
    #[arg(long, conflicts_with = "token")]
    any_token: bool,
    /// No headers but the server's own.
    #[arg(long, conflicts_with = "header")]
    no_headers: bool,
    /// As many requests as the endpoint takes.
    #[arg(long, conflicts_with = "rate_limit")]
    no_rate_limit: bool,
    /// No download links in events.
    #[arg(long, conflicts_with = "include_download")]
    no_include_download: bool,
    /// Show no certificate to the endpoint.
    #[arg(long, conflicts_with = "client_certificate")]
    no_client_certificate: bool,
    /// Only the public certificate authorities.
    #[arg(long, conflicts_with = "ca_certificate")]
    no_ca_certificate: bool,
}

impl MemberArgs {
    /// What was given, as REST calls it.
    pub fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = Map::new();
        body.extend(self.filter.as_ref().map(|filter| ("filter".to_owned(), json!(filter))));
        if !self.event.is_empty() {
            body.insert("events".to_owned(), json!(self.event));
        }
        if !self.token.is_empty() {
            body.insert("tokenIds".to_owned(), json!(self.token));
        }
        if !self.header.is_empty() {
            let headers: Map<_, _> =
                self.header.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            body.insert("headers".to_owned(), headers.into());
        }
        body.extend(self.rate_limit.map(|limit| ("rateLimit".to_owned(), json!(limit))));
        if self.include_download {
            body.insert("includeDownload".to_owned(), json!(true));
        }
        for (name, file) in [
            ("clientCertificate", &self.client_certificate),
            ("clientKey", &self.client_key),
            ("caCertificate", &self.ca_certificate),
        ] {
            if let Some(file) = file {
                body.insert(name.to_owned(), json!(read_pem(file)?));
            }
        }
        Ok(body)
    }
}

impl ClearArgs {
    /// What is to be taken away, as REST calls it.
    pub fn body(&self) -> Map<String, Value> {
        let cleared = [
            (self.no_filter, "filter", Value::Null),
            (self.all_events, "events", Value::Null),
            (self.any_token, "tokenIds", Value::Null),
            (self.no_headers, "headers", Value::Null),
            (self.no_rate_limit, "rateLimit", Value::Null),
            (self.no_include_download, "includeDownload", json!(false)),
            (self.no_client_certificate, "clientCertificate", Value::Null),
            (self.no_ca_certificate, "caCertificate", Value::Null),
        ];
        cleared
            .into_iter()
            .filter(|(is_cleared, ..)| *is_cleared)
            .map(|(_, name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn read_pem(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write a header as `name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
