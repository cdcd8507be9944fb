//! Admits requests that carry one of the account's API secrets.
//!
//! The database is asked on every request, so that a removed secret is dead at once. Secrets are
//! stored as SHA-256; what the client sent is hashed and compared with all of them in constant time.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::App;
use crate::errors::{ApiError, Result};

/// The digest of the secret that opened a request; in its extensions.
#[derive(Clone)]
pub(crate) struct Presented([u8; 32]);

/// Middleware: lets a request through or answers 403.
pub(crate) async fn require_secret(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let presented = bearer(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let presented = Presented(digest(presented.as_bytes()));
    if !is_known(&app, &presented).await? {
        return Err(ApiError::unauthorized());
    }
    request.extensions_mut().insert(presented);
    Ok(next.run(request).await)
}

/// Whether a secret is one of the account's now.
pub(crate) async fn is_known(app: &App, presented: &Presented) -> Result<bool> {
    let known = app.database.api_secrets().await?;
    let matches = known.iter().fold(Choice::from(0), |found, secret| {
        found | secret.sha256.as_slice().ct_eq(presented.0.as_slice())
    });
    Ok(matches.into())
}

/// Whether a request carries one of the account's secrets.
pub(crate) async fn is_allowed(app: &App, headers: &HeaderMap) -> Result<bool> {
    match bearer(headers) {
        Some(presented) => is_known(app, &Presented(digest(presented.as_bytes()))).await,
        None => Ok(false),
    }
}

/// How an API secret is stored.
pub(crate) fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.trim().split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
}
