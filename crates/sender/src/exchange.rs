//! One HTTP exchange: a signed POST and what came back.
//!
//! Called once per attempt. What always holds: it ends by the deadline, which covers everything from the
//! name to the last byte; it reads no more of a response than the cap; it follows no redirect; it connects
//! only where the target policy allows. A request is sent once. It is sent again only when the connection it
//! was given to had taken nothing of it.

use std::fmt::Write as _;
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use mediahooks_database::ClaimedDelivery;
use mediahooks_delivery::headers::MASKED;
use mediahooks_delivery::sign::{MILLICAST_SIGNATURE, WEBHOOK_SIGNATURE};
use mediahooks_delivery::trace::TRACEPARENT;
use mediahooks_delivery::{
    AttemptResult, FailureKind, SignatureHeaders, TargetPolicy, parse_retry_after, traceparent,
};
use tokio::time::Instant;

use crate::config::{SenderConfig, SenderError};
use crate::connect::{Connection, Connector, Progress, Remote, Step, micros};
use crate::endpoint::{Endpoint, Endpoints, Opened};
use crate::failure::Failure;
use crate::pool::IDLE_MAX;
use crate::surroundings::Clock;
use crate::tls::Tls;
use crate::transport::{Exchanged, Transport};

/// Bytes of a response that are kept for the delivery log.
const RESPONSE_KEPT_BYTES: usize = 1024;

/// Connections that may take nothing of a request before it has failed. Each is one that the endpoint had just
/// closed.
const UNSENT_MAX: u32 = 3;

/// The HTTP client, shared by all attempts.
pub struct Exchange {
    endpoints: Arc<Endpoints>,
    connector: Connector,
    targets: TargetPolicy,
    deadline: Duration,
    response_bytes_max: usize,
    idle_max: usize,
    sweeping: Once,
}

impl Exchange {
    /// Prepares the client.
    ///
    /// Errors: [`SenderError`] when `config` cannot be carried out on this machine.
    pub fn new(config: &SenderConfig) -> Result<Self, SenderError> {
        let user_agent = HeaderValue::from_str(&config.user_agent).map_err(|_| SenderError::UserAgent)?;
        Ok(Self {
            endpoints: Arc::new(Endpoints::new(config, Tls::new()?, user_agent)),
            connector: Connector::new(config),
            targets: config.targets.clone(),
            deadline: config.deadline,
            response_bytes_max: config.response_bytes_max,
            idle_max: usize::try_from(config.per_webhook).unwrap_or(usize::MAX),
            sweeping: Once::new(),
        })
    }

