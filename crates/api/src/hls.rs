//! Timelines as live playlists of HTTP Live Streaming: for preview, and to look back.
//!
//! A link is the credential, as with downloads; whoever has an API secret needs none.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use mediahooks_model::MediaAssetId;
use mediahooks_recorder::{PreviewError, PreviewRequest};

use crate::App;
use crate::download::handler::{check_link, respond, set};
use crate::download::playlist;
use crate::envelope::Fail;
use crate::errors::{ApiError, Result};
use crate::events::Stopping;
use crate::extract::auth::is_allowed;
use crate::extract::path::Segments;
use crate::extract::query::Query;
use crate::serve::StandIns;

/// The playlist's name in its address.
pub(crate) const PLAYLIST: &str = "live.m3u8";

/// The name of the multivariant playlist that leads to it.
pub(crate) const VARIANTS: &str = "master.m3u8";

/// Shows a timeline as HTTP Live Streaming, with low latency while it is received: `live.m3u8`, and what this
/// names; `master.m3u8` leads to it and tells codecs and size. Needs the link that the asset shows as `previewUrl`, or an API secret.
#[utoipa::path(get, path = "/hls/{mediaAssetId}/{name}", tag = "Downloads", security(),
    params(
        ("mediaAssetId" = String, Path),
        ("name" = String, Path, description = "`live.m3u8`, what that names, or `master.m3u8`"),
        ("dvr" = Option<i64>, Query, minimum = 1, description = "How many seconds to reach back; by default 120, \
            of a timeline that is over all; at most 14400"),
        ("_HLS_msn" = Option<i64>, Query, description = "Answer once there is this segment"),
        ("_HLS_part" = Option<i64>, Query, description = "And of it this part"),
        ("expires" = Option<i64>, Query, description = "Unix time in seconds"),
        ("signature" = Option<String>, Query)),
    responses(
        (status = 200, description = "The playlist, or media", content_type = "application/vnd.apple.mpegurl", body = String),
        (status = 206, description = "A range of media"),
        (status = 400, description = "A segment is asked for that is far from being there", body = Fail),
        (status = 403, description = "The link is expired or was not made here", body = Fail),
        (status = 404, description = "There is no such timeline, or nothing of this name", body = Fail),
        (status = 410, description = "The timeline was deleted", body = Fail),
        (status = 503, description = "The timeline has just begun", body = Fail)))]
pub(crate) async fn preview(
    State(app): State<App>,
    stopping: Option<Extension<Stopping>>,
    Segments(id, name): Segments,
    mut query: Query,
    method: Method,
    headers: HeaderMap,
    stand_ins: Option<Extension<StandIns>>,
) -> Result<Response> {
    let (id, suffix) = admit(&app, &id, &headers, &mut query).await?;
    let stopping = stopping.map(|Extension(Stopping(stopping))| stopping).unwrap_or_default();
    let number = |query: &mut Query, name: &'static str| -> Option<u64> {
        query.one::<i64>(&[name]).and_then(|number| u64::try_from(number).ok())
    };
    if name == VARIANTS {
        let dvr = number(&mut query, "dvr").filter(|seconds| *seconds > 0);
        query.finish()?;
        let dvr = dvr.map(|seconds| format!("{}dvr={seconds}", if suffix.is_empty() { '?' } else { '&' }));
        let uri = format!("{PLAYLIST}{suffix}{}", dvr.unwrap_or_default());
        let text = app.recorder.preview_variants(id, &uri).await.map_err(refused)?;
        let mut response = playlist::body(&method, text.len(), text.into());
        set(response.headers_mut(), header::CACHE_CONTROL, "no-cache");
        return Ok(response);
    }
    if name != PLAYLIST {
        let file = stopping.run_until_cancelled(app.recorder.open_preview(id, &name)).await;
        let file = file.unwrap_or(Err(PreviewError::NotFound)).map_err(refused)?;
        return Ok(respond(&method, &headers, file, stand_ins));
    }
    let window = number(&mut query, "dvr").filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let segment = number(&mut query, "_HLS_msn");
    let part = number(&mut query, "_HLS_part");
    query.finish()?;
    let request = PreviewRequest { window, wait_for: segment.map(|number| (number, part)), suffix };
    let at_once = PreviewRequest { wait_for: None, ..request.clone() };
    let preview = match stopping.run_until_cancelled(app.recorder.preview(id, request)).await {
        Some(preview) => preview,
        None => app.recorder.preview(id, at_once).await,
    };
    let preview = preview.map_err(refused)?;
    if !preview.is_live {
        return Ok(playlist::reply(&method, &headers, preview.text, preview.last_modified));
    }
    let mut response = playlist::body(&method, preview.text.len(), playlist::stream(preview.text));
    set(response.headers_mut(), header::CACHE_CONTROL, "no-cache");
    Ok(response)
}

/// Lets in who has a link or an API secret, and tells what has to be appended to addresses for the same right.
async fn admit(
    app: &App,
    id: &str,
    headers: &HeaderMap,
    query: &mut Query,
) -> Result<(MediaAssetId, String)> {
    if query.raw(&["signature"]).is_none_or(|signature| signature.is_empty()) {
        if !is_allowed(app, headers).await? {
            return Err(ApiError::unauthorized());
        }
        let id = id.parse().map_err(|_| refused(PreviewError::NotFound))?;
        return Ok((id, String::new()));
    }
    let (id, credential) = check_link(app, id, query)?;
    Ok((id, format!("?{credential}")))
}

fn refused(error: PreviewError) -> ApiError {
    let status = match &error {
        PreviewError::NotFound => StatusCode::NOT_FOUND,
        PreviewError::Gone => StatusCode::GONE,
        PreviewError::NotYet => StatusCode::SERVICE_UNAVAILABLE,
        PreviewError::TooFarAhead => StatusCode::BAD_REQUEST,
        PreviewError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    match error {
        PreviewError::Internal(error) => error.into(),
        other => ApiError::with_status(status, other.to_string()),
    }
}
