//! Segments of the path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::errors::{ApiError, Result};

/// The only parameter of the path, decoded.
pub(crate) struct Segment(pub String);

/// The first parameter of a path with two, decoded. Both have to be text.
pub(crate) struct FirstSegment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(segment) = Path::from_request_parts(parts, state).await?;
        Ok(Self(segment))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FirstSegment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path((first, _)): Path<(String, String)> = Path::from_request_parts(parts, state).await?;
        Ok(Self(first))
    }
}

impl Segment {
    /// The segment as the number of a token or webhook.
    pub(crate) fn number(&self, name: &'static str) -> Result<i64> {
        self.0.parse().map_err(|_| {
            let shown: String = self.0.chars().take(64).collect();
            ApiError::invalid(name, format!("The value '{shown}' is not valid."))
        })
    }
}
