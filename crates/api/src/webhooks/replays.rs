//! Sending once more: a delivery again, or all events of a time. Ours: the hosted service has neither.

use axum::extract::State;
use mediahooks_database::{DatabaseError, NewReplay, Replay, Resent};
use mediahooks_model::{DeliveryId, EventKind, ReplayId, Timestamp, WebhookId};
use serde::Serialize;
use utoipa::ToSchema;

use super::deliveries::{CursorPage, DeliveryView, Pagination};
use super::handlers::{find, no_webhook};
use crate::App;
use crate::clock::now;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::json::JsonBody;
use crate::extract::members::Members;
use crate::extract::path::{Segment, Segments};
use crate::extract::query::Query;
use crate::requests::NewReplay as NewReplayBody;

/// A replay and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Replay)]
pub struct ReplayView {
    /// Its number.
    pub id: i64,
    /// `running`, `done` (all of it was delivered or given up) or `cancelled`.
    pub state: &'static str,
    /// Events that happened then or later,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// and before this.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// Of any of these kinds (`type.event`); empty: of every kind.
    pub types: Vec<String>,
    /// Whether only what was given up is sent again.
    pub failed_only: bool,
    /// Events that happened in its time.
    pub total: u64,
    /// How many of them were looked at.
    pub examined: u64,
    /// How many of those match, and were queued.
    pub matched: u64,
    /// How many of those are still to be delivered.
    pub queued: u64,
    /// How many were delivered.
    pub delivered: u64,
    /// How many were given up.
    pub failed: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When the last event was looked at, or when it was cancelled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
}

impl ReplayView {
    fn new(replay: Replay) -> Self {
        Self {
            id: replay.id.0,
            state: replay.state.as_str(),
            since: replay.asked.since,
            until: replay.asked.until,
            types: replay.asked.kinds.iter().map(EventKind::to_string).collect(),
            failed_only: replay.asked.failed_only,
            total: replay.total,
            examined: replay.examined,
            matched: replay.matched,
            queued: replay.owed,
            delivered: replay.delivered,
            failed: replay.failed,
            created: replay.created,
            ended: replay.ended,
        }
    }
}

/// Sends the event of a delivery once more, with the same `webhook-id`: after everything that the webhook is
/// owed for the same asset or feed. Answers with the new delivery. One that is not settled is not owed
/// twice: its next attempt is made at once, unless it waits for an earlier event, and it is the answer.
#[utoipa::path(post, path = "/api/webhooks/{webhookId}/deliveries/{deliveryId}/resend", tag = "Webhooks",
    params(("webhookId" = i64, Path), ("deliveryId" = i64, Path)),
    responses((status = 200, body = Success<DeliveryView>), (status = 400, body = Fail)))]
pub(crate) async fn resend(State(app): State<App>, path: Segments) -> Result<Success<DeliveryView>> {
    let (webhook, delivery) = path.numbers(["webhookId", "deliveryId"])?;
    let (webhook, delivery) = (WebhookId(webhook), DeliveryId(delivery));
    let unknown =
        || ApiError::about("deliveryId", format!("No delivery with id {delivery} of webhook {webhook}"));
    let sent = match app.database.resend(webhook, delivery, now()).await {
        Ok(Resent::Again(id) | Resent::StillOwed(id)) => id,
        Err(DatabaseError::NotFound) if app.database.webhook(webhook).await?.is_none() => {
            return Err(no_webhook(webhook));
        }
        Err(DatabaseError::NotFound) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    // The log goes downwards from a number that is left out.
    let behind = Some(DeliveryId(sent.0.saturating_add(1)));
    let found = app.database.deliveries(webhook, behind, 1).await?.pop().filter(|found| found.id == sent);
    let webhook = app.database.webhook(webhook).await?;
    found.map(|found| Success::new(DeliveryView::new(found, webhook.as_ref(), now()))).ok_or_else(unknown)
}

/// Sends the events of a time to a webhook once more, in the background: those that it wants as it is now, or
/// with `failedOnly` those that it was owed and never accepted. Each is sent once per replay, with the
/// same `webhook-id` as before, after everything that the webhook is owed for the same asset or feed.
#[utoipa::path(post, path = "/api/webhooks/{webhookId}/replay", tag = "Webhooks",
    params(("webhookId" = i64, Path)), request_body = NewReplayBody,
    responses((status = 200, body = Success<ReplayView>), (status = 400, body = Fail)))]
