//! The delivery log of a webhook. Ours: the hosted service has none.

use axum::extract::State;
use mediahooks_database::{Attempt, Delivery};
use mediahooks_model::{DeliveryId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::handlers::find;
use crate::App;
use crate::envelope::{Fail, Success};
use crate::errors::Result;
use crate::extract::path::Segment;
use crate::extract::query::Query;

/// A page of a list that is walked by cursor.
#[derive(Debug, Serialize, ToSchema)]
pub struct CursorPage<T> {
    /// The page.
    pub data: Vec<T>,
    /// How to go on.
    pub pagination: Pagination,
}

/// How to go on after a page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Whether there is another page.
    pub has_more: bool,
    /// What to send for it as `before`.
    pub cursor: Option<String>,
}

/// One event owed to the webhook, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its number.
    pub id: i64,
    /// The event's id: the `webhook-id` header of every attempt.
    pub event_id: String,
    /// `type.event`.
    pub event: String,
    /// The asset or feed it happened to.
    pub subject: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// `waiting` (behind an earlier event of the same subject), `pending`, `delivered` or `exhausted`.
    pub state: &'static str,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt: Option<Timestamp>,
    /// Every attempt, first one first.
    pub attempts: Vec<AttemptView>,
}

/// One HTTP request made to deliver.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryAttempt)]
pub struct AttemptView {
    /// 1 is the first.
    pub number: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// How long it took, in milliseconds with a fraction.
    pub duration_ms: f64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong; null on success.
    pub error: Option<String>,
    /// The start of the answer's body.
    pub response: Option<String>,
}

impl DeliveryView {
    fn new(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.0,
            event_id: delivery.event.to_string(),
            event: delivery.kind,
            subject: delivery.subject,
            timestamp: delivery.timestamp,
            state: delivery.state.as_str(),
            next_attempt: delivery.next_attempt,
            attempts: delivery.attempts.into_iter().map(AttemptView::new).collect(),
        }
    }
}

impl AttemptView {
    fn new(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started: attempt.started,
            // Exact: an attempt is far shorter than the 285 years at which a double loses microseconds.
            duration_ms: attempt.duration_us as f64 / 1000.0,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        }
    }
}

/// Shows what a webhook was and is owed, newest first, with every attempt.
#[utoipa::path(get, path = "/api/webhooks/{webhookId}/deliveries", tag = "Webhooks",
    params(
        ("webhookId" = i64, Path),
        ("before" = Option<i64>, Query, description = "The `cursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25")),
    responses((status = 200, body = Success<CursorPage<DeliveryView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(
    State(app): State<App>,
    id: Segment,
    mut query: Query,
) -> Result<Success<CursorPage<DeliveryView>>> {
    let before = query.one(&["before", "cursor"]).map(DeliveryId);
    let limit = query.number(&["limit"], 1..=100, 25);
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let webhook = find(&app, &id).await?;
    let ask = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    let mut deliveries = app.database.deliveries(webhook.id, before, ask).await?;
    let has_more = deliveries.len() > limit;
    deliveries.truncate(limit);
    let cursor = deliveries.last().filter(|_| has_more).map(|last| last.id.to_string());
    let data = deliveries.into_iter().map(DeliveryView::new).collect();
    Ok(Success::new(CursorPage { data, pagination: Pagination { has_more, cursor } }))
}
