//! Makes clips; lists, shows, changes and removes media assets.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use http::HeaderMap;
use mediahooks_database::{Asset, Conflict, DatabaseError};
use mediahooks_model::{AssetType, MediaAssetId};
use mediahooks_recorder::DeleteRefused;

use super::wire::{AssetView, DeleteError, DeletedAssets};
use super::{create, list};
use crate::App;
use crate::clock::now;
use crate::download::link::has_preview;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::base::BaseUrl;
use crate::extract::json::JsonBody;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::requests::{AssetChange, NewClip};

/// Ids that one call may delete.
const DELETE_MAX: usize = 100;

/// How long a preview can be watched with one link, at least.
const PREVIEW_TTL: Duration = Duration::from_secs(12 * 3600);

fn shown(app: &App, base: &BaseUrl, asset: &Asset) -> AssetView {
    let expires = now().plus(app.config.limits.download_ttl);
    let mut view = AssetView::with_link(asset, || app.links.make(base, asset, expires));
    view.preview_url =
        has_preview(asset).then(|| app.links.preview(base, asset, expires.max(now().plus(PREVIEW_TTL))));
    view
}

pub(super) fn no_asset(id: &str) -> ApiError {
    let shown: String = id.chars().take(64).collect();
    ApiError::about("mediaAssetId", format!("No media asset with id: {shown}"))
}

/// Makes clips of a range of a stream: one per layer and, unless `gaps` says otherwise, uninterrupted stretch.
#[utoipa::path(post, path = "/api/v3/media/assets", tag = "Media assets",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat makes no second clip")),
    request_body = NewClip,
    responses((status = 200, body = Success<Vec<AssetView>>), (status = 400, body = Fail)))]
pub(crate) async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Success<Vec<AssetView>>> {
    let request = create::read(body, &headers, now())?;
    let assets = app.recorder.create_clips(request).await.map_err(create::refused)?;
    Ok(Success::new(assets.iter().map(AssetView::created).collect()))
}

/// Lists media assets. Deleted ones never appear.
#[utoipa::path(get, path = "/api/v3/media/assets", tag = "Media assets",
    params(
        ("type" = Option<Vec<String>>, Query, description = "Default `clip` and `recording`"),
        ("status" = Option<Vec<String>>, Query, description = "Default `processing` and `complete`, with a `requestId` also `error`"),
        ("name" = Option<String>, Query),
        ("streamName" = Option<String>, Query),
        ("sourceId" = Option<String>, Query),
        ("simulcastId" = Option<String>, Query, description = "Empty: the layer with the empty name"),
        ("tokenId" = Option<i64>, Query),
        ("priority" = Option<i32>, Query),
        ("requestId" = Option<String>, Query, description = "The clips of one request. Ours"),
        ("sort" = Option<String>, Query,
            description = "`startTime` (default), `stopTime`, `streamName`, `tokenId` or `created`"),
        ("desc" = Option<bool>, Query),
        ("page" = Option<i32>, Query, minimum = 1),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25")),
    responses((status = 200, body = Success<Vec<AssetView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(
    State(app): State<App>,
    base: BaseUrl,
    query: Query,
) -> Result<Success<Vec<AssetView>>> {
    let assets = app.database.assets(list::read(query)?).await?;
    Ok(Success::new(assets.iter().map(|asset| shown(&app, &base, asset)).collect()))
}

/// Shows a media asset.
#[utoipa::path(get, path = "/api/v3/media/assets/{mediaAssetId}", tag = "Media assets",
    params(("mediaAssetId" = String, Path)),
    responses((status = 200, body = Success<AssetView>), (status = 400, body = Fail)))]
pub(crate) async fn read(
    State(app): State<App>,
    base: BaseUrl,
    Segment(id): Segment,
) -> Result<Success<AssetView>> {
    let parsed: MediaAssetId = id.parse().map_err(|_| no_asset(&id))?;
    let asset = app.database.asset(parsed).await?.ok_or_else(|| no_asset(&id))?;
    Ok(Success::new(shown(&app, &base, &asset)))
}

/// Changes where a media asset is published.
#[utoipa::path(patch, path = "/api/v3/media/assets/{mediaAssetId}", tag = "Media assets",
    params(("mediaAssetId" = String, Path)),
    request_body = AssetChange,
    responses((status = 200, body = Success<AssetView>), (status = 400, body = Fail)))]
