//! Gives every request an id, logs it once, and turns faults and panics into error envelopes.
//!
//! What always holds: the log has a request's path but never its query (a download link's signature
//! is there) and never its headers, and a client sees nothing of a fault but the id to quote.

use std::any::Any;
use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mediahooks_model::chain;

use crate::envelope::{Fault, FaultData};
use crate::errors::{ApiError, FaultCause};
use crate::telemetry;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a client, in characters.
const ID_CHARS_MAX: usize = 128;

/// Middleware around everything.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = Instant::now();
    let mut response = next.run(request).await;
    if let Some(cause) = response.extensions_mut().remove::<FaultCause>() {
        response = fault(&cause, &id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = response.extensions_mut().remove::<MatchedPath>();
    telemetry::requested(&method, route.as_ref(), response.status(), began.elapsed());
    let status = response.status().as_u16();
    let time_ms = began.elapsed().as_micros() as f64 / 1000.0;
    tracing::info!(request_id = id, %method, path, status, time_ms, "request");
    response
}

/// Middleware around every route: leaves the route's path in the reply, where [`observe`] finds it.
pub(crate) async fn name_route(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

fn fault(cause: &FaultCause, id: &str) -> Response {
    tracing::error!(request_id = id, error = chain(&*cause.error), "a request failed");
    let message = match cause.status {
        StatusCode::SERVICE_UNAVAILABLE => "The server cannot do this at the moment; try again",
        _ => "The server failed to do this; its log tells why",
    };
    let data = FaultData { request_id: id.to_owned() };
    let body = Fault { status: "error", message: message.into(), code: cause.status.as_u16(), data };
    (cause.status, Json(body)).into_response()
}

/// The client's id if it fits a log line, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(allowed))
        .map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned)
}

/// A panic in a handler: our bug, and no reason to drop the connection.
#[derive(Debug, thiserror::Error)]
#[error("a request handler panicked: {0}")]
struct Panicked(String);

/// Answers for a handler that panicked.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::fault(Panicked(text), false).into_response()
}
