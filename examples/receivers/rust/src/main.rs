//! Receives webhooks with axum and `mediahooks-receiver`: verifies, drops repeats, prints.
//! Run it:  `WEBHOOK_SECRET=... cargo run -p mediahooks-example-receiver`     (PORT=9000 unless said otherwise)

use axum::extract::{FromRef, State};
use axum::{Router, http::StatusCode, routing::post};
use mediahooks_receiver::{Event, Inbox, Start, VerifiedEvent, Verifier};

#[derive(Clone, FromRef)]
struct App {
    verifier: Verifier,
    /// Ids handled lately; where a repeat would do harm, a table in your database.
    inbox: Inbox,
}

/// Runs for genuine requests only; all others get 400 and the reason.
async fn hook(State(inbox): State<Inbox>, VerifiedEvent { event, key, .. }: VerifiedEvent) -> StatusCode {
    match inbox.start(key) {
        Start::New(handling) => {
            handle(&event); // within seconds: long work belongs into a queue
            handling.done(); // after the work, so that what failed comes again
            StatusCode::OK
        }
        Start::Repeat => StatusCode::OK,
        Start::Underway => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn handle(event: &Event) {
    let mut told = format!("{}.{}", event.type_name, event.event_name);
    told.extend(event.subject().map(|subject| format!(" {subject}")));
    told.extend(event.seq().map(|seq| format!(" {seq}")));
    println!("{told}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Hosted Millicast has no Standard Webhooks signature: leave `require_standard` out there.
    let verifier = Verifier::new([std::env::var("WEBHOOK_SECRET")?])?.require_standard();
    let app = App { verifier, inbox: Inbox::new(100_000) };
    let port = std::env::var("PORT").unwrap_or_else(|_| "9000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("Receiving webhooks at http://{}/hooks", listener.local_addr()?);
    Ok(axum::serve(listener, Router::new().route("/hooks", post(hook)).with_state(app)).await?)
}
