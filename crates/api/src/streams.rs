//! Stops live streams. Spec: `millicast-api.md` 16.

use axum::extract::State;
use mediahooks_database::DatabaseError;
use mediahooks_model::TokenId;
use mediahooks_recorder::StopScope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::json::JsonBody;
use crate::requests::{Reprioritize, StreamStop};

/// What was stopped.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// `Account`, `Stream` or `Token`; `None` when nothing of it was live.
    pub stopping_level: &'static str,
}

fn stop(app: &App, scope: &StopScope, level: &'static str, why: &'static str) -> Success<Stopped> {
    let feeds = app.recorder.stop_feeds(scope, why);
    Success::new(Stopped { stopping_level: if feeds > 0 { level } else { "None" } })
}

/// Stops a stream. Its token stays usable, so the encoder may connect again.
#[utoipa::path(post, path = "/api/stream/stop", tag = "Streams",
    request_body = StreamStop,
    responses((status = 200, body = Success<Stopped>), (status = 400, body = Fail)))]
pub(crate) async fn stop_one(
    State(app): State<App>,
    JsonBody(mut body): JsonBody,
) -> Result<Success<Stopped>> {
    let id: Option<String> = body.required("streamId");
    let id = body.finish(id)?;
    let stream = app.stream_of_id(&id).ok_or_else(|| {
        let account = &app.config.account;
        ApiError::about("streamId", format!("No such streamId; write it as {account}/streamName"))
    })?;
    Ok(stop(&app, &StopScope::Stream(stream), "Stream", "the stream was stopped by request"))
}

/// Stops every live stream.
#[utoipa::path(post, path = "/api/stream/stop/all", tag = "Streams",
    responses((status = 200, body = Success<Stopped>)))]
pub(crate) async fn stop_all(State(app): State<App>) -> Success<Stopped> {
    stop(&app, &StopScope::All, "Account", "all streams were stopped by request")
}

/// Gives a token another priority and stops its streams, so that encoders connect again with it.
#[utoipa::path(post, path = "/api/stream/reprioritize", tag = "Streams",
    request_body = Reprioritize,
    responses((status = 200, body = Success<Stopped>), (status = 400, body = Fail)))]
pub(crate) async fn reprioritize(
    State(app): State<App>,
    JsonBody(mut body): JsonBody,
) -> Result<Success<Stopped>> {
    let id: Option<i64> = body.required("tokenId");
    let priority: Option<i32> = body.required("updatePriority");
    let (id, priority) = body.finish(id.map(TokenId).zip(priority))?;
    let no_token = || ApiError::about("tokenId", format!("No publish token with id: {id}"));
    let _one_at_a_time = app.edits.lock().await;
    let mut token = app.database.token(id).await?.ok_or_else(no_token)?;
    token.priority = Some(priority);
    match app.database.replace_token(token).await {
        Ok(()) => {}
        Err(DatabaseError::NotFound) => return Err(no_token()),
        Err(error) => return Err(error.into()),
    }
    Ok(stop(&app, &StopScope::Token(id), "Token", "the token has a new priority; connect again"))
}
