//! Judges the head of a response: does it go on where we stopped, begin anew, or refuse?
//! Pure. [`super::Download`] acts on the [`Plan`].

use std::time::Duration;

use http::{HeaderMap, StatusCode, Version, header};

use super::error::{AttemptError, DownloadError, Failure};

/// What matters of a response before its body.
#[derive(Debug, Clone)]
pub(super) struct ReplyHead {
    pub status: StatusCode,
    /// Bytes of this body.
    pub content_length: Option<u64>,
    /// A strong validator. A weak one (`W/…`) does not vouch for bytes, so it is left out.
    pub etag: Option<String>,
    pub content_range: Option<ContentRange>,
    pub retry_after: Option<Duration>,
    /// Whether the end of the body is marked, so that it cannot be mistaken for a broken connection.
    pub framed: bool,
    pub encoded: bool,
}

/// `Content-Range` (RFC 9110 §14.4), bytes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentRange {
    Part { first: u64, last: u64, total: Option<u64> },
    Unsatisfied { total: u64 },
}

impl ReplyHead {
    pub(super) fn of(response: &reqwest::Response) -> Self {
        Self::read(response.status(), response.version(), response.headers())
    }

    fn read(status: StatusCode, version: Version, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let content_length = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        Self {
            status,
            content_length,
            etag: text(header::ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned),
            content_range: text(header::CONTENT_RANGE).and_then(parse_content_range),
            retry_after: text(header::RETRY_AFTER)
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            framed: content_length.is_some() || chunked || version >= Version::HTTP_2,
            encoded: text(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity"),
        }
    }
}

/// Reads `bytes 5-9/10`, `bytes 5-9/*` and `bytes */10`.
fn parse_content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    if range == "*" {
        return Some(ContentRange::Unsatisfied { total: total.parse().ok()? });
    }
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some(ContentRange::Part { first: first.parse().ok()?, last: last.parse().ok()?, total })
}

/// What to do with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// The body is the whole file: drop what is there and take it.
    FromStart { total: Option<u64> },
    /// The body is the rest.
    Continue { total: u64 },
    /// Everything is there already.
    Whole { total: u64 },
    /// The range makes no sense: drop what is there and ask again.
    Restart,
}

impl Plan {
    pub(super) fn total(self) -> Option<u64> {
        match self {
            Self::FromStart { total } => total,
            Self::Continue { total } | Self::Whole { total } => Some(total),
            Self::Restart => None,
        }
    }
}

/// Decides what the response means when `have` bytes of the file with `validator` are on disk.
pub(super) fn judge(head: &ReplyHead, have: u64, validator: Option<&str>) -> Result<Plan, Failure> {
    match head.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT if head.encoded => Err(DownloadError::Encoded.into()),
        StatusCode::OK if !head.framed => Err(DownloadError::NoLength.into()),
        StatusCode::OK => Ok(Plan::FromStart { total: head.content_length }),
        StatusCode::PARTIAL_CONTENT => Ok(judge_part(head, have, validator)),
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => Ok(judge_unsatisfied(head, have, validator)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(passing(head))
        }
        status if status.is_server_error() => Err(passing(head)),
        status => Err(DownloadError::Refused(status).into()),
    }
}

fn passing(head: &ReplyHead) -> Failure {
    Failure::Passing { error: AttemptError::Status(head.status), retry_after: head.retry_after }
}

/// Whether the response speaks of the file that we have a part of. A server may leave the ETag out of a
/// 416; a 206 has to have it (RFC 9110 §15.3.7), but `If-Range` has vouched for it already.
fn same_file(head: &ReplyHead, validator: Option<&str>) -> bool {
    validator.is_some() && (head.etag.is_none() || head.etag.as_deref() == validator)
}

fn judge_part(head: &ReplyHead, have: u64, validator: Option<&str>) -> Plan {
    match head.content_range {
        Some(ContentRange::Part { first, last, total: Some(total) })
            if first == have && last.checked_add(1) == Some(total) && same_file(head, validator) =>
        {
            Plan::Continue { total }
        }
        _ => Plan::Restart,
    }
}

