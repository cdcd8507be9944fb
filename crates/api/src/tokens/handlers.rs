//! Makes, shows, changes and removes publish tokens.

use axum::extract::State;
use mediahooks_database::DatabaseError;
use mediahooks_model::{PublishToken, TokenId};
use mediahooks_recorder::StopScope;

use super::edit;
use super::wire::{DisabledTokens, FailedToken, TokenView, Version};
use crate::App;
use crate::clock::now;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::json::JsonBody;
use crate::extract::path::Segment;
use crate::requests::{NewPublishToken, PublishTokenChange, TokenNumbers};

/// Tokens that one call may disable. Ours.
const DISABLE_MAX: usize = 1000;

/// A token's secret: 256 random bits in hexadecimal.
fn fresh_secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn no_token(id: TokenId) -> ApiError {
    ApiError::about("tokenId", no_token_text(id))
}

fn no_token_text(id: TokenId) -> String {
    format!("No publish token with id: {id}")
}

/// The token that a path names.
async fn find(app: &App, segment: &Segment) -> Result<PublishToken> {
    let id = TokenId(segment.number("tokenId")?);
    app.database.token(id).await?.ok_or_else(|| no_token(id))
}

/// Makes a publish token.
#[utoipa::path(post, path = "/api/publish_token", tag = "Publish tokens",
    request_body = NewPublishToken,
    responses((status = 200, body = Success<TokenView>), (status = 400, body = Fail)))]
pub(crate) async fn create(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Success<TokenView>> {
    let token = edit::create(body, fresh_secret(), now())?;
    let token = app.database.create_token(token).await?;
    Ok(Success::new(TokenView::new(&token, Version::V1)))
}

/// Shows a publish token.
#[utoipa::path(get, path = "/api/publish_token/{tokenId}", tag = "Publish tokens",
    params(("tokenId" = i64, Path)),
    responses((status = 200, body = Success<TokenView>), (status = 400, body = Fail)))]
pub(crate) async fn read(State(app): State<App>, id: Segment) -> Result<Success<TokenView>> {
    Ok(Success::new(TokenView::new(&find(&app, &id).await?, Version::V1)))
}

/// Changes a publish token (deprecated form with `update…` names).
#[utoipa::path(put, path = "/api/publish_token/{tokenId}", tag = "Publish tokens",
    params(("tokenId" = i64, Path)), request_body = PublishTokenChange,
    responses((status = 200, body = Success<TokenView>), (status = 400, body = Fail)))]
pub(crate) async fn update(
    State(app): State<App>,
    id: Segment,
    JsonBody(body): JsonBody,
) -> Result<Success<TokenView>> {
    Ok(Success::new(TokenView::new(&change(&app, &id, body).await?, Version::V1)))
}

/// Changes a publish token.
#[utoipa::path(put, path = "/api/v2/publish_token/{tokenId}", tag = "Publish tokens",
    params(("tokenId" = i64, Path)), request_body = PublishTokenChange,
    responses((status = 200, body = Success<TokenView>), (status = 400, body = Fail)))]
pub(crate) async fn update_v2(
    State(app): State<App>,
    id: Segment,
    JsonBody(body): JsonBody,
) -> Result<Success<TokenView>> {
    Ok(Success::new(TokenView::new(&change(&app, &id, body).await?, Version::V2)))
}

async fn change(app: &App, id: &Segment, body: crate::extract::members::Members) -> Result<PublishToken> {
    let _one_at_a_time = app.edits.lock().await;
    let token = edit::update(body, find(app, id).await?, fresh_secret(), now())?;
    match app.database.replace_token(token.clone()).await {
        Ok(()) => Ok(token),
        Err(DatabaseError::NotFound) => Err(no_token(token.id)),
        Err(error) => Err(error.into()),
    }
}

/// Removes a publish token and ends everything that is published with it.
#[utoipa::path(delete, path = "/api/publish_token/{tokenId}", tag = "Publish tokens",
    params(("tokenId" = i64, Path)),
    responses((status = 200, body = Success<bool>), (status = 400, body = Fail)))]
pub(crate) async fn delete(State(app): State<App>, id: Segment) -> Result<Success<bool>> {
    let id = TokenId(id.number("tokenId")?);
    if !app.database.delete_token(id).await? {
        return Err(no_token(id));
    }
    app.recorder.stop_feeds(&StopScope::Token(id), "the publish token was deleted");
    Ok(Success::new(true))
}

/// Disables publish tokens: they admit no new publisher; what is live goes on.
#[utoipa::path(patch, path = "/api/publish_token/disable", tag = "Publish tokens",
    request_body = TokenNumbers,
    responses((status = 200, body = Success<DisabledTokens>), (status = 400, body = Fail)))]
pub(crate) async fn disable(
    State(app): State<App>,
    JsonBody(mut body): JsonBody,
) -> Result<Success<DisabledTokens>> {
    let ids: Option<Vec<i64>> = body.required("tokenIds");
    let count = ids.as_ref().map(Vec::len);
    if count.is_some_and(|count| !(1..=DISABLE_MAX).contains(&count)) {
        body.error("tokenIds", format!("The field TokenIds must hold 1 to {DISABLE_MAX} ids."));
    }
    let ids = body.finish(ids)?;
    let mut outcome = DisabledTokens::default();
    for id in ids {
        match disable_one(&app, TokenId(id)).await? {
            true => outcome.successful_tokens.push(id),
            false => outcome
                .failed_tokens
                .push(FailedToken { token_id: id, error_message: no_token_text(TokenId(id)) }),
        }
    }
    Ok(Success::new(outcome))
}

async fn disable_one(app: &App, id: TokenId) -> Result<bool> {
    let _one_at_a_time = app.edits.lock().await;
    let Some(mut token) = app.database.token(id).await? else { return Ok(false) };
    token.is_active = false;
    match app.database.replace_token(token).await {
        Ok(()) => Ok(true),
        Err(DatabaseError::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
