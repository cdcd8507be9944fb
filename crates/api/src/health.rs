//! Whether the server is alive, and whether it can do its work. Without API secret.

use std::time::Duration;

use axum::extract::State;

use crate::App;
use crate::envelope::{Fault, Success};
use crate::errors::{ApiError, Result};

/// How long a check may take.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);

/// Why the server is not ready; goes to the log.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("not ready: the storage check failed")]
    Storage(#[source] crate::BoxError),
    #[error("not ready: the checks took longer than 5 s")]
    TooSlow,
}

/// Tells that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "Health", security(),
    responses((status = 200, body = Success<bool>)))]
pub(crate) async fn alive() -> Success<bool> {
    Success::new(true)
}

/// Tells whether the database and the storage can be written.
#[utoipa::path(get, path = "/readyz", tag = "Health", security(),
    responses((status = 200, body = Success<bool>), (status = 503, body = Fault)))]
pub(crate) async fn ready(State(app): State<App>) -> Result<Success<bool>> {
    match tokio::time::timeout(CHECK_TIME_MAX, check(&app)).await {
        Ok(outcome) => outcome.map(Success::new),
        Err(_) => Err(ApiError::fault(NotReady::TooSlow, true)),
    }
}

async fn check(app: &App) -> Result<bool> {
    app.database.ping().await.map_err(|error| ApiError::fault(error, true))?;
    (app.config.storage_check)().await.map_err(|error| ApiError::fault(NotReady::Storage(error), true))?;
    Ok(true)
}
