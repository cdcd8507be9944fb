//! Makes, lists, changes and removes webhooks.

use axum::extract::State;
use mediahooks_database::DatabaseError;
use mediahooks_model::{Webhook, WebhookId};

use super::edit;
use super::wire::WebhookView;
use crate::App;
use crate::clock::now;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::json::JsonBody;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::requests::{NewWebhook, WebhookChange};

/// The reply about a webhook that is not there.
pub(crate) fn no_webhook(id: WebhookId) -> ApiError {
    ApiError::about("webhookId", format!("No webhook with id: {id}"))
}

/// The webhook that a path names.
pub(crate) async fn find(app: &App, segment: &Segment) -> Result<Webhook> {
    let id = WebhookId(segment.number("webhookId")?);
    app.database.webhook(id).await?.ok_or_else(|| no_webhook(id))
}

/// Adds a webhook.
#[utoipa::path(post, path = "/api/webhooks", tag = "Webhooks",
    request_body = NewWebhook,
    responses((status = 200, body = Success<WebhookView>), (status = 400, body = Fail)))]
pub(crate) async fn create(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Success<WebhookView>> {
    let webhook = edit::create(body, &app.config.target_policy)?;
    Ok(Success::new(WebhookView::new(&app.database.create_webhook(webhook).await?, now())))
}

/// Lists webhooks in the order they were added.
#[utoipa::path(get, path = "/api/webhooks/list", tag = "Webhooks",
    params(
        ("startingId" = Option<i64>, Query),
        ("itemCount" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 10"),
        ("isDescending" = Option<bool>, Query)),
    responses((status = 200, body = Success<Vec<WebhookView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Success<Vec<WebhookView>>> {
    let starting_id = query.one(&["startingId", "starting_id"]);
    let count = query.number(&["itemCount", "item_count"], 1..=100, 10);
    let desc = query.one(&["isDescending", "is_descending"]).unwrap_or(false);
    query.finish()?;
    let webhooks = app.database.webhooks(starting_id, u32::try_from(count).unwrap_or(1), desc).await?;
    let now = now();
    Ok(Success::new(webhooks.iter().map(|webhook| WebhookView::new(webhook, now)).collect()))
}

/// Shows a webhook.
#[utoipa::path(get, path = "/api/webhooks/{webhookId}", tag = "Webhooks",
    params(("webhookId" = i64, Path)),
    responses((status = 200, body = Success<WebhookView>), (status = 400, body = Fail)))]
pub(crate) async fn read(State(app): State<App>, id: Segment) -> Result<Success<WebhookView>> {
    Ok(Success::new(WebhookView::new(&find(&app, &id).await?, now())))
}

/// Changes a webhook: the members that are given, and no other.
///
/// `refreshSecret` gives it a new secret; the old one signs beside it until `previousSecretExpiresOn`, or, with
/// `expireOldSecret`, not at all. `reEnable` and a new `url` lift a disable and send everything owed at once.
#[utoipa::path(put, path = "/api/webhooks/{webhookId}", tag = "Webhooks",
    params(("webhookId" = i64, Path)), request_body = WebhookChange,
    responses((status = 200, body = Success<WebhookView>), (status = 400, body = Fail)))]
pub(crate) async fn update(
    State(app): State<App>,
    id: Segment,
    JsonBody(body): JsonBody,
) -> Result<Success<WebhookView>> {
    let id = WebhookId(id.number("webhookId")?);
    let edit = edit::update(body, &app.config.target_policy)?;
    let (now, grace) = (now(), app.config.secret_grace);
    let drain = edit.re_enable;
    let changed =
        app.database.update_webhook(id, drain, now, move |webhook| edit.apply(webhook, now, grace)).await;
    match changed {
        Ok(webhook) => Ok(Success::new(WebhookView::new(&webhook?, now))),
        Err(DatabaseError::NotFound) => Err(no_webhook(id)),
        Err(error) => Err(error.into()),
    }
}

/// Removes a webhook with everything it is still owed.
#[utoipa::path(delete, path = "/api/webhooks/{webhookId}", tag = "Webhooks",
    params(("webhookId" = i64, Path)),
    responses((status = 200, body = Success<bool>), (status = 400, body = Fail)))]
pub(crate) async fn delete(State(app): State<App>, id: Segment) -> Result<Success<bool>> {
    let id = WebhookId(id.number("webhookId")?);
    if app.database.delete_webhook(id).await? { Ok(Success::new(true)) } else { Err(no_webhook(id)) }
}