    /// Closes idle connections now and then, as long as the client is in use.
    fn keep_swept(&self) {
        self.sweeping.call_once(|| {
            let endpoints: Weak<Endpoints> = Arc::downgrade(&self.endpoints);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(IDLE_MAX / 2).await;
                    let Some(endpoints) = endpoints.upgrade() else { return };
                    endpoints.sweep();
                }
            });
        });
    }

    /// Without the deadline. Leaves in `course` what is known by then.
    async fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        delivery: &ClaimedDelivery,
        signature: &SignatureHeaders,
        body: &Bytes,
        course: &mut Course,
    ) -> Exchanged {
        let opened = self.request(endpoint, delivery, signature, body, course).await;
        let (response, opened) = match opened {
            Ok(answered) => answered,
            Err(failure) => return failed(&failure, course),
        };
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, Clock::default().now()));
        let answer = AttemptResult::Status { code: response.status().as_u16(), retry_after };
        course.answer = Some(answer);
        self.answered(endpoint, opened, response, answer, course).await
    }

    /// Sends the request and waits for the head of the answer.
    async fn request(
        &self,
        endpoint: &Arc<Endpoint>,
        delivery: &ClaimedDelivery,
        signature: &SignatureHeaders,
        body: &Bytes,
        course: &mut Course,
    ) -> Result<(Response<Incoming>, Opened), Failure> {
        let mut unsent = 0;
        loop {
            let mut opened = endpoint.open(&self.connector, &mut course.progress).await?;
            course.progress.step = Step::Answer;
            course.reused = opened.reused;
            course.request = Some(shown(endpoint, &opened.connection, delivery, signature, body.len()));
            let request = build(endpoint, &opened.connection, delivery, signature, body);
            let sent = match &mut opened.connection {
                Connection::Http1(sender) => sender.try_send_request(request).await,
                Connection::Http2(sender) => sender.try_send_request(request).await,
            };
            match sent {
                Ok(response) => {
                    course.progress.timings.first_byte_us = Some(micros(course.begin));
                    return Ok((response, opened));
                }
                Err(error) => {
                    // Whatever else is open may be as dead as this one.
                    endpoint.hang_up();
                    unsent += 1;
                    if !(is_unsent(&error) && opened.reused && unsent < UNSENT_MAX) {
                        return Err(Failure::Http(error.into_error()));
                    }
                    course.request = None;
                }
            }
        }
    }

    async fn answered(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: Opened,
        response: Response<Incoming>,
        result: AttemptResult,
        course: &mut Course,
    ) -> Exchanged {
        let is_success = response.status().is_success();
        let hidden = self.must_hide(opened.remote);
        // After an upgrade nobody asked for, what follows is not HTTP.
        let may_stay = response.status() != StatusCode::SWITCHING_PROTOCOLS;
        let read = read_capped(response.into_body(), self.response_bytes_max).await;
        if read.is_whole && may_stay {
            endpoint.give_back(opened.connection, opened.remote, self.idle_max);
        }
        Exchanged {
            error: (!is_success).then(|| result.to_string()),
            response: (!hidden && !read.kept.is_empty()).then(|| as_text(&read.kept)),
            ..course.exchanged(result)
        }
    }

    /// Whether the response may come from a private service, which the webhook's owner may not be able to
    /// read otherwise. What a proxy connects to is not known here.
    fn must_hide(&self, remote: Remote) -> bool {
        remote.is_none_or(|remote| self.targets.is_private_exception(remote))
    }

    /// What the deadline cut off. A status that came is the answer, whatever its body did: an endpoint
    /// that acknowledged is not to be told again.
    fn timed_out(&self, course: &mut Course) -> Exchanged {
        let Some(result) = course.answer else {
            let kind = FailureKind::Timeout;
            let what = match course.progress.step {
                Step::Name => "its name was not resolved",
                Step::Tcp => "no connection came about",
                Step::Tls => "the TLS handshake did not end",
                Step::Answer => "no answer came",
            };
            let error = format!("{kind} ({what} within {:?})", self.deadline);
            return Exchanged { error: Some(error), ..course.exchanged(AttemptResult::Failed { kind }) };
        };
        let is_success = matches!(result, AttemptResult::Status { code: 200..300, .. });
        let error = format!("{result}, but its body did not end within {:?}", self.deadline);
        Exchanged { error: (!is_success).then_some(error), ..course.exchanged(result) }
    }
}

impl Transport for Exchange {
    async fn send(&self, delivery: &ClaimedDelivery, headers: &SignatureHeaders, body: Bytes) -> Exchanged {
        let endpoint = match self.endpoints.get(&delivery.webhook) {
            Ok(endpoint) => endpoint,
            Err(why) => return Exchanged::refused(&why),
        };
        self.keep_swept();
        let mut course = Course::new();
        let exchanging = self.exchange(&endpoint, delivery, headers, &body, &mut course);
        match tokio::time::timeout(self.deadline, exchanging).await {
            Ok(exchanged) => exchanged,
            Err(_) => self.timed_out(&mut course),
        }
    }
}

/// What is known of an attempt as it goes on, so that it is known when the deadline cuts it off.
struct Course {
    begin: Instant,
    progress: Progress,
    request: Option<String>,
    /// The connection was open already.
    reused: bool,
    answer: Option<AttemptResult>,
}

impl Course {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            progress: Progress::default(),
            request: None,
            reused: false,
            answer: None,
        }
    }

    /// A record with what is known, to be completed.
    fn exchanged(&mut self, result: AttemptResult) -> Exchanged {
        Exchanged { timings: self.progress.timings, request: self.request.take(), ..Exchanged::new(result) }
    }
}

fn failed(failure: &Failure, course: &mut Course) -> Exchanged {
    let (kind, cause) = (failure.kind(), failure.cause());
    let error = match kind {
        FailureKind::TargetRefused => format!("refused: {cause}"),
        _ => format!("{kind} ({cause})"),
    };
    // The endpoint closed an open connection as the request arrived, most likely. It may have read the
    // request all the same, so this is a failed attempt like any other, but the next need not wait.
    let stale = course.reused && kind == FailureKind::Io;
    Exchanged { error: Some(error), stale, ..course.exchanged(AttemptResult::Failed { kind }) }
}

