//! What the fake sender makes is what it says: the verifier, and a receiver built on the extractor, are
//! rehearsed with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::post;
use mediahooks_receiver::fake::{self, Expected, FakeSender};
use mediahooks_receiver::{
    Event, Inbox, Payload, Scheme, Start, Thumbnail, VerifiedEvent, Verifier, VerifyError,
};
use tower::ServiceExt;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=";
const NEW_SECRET: &str = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldw==";

fn sender() -> FakeSender {
    FakeSender::new(SECRET).unwrap()
}

#[derive(Clone, FromRef)]
struct App {
    verifier: Verifier,
    inbox: Inbox,
    handled: Arc<Mutex<BTreeSet<String>>>,
}

async fn hook(
    State(app): State<App>,
    VerifiedEvent { event, key, verified, .. }: VerifiedEvent,
) -> StatusCode {
    match app.inbox.start(key) {
        Start::New(handling) => {
            let what = verified.id.unwrap_or_else(|| event.to_json().unwrap());
            assert!(app.handled.lock().unwrap().insert(what), "handled twice");
            handling.done();
            StatusCode::OK
        }
        Start::Repeat => StatusCode::OK,
        Start::Underway => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn receiver(verifier: Verifier) -> (Router, App) {
    let app = App { verifier, inbox: Inbox::new(100), handled: Arc::default() };
    (Router::new().route("/", post(hook)).with_state(app.clone()), app)
}

#[tokio::test]
async fn a_receiver_built_on_this_crate_passes_the_rehearsal() {
    let strict = Verifier::new([SECRET]).unwrap().require_standard();
    let lenient = Verifier::new([SECRET]).unwrap();
    for (sender, verifier) in [(sender(), strict), (sender().like_millicast(), lenient)] {
        let (router, app) = receiver(verifier);
        let steps = sender.rehearsal();
        let handled = steps.iter().filter(|step| step.expected == Expected::Handled).count();
        for step in steps {
            let response = router.clone().oneshot(step.request.map(axum::body::Body::from)).await.unwrap();
            assert!(step.expected.agrees_with(response.status()), "{}: {}", step.what, response.status());
        }
        assert_eq!(app.handled.lock().unwrap().len(), handled);
    }
}

#[tokio::test]
async fn the_same_requests_reach_a_running_server() {
    let (router, app) = receiver(Verifier::new([SECRET]).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sender = sender().to(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let client = reqwest::Client::new();
    let hook = sender.hook(&fake::feed_started("f"));
    let (status, _) = fake::post(&client, hook.request()).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(app.handled.lock().unwrap().contains(hook.id()));
    let (status, text) = fake::post(&client, hook.tampered().request()).await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("does not match"), "{text}");
}

#[test]
fn a_rotating_sender_is_believed_by_receivers_of_either_secret() {
    let rotating = FakeSender::new(NEW_SECRET).unwrap().rotated_from(SECRET).unwrap();
    let request = rotating.hook(&fake::completed_clip("a")).request();
    assert_eq!(request.headers()["webhook-signature"].to_str().unwrap().split(' ').count(), 2);
    for secret in [SECRET, NEW_SECRET] {
        let verifier = Verifier::new([secret]).unwrap().require_standard();
        assert!(verifier.verify(request.headers(), request.body(), SystemTime::now()).is_ok());
    }
}

#[test]
fn a_simulated_clock_signs() {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let hook = sender().at(now).hook(&fake::errored_recording("a"));
    let verify = |request: &http::Request<bytes::Bytes>| {
        Verifier::new([SECRET]).unwrap().verify(request.headers(), request.body(), now)
    };
    let verified = verify(&hook.request()).unwrap();
    assert_eq!((verified.id.as_deref(), verified.timestamp_seconds), (Some(hook.id()), Some(1_700_000_000)));
    let old = hook.clone().late(Duration::from_secs(600)).request();
    assert_eq!(verify(&old), Err(VerifyError::TooOld(600)));
    let new = hook.early(Duration::from_secs(600)).request();
    assert_eq!(verify(&new), Err(VerifyError::TooNew(600)));
}

#[test]
fn pictures_and_raw_bytes_are_signed_too() {
    let picture = Thumbnail {
        jpeg: (&b"\xff\xd8\xff"[..]).into(),
        feed_id: Some("f".into()),
        stream_id: Some("x/s".into()),
        token_id: Some(4),
    };
    let request = sender().like_millicast().hook(&picture.clone().into()).request();
    let verifier = Verifier::new([SECRET]).unwrap();
    let verified = verifier.verify(request.headers(), request.body(), SystemTime::now()).unwrap();
    assert_eq!(verified.scheme, Scheme::Millicast);
    let read = Event::read(request.headers(), request.body().clone()).unwrap();
    assert_eq!(read.payload, Payload::Thumbnail(picture));

    let raw = sender().raw("text/plain", "no event").request();
    assert!(verifier.verify(raw.headers(), raw.body(), SystemTime::now()).is_ok());
    assert_eq!(raw.headers()["content-type"], "text/plain");
}

#[test]
fn nothing_shows_a_secret_by_accident() {
    assert!(format!("{:?}", sender()).contains("keys: [Key(..)]"));
}
