//! The delivery log: of a webhook, or of all of them. Ours: the hosted service has none.

use std::collections::BTreeMap;

use axum::extract::State;
use mediahooks_database::{Attempt, Delivery, DeliveryPage, DeliveryQuery, DeliveryState};
use mediahooks_model::{DeliveryId, EventKind, MediaAssetId, Timestamp, Webhook, WebhookId};
use serde::Serialize;
use utoipa::ToSchema;

use super::handlers::find;
use crate::App;
use crate::clock::now;
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

/// One event owed to a webhook, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its number.
    pub id: i64,
    /// The webhook it is owed to.
    pub webhook_id: i64,
    /// The event's id: the `webhook-id` header of every attempt.
    pub event_id: String,
    /// `type.event`.
    pub event: String,
    /// The asset or feed it happened to.
    pub subject: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// `waiting` (behind an earlier event of the same subject), `pending`, `delivered`, `exhausted` (its schedule
    /// was used up) or `expired` (it was held for too long).
    pub state: &'static str,
    /// Why it is not delivered, in words; null when it is.
    pub reason: Option<String>,
    /// The delivery that it waits for.
    pub behind: Option<i64>,
    /// When the next attempt is due; null while one is made.
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
    /// Of which: resolving the name. Null, as the others, when it did not happen.
    pub dns_ms: Option<f64>,
    /// Making the TCP connection.
    pub connect_ms: Option<f64>,
    /// The TLS handshake.
    pub tls_ms: Option<f64>,
    /// From the start of the attempt to the head of the answer.
    pub first_byte_ms: Option<f64>,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong; null on success.
    pub error: Option<String>,
    /// The request's head as it was sent; secrets and signatures are masked.
    pub request: Option<String>,
    /// The start of the answer's body.
    pub response: Option<String>,
}

impl DeliveryView {
    /// Shows a delivery. `webhook`: the one it is owed to, if there still is one.
    pub(crate) fn new(delivery: Delivery, webhook: Option<&Webhook>, now: Timestamp) -> Self {
        Self {
            id: delivery.id.0,
            webhook_id: delivery.webhook.0,
            reason: reason(&delivery, webhook, now),
            behind: delivery.behind.map(|id| id.0),
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

/// Why something is not delivered.
fn reason(delivery: &Delivery, webhook: Option<&Webhook>, now: Timestamp) -> Option<String> {
    let due_later = delivery.next_attempt.filter(|due| *due > now);
    Some(match (delivery.state, webhook) {
        (DeliveryState::Delivered, _) => return None,
        (DeliveryState::Exhausted, _) => "given up: every attempt of its schedule failed".into(),
        (DeliveryState::Expired, _) => {
            "given up: its endpoint took nothing for as long as deliveries are held".into()
        }
        (_, None) => "its webhook was deleted: it will not be sent".into(),
        (DeliveryState::Waiting, _) => match delivery.behind {
            Some(head) => {
                format!("waits until delivery {head}, an earlier event of the same subject, is settled")
            }
            None => "waits until an earlier event of the same subject is settled".into(),
        },
        (DeliveryState::Pending, _) if delivery.is_attempted => "an attempt is being made".into(),
        (DeliveryState::Pending, Some(Webhook { disabled: Some(disabled), .. })) => {
            let until =
                disabled.until.map_or(" until it is enabled".into(), |until| format!(" until {until}"));
            let why = disabled.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("held: the webhook is disabled{until}{why}")
        }
        (DeliveryState::Pending, _) => match (delivery.attempts.last(), due_later) {
            (Some(_), Some(due)) => format!("the last attempt failed; the next is due at {due}"),
            (None, Some(due)) => format!("the first attempt is due at {due}"),
            (_, None) => "due: it waits for its turn among all that is due".into(),
        },
    })
}

/// Exact: an attempt is far shorter than the 285 years at which a double loses microseconds.
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl AttemptView {
    fn new(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started: attempt.started,
            duration_ms: millis(attempt.duration_us),
            dns_ms: attempt.timings.dns_us.map(millis),
            connect_ms: attempt.timings.connect_us.map(millis),
            tls_ms: attempt.timings.tls_us.map(millis),
            first_byte_ms: attempt.timings.first_byte_us.map(millis),
            request: attempt.request,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        }
    }
}

/// Shows what a webhook was and is owed, newest first, with every attempt. A page may be short, or empty, though
/// `hasMore` is true: a request looks through so many deliveries at most.
#[utoipa::path(get, path = "/api/webhooks/{webhookId}/deliveries", tag = "Webhooks",
    params(
        ("webhookId" = i64, Path),
        ("asset" = Option<String>, Query, description = "Only of this asset; `feedId`: of this feed"),
        ("state" = Option<Vec<String>>, Query,
            description = "Only in these states: `waiting`, `pending`, `delivered`, `exhausted`, `expired`"),
        ("event" = Option<Vec<String>>, Query, description = "Only of these kinds, such as `media.completed`"),
        ("since" = Option<String>, Query, format = DateTime, description = "Only what happened then or later"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only what happened then or earlier"),
        ("before" = Option<i64>, Query, description = "The `cursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25")),
    responses((status = 200, body = Success<CursorPage<DeliveryView>>), (status = 400, body = Fail)))]
pub(crate) async fn list(
    State(app): State<App>,
    id: Segment,
    mut query: Query,
) -> Result<Success<CursorPage<DeliveryView>>> {
    let asked = read(&mut query);
    query.finish()?;
    let webhook = find(&app, &id).await?;
    let page = app.database.delivery_log(DeliveryQuery { webhook: Some(webhook.id), ..asked }).await?;
    Ok(show(page, &BTreeMap::from([(webhook.id, webhook)])))
}

/// Shows what all webhooks were and are owed, newest first, with every attempt: where each event of an `asset`
/// went. One that is not there was wanted by no webhook when it happened.
#[utoipa::path(get, path = "/api/deliveries", tag = "Webhooks",
    params(
        ("asset" = Option<String>, Query, description = "Only of this asset; `feedId`: of this feed"),
        ("webhookId" = Option<i64>, Query, description = "Only to this webhook, which may be deleted"),
        ("state" = Option<Vec<String>>, Query,
            description = "Only in these states: `waiting`, `pending`, `delivered`, `exhausted`, `expired`"),
        ("event" = Option<Vec<String>>, Query, description = "Only of these kinds, such as `media.completed`"),
        ("since" = Option<String>, Query, format = DateTime, description = "Only what happened then or later"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only what happened then or earlier"),
        ("before" = Option<i64>, Query, description = "The `cursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25")),
    responses((status = 200, body = Success<CursorPage<DeliveryView>>), (status = 400, body = Fail)))]