/// 416 comes when everything was received but not yet renamed: nothing lies behind the last byte.
fn judge_unsatisfied(head: &ReplyHead, have: u64, validator: Option<&str>) -> Plan {
    match head.content_range {
        Some(ContentRange::Unsatisfied { total }) if total == have && same_file(head, validator) => {
            Plan::Whole { total }
        }
        _ => Plan::Restart,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(status: u16, headers: &[(&str, &str)]) -> ReplyHead {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<header::HeaderName>().unwrap(), value.parse::<header::HeaderValue>().unwrap())
            })
            .collect();
        ReplyHead::read(StatusCode::from_u16(status).unwrap(), Version::HTTP_11, &headers)
    }

    /// Judges with 5 bytes of `"v1"` on disk.
    fn plan(status: u16, headers: &[(&str, &str)]) -> Plan {
        match judge(&head(status, headers), 5, Some("\"v1\"")) {
            Ok(plan) => plan,
            Err(Failure::Passing { error, .. }) => panic!("{error}"),
            Err(Failure::Lasting(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_rest_is_taken_only_when_it_fits_exactly() {
        let part = |range, etag| plan(206, &[("content-range", range), ("etag", etag)]);
        assert_eq!(part("bytes 5-9/10", "\"v1\""), Plan::Continue { total: 10 });
        assert_eq!(part("bytes 5-9/10", "\"v2\""), Plan::Restart);
        assert_eq!(part("bytes 4-9/10", "\"v1\""), Plan::Restart);
        assert_eq!(part("bytes 5-8/10", "\"v1\""), Plan::Restart);
        assert_eq!(part("bytes 5-9/*", "\"v1\""), Plan::Restart);
        assert_eq!(part("bytes 5-18446744073709551615/0", "\"v1\""), Plan::Restart);
        assert_eq!(plan(206, &[]), Plan::Restart);
        assert_eq!(plan(206, &[("content-range", "bytes 5-9/10")]), Plan::Continue { total: 10 });
    }

    #[test]
    fn a_whole_body_begins_anew() {
        assert_eq!(plan(200, &[("content-length", "10")]), Plan::FromStart { total: Some(10) });
        assert_eq!(plan(200, &[("transfer-encoding", "chunked")]), Plan::FromStart { total: None });
    }

    #[test]
    fn nothing_behind_the_last_byte_means_whole() {
        assert_eq!(plan(416, &[("content-range", "bytes */5")]), Plan::Whole { total: 5 });
        assert_eq!(plan(416, &[("content-range", "bytes */9")]), Plan::Restart);
        assert_eq!(plan(416, &[("content-range", "bytes */5"), ("etag", "\"v2\"")]), Plan::Restart);
        assert_eq!(plan(416, &[]), Plan::Restart);
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let lasting = |status, headers: &[_]| {
            matches!(judge(&head(status, headers), 5, None), Err(Failure::Lasting(_)))
        };
        for status in [204, 301, 400, 401, 403, 404, 410] {
            assert!(lasting(status, &[]), "{status}");
        }
        assert!(lasting(200, &[]), "the end could not be noticed");
        assert!(lasting(200, &[("content-length", "3"), ("content-encoding", "gzip")]));
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(!lasting(status, &[]), "{status}");
        }
        let busy = judge(&head(503, &[("retry-after", "7")]), 0, None);
        assert!(matches!(busy, Err(Failure::Passing { retry_after: Some(wait), .. }) if wait.as_secs() == 7));
    }

    #[test]
    fn a_weak_validator_does_not_vouch_for_bytes() {
        assert_eq!(head(200, &[("etag", "W/\"v1\"")]).etag, None);
        assert_eq!(head(200, &[("etag", "\"v1\"")]).etag.as_deref(), Some("\"v1\""));
    }

    proptest! {
        #[test]
        fn no_content_range_panics(text in "\\PC*", first in any::<u64>(), last in any::<u64>(), total in any::<u64>()) {
            let _ = parse_content_range(&text);
            let range = format!("bytes {first}-{last}/{total}");
            prop_assert_eq!(
                parse_content_range(&range),
                Some(ContentRange::Part { first, last, total: Some(total) })
            );
            let _ = plan(206, &[("content-range", &range)]);
        }
    }
}
