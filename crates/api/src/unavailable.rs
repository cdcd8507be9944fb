//! Calls of the hosted service that this server does not have yet: a fail envelope that says what to
//! use instead. 400, because the hosted service declares no other status for a call it refuses.

use axum::Router;
use axum::routing::any;

use crate::App;
use crate::errors::ApiError;

/// Paths, and what to do instead.
const CALLS: [(&str, &str); 17] = [
    (
        "/api/v3/account/media/storage",
        "Storage profiles are not available yet; download files by the link in the asset",
    ),
    (
        "/api/v3/account/media/storage/{*rest}",
        "Storage profiles are not available yet; download files by the link in the asset",
    ),
    (
        "/api/v3/media/distributions",
        "Media distributions are not available yet; use download.downloadUrl of the asset",
    ),
    (
        "/api/v3/media/distributions/{*rest}",
        "Media distributions are not available yet; use download.downloadUrl of the asset",
    ),
    ("/api/v3/media/assets/upload", "Uploads are not available yet; publish the media as a stream"),
    ("/api/v3/media/assets/register", "Uploads are not available yet; publish the media as a stream"),
    ("/api/thumbnails", "Thumbnails are not available yet"),
    ("/api/record_files", "The record_files calls are not available yet; use /api/v3/media/assets"),
    ("/api/record_files/{*rest}", "The record_files calls are not available yet; use /api/v3/media/assets"),
    (
        "/api/v2/record_files/{*rest}",
        "The record_files calls are not available yet; use /api/v3/media/assets",
    ),
    ("/api/publish_token/list_by_cluster", "Clusters are not available; use /api/publish_token/list"),
    ("/api/publish_token/{tokenId}/restream/sync", "Restreaming is not available"),
    ("/api/cluster", "Clusters are not available: this server is the only one"),
    (
        "/api/monitoring/{*rest}",
        "Monitoring is not available yet; use /api/publish_token/active/all and feeds webhooks",
    ),
    (
        "/api/analytics/{*rest}",
        "Analytics are not available yet; metadata.sizes of the assets has their bytes",
    ),
    ("/api/geo/{*rest}", "Geo restrictions are not available"),
    ("/api/subscribe_token/{*rest}", "Subscribe tokens are not available: this server has no viewers"),
];

/// Routes for all of them, whatever the method: a destructive GET of old clients ends here too.
pub(crate) fn routes() -> Router<App> {
    CALLS.into_iter().fold(Router::new(), |router, (path, advice)| {
        router.route(path, any(move || async move { ApiError::fail(advice) }))
    })
}
