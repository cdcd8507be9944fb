//! Sends playlists, and lets pages of other origins read them and what they name: a link is the credential, so there is
//! nothing that an origin could borrow.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use mediahooks_model::Timestamp;
use sha2::{Digest, Sha256};

use super::conditions::{Decision, Validators, decide};
use super::handler::set;

/// What players of media type extensions are served with (RFC 8216 §10).
const MEDIA_TYPE: &str = "application/vnd.apple.mpegurl";

/// Headers of replies that scripts may read.
pub(crate) const EXPOSED: &str = "Accept-Ranges, Content-Length, Content-Range, Date, ETag";

/// Answers a browser that asks whether a page may send `Range` here.
pub(crate) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD");
    set(
        headers,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Range, If-Range, If-None-Match, If-Modified-Since",
    );
    set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// Sends a playlist that does not change any more.
pub(crate) fn reply(
    method: &Method,
    headers: &HeaderMap,
    text: String,
    last_modified: Timestamp,
) -> Response {
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&text)[..16]));
    let validators = Validators { etag, last_modified, len: text.len() as u64 };
    let mut response = match decide(method, headers, &validators) {
        Decision::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        // Of a few kilobytes nobody needs a part.
        Decision::Send(_) | Decision::PreconditionFailed => body(method, text),
    };
    let headers = response.headers_mut();
    set(headers, header::ETAG, &validators.etag);
    set(headers, header::LAST_MODIFIED, &validators.http_date());
    set(headers, header::CACHE_CONTROL, "private, max-age=0, must-revalidate");
    response
}

/// A playlist as a reply.
pub(crate) fn body(method: &Method, text: String) -> Response {
    let len = text.len();
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(text) };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, MEDIA_TYPE);
    set(headers, header::CONTENT_LENGTH, &len.to_string());
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}
