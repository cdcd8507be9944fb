//! Reads the body that asks for a clip.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use mediahooks_model::{CutMode, GapMode, StreamName, TargetFormat, Timestamp, TokenId};
use mediahooks_recorder::{ClipError, ClipRequest, Idempotency};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::envelope::FailData;
use crate::errors::{ApiError, Result};
use crate::extract::members::{Members, pascal};

/// Characters that a name may not contain: it becomes an object's name in storage.
const FORBIDDEN_IN_NAME: &str = "\r\n#[]*?:\"“”<>|/{}^%`~";

/// Longest `Idempotency-Key`, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Reads a request that arrived at `received`.
pub(crate) fn read(mut body: Members, headers: &HeaderMap, received: Timestamp) -> Result<ClipRequest> {
    refuse_unavailable(&mut body)?;
    let range = read_range(&mut body);
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
    let gaps = read_word(&mut body, "gaps", &GapMode::ALL.map(GapMode::as_str));
    let cut = read_word(&mut body, "cut", &CutMode::ALL.map(CutMode::as_str));
    let target_format = read_word(&mut body, "targetFormat", &TargetFormat::ALL.map(TargetFormat::as_str));
    let expiration = body.optional("expiration");
    let parsed = range.zip(stream_name).map(|(range, stream_name)| ClipRequest {
        stream_name,
        start: range.start(received),
        stop: range.stop(received),
        token,
        source_id,
        simulcast_id,
        priority,
        gaps: gaps.unwrap_or_default(),
        cut: cut.unwrap_or_default(),
        target_format,
        name,
        expiration,
        media_distribution_id,
        custom_path,
        received,
        idempotency: None,
    });
    let mut request = body.finish(parsed)?;
    request.idempotency = idempotency(headers, &request, range)?;
    Ok(request)
}

/// The range as it was asked for.
#[derive(Clone, Copy)]
struct Range {
    from: From,
    to: Option<To>,
}

#[derive(Clone, Copy)]
enum From {
    At(Timestamp),
    /// So long before the request arrived.
    Last(Duration),
}

#[derive(Clone, Copy)]
enum To {
    At(Timestamp),
    /// So long after the request arrived.
    Next(Duration),
}

impl Range {
    fn start(self, received: Timestamp) -> Timestamp {
        match self.from {
            From::At(start) => start,
            From::Last(span) => received.minus(span),
        }
    }

    fn stop(self, received: Timestamp) -> Option<Timestamp> {
        self.to.map(|to| match to {
            To::At(stop) => stop,
            To::Next(span) => received.plus(span),
        })
    }

    /// The same however often and whenever it is asked for.
    fn meaning(self) -> [Value; 4] {
        let (start, last) = match self.from {
            From::At(start) => (json!(start), Value::Null),
            From::Last(span) => (Value::Null, json!(span.as_secs_f64())),
        };
        let (stop, next) = match self.to {
            Some(To::At(stop)) => (json!(stop), Value::Null),
            Some(To::Next(span)) => (Value::Null, json!(span.as_secs_f64())),
            None => (Value::Null, Value::Null),
        };
        [start, stop, last, next]
    }
}

/// Reads when the range begins and ends; absent only after an error was noted.
fn read_range(body: &mut Members) -> Option<Range> {
    // What comes next begins now. A span that cannot be read is told, and stands for a start all the same.
    let is_relative = body.has("last") || body.has("next");
    let last = read_seconds(body, "last");
    let next = read_seconds(body, "next");
    let stop: Option<Timestamp> = body.optional("stopTime");
    let start: Option<Timestamp> =
        if is_relative { body.optional("startTime") } else { body.required("startTime") };
    if last.is_some() && start.is_some() {
        body.error("last", "Last counts back from now; leave either it or startTime out.");
    }
    if next.is_some() && stop.is_some() {
        body.error("next", "Next counts on from now; leave either it or stopTime out.");
    }
    let from = match (start, last, next) {
        (Some(start), ..) => From::At(start),
        (None, Some(last), _) => From::Last(last),
        (None, None, Some(_)) => From::Last(Duration::ZERO),
        (None, None, None) => return None,
    };
    Some(Range { from, to: next.map(To::Next).or(stop.map(To::At)) })
}

/// Reads a span in seconds. Longer ones than a year mean no more.
fn read_seconds(body: &mut Members, name: &str) -> Option<Duration> {
    const YEAR_S: f64 = 366.0 * 86_400.0;
    let seconds: f64 = body.optional(name)?;
    if !(0.0..=YEAR_S).contains(&seconds) {
        body.error(name, format!("The field {} must be a number of seconds from 0 on.", pascal(name)));
        return None;
    }
    Some(Duration::from_secs_f64(seconds))
}

/// Reads a member that is one of a few words.
fn read_word<T: FromStr>(body: &mut Members, name: &'static str, words: &[&str]) -> Option<T> {
    let word: String = body.optional(name)?;
    match word.parse() {
        Ok(read) => Some(read),
        Err(_) => {
            let expected = words.join(", ");
            body.error(
                name,
                format!("The value is not valid for {}: expected one of {expected}.", pascal(name)),
            );
            None
        }
    }
}

/// What the hosted service can do and this server cannot, or not yet.
fn refuse_unavailable(body: &mut Members) -> Result<()> {
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

fn idempotency(
    headers: &HeaderMap,
    request: &ClipRequest,
    range: Option<Range>,
) -> Result<Option<Idempotency>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = std::str::from_utf8(value.as_bytes()).map(str::trim).unwrap_or_default();
    if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) {
        let message = format!("The Idempotency-Key header must have 1 to {KEY_CHARS_MAX} characters");
        return Err(ApiError::about("idempotencyKey", message));
    }
    Ok(Some(Idempotency { key: key.to_owned(), fingerprint: fingerprint(request, range) }))
}

/// What was asked, without when.
fn fingerprint(request: &ClipRequest, range: Option<Range>) -> [u8; 32] {
    let meaning = json!({
        "streamName": request.stream_name,
        "range": range.map(Range::meaning),
        "gaps": request.gaps,
        "cut": request.cut,
        "targetFormat": request.target_format,
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
        // The message is the one that clients of the hosted service know.
        ClipError::NoTimelines(why) => {
            let data = FailData { reason: Some(why.to_string()), ..FailData::new(message) };
            ApiError::with_data(StatusCode::BAD_REQUEST, data)
        }
        ClipError::StartsInFuture { .. } => ApiError::invalid("StartTime", message),
        ClipError::StopNotAfterStart | ClipError::TooShort { .. } | ClipError::TooLong { .. } => {
            ApiError::invalid("StopTime", message)
        }
        ClipError::Gaps { .. } | ClipError::TooManyClips { .. } => ApiError::about("gaps", message),
        ClipError::NotInWebm { .. } => ApiError::about("targetFormat", message),
        ClipError::ExpiresInPast => ApiError::invalid("Expiration", message),
        ClipError::KeyReused => ApiError::about("idempotencyKey", message),
        ClipError::CustomPathTaken | ClipError::CustomPathForSeveral { .. } => {
            ApiError::about("customPath", message)
        }
        ClipError::Internal(error) => error.into(),
    }
}
