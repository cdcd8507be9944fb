//! `mediahooks receive`: a ready webhook receiver.
//!
//! Verifies, drops repeats and prints; with `--download` it also fetches the file of every completed asset.
//! What always holds: a hook is answered with 200 only after what it asks for is in the journal, on disk; a
//! receiver that is started again goes on with every file that it still owes.

pub mod downloads;
pub mod journal;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clap::Args;
use mediahooks_receiver::extract::Rejection;
use mediahooks_receiver::{Event, MediaEventKind, Order, Payload, Place, SeenIds, VerifiedEvent, Verifier};
use tokio::net::TcpListener;

use crate::cli::print;
use crate::output::failure::Failure;
use crate::output::style::{Style, Tone};
use crate::output::{hook, human};
use downloads::Downloads;
use journal::{Accepted, SEEN_MAX};

/// `mediahooks receive`
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReceiveArgs {
    /// Where webhooks are received; any path is taken.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The webhook's signing secret, as `webhook add` shows it; repeat it while you change secrets.
    #[arg(
        long,
        value_name = "SECRET",
        env = "MEDIAHOOKS_WEBHOOK_SECRET",
        hide_env_values = true,
        required = true,
        value_delimiter = ','
    )]
    webhook_secret: Vec<String>,
    /// Take what carries only `x-millicast-signature`, which is all that hosted Millicast sends. It does not
    /// cover the time: whoever has a copy of a request can send it again for ever.
    #[arg(long)]
    allow_millicast_signature: bool,
    /// Fetch the file of every completed asset into this directory.
    #[arg(long, value_name = "DIR", requires = "secret")]
    download: Option<PathBuf>,
    /// Address of the server's REST interface, to ask for download links.
    #[arg(long, value_name = "URL", env = "MEDIAHOOKS_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// API secret, to ask for download links.
    #[arg(long, value_name = "SECRET", env = "MEDIAHOOKS_API_SECRET", hide_env_values = true)]
    secret: Option<String>,
}

/// Assets and feeds whose order is watched; the one not heard of for longest is forgotten.
const SUBJECTS_MAX: usize = 10_000;

const AFTER_HELP: &str = "\
With --download a hook is answered only after it is written down in the directory; the file follows in the \
background, is tried until it is there, and goes on where it stopped, also after a restart.";

#[derive(Clone)]
struct App {
    verifier: Verifier,
    style: Style,
    seen: Seen,
    order: Arc<Mutex<Order>>,
}

/// What was handled before.
#[derive(Clone)]
enum Seen {
    /// Forgotten at the end: a repeat is only printed twice.
    InMemory(Arc<Mutex<SeenIds>>),
    /// On disk, with the files that are owed.
    Journal(Downloads),
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Verifier {
        app.verifier.clone()
    }
}

/// Receives until a signal comes.
pub async fn run(args: ReceiveArgs) -> anyhow::Result<()> {
    let verifier = verifier(&args)?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::new(format!("cannot listen on {}", args.listen))
            .caused_by(&error)
            .advise("choose another address with --listen")
    })?;
    let style = Style::of_stdout();
    let seen = match (&args.download, &args.secret) {
        (Some(directory), Some(secret)) => {
            Seen::Journal(Downloads::open(directory, &args.server, secret, style)?)
        }
        _ => Seen::InMemory(Arc::new(Mutex::new(SeenIds::new(SEEN_MAX)))),
    };
    let address = listener.local_addr()?;
    print(&format!("Receiving webhooks at http://{address}/\n{}\n", hook::titles(style)))?;
    if let Seen::Journal(downloads) = &seen {
        downloads.resume();
    }
    let order = Arc::new(Mutex::new(Order::new(SUBJECTS_MAX)));
    let app = App { verifier, style, seen, order };
    let router = Router::new().route("/", post(receive)).route("/{*path}", post(receive)).with_state(app);
    tokio::select! {
        outcome = axum::serve(listener, router) => Ok(outcome?),
        outcome = crate::serve::until_signal() => outcome,
    }
}

/// Strict unless told otherwise: a copied request could be stripped of the headers that date it.
fn verifier(args: &ReceiveArgs) -> anyhow::Result<Verifier> {
    let verifier = Verifier::new(&args.webhook_secret)?;
    Ok(if args.allow_millicast_signature { verifier } else { verifier.require_standard() })
}

