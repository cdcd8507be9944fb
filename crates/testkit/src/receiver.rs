//! A webhook receiver that answers as it is told and remembers everything.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::patiently;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// With this status, after a while.
    Slowly(u16, Duration),
    /// Never.
    Hang,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it was read, on the clock that does not step.
    pub at: Instant,
    /// When it was read, on the wall clock.
    pub wall: SystemTime,
    /// Path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// How it was answered.
    pub answer: Answer,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body of a webhook is JSON")
    }

    /// `type.event`
    pub fn kind(&self) -> String {
        let json = self.json();
        format!("{}.{}", json["type"].as_str().unwrap_or("?"), json["event"].as_str().unwrap_or("?"))
    }

    /// The asset or feed it is about.
    pub fn subject(&self) -> String {
        let data = &self.json()["data"];
        let id = data["mediaAssetId"].as_str().or(data["feedId"].as_str());
        id.unwrap_or_default().to_owned()
    }

    /// A header's text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    otherwise: Arc<Mutex<Answer>>,
    received: watch::Sender<Vec<Received>>,
}

/// A receiver on a free loopback port. It lives as long as its runtime.
#[derive(Clone)]
pub struct ScriptedReceiver {
    address: SocketAddr,
    script: Script,
}

impl ScriptedReceiver {
    /// Answers everything with 200.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let script = Script {
            answers: Arc::default(),
            otherwise: Arc::new(Mutex::new(Answer::Status(200))),
            received: watch::Sender::new(Vec::new()),
        };
        let router = Router::new().fallback(receive).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    /// Where it receives.
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Answers the next requests like this, one each.
    pub fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }

    /// Answers like this whenever nothing else was said.
    pub fn otherwise(&self, answer: Answer) {
        *self.script.otherwise.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Received> {
        self.script.received.borrow().clone()
    }

    /// The requests that were answered with 2xx, without repeats of a `webhook-id`.
    pub fn accepted(&self) -> Vec<Received> {
        let mut ids = std::collections::HashSet::new();
        let mut accepted = self.received();
        accepted.retain(|request| {
            let is_success = matches!(request.answer, Answer::Status(200..300) | Answer::Slowly(200..300, _));
            is_success && ids.insert(request.header("webhook-id").to_owned())
        });
        accepted
    }

    /// Waits until the requests so far satisfy `enough`, and returns them.
    pub async fn wait_for(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut received = self.script.received.subscribe();
        let came = patiently(what, received.wait_for(|requests| enough(requests))).await;
        came.expect("the receiver runs").clone()
    }

    /// Waits for the first request of a kind, such as `media.completed`, and returns it.
    pub async fn wait_for_kind(&self, kind: &str) -> Received {
        let requests = self.wait_for(kind, |all| all.iter().any(|one| one.kind() == kind)).await;
        requests.into_iter().find(|one| one.kind() == kind).expect("it was waited for")
    }
}

async fn receive(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let next = script.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let answer = next.unwrap_or(*script.otherwise.lock().unwrap_or_else(PoisonError::into_inner));
    let received = Received { at: Instant::now(), wall: SystemTime::now(), uri, headers, body, answer };
    script.received.send_modify(|all| all.push(received));
    let status = match answer {
        Answer::Status(status) => status,
        Answer::Slowly(status, wait) => {
            tokio::time::sleep(wait).await;
            status
        }
        Answer::Hang => std::future::pending().await,
    };
    StatusCode::from_u16(status).expect("a status").into_response()
}
