//! Sends playlists, and lets pages of other origins read them and what they name: a link is the credential, so there is
//! nothing that an origin could borrow.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use mediahooks_model::Timestamp;
use mediahooks_recorder::{Download, PlaylistText};
use sha2::{Digest, Sha256};

use super::conditions::{Decision, Validators, decide};
use super::handler::{precondition_failed, set};
use crate::errors::Result;

/// What players of media type extensions are served with (RFC 8216 §10).
const MEDIA_TYPE: &str = "application/vnd.apple.mpegurl";

/// Headers of replies that scripts may read.
const EXPOSED: &str = "Accept-Ranges, Content-Length, Content-Range, Date, ETag";

/// Lets pages of other origins read a reply, refusals too: a script that cannot read one does not even see its status.
pub(crate) async fn open_to_pages(mut response: Response) -> Response {
    let headers = response.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

/// Answers a browser that asks whether a page may send `Range` here.
pub(crate) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD");
    set(
        headers,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Range, If-Range, If-Match, If-None-Match, If-Modified-Since",
    );
    set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// Sends the playlist of a finished file whose media is at `uri`. Its text is made only when it is sent.
pub(crate) async fn of_file(
    method: &Method,
    headers: &HeaderMap,
    file: &Download,
    uri: &str,
) -> Result<Response> {
    // The text comes of nothing else.
    let etag = entity_tag(&[file.etag.as_bytes(), uri.as_bytes()]);
    let (decision, validators) = judge(method, headers, etag, file.last_modified);
    let response = match decision {
        Decision::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Decision::PreconditionFailed => return Ok(precondition_failed()),
        // Of a playlist nobody needs a part.
        Decision::Send(_) => {
            let text = file.playlist(uri).await?;
            body(method, text.len(), Body::from(text))
        }
    };
    Ok(validated(response, &validators))
}

/// Sends the multivariant playlist that leads to the one of a finished file, at `uri`.
pub(crate) fn variants_of_file(method: &Method, headers: &HeaderMap, file: &Download, uri: &str) -> Response {
    let text = file.multivariant(uri);
    let (decision, validators) = judge(method, headers, entity_tag(&[text.as_bytes()]), file.last_modified);
    let response = match decision {
        Decision::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Decision::PreconditionFailed => return precondition_failed(),
        Decision::Send(_) => body(method, text.len(), Body::from(text)),
    };
    validated(response, &validators)
}

/// Sends a playlist that does not change any more.
pub(crate) fn reply(
    method: &Method,
    headers: &HeaderMap,
    text: PlaylistText,
    last_modified: Timestamp,
) -> Response {
    let [template, suffix] = text.identity();
    let etag = entity_tag(&[&template, &suffix]);
    let (decision, validators) = judge(method, headers, etag, last_modified);
    let response = match decision {
        Decision::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Decision::PreconditionFailed => return precondition_failed(),
        Decision::Send(_) => body(method, text.len(), stream(text)),
    };
    validated(response, &validators)
}

fn entity_tag(parts: &[&[u8]]) -> String {
    let digest = parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part)).finalize();
    format!("\"{}\"", hex::encode(&digest[..16]))
}

fn judge(
    method: &Method,
    headers: &HeaderMap,
    etag: String,
    last_modified: Timestamp,
) -> (Decision, Validators) {
    // Its length decides on ranges only, which are not looked at.
    let validators = Validators { etag, last_modified, len: 0 };
    (decide(method, headers, &validators), validators)
}

fn validated(mut response: Response, validators: &Validators) -> Response {
    let headers = response.headers_mut();
    set(headers, header::ETAG, &validators.etag);
    set(headers, header::LAST_MODIFIED, &validators.http_date());
    set(headers, header::CACHE_CONTROL, "private, max-age=0, must-revalidate");
    response
}

/// The text of a playlist, made as it is sent.
pub(crate) fn stream(text: PlaylistText) -> Body {
    Body::from_stream(futures::stream::iter(text.pieces().map(Ok::<_, Infallible>)))
}

/// A playlist of `len` bytes as a reply.
pub(crate) fn body(method: &Method, len: usize, body: Body) -> Response {
    let body = if method == Method::HEAD { Body::empty() } else { body };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, MEDIA_TYPE);
    set(headers, header::CONTENT_LENGTH, &len.to_string());
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}
