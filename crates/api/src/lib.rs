//! REST API and downloads: the only crate that knows inbound HTTP.
//!
//! `server` hands in the database, the recorder and its settings and serves the router it gets. What
//! always holds: every reply but a file's bytes, `/metrics` and `/openapi.json` is an envelope, every 4xx carries
//! `data.message`, and nothing a client sends causes a 5xx.

mod account;
mod assets;
mod clock;
mod download;
mod envelope;
mod errors;
mod events;
mod extract;
mod health;
mod hls;
mod observe;
mod openapi;
pub mod requests;
mod serve;
mod streams;
mod telemetry;
mod tokens;
mod unavailable;
mod webhooks;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router, middleware};
use futures::future::BoxFuture;
use http::StatusCode;
use mediahooks_database::Database;
use mediahooks_delivery::TargetPolicy;
use mediahooks_model::{AccountId, Limits, StreamName};
use mediahooks_recorder::Recorder;
use tokio::sync::Mutex;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePathLayer;
use url::Url;

pub use download::link::{DownloadLink, DownloadLinker};
pub use openapi::openapi;
pub use serve::serve;
pub use telemetry::describe_metrics;

use download::link::LinkSigner;
use errors::ApiError;
use extract::auth::require_secret;

/// Any error, for what a check outside this crate may say.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Tells whether the storage can be written.
pub type StorageCheck = Arc<dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Renders all metrics of the process as text, in the format of Prometheus.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Settings of the API.
#[derive(Clone)]
pub struct ApiConfig {
    /// What links in replies begin with; absent: `http://` and the `Host` that the client named.
    pub public_url: Option<Url>,
    /// The account this server belongs to.
    pub account: AccountId,
    /// How long things may be; here the lifetime of download links.
    pub limits: Limits,
    /// Which addresses beyond the public Internet webhooks may have.
    pub target_policy: TargetPolicy,
    /// How long the secret of a webhook that got a new one still signs beside it; usually 24 h.
    pub secret_grace: Duration,
    /// Asked by `/readyz`, beside the database.
    pub storage_check: StorageCheck,
    /// Signs download links. Keep it over restarts: `Database::server_key("download", ..)`.
    pub download_key: [u8; 32],
    /// What `/metrics` answers with.
    pub metrics: MetricsText,
    /// Whether `/metrics` answers without an API secret.
    pub metrics_open: bool,
}

impl fmt::Debug for ApiConfig {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .field("account", &self.account)
            .field("limits", &self.limits)
            .field("target_policy", &self.target_policy)
            .field("secret_grace", &self.secret_grace)
            .finish_non_exhaustive()
    }
}

/// What handlers share. Every layer of a request has a clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// What an [`App`] consists of.
pub(crate) struct Parts {
    database: Database,
    recorder: Recorder,
    config: ApiConfig,
    links: LinkSigner,
    figures: telemetry::KeptFigures,
    followers: events::Followers,
    /// Held by whoever reads something, changes it and writes it back: changes are not lost.
    edits: Mutex<()>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// The stream that an id `account/stream` names, if it is of this account.
    fn stream_of_id(&self, id: &str) -> Option<StreamName> {
        let (account, stream) = id.split_once('/')?;
        if account == self.config.account.as_str() { stream.parse().ok() } else { None }
    }
}

/// The whole API as one service.
pub fn router(database: Database, recorder: Recorder, config: ApiConfig) -> Router {
    let links = LinkSigner::new(config.download_key);
    let metrics_open = config.metrics_open;
    let app = App(Arc::new(Parts {
        database,
        recorder,
        config,
        links,
        figures: telemetry::KeptFigures::default(),
        followers: events::Followers::default(),
        edits: Mutex::default(),
    }));
    let (mut secured, mut open) = (openapi::secured(), openapi::open());
    let metrics = if metrics_open { &mut open } else { &mut secured };
    *metrics = std::mem::take(metrics).merge(openapi::metrics());
    let secured = Router::from(secured).merge(unavailable::routes());
    let authenticated = middleware::from_fn_with_state(app.clone(), require_secret);
    let inner = secured
        .method_not_allowed_fallback(wrong_method)
        .route_layer(authenticated)
        .merge(open)
        .route("/openapi.json", get(document))
        .route_layer(middleware::from_fn(observe::name_route))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .with_state(app);
    // Clients write some paths with a slash at the end. It has to go before the routes are matched,
    // so the layer is around the router, not within it.
    let trimmed = NormalizePathLayer::trim_trailing_slash().layer(inner);
    Router::new()
        .fallback_service(trimmed)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn(observe::observe))
}

async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

async fn unknown_route() -> ApiError {
    ApiError::with_status(StatusCode::NOT_FOUND, "There is no such path; /openapi.json lists what there is")
}

async fn wrong_method() -> ApiError {
    let message = "This path does not take this method; /openapi.json lists what there is";
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, message)
}