/// Whether the connection took nothing of the request: then sending it again repeats nothing.
fn is_unsent(error: &TrySendError<Request<Full<Bytes>>>) -> bool {
    error.message().is_some()
}

fn build(
    endpoint: &Endpoint,
    connection: &Connection,
    delivery: &ClaimedDelivery,
    signature: &SignatureHeaders,
    body: &Bytes,
) -> Request<Full<Bytes>> {
    let (target, mut headers) = endpoint.head(connection);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    for (name, value) in signature.named() {
        // Identifiers, numbers, base64 and hexadecimal digits: visible ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let parent = traceparent(delivery.event, delivery.id, delivery.attempt);
    if let Ok(parent) = HeaderValue::try_from(parent) {
        headers.insert(HeaderName::from_static(TRACEPARENT), parent);
    }
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}

/// The head of a request for the delivery log.
fn shown(
    endpoint: &Endpoint,
    connection: &Connection,
    delivery: &ClaimedDelivery,
    signature: &SignatureHeaders,
    length: usize,
) -> String {
    let mut head = endpoint.shown_head(connection);
    // Writing into a text cannot fail.
    let _ = write!(head, "\ncontent-length: {length}");
    for (name, value) in signature.named() {
        let value = if matches!(name, WEBHOOK_SIGNATURE | MILLICAST_SIGNATURE) { MASKED } else { value };
        let _ = write!(head, "\n{name}: {value}");
    }
    let parent = traceparent(delivery.event, delivery.id, delivery.attempt);
    let _ = write!(head, "\n{TRACEPARENT}: {parent}");
    head
}

/// What was read of a body.
struct Read {
    /// Its start.
    kept: Vec<u8>,
    /// It ended by itself, so the connection can be used again.
    is_whole: bool,
}

/// Reads a body up to `bytes_max`. A connection that breaks in the middle ends it: the status has been
/// said. Dropping an unfinished body closes its connection, or its stream of one.
async fn read_capped<B>(mut body: B, bytes_max: usize) -> Read
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut kept = Vec::new();
    let mut read = 0usize;
    loop {
        if body.is_end_stream() {
            return Read { kept, is_whole: true };
        }
        match body.frame().await {
            None => return Read { kept, is_whole: true },
            Some(Err(_)) => return Read { kept, is_whole: false },
            Some(Ok(frame)) => {
                let Some(chunk) = frame.data_ref() else { continue };
                let room = RESPONSE_KEPT_BYTES - kept.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
                read = read.saturating_add(chunk.len());
                if read >= bytes_max && !body.is_end_stream() {
                    return Read { kept, is_whole: false };
                }
            }
        }
    }
}

/// As text that every database stores: PostgreSQL refuses NUL.
fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn full(text: impl Into<Bytes>) -> Full<Bytes> {
        Full::new(text.into())
    }

    fn streamed<S>(
        pieces: S,
    ) -> StreamBody<impl futures::Stream<Item = std::io::Result<Frame<Bytes>>> + Unpin>
    where
        S: futures::Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        use futures::StreamExt as _;
        StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))
    }

    #[tokio::test]
    async fn the_first_kibibyte_of_a_response_is_kept() {
        let read = read_capped(full("x".repeat(5000)), 65_536).await;
        assert_eq!(read.kept, "x".repeat(1024).into_bytes());
        let read = read_capped(full("ok"), 65_536).await;
        assert!(read.kept == b"ok" && read.is_whole);
        assert!(read_capped(full(""), 65_536).await.is_whole);
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_cap_asks_for() {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 100])));
        let read = read_capped(streamed(endless), 250).await;
        assert!(read.kept.len() == 300 && !read.is_whole);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_kept_as_far_as_it_came() {
        let pieces = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("reset"))]);
        let read = read_capped(streamed(pieces), 250).await;
        assert!(read.kept == b"half" && !read.is_whole);
    }

    #[test]
    fn any_bytes_are_shown_as_text() {
        assert_eq!(as_text(b"caf\xc3\xa9 \xff\0"), "caf\u{e9} \u{fffd}\u{fffd}");
    }

    #[test]
    fn a_response_of_unknown_origin_is_not_shown() {
        let exchange = Exchange::new(&SenderConfig::new("test")).unwrap();
        assert!(exchange.must_hide(None));
        assert!(!exchange.must_hide(Some("8.8.8.8".parse().unwrap())));
    }
}