pub(crate) async fn replay(
    State(app): State<App>,
    id: Segment,
    JsonBody(body): JsonBody,
) -> Result<Success<ReplayView>> {
    let webhook = find(&app, &id).await?.id;
    let asked = read(body, webhook, now())?;
    match app.database.create_replay(asked, now()).await {
        Ok(replay) => Ok(Success::new(ReplayView::new(replay))),
        Err(DatabaseError::NotFound) => Err(no_webhook(webhook)),
        Err(error) => Err(error.into()),
    }
}

fn read(mut body: Members, webhook: WebhookId, now: Timestamp) -> Result<NewReplay> {
    let since: Option<Timestamp> = body.required("since");
    let until = body.optional("until").unwrap_or(now);
    if since.is_some_and(|since| since >= until) {
        body.error(
            "since",
            "The replay ends before it begins: `since` has to be earlier than `until`, or now.",
        );
    }
    let types: Vec<String> = body.optional("types").unwrap_or_default();
    let mut kinds = Vec::new();
    for text in &types {
        let named = EventKind::named(text);
        if named.is_empty() {
            let shown: String = text.chars().take(64).collect();
            body.error("types", format!("The value '{shown}' is no type of event, such as media, and no kind, such as media.completed."));
        }
        kinds.extend(named.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
    }
    let failed_only = body.optional("failedOnly").unwrap_or(false);
    let asked = since.map(|since| NewReplay { webhook, since, until, kinds, failed_only });
    body.finish(asked)
}

/// Lists the replays of a webhook, newest first.
#[utoipa::path(get, path = "/api/webhooks/{webhookId}/replays", tag = "Webhooks",
    params(
        ("webhookId" = i64, Path),
        ("before" = Option<i64>, Query, description = "The `cursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25")),
    responses((status = 200, body = Success<CursorPage<ReplayView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(
    State(app): State<App>,
    id: Segment,
    mut query: Query,
) -> Result<Success<CursorPage<ReplayView>>> {
    let before = query.one(&["before", "cursor"]).map(ReplayId);
    let limit = query.number(&["limit"], 1..=100, 25);
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let webhook = find(&app, &id).await?;
    let ask = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    let mut replays = app.database.replays(webhook.id, before, ask).await?;
    let has_more = replays.len() > limit;
    replays.truncate(limit);
    let cursor = replays.last().filter(|_| has_more).map(|last| last.id.to_string());
    let data = replays.into_iter().map(ReplayView::new).collect();
    Ok(Success::new(CursorPage { data, pagination: Pagination { has_more, cursor } }))
}

/// Shows how far a replay is.
#[utoipa::path(get, path = "/api/webhooks/{webhookId}/replays/{replayId}", tag = "Webhooks",
    params(("webhookId" = i64, Path), ("replayId" = i64, Path)),
    responses((status = 200, body = Success<ReplayView>), (status = 400, body = Fail)))]
pub(crate) async fn show(State(app): State<App>, path: Segments) -> Result<Success<ReplayView>> {
    let (webhook, id) = numbers(&path)?;
    let found = app.database.replay(webhook, id).await?;
    found.map(|replay| Success::new(ReplayView::new(replay))).ok_or_else(|| no_replay(webhook, id))
}

/// Stops a replay: what is not attempted yet is not sent, what is under way goes on. Answers with where it
/// stands; one that is over stays as it is.
#[utoipa::path(delete, path = "/api/webhooks/{webhookId}/replays/{replayId}", tag = "Webhooks",
    params(("webhookId" = i64, Path), ("replayId" = i64, Path)),
    responses((status = 200, body = Success<ReplayView>), (status = 400, body = Fail)))]
pub(crate) async fn cancel(State(app): State<App>, path: Segments) -> Result<Success<ReplayView>> {
    let (webhook, id) = numbers(&path)?;
    let found = app.database.cancel_replay(webhook, id, now()).await?;
    found.map(|replay| Success::new(ReplayView::new(replay))).ok_or_else(|| no_replay(webhook, id))
}

fn numbers(path: &Segments) -> Result<(WebhookId, ReplayId)> {
    let (webhook, replay) = path.numbers(["webhookId", "replayId"])?;
    Ok((WebhookId(webhook), ReplayId(replay)))
}

fn no_replay(webhook: WebhookId, id: ReplayId) -> ApiError {
    ApiError::about("replayId", format!("No replay with id {id} of webhook {webhook}"))
}
