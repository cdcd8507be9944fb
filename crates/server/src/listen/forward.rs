//! Hands an event to a local server as the server's sender would: same body, same headers, both signatures.

use std::time::Duration;

use anyhow::Context as _;
use mediahooks_delivery::{SigningKey, WebhookSecret, signature_headers};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::Shown;
use crate::cli::{Rest, read};
use crate::output::failure::Failure;
use crate::output::human;
use crate::output::style::{Style, Tone};
use crate::output::table::cell;

/// As long as the server's own sender waits.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where to and how signed.
pub struct Forward {
    http: Client,
    url: Url,
    key: SigningKey,
}

/// What the local server said.
pub struct Answer(Option<Result<(StatusCode, Duration), String>>);

#[derive(Deserialize)]
struct Signer {
    id: i64,
    secret: String,
}

impl Forward {
    /// To `url`, signed with the secret of `webhook`, or of the only one there is.
    pub async fn new(rest: &Rest, url: Url, webhook: Option<i64>) -> anyhow::Result<Self> {
        let signer = match webhook {
            Some(id) => read(&rest.get(&format!("/api/webhooks/{id}"), &[]).await?)?,
            None => only_webhook(rest).await?,
        };
        let secret: WebhookSecret = signer
            .secret
            .parse()
            .with_context(|| format!("the secret of webhook {} cannot sign", signer.id))?;
        // What is forwarded stays on this machine or its network: no proxy, no redirect.
        let http = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("mediahooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url, key: SigningKey::new(&secret) })
    }

    /// Posts an event and waits for the answer.
    pub async fn post(&self, event: &Shown) -> Answer {
        let body = event.body.get().to_owned();
        let headers = signature_headers(&self.key, &event.id, human::now().as_seconds(), body.as_bytes());
        let mut request =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers.named() {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let outcome = request.send().await.map(|response| response.status());
        Answer(Some(outcome.map(|status| (status, began.elapsed())).map_err(|error| reason(&error))))
    }
}

impl Answer {
    /// Nobody was asked.
    pub fn none() -> Self {
        Self(None)
    }

    /// On one line.
    pub fn shown(&self, style: Style) -> String {
        match &self.0 {
            None => String::new(),
            Some(Ok((status, took))) => {
                let tone = if status.is_success() { Tone::Good } else { Tone::Bad };
                format!("{} in {}", style.paint(tone, &status.as_u16().to_string()), human::duration(*took))
            }
            Some(Err(why)) => style.paint(Tone::Bad, &cell(why)),
        }
    }
}

async fn only_webhook(rest: &Rest) -> anyhow::Result<Signer> {
    let some = rest.get("/api/webhooks/list", &[("itemCount", "2".to_owned())]).await?;
    let mut some: Vec<Value> = read(&some)?;
    match (some.pop(), some.len()) {
        (Some(webhook), 0) => read(&webhook),
        (Some(_), _) => Err(Failure::new("there are several webhooks, and one of them has to sign")
            .advise("name it with --webhook; `mediahooks webhook list` shows them")
            .into()),
        (None, _) => Err(Failure::new("there is no webhook whose secret could sign")
            .advise("add one with `mediahooks webhook add URL`; it may be disabled or point anywhere")
            .into()),
    }
}

/// The root of an error: what lies above it names layers of this program.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
