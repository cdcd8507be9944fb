//! The JSON body of a request.
//!
//! Whatever its `Content-Type` says, and with nothing or the text `null` standing for `{}`: that is
//! what the hosted service's clients send. Bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::members::Members;
use crate::errors::ApiError;

/// Largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a client may take to send a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The members of the body.
pub(crate) struct JsonBody(pub Members);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if announced_length(&request).is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let bytes = match tokio::time::timeout(BODY_TIME_MAX, read(request.into_body())).await {
            Ok(bytes) => bytes?,
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(ApiError::with_status(
                    status,
                    "The request body took longer than 30 s to arrive",
                ));
            }
        };
        Ok(Self(Members::new(parse(&bytes)?)))
    }
}

fn announced_length(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::fail("The request body ended before it was complete")),
    }
}

fn too_large() -> ApiError {
    let message = format!("The request body is larger than {BODY_BYTES_MAX} bytes");
    ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(ApiError::fail("The request body must be a JSON object")),
        Err(error) => Err(ApiError::fail(format!("The request body is not valid JSON: {error}"))),
    }
}
