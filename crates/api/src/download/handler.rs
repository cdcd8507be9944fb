//! Answers download links. Needs no API secret: the link is the credential.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use mediahooks_model::{MediaAssetId, chain};
use mediahooks_recorder::{Download, DownloadError, DownloadPiece, RecorderError};
use metrics::counter;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::conditions::{Decision, Validators, decide};
use super::link::{LinkRefused, PLAYLIST_EXTENSION};
use super::multipart::{Frame, content_range};
use super::playlist;
use super::range::Selection;
use crate::App;
use crate::clock::now;
use crate::envelope::Fail;
use crate::errors::{ApiError, Result};
use crate::extract::path::FirstSegment;
use crate::extract::query::Query;
use crate::serve::StandIns;
use crate::telemetry::DOWNLOADED;

/// Sends the file of a complete recording or clip, or ranges of it.
#[utoipa::path(get, path = "/download/{mediaAssetId}/{fileName}", tag = "Downloads", security(),
    params(
        ("mediaAssetId" = String, Path),
        ("fileName" = String, Path),
        ("expires" = i64, Query, description = "Unix time in seconds"),
        ("signature" = String, Query)),
    responses(
        (status = 200, description = "The file; of HLS its playlist, or the media that this names", content_type = "video/mp4", body = [u8]),
        (status = 206, description = "One range, or several as `multipart/byteranges`"),
        (status = 304, description = "The client has it already"),
        (status = 400, description = "The path cannot be read", body = Fail),
        (status = 403, description = "The link is expired or was not made here", body = Fail),
        (status = 404, description = "There is no such file", body = Fail),
        (status = 409, description = "The asset is not complete", body = Fail),
        (status = 410, description = "The asset was deleted", body = Fail),
        (status = 412, description = "A precondition failed", body = Fail),
        (status = 416, description = "No such range", body = Fail)))]
pub(crate) async fn download(
    State(app): State<App>,
    FirstSegment(id): FirstSegment,
    mut query: Query,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    stand_ins: Option<Extension<StandIns>>,
) -> Result<Response> {
    let (id, credential) = check_link(&app, &id, &mut query)?;
    let file = app.recorder.open_download(id).await.map_err(refused)?;
    if file.has_playlist && uri.path().ends_with(VARIANTS) {
        let playlist = format!("{PLAYLIST}?{credential}");
        return Ok(playlist::variants_of_file(&method, &headers, &file, &playlist));
    }
    if file.has_playlist && is_playlist(uri.path()) {
        return playlist::of_file(&method, &headers, &file, &format!("{MEDIA}?{credential}")).await;
    }
    Ok(respond(&method, &headers, file, stand_ins))
}

/// The name by which a playlist calls its media. Nothing of the name that the playlist was asked by goes into it, nor
/// of the query but the signature and when it ends: whoever asks would write the playlist, a line for each segment.
const MEDIA: &str = "./media.mp4";

/// By which name the multivariant playlist of a file is asked for, and by which it calls the playlist that it leads to. A
/// clip of that name is played by it, too.
const VARIANTS: &str = "/master.m3u8";
const PLAYLIST: &str = "./media.m3u8";

