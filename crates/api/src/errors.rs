//! Everything a handler can answer instead of a result.
//!
//! A client's mistake becomes a fail envelope here. A fault of the server only leaves its cause in
//! the response; [`crate::observe`], which knows the request's id, writes the log line and the body.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use mediahooks_database::DatabaseError;
use mediahooks_recorder::RecorderError;

use crate::envelope::{Fail, FailData};

/// The result of a handler.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Fail(StatusCode, FailData),
    Fault(FaultCause),
}

/// A fault on its way to the log: travels in the extensions of the response.
#[derive(Debug, Clone)]
pub(crate) struct FaultCause {
    /// 500, or 503 when trying again can help.
    pub status: StatusCode,
    /// What happened.
    pub error: Arc<dyn Error + Send + Sync>,
}

impl ApiError {
    /// 400 with a message.
    pub(crate) fn fail(message: impl Into<String>) -> Self {
        Self::with_status(StatusCode::BAD_REQUEST, message)
    }

    /// 400 with a message about one thing, which is named.
    pub(crate) fn about(field: &'static str, message: impl Into<String>) -> Self {
        let data = FailData::new(message);
        let field = BTreeMap::from([(field, data.message.clone())]);
        Self::with_data(StatusCode::BAD_REQUEST, FailData { field, ..data })
    }

    /// 400 with messages by member.
    pub(crate) fn validation(errors: BTreeMap<String, Vec<String>>) -> Self {
        let data = FailData { errors: Some(errors), ..FailData::new("Validation errors") };
        Self::with_data(StatusCode::BAD_REQUEST, data)
    }

    /// [`ApiError::validation`] of one member with one message.
    pub(crate) fn invalid(member: &str, message: impl Into<String>) -> Self {
        Self::validation(BTreeMap::from([(member.to_owned(), vec![message.into()])]))
    }

    /// A fail envelope under another status.
    pub(crate) fn with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with_data(status, FailData::new(message))
    }

    /// A fail envelope that says more than a message.
    pub(crate) fn with_data(status: StatusCode, data: FailData) -> Self {
        Self(Box::new(Kind::Fail(status, data)))
    }

    /// The documented reply to a missing or wrong API secret: 403, not 401.
    pub(crate) fn unauthorized() -> Self {
        Self::with_status(StatusCode::FORBIDDEN, "Unauthorized")
    }

    /// A fault of the server; `transient` when the same request can succeed later.
    pub(crate) fn fault(error: impl Error + Send + Sync + 'static, transient: bool) -> Self {
        let status =
            if transient { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self(Box::new(Kind::Fault(FaultCause { status, error: Arc::new(error) })))
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        let transient = error.is_transient() || matches!(error, DatabaseError::Closed);
        Self::fault(error, transient)
    }
}

impl From<RecorderError> for ApiError {
    fn from(error: RecorderError) -> Self {
        let transient = error.is_transient();
        Self::fault(error, transient)
    }
}

impl From<PathRejection> for ApiError {
    /// A path segment that is not UTF-8 after decoding.
    fn from(rejection: PathRejection) -> Self {
        Self::fail(format!("The path cannot be read: {}", rejection.body_text()))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match *self.0 {
            Kind::Fail(status, data) => (status, Json(Fail { status: "fail", data })).into_response(),
            Kind::Fault(cause) => {
                let mut response = cause.status.into_response();
                response.extensions_mut().insert(cause);
                response
            }
        }
    }
}
