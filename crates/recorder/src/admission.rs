//! Decides who may publish, and starts the feed of who may.

use std::sync::Arc;

use async_trait::async_trait;
use mediahooks_database::Feed;
use mediahooks_ingest::gate::{FeedEnded, FeedSink, PublishEnd, PublishGate, PublishRefused, PublishRequest};
use mediahooks_model::token::PublishDenied;
use mediahooks_model::{FeedId, PublishParams, PublishToken, StreamName, chain};
use uuid::Uuid;

use crate::error::RecorderError;
use crate::feed::{self, NewFeed};
use crate::state::Shared;
use crate::time::FeedClock;

/// The gate of a recorder.
pub(crate) struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl PublishGate for Gate {
    async fn open(&self, request: PublishRequest) -> Result<Box<dyn FeedSink>, PublishRefused> {
        let shared = Arc::clone(&self.shared);
        // On a task of its own: when the publisher leaves meanwhile, this future is dropped, but the
        // feed that is being entered must be ended as well as begun. The sink that then nobody takes
        // ends it.
        let opening = tokio::spawn(async move { open(shared, request).await });
        match opening.await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "admission of a publisher failed");
                Err(refused("internal_error", "The server could not admit this stream; see its log"))
            }
        }
    }
}

async fn open(shared: Arc<Shared>, request: PublishRequest) -> Result<Box<dyn FeedSink>, PublishRefused> {
    let stream_name: StreamName = request
        .target
        .stream_name
        .parse()
        .map_err(|error| refused("bad_stream_name", format!("Stream name not allowed: {error}")))?;
    let pairs = request.target.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let params = PublishParams::parse(pairs).map_err(|error| refused("bad_parameter", error.to_string()))?;
    let token = authorise(&shared, &request, &stream_name, &params).await?;
    shared.disk.admits()?;
    let clock = FeedClock::start(&shared.clock);
    let feed = Feed {
        id: FeedId(Uuid::new_v4()),
        token: token.id,
        stream_name: stream_name.clone(),
        source_id: params.source_id.clone(),
        simulcast_id: params.simulcast_id.clone(),
        priority: params.priority.or(token.priority),
        target_kbps: params.video_target_bitrate_kbps,
        remote: request.remote.ip().to_canonical(),
        started: clock.started(),
        ended: None,
    };
    let new = NewFeed {
        feed,
        clock,
        records: params.records(token.record),
        clips: token.clip,
        keeps_video: !params.audio_only,
        keeps_audio: !params.video_only,
    };
    let sink = feed::start(Arc::clone(&shared), new).await?;
    // Who deletes or disables the token ends the feeds that are entered. One that was being entered
    // meanwhile asks again.
    if let Err(refused) = authorise(&shared, &request, &stream_name, &params).await {
        let ended = FeedEnded { code: refused.code, message: refused.message.clone() };
        sink.finish(PublishEnd::Stopped(ended)).await;
        return Err(refused);
    }
    Ok(sink)
}

/// Finds the token that was presented and asks it.
async fn authorise(
    shared: &Shared,
    request: &PublishRequest,
    stream: &StreamName,
    params: &PublishParams,
) -> Result<PublishToken, PublishRefused> {
    let secret =
        request.target.token_hex.as_deref().ok_or_else(|| {
            refused("no_token", "Unauthorized: No token; add ?token=TOKEN to the stream key")
        })?;
    let found = shared.database.token_by_secret(secret).await.map_err(|error| unavailable(&error.into()))?;
    let token = found.ok_or_else(|| denied(&PublishDenied::UnknownToken))?;
    let address = request.remote.ip().to_canonical();
    token
        .admits(stream, params.source_id.is_some(), address, shared.now())
        .map_err(|reason| denied(&reason))?;
    if let Some(max) = token.bind_ips_on_usage.filter(|&max| max > 0) {
        let bound = shared.database.bind_token_address(token.id, address, max).await;
        if !bound.map_err(|error| unavailable(&error.into()))? {
            return Err(denied(&PublishDenied::AddressNotAllowed));
        }
    }
    Ok(token)
}

pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> PublishRefused {
    PublishRefused { code, message: message.into() }
}

fn denied(reason: &PublishDenied) -> PublishRefused {
    let code = match reason {
        PublishDenied::UnknownToken => "unknown_token",
        PublishDenied::Inactive => "token_inactive",
        PublishDenied::Expired => "token_expired",
        PublishDenied::StreamNotAllowed => "stream_not_allowed",
        PublishDenied::AddressNotAllowed => "address_not_allowed",
        PublishDenied::SourceNotAllowed => "source_not_allowed",
    };
    refused(code, reason.to_string())
}

/// The publisher is told to come again; the log gets the reason.
pub(crate) fn unavailable(error: &RecorderError) -> PublishRefused {
    tracing::error!(error = chain(error), "a publisher cannot be admitted");
    refused("unavailable", "The server cannot take streams right now; try again")
}
