//! Events as REST shows them, and how a client says which it wants.

use mediahooks_database::{
    DatabaseError, EventCursor, EventFilter, EventGap, EventPage, EventStart, StoredEvent,
};
use mediahooks_model::{EventKind, Timestamp, WebhookId};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::App;
use crate::errors::{ApiError, Result};
use crate::extract::query::Query;
use crate::webhooks::handlers::no_webhook;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// Whoever goes on `after` this has seen it.
    pub cursor: String,
    /// Its id: the `webhook-id` header of every delivery.
    pub id: String,
    /// `type.event`.
    pub event: String,
    /// The asset or feed it happened to, or `storage`.
    pub subject: String,
    /// The stream concerned, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_name: Option<String>,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The JSON that webhooks get, byte by byte as they get it.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

/// A body that is no JSON: our bug.
#[derive(Debug, thiserror::Error)]
#[error("the stored body of event {id} is not JSON")]
struct NotJson {
    id: String,
    source: serde_json::Error,
}

impl EventView {
    /// Shows an event.
    pub(crate) fn new(event: StoredEvent) -> Result<Self> {
        let id = event.id.to_string();
        let body = RawValue::from_string(event.body)
            .map_err(|source| ApiError::fault(NotJson { id: id.clone(), source }, false))?;
        Ok(Self {
            cursor: event.cursor.0.to_string(),
            id,
            event: event.kind.to_string(),
            subject: event.subject,
            stream_name: event.stream_name.map(|name| name.to_string()),
            timestamp: event.timestamp,
            body,
        })
    }
}

/// Reads which events a client wants.
pub(crate) fn filter(query: &mut Query) -> EventFilter {
    let kinds: Vec<Vec<EventKind>> = query.words(&["types"], |text| {
        let kinds = EventKind::named(text);
        (!kinds.is_empty()).then_some(kinds)
    });
    EventFilter {
        kinds: kinds.concat(),
        stream_name: query.one(&["streamName", "stream_name"]),
        subject: query.one(&["subject", "mediaAssetId", "assetId", "feedId"]),
        webhook: query.one(&["webhookId", "webhook_id"]).map(WebhookId),
    }
}

/// Reads a cursor, or a word that stands for one.
pub(crate) fn start(text: &str) -> Option<EventStart> {
    match text {
        "oldest" => Some(EventStart::Oldest),
        "latest" => Some(EventStart::Latest),
        number => Some(EventStart::After(EventCursor(number.parse().ok().filter(|number| *number >= 0)?))),
    }
}

/// A page of the database.
pub(crate) async fn read(
    app: &App,
    start: EventStart,
    filter: &EventFilter,
    limit: u32,
) -> Result<std::result::Result<EventPage, EventGap>> {
    match (app.database.events(start, filter, limit).await, filter.webhook) {
        (Err(DatabaseError::NotFound), Some(id)) => Err(no_webhook(id)),
        (outcome, _) => Ok(outcome?),
    }
}

/// The reply about a cursor that no event ever had.
pub(crate) fn never_given(latest: EventCursor) -> ApiError {
    ApiError::about(
        "after",
        format!(
            "This server never gave such a cursor, its latest is {}: it is of another server, or of this one \
             before a backup was restored. Begin again with after=oldest or after=latest",
            latest.0
        ),
    )
}
