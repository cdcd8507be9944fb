//! An axum extractor: a handler that takes a [`VerifiedEvent`] runs only for requests that are signed.
//!
//! ```no_run
//! use axum::{Router, extract::State, http::StatusCode, routing::post};
//! use mediahooks_receiver::{Payload, VerifiedEvent, Verifier};
//!
//! async fn hook(VerifiedEvent { event, .. }: VerifiedEvent) -> StatusCode {
//!     if let Payload::Media(media) = event.payload {
//!         println!("{} is {}", media.media_asset_id, media.kind.as_str());
//!     }
//!     StatusCode::OK
//! }
//!
//! let verifier = Verifier::new(["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM="])?;
//! let app: Router = Router::new().route("/hook", post(hook)).with_state(verifier);
//! # Ok::<(), mediahooks_receiver::InvalidSecret>(())
//! ```

use std::error::Error as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::dedupe::EventKey;
use crate::event::{Event, EventError, is_thumbnail};
use crate::verify::{Verified, Verifier, VerifyError};

/// Longest JSON body accepted: 1 MiB. An event is about a kilobyte.
pub const JSON_BYTES_MAX: usize = 1 << 20;

/// Longest picture accepted: 10 MiB.
pub const THUMBNAIL_BYTES_MAX: usize = 10 << 20;

/// A request that was signed with one of the secrets of the [`Verifier`] in the router's state, read.
#[derive(Debug, Clone)]
pub struct VerifiedEvent {
    /// How it was proven.
    pub verified: Verified,
    /// What it tells.
    pub event: Event,
    /// For [`crate::dedupe::SeenIds`].
    pub key: EventKey,
    /// The bytes as they came.
    pub body: Bytes,
}

/// Why a request was turned away. As a response it is plain text: 413 for a body that is too long, 400 else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Above [`JSON_BYTES_MAX`] or [`THUMBNAIL_BYTES_MAX`].
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke.
    #[error("the body could not be read")]
    Broken(#[source] axum::Error),
    /// Not from whom it claims to be.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Genuine, but not understood.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        // The sender shows the start of the response in its log of attempts, so the cause is worth a line.
        let cause = self.source().map(|source| format!(": {source}")).unwrap_or_default();
        (status, format!("{self}{cause}\n")).into_response()
    }
}

impl<S> FromRequest<S> for VerifiedEvent
where
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let (parts, body) = request.into_parts();
        let limit = if is_thumbnail(&parts.headers) { THUMBNAIL_BYTES_MAX } else { JSON_BYTES_MAX };
        let body = read_body(body, limit).await?;
        let verified = Verifier::from_ref(state).verify(&parts.headers, &body, SystemTime::now())?;
        let key = EventKey::of(&verified, &body);
        let event = Event::read(&parts.headers, body.clone())?;
        Ok(Self { verified, event, key, body })
    }
}

async fn read_body(body: Body, limit: usize) -> Result<Bytes, Rejection> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        match error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            true => Rejection::TooLong(limit),
            false => Rejection::Broken(error),
        }
    })
}
