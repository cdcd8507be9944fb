//! The test call: emits an event that looks like a real one to every webhook subscribed to its
//! type, or to the one that is named.

use axum::extract::State;
use mediahooks_database::{Change, DatabaseError};
use mediahooks_model::event::{self, FeedFacts, MediaFacts, StorageFacts, StorageRoom};
use mediahooks_model::{
    AssetType, Event, EventId, EventKind, FeedEvent, FeedId, MediaAssetId, MediaEvent, Metadata,
    StorageEvent, StreamName, Timestamp, TokenId, TrackMetadata, WebhookId,
};
use serde_json::json;
use uuid::Uuid;

use super::handlers::no_webhook;
use crate::App;
use crate::clock::now;
use crate::envelope::{Fail, Success};
use crate::errors::{ApiError, Result};
use crate::extract::json::JsonBody;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::requests::WebhookTest;

/// Used when no `streamName` came.
const STREAM_NAME: &str = "test-stream";

/// Used when no `transcoderName` came.
const TRANSCODER_NAME: &str = "test-transcoder";

/// The token that test events name: no real one has this number.
const TOKEN: TokenId = TokenId(0);

/// What a test call asks for.
struct TestCall {
    stream_name: StreamName,
    transcoder_name: String,
    webhook: Option<WebhookId>,
}

/// Sends a test event: `Media`, `Feeds`, `Storage`, `Recordings`, `Transcoder` or `ViewerConnection`.
#[utoipa::path(post, path = "/api/webhooks/test/{webhookType}", tag = "Webhooks",
    params(
        ("webhookType" = String, Path),
        ("webhookId" = Option<i64>, Query, description = "Only to this webhook, whatever it subscribes to")),
    request_body = WebhookTest,
    responses((status = 200, body = Success<bool>), (status = 400, body = Fail)))]
pub(crate) async fn send(
    State(app): State<App>,
    webhook_type: Segment,
    mut query: Query,
    JsonBody(mut body): JsonBody,
) -> Result<Success<bool>> {
    let in_query = query.one(&["webhookId"]);
    query.finish()?;
    let in_body: Option<i64> = body.optional("webhookId");
    let name: Option<String> = body.optional("streamName");
    let stream_name = name.unwrap_or_else(|| STREAM_NAME.to_owned()).parse::<StreamName>();
    if let Err(invalid) = &stream_name {
        body.error("streamName", invalid.to_string());
    }
    let transcoder_name = body.optional("transcoderName").unwrap_or_else(|| TRANSCODER_NAME.to_owned());
    body.length("transcoderName", Some(&transcoder_name), 1..=128);
    let webhook = in_body.or(in_query).map(WebhookId);
    let call =
        body.finish(stream_name.ok().map(|stream_name| TestCall { stream_name, transcoder_name, webhook }))?;
    let event = build(&app, &webhook_type.0, &call)?;
    emit(&app, event, call.webhook).await?;
    Ok(Success::new(true))
}

async fn emit(app: &App, event: Event, webhook: Option<WebhookId>) -> Result<()> {
    let change = match webhook {
        Some(id) => Change::EmitTo(id, event),
        None => Change::Emit(event),
    };
    match (app.database.commit(vec![change], now()).await, webhook) {
        (Ok(_), _) => Ok(()),
        (Err(DatabaseError::NotFound), Some(id)) => Err(no_webhook(id)),
        (Err(error), _) => Err(error.into()),
    }
}

fn build(app: &App, webhook_type: &str, call: &TestCall) -> Result<Event> {
    let id = EventId(Uuid::now_v7());
    let now = Timestamp::from_millis(now().as_millis());
    let stream = &call.stream_name;
    let event = match webhook_type.to_ascii_lowercase().as_str() {
        "media" => media(app, id, stream, now),
        "feeds" => feeds(app, id, stream, now),
        "storage" => storage(app, id, now),
        "recordings" => event::test_event(id, EventKind::Recordings, stream, now, recording(stream, now)),
        "transcoder" => {
            let data = transcoder(&call.transcoder_name, now);
            event::test_event(id, EventKind::Transcoder, stream, now, data)
        }
        "viewerconnection" => {
            let data = json!({
                "name": stream, "accountId": app.config.account, "streamId": app.config.account.stream_id(stream),
            });
            event::test_event(id, EventKind::ViewerConnection, stream, now, data)
        }
        "thumbnail" => {
            return Err(ApiError::about(
                "webhookType",
                "Thumbnail webhooks are not available yet; test Media or Feeds instead",
            ));
        }
        _ => {
            let shown: String = webhook_type.chars().take(64).collect();
            return Err(ApiError::invalid("webhookType", format!("The value '{shown}' is not valid.")));
        }
    };
    Ok(event)
}

fn media(app: &App, id: EventId, stream_name: &StreamName, now: Timestamp) -> Event {
    let metadata = sample_metadata();
    let facts = MediaFacts {
        account: &app.config.account,
        asset: MediaAssetId(Uuid::new_v4()),
        asset_type: AssetType::Clip,
        request: None,
        token: Some(TOKEN),
        stream_name,
        start_time: now,
        expiration: None,
        metadata: Some(&metadata),
        error: None,
        seq: 1,
    };
    event::media_event(id, MediaEvent::Completed, now, &facts)
}

fn feeds(app: &App, id: EventId, stream_name: &StreamName, now: Timestamp) -> Event {
    let facts = FeedFacts {
        account: &app.config.account,
        feed: FeedId(Uuid::new_v4()),
        token: Some(TOKEN),
        stream_name,
        started: now,
        priority: None,
        source_id: None,
        simulcast_id: None,
        seq: 1,
    };
    event::feed_event(id, FeedEvent::Started, now, &facts)
}

fn storage(app: &App, id: EventId, now: Timestamp) -> Event {
    const GIB: u64 = 1 << 30;
    let room =
        StorageRoom { free_bytes: GIB, total_bytes: 100 * GIB, low_bytes: 2 * GIB, reserve_bytes: GIB / 2 };
    let facts = StorageFacts { account: &app.config.account, room, seq: 1 };
    // Nothing real waits behind it.
    Event { subject: id.to_string(), ..event::storage_event(id, StorageEvent::Low, now, &facts) }
}

fn recording(stream_name: &StreamName, now: Timestamp) -> serde_json::Value {
    json!({
        "recordFileId": 0, "tokenId": TOKEN, "streamName": stream_name, "recordedOn": now.as_millis(),
        "metadata": sample_metadata(),
    })
}

fn transcoder(name: &str, now: Timestamp) -> serde_json::Value {
    json!({
        "transcoderId": "test", "transcoderName": name, "cluster": "test", "createdOn": now, "status": "Active",
    })
}

/// Ten seconds of ordinary video.
fn sample_metadata() -> Metadata {
    let video = TrackMetadata {
        kind: "video".into(),
        codec: "H264".into(),
        bitrate: 2_500_000,
        width: Some(1280),
        height: Some(720),
        framerate: Some(30.0),
        ..TrackMetadata::default()
    };
    let audio = TrackMetadata {
        kind: "audio".into(),
        codec: "AAC".into(),
        bitrate: 128_000,
        channels: Some(2),
        samplerate: Some(48_000),
        ..TrackMetadata::default()
    };
    Metadata {
        format: "MPEG-4".into(),
        sizes: [("mp4".to_owned(), 3_290_000)].into(),
        duration: 10,
        tracks: vec![video, audio],
        file_count: Some(1),
        ..Metadata::default()
    }
}
