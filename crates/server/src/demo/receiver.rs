//! The demo's application: verifies each hook, prints it, and remembers it for the story.

use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use mediahooks_receiver::extract::Rejection;
use mediahooks_receiver::{Event, EventKey, Payload, VerifiedEvent, Verifier};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::print;
use crate::cli::rest::Rest;
use crate::output::failure::Failure;
use crate::output::style::{Style, Tone};
use crate::output::{hook, human};

/// Hooks that are remembered; a server that is left running may send many more.
const REMEMBERED_MAX: usize = 100;

/// A receiver with its webhook.
pub struct Receiver {
    /// Where it receives.
    pub url: String,
    seen: watch::Receiver<Seen>,
}

/// What came so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Verified hooks, without repeats.
    pub hooks: Vec<Hook>,
    /// Requests that were turned away.
    pub refused: Vec<String>,
}

/// One hook, as far as the story needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// Asset or feed.
    pub subject: String,
    /// `recording`, `clip` or `feed`.
    pub of: String,
    /// What happened.
    pub event: String,
    key: EventKey,
}

#[derive(Clone)]
struct App {
    verifier: Verifier,
    style: Style,
    seen: watch::Sender<Seen>,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Verifier {
        app.verifier.clone()
    }
}

impl Receiver {
    /// Listens on a free port and asks the server for a webhook to it.
    pub async fn start(rest: &Rest, style: Style) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let wanted = json!({"url": url, "isFeedHooks": true, "isMediaHooks": true});
        let webhook = rest.post("/api/webhooks", &wanted).await.context("cannot add a webhook")?;
        let verifier = Verifier::new([webhook["secret"].as_str().unwrap_or_default()])?.require_standard();
        let (sender, seen) = watch::channel(Seen::default());
        let app = App { verifier, style, seen: sender };
        let router = Router::new().route("/", post(receive)).with_state(app);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, seen })
    }

    /// Waits until what came satisfies `enough`, and returns it.
    pub async fn wait_for(
        &self,
        patience: Duration,
        enough: impl Fn(&[Hook]) -> bool,
    ) -> anyhow::Result<Seen> {
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(patience, seen.wait_for(|seen| enough(&seen.hooks))).await;
        match waited {
            Ok(outcome) => Ok(outcome?.clone()),
            Err(_) => Err(missing(&self.seen.borrow(), patience).into()),
        }
    }
}

fn missing(seen: &Seen, patience: Duration) -> Failure {
    let came: Vec<String> = seen.hooks.iter().map(|hook| format!("{} {}", hook.of, hook.event)).collect();
    let failure = Failure::new(format!("a webhook did not come within {}", human::duration(patience)))
        .because(format!("these came: {}", came.join(", ")));
    let failure = seen.refused.iter().fold(failure, |failure, refused| failure.because(refused.clone()));
    failure.advise("run it again with MEDIAHOOKS_LOG=debug and look at what the server says")
}

async fn receive(State(app): State<App>, request: Result<VerifiedEvent, Rejection>) -> Response {
    let received = human::now();
    let hook = match request {
        Ok(hook) => hook,
        Err(rejection) => {
            let said = format!("refused a request: {rejection}");
            // Nobody is left to read it; the same holds below.
            let _ = print(&format!("{}\n", app.style.paint(Tone::Bad, &said)));
            app.seen.send_modify(|seen| remember(&mut seen.refused, said));
            return rejection.into_response();
        }
    };
    let _ = print(&format!("{}\n", hook::line(app.style, received, &hook.verified, &hook.event)));
    app.seen.send_modify(|seen| {
        // At least once means that one may come again.
        if !seen.hooks.iter().any(|known| known.key == hook.key)
            && let Some(known) = told(&hook.event, hook.key)
        {
            remember(&mut seen.hooks, known);
        }
    });
    StatusCode::OK.into_response()
}

fn told(event: &Event, key: EventKey) -> Option<Hook> {
    let (subject, of) = match &event.payload {
        Payload::Media(media) => (media.media_asset_id.clone(), media.asset_type.as_str().to_owned()),
        Payload::Feeds(feed) => (feed.feed_id.clone(), "feed".to_owned()),
        _ => return None,
    };
    Some(Hook { subject, of, event: event.event_name.clone(), key })
}

fn remember<T>(list: &mut Vec<T>, item: T) {
    if list.len() < REMEMBERED_MAX {
        list.push(item);
    }
}