pub(crate) async fn list_all(
    State(app): State<App>,
    mut query: Query,
) -> Result<Success<CursorPage<DeliveryView>>> {
    let webhook = query.one(&["webhookId", "webhook_id", "webhook"]).map(WebhookId);
    let asked = read(&mut query);
    query.finish()?;
    let page = app.database.delivery_log(DeliveryQuery { webhook, ..asked }).await?;
    let mut webhooks = BTreeMap::new();
    for delivery in &page.deliveries {
        if !webhooks.contains_key(&delivery.webhook) {
            webhooks.extend(app.database.webhook(delivery.webhook).await?.map(|one| (one.id, one)));
        }
    }
    Ok(show(page, &webhooks))
}

/// Reads what both have in common.
fn read(query: &mut Query) -> DeliveryQuery {
    let asset = query.one::<MediaAssetId>(&["asset", "mediaAssetId", "assetId"]).map(|id| id.to_string());
    let limit = query.number(&["limit"], 1..=100, 25);
    DeliveryQuery {
        webhook: None,
        subject: asset.or_else(|| query.one(&["subject", "feedId"])),
        states: query.words(&["state"], DeliveryState::parse),
        kinds: query.words(&["event"], EventKind::parse),
        since: query.one(&["since"]),
        until: query.one(&["until"]),
        before: query.one(&["before", "cursor"]).map(DeliveryId),
        limit: u32::try_from(limit).unwrap_or(1),
    }
}

fn show(page: DeliveryPage, webhooks: &BTreeMap<WebhookId, Webhook>) -> Success<CursorPage<DeliveryView>> {
    let now = now();
    let pagination =
        Pagination { has_more: page.next.is_some(), cursor: page.next.map(|next| next.to_string()) };
    let data = page.deliveries.into_iter().map(|delivery| {
        let webhook = webhooks.get(&delivery.webhook);
        DeliveryView::new(delivery, webhook, now)
    });
    Success::new(CursorPage { data: data.collect(), pagination })
}
