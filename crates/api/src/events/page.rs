//! Events in pages, with waiting for the next one.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use mediahooks_database::{EventFilter, EventGap, EventPage, EventStart};
use tokio::time::Instant;

use super::Stopping;
use super::wire::{EventView, filter, never_given, read, start};
use crate::App;
use crate::envelope::{Fail, FailData, Success};
use crate::errors::{ApiError, Result};
use crate::extract::query::Query;
use crate::webhooks::deliveries::{CursorPage, Pagination};

/// Longest wait for an event. A proxy that ends what is silent for a minute does not notice.
const WAIT_MAX_S: i64 = 30;

/// How long one request may look through events that its filter keeps back.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Lists events, oldest first, behind the cursor given. `cursor` is always there: send it as `after` to go
/// on, also when there is nothing yet.
#[utoipa::path(get, path = "/api/events", tag = "Events",
    params(
        ("after" = Option<String>, Query, description = "The `cursor` of the page before; `oldest` (the default); \
            or `latest`: none, but the cursor from which the next one will come"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("wait" = Option<i32>, Query, minimum = 0, maximum = 30,
            description = "Seconds to wait when there is none; default 0"),
        ("types" = Option<Vec<String>>, Query, description = "Types or kinds, such as `media,feeds.started`"),
        ("streamName" = Option<String>, Query),
        ("subject" = Option<String>, Query, description = "The id of an asset or feed; also as `mediaAssetId` or `feedId`"),
        ("webhookId" = Option<i64>, Query, description = "Only what this webhook wants, as it is now")),
    responses(
        (status = 200, body = Success<CursorPage<EventView>>),
        (status = 400, body = Fail),
        (status = 410, body = Fail, description = "Events behind `after` were forgotten: they are kept for 30 days. \
            `oldest` in `data` is where those begin that are still there")))]
pub(crate) async fn list(
    State(app): State<App>,
    stopping: Option<Extension<Stopping>>,
    mut query: Query,
) -> Result<Success<CursorPage<EventView>>> {
    let from = query.word(&["after", "cursor"], start).unwrap_or(EventStart::Oldest);
    let limit = query.number(&["limit"], 1..=1000, 100);
    let wait = query.number(&["wait"], 0..=WAIT_MAX_S, 0);
    let filter = filter(&mut query);
    query.finish()?;
    let limit = u32::try_from(limit).unwrap_or(1);
    let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(0));
    let stopping = stopping.map(|Extension(Stopping(stopping))| stopping).unwrap_or_default();
    let page = match stopping.run_until_cancelled(wait_for(&app, from, &filter, limit, wait)).await {
        Some(page) => page?,
        None => next(&app, from, &filter, limit).await?,
    };
    let pagination = Pagination { has_more: page.more, cursor: Some(page.next.0.to_string()) };
    let data = page.events.into_iter().map(EventView::new).collect::<Result<_>>()?;
    Ok(Success::new(CursorPage { data, pagination }))
}

/// A page with an event in it, or an empty one after the wait.
async fn wait_for(
    app: &App,
    from: EventStart,
    filter: &EventFilter,
    limit: u32,
    wait: Duration,
) -> Result<EventPage> {
    // Before the first look, so that what is committed during it wakes.
    let mut committed = app.database.subscribe_events();
    committed.mark_unchanged();
    let mut page = next(app, from, filter, limit).await?;
    // Who finds no place is answered as if it had waited.
    let Ok(_place) = app.followers.0.try_acquire() else { return Ok(page) };
    let waited = tokio::time::sleep(wait);
    tokio::pin!(waited);
    while page.events.is_empty() && !page.more {
        tokio::select! {
            () = &mut waited => break,
            changed = committed.changed() => if changed.is_err() { break },
        }
        page = next(app, EventStart::After(page.next), filter, limit).await?;
    }
    Ok(page)
}

/// The next page. Looks on for a while when the filter keeps everything back.
async fn next(app: &App, from: EventStart, filter: &EventFilter, limit: u32) -> Result<EventPage> {
    let began = Instant::now();
    let mut from = from;
    loop {
        let page = match read(app, from, filter, limit).await? {
            Ok(page) => page,
            Err(EventGap::Forgotten { oldest }) => return Err(forgotten(oldest.0)),
            Err(EventGap::NeverGiven { latest }) => return Err(never_given(latest)),
        };
        if !page.events.is_empty() || !page.more || began.elapsed() > LOOK_MAX {
            return Ok(page);
        }
        from = EventStart::After(page.next);
    }
}

fn forgotten(oldest: i64) -> ApiError {
    let message = format!(
        "Events behind this cursor were forgotten, so some may be missing. Read the assets again for their state, \
         and go on with after={oldest} or after=oldest"
    );
    let data = FailData { oldest: Some(oldest.to_string()), ..FailData::new(message) };
    ApiError::with_data(StatusCode::GONE, data)
}
