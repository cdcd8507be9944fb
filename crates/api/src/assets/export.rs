//! Exports the file of an asset as one object on the server's disk. Ours.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use mediahooks_model::MediaAssetId;
use mediahooks_recorder::{DownloadError, ExportDone, ExportError, ExportProgress};
use serde::Serialize;
use utoipa::ToSchema;

use super::handlers::no_asset;
use crate::App;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::path::Segment;

/// How long an answer waits for the end of an export; who asks again joins it.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// An export, as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportView {
    /// `exporting`, or `complete`. While it is `exporting`, the same request waits for it.
    status: &'static str,
    /// The file's name in the export directory.
    file_name: String,
    /// Where it lies on the server, or will.
    path: String,
    /// Bytes of the whole file.
    size_bytes: u64,
    /// Bytes written so far.
    written_bytes: u64,
    /// The file's entity tag, without quotes; its download has the same.
    etag: String,
    /// By whom the stored bytes were copied: `kernel`, or `memory` where the kernel refused or all pieces are short.
    /// Absent when the file was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    copied_by: Option<&'static str>,
    /// Whether the file was there already.
    already_there: bool,
}

impl From<ExportProgress> for ExportView {
    fn from(export: ExportProgress) -> Self {
        Self {
            status: if export.done.is_some() { "complete" } else { "exporting" },
            file_name: export.file_name,
            path: export.path.display().to_string(),
            size_bytes: export.len,
            written_bytes: export.written,
            etag: export.etag.trim_matches('"').to_owned(),
            copied_by: match export.done {
                Some(ExportDone::CopiedByKernel) => Some("kernel"),
                Some(ExportDone::CopiedThroughMemory) => Some("memory"),
                Some(ExportDone::WasThere) | None => None,
            },
            already_there: export.done == Some(ExportDone::WasThere),
        }
    }
}

/// Writes the file of a recording or clip as one object into the server's export directory, byte for byte what its
/// download is. Answers when that is done, or after 20 s with how far it is; a repeat joins the same export.
#[utoipa::path(post, path = "/api/v3/media/assets/{mediaAssetId}/export", tag = "Media assets",
    params(("mediaAssetId" = String, Path)),
    responses(
        (status = 200, body = Success<ExportView>),
        (status = 400, description = "There is no such asset, or it never has a file", body = Fail),
        (status = 409, description = "The asset is not complete", body = Fail),
        (status = 410, description = "The asset was deleted", body = Fail),
        (status = 429, description = "Too many exports", body = Fail),
        (status = 507, description = "The disk has no room for it", body = Fail)))]
pub(crate) async fn export(State(app): State<App>, Segment(id): Segment) -> Result<Success<ExportView>> {
    let parsed: MediaAssetId = id.parse().map_err(|_| no_asset(&id))?;
    let refused = |error| refused(&id, error);
    let export = app.recorder.export(parsed).await.map_err(refused)?;
    match tokio::time::timeout(WAIT_MAX, export.done()).await {
        Ok(done) => Ok(Success::new(done.map_err(refused)?.into())),
        Err(_) => Ok(Success::new(export.progress().into())),
    }
}

fn refused(id: &str, error: ExportError) -> ApiError {
    let status = match &error {
        ExportError::NoFile(refused) => match **refused {
            DownloadError::NotReady { .. } => StatusCode::CONFLICT,
            DownloadError::Gone => StatusCode::GONE,
            DownloadError::Timeline => StatusCode::BAD_REQUEST,
            DownloadError::NotFound | DownloadError::Internal(_) => return no_asset(id),
        },
        ExportError::NoRoom { .. } => StatusCode::INSUFFICIENT_STORAGE,
        ExportError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        ExportError::Stopping => return ApiError::fault(error, true),
        ExportError::Internal(_) => return ApiError::fault(error, false),
    };
    ApiError::with_status(status, error.to_string())
}