async fn receive(State(app): State<App>, request: Result<VerifiedEvent, Rejection>) -> Response {
    let hook = match request {
        Ok(hook) => hook,
        Err(rejection) => {
            app.say(
                &app.style
                    .paint(Tone::Bad, &format!("{}  refused: {rejection}", human::time_of_day(human::now()))),
            );
            return rejection.into_response();
        }
    };
    let received = human::now();
    match app.accept(&hook).await {
        Ok(Accepted::New) => {
            app.say(&hook::line(app.style, received, &hook.verified, &hook.event));
            let mut order = app.order.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(notice) = notice(&mut order, &hook.event) {
                app.say(&app.style.paint(Tone::Busy, &format!("              {notice}")));
            }
            StatusCode::OK.into_response()
        }
        Ok(Accepted::Repeat) => {
            app.say(&app.style.paint(Tone::Quiet, &format!("{}  repeat", human::time_of_day(received))));
            StatusCode::OK.into_response()
        }
        Ok(Accepted::Full) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "60")], "too many files are owed already\n")
                .into_response()
        }
        Err(error) => {
            app.say(&app.style.paint(Tone::Bad, &format!("cannot take responsibility: {error:#}")));
            (StatusCode::INTERNAL_SERVER_ERROR, "the journal cannot be written\n").into_response()
        }
    }
}

impl App {
    fn say(&self, line: &str) {
        match &self.seen {
            Seen::Journal(downloads) => downloads.say(line),
            // Nobody is left to read it.
            Seen::InMemory(_) => drop(print(&format!("{line}\n"))),
        }
    }

    async fn accept(&self, hook: &VerifiedEvent) -> anyhow::Result<Accepted> {
        match &self.seen {
            Seen::InMemory(seen) => {
                let is_new = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(hook.key);
                Ok(if is_new { Accepted::New } else { Accepted::Repeat })
            }
            Seen::Journal(downloads) => downloads.accept(hook.key, completed_asset(&hook.event)).await,
        }
    }
}

/// Records an event and says what is odd about its order. What came before this receiver was started, or
/// before the webhook was added, is not missed.
fn notice(order: &mut Order, event: &Event) -> Option<String> {
    let place = order.place(event);
    order.record(event);
    match place {
        Place::AfterHole { missing } if *missing.start() == 1 => None,
        Place::AfterHole { missing } => {
            let (first, last) = missing.into_inner();
            Some(match last - first {
                0 => format!("its event {first} is missing"),
                _ => format!("its events {first} to {last} are missing"),
            })
        }
        Place::Overtaken => Some("something newer of it was received before".to_owned()),
        Place::Next | Place::Repeat => None,
    }
}

/// The asset whose file can be fetched now, if that is what the event tells.
pub fn completed_asset(event: &Event) -> Option<String> {
    match &event.payload {
        Payload::Media(media) if media.kind == MediaEventKind::Completed => {
            Some(media.media_asset_id.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use axum::http::HeaderMap;
    use clap::Parser;
    use mediahooks_receiver::{Scheme, VerifyError};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        receive: ReceiveArgs,
    }

    /// A genuine hook as hosted Millicast sends it, or as it is after the dated headers were taken away.
    fn undated(flags: &[&str]) -> Result<Scheme, VerifyError> {
        let line = ["receive", "--webhook-secret", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM="];
        let args = Line::try_parse_from(line.iter().chain(flags)).unwrap().receive;
        let mut headers = HeaderMap::new();
        let signature = "sha1=90279978dedb27a0ca3767eac2feb5b7cede2ffc";
        headers.insert("x-millicast-signature", signature.parse().unwrap());
        let verified = verifier(&args).unwrap().verify(&headers, br#"{"type":"media"}"#, SystemTime::now());
        verified.map(|verified| verified.scheme)
    }

    #[test]
    fn what_is_missing_or_overtaken_is_said() {
        let mut order = Order::new(10);
        let mut said = |seq: u64| {
            let data = format!(r#"{{"mediaAssetId":"a","type":"clip","seq":{seq}}}"#);
            let body = format!(r#"{{"type":"media","event":"completed","data":{data}}}"#);
            notice(&mut order, &Event::from_json(body.as_bytes()).unwrap()).unwrap_or_default()
        };
        assert_eq!([said(3), said(4)], ["", ""]);
        assert_eq!(said(6), "its event 5 is missing");
        assert_eq!(said(9), "its events 7 to 8 are missing");
        assert_eq!(said(5), "something newer of it was received before");
    }

    #[test]
    fn a_signature_without_a_time_is_taken_only_when_allowed() {
        assert_eq!(undated(&[]), Err(VerifyError::StandardRequired));
        assert_eq!(undated(&["--allow-millicast-signature"]), Ok(Scheme::Millicast));
    }
}
