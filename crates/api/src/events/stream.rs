//! Events as a stream of server-sent events (HTML Living Standard, section 9.2).
//!
//! A stream reads pages of the database as fast as its client takes them: a slow client is behind, and
//! costs one page of memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mediahooks_database::{EventCursor, EventFilter, EventGap, EventPage, EventStart, StoredEvent};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::{EventView, filter, never_given, read, start};
use super::{FOLLOWERS_MAX, Stopping};
use crate::App;
use crate::envelope::Fail;
use crate::errors::{ApiError, Result};
use crate::extract::auth::{Presented, is_known};
use crate::extract::query::Query;

/// Events in memory for one stream.
const PAGE: u32 = 100;

/// The longest silence. Also how long a stream outlives the API secret it was opened with.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client shall wait before it comes back.
const COME_BACK: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx not to hold events back.
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Follows events as they happen, as `text/event-stream`. Each is a message whose `id` is its cursor and
/// whose data is what `GET /api/events` shows of it. A client that comes back with `Last-Event-ID` (browsers
/// and libraries do so by themselves) or `after` goes on behind it; without either, with what happens next.
/// When events in between were forgotten, an event named `gap` says so and the oldest kept one follows.
#[utoipa::path(get, path = "/api/events/stream", tag = "Events",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last message; beats `after`"),
        ("after" = Option<String>, Query, description = "A cursor, `oldest`, or `latest` (the default)"),
        ("types" = Option<Vec<String>>, Query, description = "Types or kinds, such as `media,feeds.started`"),
        ("streamName" = Option<String>, Query),
        ("subject" = Option<String>, Query, description = "The id of an asset or feed; also as `mediaAssetId` or `feedId`"),
        ("webhookId" = Option<i64>, Query, description = "Only what this webhook wants, as it is now")),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 400, body = Fail),
        (status = 429, body = Fail, description = "Too many streams are open")))]
pub(crate) async fn follow(
    State(app): State<App>,
    stopping: Option<Extension<Stopping>>,
    presented: Extension<Presented>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let from = query.word(&["after", "cursor"], start).unwrap_or(EventStart::Latest);
    let filter = filter(&mut query);
    let last_seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let last_seen = last_seen.map(|id| start(id.trim()));
    if let Some(None) = last_seen {
        query.error(&["Last-Event-ID"], "The value is not a cursor.");
    }
    query.finish()?;
    let from = last_seen.flatten().unwrap_or(from);

    let Ok(place) = app.followers.0.clone().try_acquire_owned() else {
        let message = format!("{FOLLOWERS_MAX} clients follow events already: close some, or ask for pages");
        return Err(ApiError::with_status(StatusCode::TOO_MANY_REQUESTS, message));
    };
    let mut committed = app.database.subscribe_events();
    committed.mark_unchanged();
    let mut follower = Follower {
        presented: presented.0,
        ending: stopping.map(|Extension(Stopping(stopping))| stopping.child_token()).unwrap_or_default(),
        committed,
        filter,
        cursor: EventCursor(0),
        ready: VecDeque::new(),
        gap: None,
        more: true,
        checked: Instant::now(),
        _place: place,
        app,
    };
    // The first page is read here: what is wrong with the request is answered in an envelope.
    follower.read(from).await?;
    let hello = Event::default().retry(COME_BACK).id(follower.cursor_shown());
    let messages = Sse::new(follower.messages(hello));
    Ok(([NO_BUFFERING], messages).into_response())
}

struct Follower {
    app: App,
    presented: Presented,
    ending: CancellationToken,
    committed: watch::Receiver<u64>,
    filter: EventFilter,
    /// Everything up to here was read; what is not sent of it is in `ready`.
    cursor: EventCursor,
    ready: VecDeque<StoredEvent>,
    /// Told before the rest of `ready`: the cursor behind which events are missing.
    gap: Option<(EventCursor, EventCursor)>,
    more: bool,
    checked: Instant,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    fn messages(self, hello: Event) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold((self, Some(hello)), |(mut follower, hello)| async move {
            let message = match hello {
                Some(hello) => hello,
                None => follower.message().await?,
            };
            Some((Ok(message), (follower, None)))
        })
    }

    /// The next message; none when the stream is over.
    async fn message(&mut self) -> Option<Event> {
        loop {
            if self.ending.is_cancelled() || !self.is_still_allowed().await {
                return None;
            }
            if let Some((after, oldest)) = self.gap.take() {
                let data = json!({"after": after.0.to_string(), "oldest": oldest.0.to_string()});
                return Some(Event::default().event("gap").id(oldest.0.to_string()).data(data.to_string()));
            }
            if let Some(event) = self.ready.pop_front() {
                return message(event);
            }
            if !self.more && !self.wait().await {
                // The cursor moves on past events that the filter keeps back: whoever comes back need not
                // have them looked through again.
                return Some(Event::default().comment("").id(self.cursor_shown()));
            }
            if let Err(error) = self.read(EventStart::After(self.cursor)).await {
                tracing::debug!(?error, "a stream of events ends, its client comes back");
                return None;
            }
        }
    }

    /// Waits for a commit; false when it is time for a sign of life.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.ending.cancelled() => true,
            () = tokio::time::sleep(HEARTBEAT) => false,
            changed = self.committed.changed() => {
                if changed.is_err() {
                    self.ending.cancel();
                }
                true
            }
        }
    }

    async fn read(&mut self, from: EventStart) -> Result<()> {
        let page = match read(&self.app, from, &self.filter, PAGE).await? {
            Ok(page) => page,
            Err(EventGap::NeverGiven { latest }) => return Err(never_given(latest)),
            Err(EventGap::Forgotten { oldest }) => {
                let EventStart::After(after) = from else { return Ok(()) };
                self.gap = Some((after, oldest));
                EventPage { events: Vec::new(), next: oldest, more: true }
            }
        };
        self.cursor = page.next;
        self.more = page.more;
        self.ready.extend(page.events);
        Ok(())
    }

    /// Where a client is that has been sent everything so far.
    fn cursor_shown(&self) -> String {
        match (self.gap, self.ready.front()) {
            (Some((after, _)), _) => after.0,
            (None, Some(first)) => first.cursor.0 - 1,
            (None, None) => self.cursor.0,
        }
        .to_string()
    }

    /// Whether the secret that opened the stream still opens it. Asked no more often than a heartbeat comes.
    async fn is_still_allowed(&mut self) -> bool {
        if self.checked.elapsed() < HEARTBEAT {
            return true;
        }
        self.checked = Instant::now();
        is_known(&self.app, &self.presented).await.unwrap_or(true)
    }
}

fn message(event: StoredEvent) -> Option<Event> {
    let cursor = event.cursor.0.to_string();
    // A body that is no JSON ends the stream, and the log tells when the page with it is asked for.
    let view = EventView::new(event).ok()?;
    Event::default().id(cursor).json_data(view).ok()
}
