//! All routes, and the OpenAPI document made from the same list.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{App, account, assets, download, events, health, hls, streams, telemetry, tokens, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mediahooks",
        description = "Records and clips live streams. Speaks the wire format of Millicast's publish tokens, \
            media assets and webhooks.",
        license(name = "MIT OR Apache-2.0")
    ),
    modifiers(&ApiSecret),
    security(("apiSecret" = []))
)]
struct Document;

struct ApiSecret;

impl Modify for ApiSecret {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("apiSecret", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI document of this API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    base().merge(secured()).merge(metrics()).merge(open()).into_openapi()
}

fn base() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// What needs an API secret.
pub(crate) fn secured() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(tokens::handlers::create))
        .routes(routes!(tokens::lists::list))
        .routes(routes!(tokens::lists::list_by_name))
        .routes(routes!(tokens::lists::active))
        .routes(routes!(tokens::lists::active_all))
        .routes(routes!(tokens::handlers::disable))
        .routes(routes!(tokens::handlers::read, tokens::handlers::update, tokens::handlers::delete))
        .routes(routes!(tokens::handlers::update_v2))
        .routes(routes!(webhooks::handlers::create))
        .routes(routes!(webhooks::handlers::list))
        .routes(routes!(webhooks::handlers::read, webhooks::handlers::update, webhooks::handlers::delete))
        .routes(routes!(webhooks::deliveries::list))
        .routes(routes!(webhooks::deliveries::list_all))
        .routes(routes!(webhooks::replays::resend))
        .routes(routes!(webhooks::replays::replay))
        .routes(routes!(webhooks::replays::list))
        .routes(routes!(webhooks::replays::show, webhooks::replays::cancel))
        .routes(routes!(webhooks::test_call::send))
        .routes(routes!(events::page::list))
        .routes(routes!(events::stream::follow))
        .routes(routes!(assets::handlers::create, assets::handlers::list, assets::handlers::delete))
        .routes(routes!(assets::handlers::delete_all))
        .routes(routes!(assets::handlers::read, assets::handlers::update))
        .routes(routes!(assets::export::export))
        .routes(routes!(account::info))
        .routes(routes!(account::expiration, account::set_expiration))
        .routes(routes!(account::secrets, account::add_secret))
        .routes(routes!(account::remove_secret))
        .routes(routes!(streams::stop_one))
        .routes(routes!(streams::stop_all))
        .routes(routes!(streams::reprioritize))
        // The Node client sends POST where the schema says PUT.
        .route("/api/v3/account/media/expiration", axum::routing::post(account::set_expiration))
}

/// What needs none.
pub(crate) fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready)).merge(media())
}

/// What pages of any origin may read.
fn media() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(download::handler::download))
        .route("/download/{mediaAssetId}/{fileName}", axum::routing::options(download::playlist::preflight))
        .routes(routes!(hls::preview))
        .route("/hls/{mediaAssetId}/{name}", axum::routing::options(download::playlist::preflight))
        .layer(axum::middleware::map_response(download::playlist::open_to_pages))
}

/// What needs one unless the operator opened it.
pub(crate) fn metrics() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(telemetry::show))
}
