//! The three envelopes that every JSON reply wears: success, fail, error.
//!
//! JSend-like, as the hosted service has them. Spec: `millicast-api.md` 1.2.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The word of a success envelope.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuccessStatus {
    /// The request was done.
    Success,
}

/// HTTP 200: the request was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success<T> {
    /// Always `success`.
    pub status: SuccessStatus,
    /// The result.
    pub data: T,
}

impl<T> Success<T> {
    /// Wraps a result.
    pub fn new(data: T) -> Self {
        Self { status: SuccessStatus::Success, data }
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// HTTP 4xx: the request was wrong. `data.message` is always there; a member named after what was
/// wrong, or `errors`, often is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fail {
    /// Always `fail`.
    #[schema(example = "fail")]
    pub status: &'static str,
    /// What was wrong.
    pub data: FailData,
}

/// What was wrong with a request. Members that are not listed have the message again, under the name of what it is about.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailData {
    /// For people; `Validation errors` when `errors` says it in detail.
    pub message: String,
    /// Messages by member: body members in PascalCase, query parameters in camelCase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<BTreeMap<String, Vec<String>>>,
    /// Why there is nothing to clip, in words, with what is kept around the range. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where to go on when events behind a cursor were forgotten (410): the first cursor behind which none is. Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// The message again, under the name of what it is about.
    #[serde(flatten)]
    pub field: BTreeMap<&'static str, String>,
}

impl FailData {
    /// Nothing but a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), errors: None, reason: None, oldest: None, field: BTreeMap::new() }
    }
}

/// HTTP 5xx: the server could not do it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// Always `error`.
    #[schema(example = "error")]
    pub status: &'static str,
    /// For people. Says nothing of the inside; the log has it under the request id.
    pub message: String,
    /// The HTTP status again.
    pub code: u16,
    /// What to quote when asking for help.
    pub data: FaultData,
}

/// What identifies a failed request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultData {
    /// As in the `x-request-id` header and in the log.
    pub request_id: String,
}
