//! Segments of the path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::errors::{ApiError, Result};

/// The only parameter of the path, decoded.
pub(crate) struct Segment(pub String);

/// The two parameters of the path, decoded.
pub(crate) struct Segments(pub String, pub String);

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

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path((first, second)): Path<(String, String)> = Path::from_request_parts(parts, state).await?;
        Ok(Self(first, second))
    }
}

impl Segment {
    /// The segment as the number of a token or webhook.
    pub(crate) fn number(&self, name: &'static str) -> Result<i64> {
        number(&self.0, name)
    }
}

impl Segments {
    /// Both as numbers, of what is named.
    pub(crate) fn numbers(&self, names: [&'static str; 2]) -> Result<(i64, i64)> {
        Ok((number(&self.0, names[0])?, number(&self.1, names[1])?))
    }
}

fn number(text: &str, name: &'static str) -> Result<i64> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        ApiError::invalid(name, format!("The value '{shown}' is not valid."))
    })
}
