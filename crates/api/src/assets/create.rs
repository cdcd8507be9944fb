//! Reads the body that asks for a clip.

use http::HeaderMap;
use mediahooks_model::{StreamName, Timestamp, TokenId};
use mediahooks_recorder::{ClipError, ClipRequest, Idempotency};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::errors::{ApiError, Result};
use crate::extract::members::Members;

/// Characters that a name may not contain: it becomes an object's name in storage.
const FORBIDDEN_IN_NAME: &str = "\r\n#[]*?:\"“”<>|/{}^%`~";

/// Longest `Idempotency-Key`, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Reads a request that arrived at `received`.
pub(crate) fn read(mut body: Members, headers: &HeaderMap, received: Timestamp) -> Result<ClipRequest> {
    refuse_unavailable(&mut body)?;
    let start: Option<Timestamp> = body.required("startTime");
    let stop: Option<Timestamp> = body.optional("stopTime");
    let stream: Option<String> = body.required("streamName");
    let stream_name = stream.and_then(|name| match name.parse::<StreamName>() {
        Ok(name) => Some(name),
        Err(invalid) => {
            body.error("streamName", invalid.to_string());
            None
        }
    });
    let name: Option<String> = body.optional("name");
    body.length("name", name.as_deref(), 1..=256);
    check_name(&mut body, name.as_deref());
    let custom_path: Option<String> = body.optional("customPath");
    body.length("customPath", custom_path.as_deref(), 1..=512);
    let media_distribution_id: Option<String> = body.optional("mediaDistributionId");
    body.length("mediaDistributionId", media_distribution_id.as_deref(), 1..=128);
    let token = body.optional("tokenId").map(TokenId);
    let source_id = body.optional("sourceId");
    let simulcast_id = body.nullable("simulcastId");
    let priority = body.optional("priority");
    let expiration = body.optional("expiration");
    let parsed = start.zip(stream_name).map(|(start, stream_name)| ClipRequest {
        stream_name,
        start,
        stop,
        token,
        source_id,
        simulcast_id,
        priority,
        name,
        expiration,
        media_distribution_id,
        custom_path,
        received,
        idempotency: None,
    });
    let mut request = body.finish(parsed)?;
    request.idempotency = idempotency(headers, &request)?;
    Ok(request)
}

/// What the hosted service can do and this server cannot, or not yet.
fn refuse_unavailable(body: &mut Members) -> Result<()> {
    if let Some(format) = body.optional::<String>("targetFormat")
        && !format.eq_ignore_ascii_case("mp4")
    {
        return Err(if format.eq_ignore_ascii_case("hls") {
            ApiError::about("targetFormat", "targetFormat hls is not available yet; use mp4")
        } else {
            let shown: String = format.chars().take(64).collect();
            ApiError::invalid("TargetFormat", format!("The value '{shown}' is not valid for TargetFormat."))
        });
    }
    if body.optional::<Value>("channelId").is_some() {
        return Err(ApiError::about("channelId", "channelId is not available; use streamName"));
    }
    if let Some(storage) = body.optional::<Map<String, Value>>("storage")
        && !is_own_storage(storage)
    {
        let message =
            "Storage in your own bucket is not available yet; leave storage out and download the file";
        return Err(ApiError::about("storage", message));
    }
    Ok(())
}

/// Nothing chosen, or the service's own storage, for which `options` are ignored.
fn is_own_storage(storage: Map<String, Value>) -> bool {
    let mut storage = Members::new(storage);
    let profile: Option<Value> = storage.optional("profileId");
    let kind: Option<Value> = storage.optional("type");
    let own = |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("dolbyStorage"));
    profile.is_none() && kind.as_ref().is_none_or(own)
}

fn check_name(body: &mut Members, name: Option<&str>) {
    let mut found: Vec<String> = Vec::new();
    for c in name.unwrap_or_default().chars().filter(|c| FORBIDDEN_IN_NAME.contains(*c)) {
        let shown = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        if !found.contains(&shown) {
            found.push(shown);
        }
    }
    if !found.is_empty() {
        body.error("name", format!("Name may not contain character(s) ({})", found.join(", ")));
    }
}

fn idempotency(headers: &HeaderMap, request: &ClipRequest) -> Result<Option<Idempotency>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = std::str::from_utf8(value.as_bytes()).map(str::trim).unwrap_or_default();
    if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) {
        let message = format!("The Idempotency-Key header must have 1 to {KEY_CHARS_MAX} characters");
        return Err(ApiError::about("idempotencyKey", message));
    }
    Ok(Some(Idempotency { key: key.to_owned(), fingerprint: fingerprint(request) }))
}

/// What was asked, without when.
fn fingerprint(request: &ClipRequest) -> [u8; 32] {
    let meaning = json!({
        "streamName": request.stream_name,
        "startTime": request.start,
        "stopTime": request.stop,
        "tokenId": request.token,
        "sourceId": request.source_id,
        // An array tells null from absence.
        "simulcastId": request.simulcast_id.as_ref().map(|id| [id]),
        "priority": request.priority,
        "name": request.name,
        "expiration": request.expiration,
        "mediaDistributionId": request.media_distribution_id,
        "customPath": request.custom_path,
    });
    Sha256::digest(meaning.to_string()).into()
}

/// The reply to a clip that is not made.
pub(crate) fn refused(error: ClipError) -> ApiError {
    let message = error.to_string();
    match error {
        ClipError::NoTimelines => ApiError::fail(message),
        ClipError::StartsInFuture => ApiError::invalid("StartTime", message),
        ClipError::StopNotAfterStart | ClipError::TooShort { .. } | ClipError::TooLong { .. } => {
            ApiError::invalid("StopTime", message)
        }
        ClipError::ExpiresInPast => ApiError::invalid("Expiration", message),
        ClipError::KeyReused => ApiError::about("idempotencyKey", message),
        ClipError::CustomPathTaken | ClipError::CustomPathForSeveral { .. } => {
            ApiError::about("customPath", message)
        }
        ClipError::Internal(error) => error.into(),
    }
}