/// Sends a file, or what is asked of it.
pub(crate) fn respond(
    method: &Method,
    headers: &HeaderMap,
    file: Download,
    stand_ins: Option<Extension<StandIns>>,
) -> Response {
    let file = Sender { file, stand_ins: stand_ins.map(|Extension(stand_ins)| stand_ins) };
    let validators = validators(&file.file);
    let mut response = match decide(method, headers, &validators) {
        Decision::Send(selection) => send(method, file, selection),
        Decision::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Decision::PreconditionFailed => precondition_failed(),
    };
    let common = [
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=0, must-revalidate".to_owned()),
        (header::ETAG, validators.etag.clone()),
        (header::LAST_MODIFIED, validators.http_date()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    for (name, value) in common {
        set(response.headers_mut(), name, &value);
    }
    response
}

/// Answers who asks for another file than the one that there is.
pub(crate) fn precondition_failed() -> Response {
    let message = "The file is not the one that If-Match or If-Unmodified-Since asks for";
    ApiError::with_status(StatusCode::PRECONDITION_FAILED, message).into_response()
}

/// Whether the path of a link names the playlist of a file, and not its media.
fn is_playlist(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case(PLAYLIST_EXTENSION))
}

/// The asset that a link opens, and the query that opens it.
pub(crate) fn check_link(app: &App, id: &str, query: &mut Query) -> Result<(MediaAssetId, String)> {
    let forbidden = |message: &str| ApiError::with_status(StatusCode::FORBIDDEN, message);
    let invalid = || forbidden("This link is not valid; read the asset again for a new one");
    let id: MediaAssetId = id.parse().map_err(|_| invalid())?;
    let expires: i64 = query.one(&["expires"]).ok_or_else(invalid)?;
    let signature: String = query.one(&["signature"]).ok_or_else(invalid)?;
    app.links.check(id, expires, &signature, now()).map_err(|refused| match refused {
        LinkRefused::Signature => invalid(),
        LinkRefused::Expired => forbidden("This link has expired; read the asset again for a new one"),
    })?;
    // Of 64 hexadecimal digits, or the check had failed.
    Ok((id, format!("expires={expires}&signature={signature}")))
}

fn refused(error: DownloadError) -> ApiError {
    let status = match &error {
        DownloadError::NotFound | DownloadError::Timeline => StatusCode::NOT_FOUND,
        DownloadError::NotReady { .. } => StatusCode::CONFLICT,
        DownloadError::Gone => StatusCode::GONE,
        DownloadError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    match error {
        DownloadError::Internal(error) => error.into(),
        other => ApiError::with_status(status, other.to_string()),
    }
}

fn validators(file: &Download) -> Validators {
    Validators { etag: file.etag.clone(), last_modified: file.last_modified, len: file.len }
}

/// A file and the way its bytes go.
struct Sender {
    file: Download,
    /// Of a connection whose bytes the kernel can send.
    stand_ins: Option<StandIns>,
}

impl Sender {
    fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, RecorderError>> {
        let Some(stand_ins) = self.stand_ins.clone() else {
            return self.file.read(range).inspect_ok(read_first).boxed();
        };
        let asked = stand_ins.clone();
        let pieces = self.file.pieces(range, move || asked.are_made());
        pieces.then(move |piece| bytes_of(piece, stand_ins.clone())).boxed()
    }
}

async fn bytes_of(
    piece: Result<DownloadPiece, RecorderError>,
    stand_ins: StandIns,
) -> Result<Bytes, RecorderError> {
    match piece? {
        DownloadPiece::Bytes(bytes) => Ok(bytes).inspect(read_first),
        DownloadPiece::Stored(piece) => match stand_ins.stand_in(piece) {
            Ok(stand_in) => Ok(stand_in),
            Err(piece) => piece.read().await.inspect(read_first),
        },
    }
}

/// Counts bytes that come from memory; the kernel's are counted when it takes them.
fn read_first(bytes: &Bytes) {
    counter!(DOWNLOADED, "way" => "memory").increment(bytes.len() as u64);
}

/// Sends a selection of the file.
fn send(method: &Method, sender: Sender, selection: Selection) -> Response {
    let disposition = content_disposition(&sender.file.file_name);
    let len = sender.file.len;
    let mut response = match selection {
        Selection::Whole => body(method, &sender, StatusCode::OK, 0..len),
        Selection::One(range) => {
            let content_range = content_range(&range, len);
            let mut response = body(method, &sender, StatusCode::PARTIAL_CONTENT, range);
            set(response.headers_mut(), header::CONTENT_RANGE, &content_range);
            response
        }
        Selection::Several(ranges) => several(sender, ranges),
        Selection::Unsatisfiable => {
            let message = format!("None of the ranges lies within the {len} bytes of the file");
            let mut response =
                ApiError::with_status(StatusCode::RANGE_NOT_SATISFIABLE, message).into_response();
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{len}"));
            return response;
        }
    };
    set(response.headers_mut(), header::CONTENT_DISPOSITION, &disposition);
    response
}

fn body(method: &Method, sender: &Sender, status: StatusCode, range: Range<u64>) -> Response {
    let len = range.end.saturating_sub(range.start);
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::from_stream(logged(sender.read(range))) };
    framed(status, sender.file.content_type, len, body)
}

fn several(sender: Sender, ranges: Vec<Range<u64>>) -> Response {
    let boundary = hex::encode(rand::random::<[u8; 16]>());
    let frame = Frame::new(boundary, sender.file.content_type, ranges, sender.file.len);
    let (content_type, len) = (frame.content_type(), frame.len());
    let (parts, tail) = frame.into_parts();
    let parts = stream::iter(parts).flat_map(move |(head, range)| {
        let head = stream::once(async move { Ok(Bytes::from(head)) });
        head.chain(sender.read(range)).boxed()
    });
    let tail = stream::once(async move { Ok(Bytes::from(tail)) });
    framed(StatusCode::PARTIAL_CONTENT, &content_type, len, Body::from_stream(logged(parts.chain(tail))))
}

fn framed(status: StatusCode, content_type: &str, len: u64, body: Body) -> Response {
    let mut response = (status, body).into_response();
    set(response.headers_mut(), header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    response
}

/// A failed read can only cut the reply short: its head has left. So it is logged here.
fn logged(
    bytes: impl Stream<Item = Result<Bytes, RecorderError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, RecorderError>> + Send + 'static {
    bytes.inspect(|piece| {
        if let Err(error) = piece {
            tracing::error!(error = chain(error), "a download was cut short");
        }
    })
}

pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    // The values are made here, of printable ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The file's name for whoever saves it: plain for old clients, exact for others (RFC 6266 §4.3,
/// RFC 8187).
fn content_disposition(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !r#""\/%;"#.contains(c) || c == ' ' { c } else { '_' };
    let fallback: String = name.chars().map(plain).collect();
    format!(
        "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
        utf8_percent_encode(name, ATTR_ESCAPED)
    )
}

/// Everything but RFC 8187's `attr-char`.
const ATTR_ESCAPED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        assert_eq!(
            content_disposition("show \"1\"\r\nX: y; ü/..%.mp4"),
            "attachment; filename=\"show _1___X: y_ __.._.mp4\"; \
             filename*=UTF-8''show%20%221%22%0D%0AX%3A%20y%3B%20%C3%BC%2F..%25.mp4"
        );
    }
}
