//! The address under which the client reached us: what links in replies begin with.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use url::Url;

use crate::App;

/// Without a slash at the end.
#[derive(Debug, Clone)]
pub(crate) struct BaseUrl(pub String);

impl BaseUrl {
    /// What links under `url` begin with.
    pub(crate) fn of(url: &Url) -> Self {
        Self(url.as_str().trim_end_matches('/').to_owned())
    }
}

impl FromRequestParts<App> for BaseUrl {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        if let Some(url) = &app.config.public_url {
            return Ok(Self::of(url));
        }
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = host
            .and_then(|host| host.parse::<Authority>().ok())
            .or_else(|| parts.uri.authority().cloned())
            .filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.as_ref().map_or("localhost", Authority::as_str);
        Ok(Self(format!("http://{authority}")))
    }
}