pub(crate) async fn update(
    State(app): State<App>,
    base: BaseUrl,
    Segment(id): Segment,
    JsonBody(mut body): JsonBody,
) -> Result<Success<AssetView>> {
    let distribution: Option<String> = body.optional("mediaDistributionId");
    body.length("mediaDistributionId", distribution.as_deref(), 1..=128);
    let custom_path: Option<String> = body.optional("customPath");
    body.length("customPath", custom_path.as_deref(), 1..=512);
    body.finish(Some(()))?;
    let parsed: MediaAssetId = id.parse().map_err(|_| no_asset(&id))?;
    match app.database.update_asset_publication(parsed, distribution, custom_path).await {
        Ok(asset) => Ok(Success::new(shown(&app, &base, &asset))),
        Err(DatabaseError::NotFound) => Err(no_asset(&id)),
        Err(DatabaseError::Conflict(Conflict::CustomPath)) => {
            Err(ApiError::about("customPath", "customPath is taken by another asset"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes media assets. Only complete and failed ones can be removed.
#[utoipa::path(delete, path = "/api/v3/media/assets", tag = "Media assets",
    params(("id" = Vec<String>, Query, description = "1 to 100 ids")),
    responses((status = 200, body = Success<DeletedAssets>), (status = 400, body = Fail)))]
pub(crate) async fn delete(State(app): State<App>, mut query: Query) -> Result<Success<DeletedAssets>> {
    let asked: BTreeSet<String> = query.list(&["id", "ids"]).into_iter().collect();
    if asked.is_empty() {
        query.error(&["id"], "The Id field is required.");
    } else if asked.len() > DELETE_MAX {
        query.error(&["id"], format!("The field Id must hold 1 to {DELETE_MAX} ids."));
    }
    query.finish()?;
    let (known, malformed): (Vec<_>, Vec<_>) =
        asked.into_iter().map(|id| id.parse::<MediaAssetId>().map_err(|_| id)).partition(|id| id.is_ok());
    let ids: Vec<MediaAssetId> = known.into_iter().filter_map(std::result::Result::ok).collect();
    let mut deleted = 0;
    let mut refused: Vec<(String, DeleteRefused)> = malformed
        .into_iter()
        .filter_map(std::result::Result::err)
        .map(|id| (id, DeleteRefused::NotFound))
        .collect();
    for (id, outcome) in app.recorder.delete_assets(&ids).await? {
        match outcome {
            Ok(()) => deleted += 1,
            Err(why) => refused.push((id.to_string(), why)),
        }
    }
    Ok(Success::new(outcome(deleted, refused)))
}

/// Removes every media asset of a type that can be removed.
#[utoipa::path(delete, path = "/api/v3/media/assets/all/{type}", tag = "Media assets",
    params(("type" = String, Path)),
    responses((status = 200, body = Success<DeletedAssets>), (status = 400, body = Fail)))]
pub(crate) async fn delete_all(
    State(app): State<App>,
    Segment(asset_type): Segment,
) -> Result<Success<DeletedAssets>> {
    let parsed: AssetType = asset_type.parse().map_err(|_| {
        let shown: String = asset_type.chars().take(64).collect();
        ApiError::invalid("type", format!("The value '{shown}' is not valid."))
    })?;
    let (deleted, refused) = app.recorder.delete_assets_of_type(parsed).await?;
    let refused = refused.into_iter().map(|(id, why)| (id.to_string(), why)).collect();
    Ok(Success::new(outcome(deleted, refused)))
}

fn outcome(items_deleted: u64, refused: Vec<(String, DeleteRefused)>) -> DeletedAssets {
    let errors: Vec<DeleteError> = refused
        .into_iter()
        .map(|(id, why)| DeleteError { id: id.chars().take(64).collect(), error: why.to_string() })
        .collect();
    DeletedAssets { items_deleted, errors: (!errors.is_empty()).then_some(errors) }
}
