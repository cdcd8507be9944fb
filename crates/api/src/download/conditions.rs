//! Evaluates the conditional headers of a download, in the order of RFC 9110 section 13.2.2.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, header};
use mediahooks_model::Timestamp;

use super::range::{Selection, select};

/// What identifies the bytes of a file.
#[derive(Debug, Clone)]
pub(crate) struct Validators {
    /// A strong entity tag, in its quotes.
    pub etag: String,
    /// When the file became what it is.
    pub last_modified: Timestamp,
    /// Bytes.
    pub len: u64,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send these bytes.
    Send(Selection),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl Validators {
    /// As `Last-Modified` shows it; HTTP dates have whole seconds.
    pub(crate) fn http_date(&self) -> String {
        httpdate::fmt_http_date(self.modified())
    }

    fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.last_modified.as_seconds()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// Decides what the headers ask for.
pub(crate) fn decide(method: &Method, headers: &HeaderMap, file: &Validators) -> Decision {
    if let Some(tags) = text(headers, header::IF_MATCH) {
        if !matches_any(&tags, &file.etag, Comparison::Strong) {
            return Decision::PreconditionFailed;
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|date| file.modified() > date) {
        return Decision::PreconditionFailed;
    }
    if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
        if matches_any(&tags, &file.etag, Comparison::Weak) {
            return Decision::NotModified;
        }
    } else if date(headers, header::IF_MODIFIED_SINCE).is_some_and(|date| file.modified() <= date) {
        return Decision::NotModified;
    }
    // RFC 9110 §14.2: Range is only defined for GET.
    let range = (method == Method::GET).then(|| text(headers, header::RANGE)).flatten();
    match range {
        Some(range) if range_applies(headers, file) => Decision::Send(select(&range, file.len)),
        _ => Decision::Send(Selection::Whole),
    }
}

/// `If-Range`: the range only makes sense on the bytes that the client has a part of.
fn range_applies(headers: &HeaderMap, file: &Validators) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    let value = value.trim();
    value == file.etag || httpdate::parse_http_date(value).is_ok_and(|date| date == file.modified())
}

enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags (or `*`) has this one. Our tags are hexadecimal: no commas in them.
fn matches_any(tags: &str, etag: &str, comparison: Comparison) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = match comparison {
            Comparison::Strong => tag,
            Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag),
        };
        tag == "*" || tag == etag
    })
}

/// All lines of a header as one list. Bytes that are not ASCII may be in it (RFC 9110 §5.5), and match nothing of ours.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let lines: Vec<Cow<'_, str>> = lines.collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(method: Method, headers: &[(&'static str, &str)]) -> Decision {
        let file = Validators {
            etag: "\"abc\"".into(),
            last_modified: Timestamp::from_millis(1_700_000_000_900),
            len: 100,
        };
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (http::HeaderName::from_static(name), value)
            })
            .collect();
        decide(&method, &headers, &file)
    }

    const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    #[test]
    fn preconditions_in_their_order() {
        let get = |headers: &[(&'static str, &str)]| decided(Method::GET, headers);
        let whole = Decision::Send(Selection::Whole);
        assert_eq!(get(&[]), whole);
        assert_eq!(get(&[("if-none-match", "\"abc\"")]), Decision::NotModified);
        assert_eq!(get(&[("if-none-match", "\"x\", W/\"abc\"")]), Decision::NotModified);
        assert_eq!(get(&[("if-none-match", "*")]), Decision::NotModified);
        assert_eq!(get(&[("if-none-match", "\"x\""), ("if-modified-since", THEN)]), whole);
        assert_eq!(get(&[("if-modified-since", THEN)]), Decision::NotModified);
        assert_eq!(get(&[("if-modified-since", BEFORE)]), whole);
        assert_eq!(get(&[("if-modified-since", "yesterday")]), whole);
        assert_eq!(get(&[("if-match", "\"abc\"")]), whole);
        assert_eq!(get(&[("if-match", "W/\"abc\"")]), Decision::PreconditionFailed);
        assert_eq!(get(&[("if-match", "\"é\"")]), Decision::PreconditionFailed);
        assert_eq!(get(&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")]), Decision::PreconditionFailed);
        assert_eq!(get(&[("if-unmodified-since", BEFORE)]), Decision::PreconditionFailed);
        assert_eq!(get(&[("if-unmodified-since", THEN)]), whole);
    }

    #[test]
    fn a_range_applies_to_the_same_bytes_and_to_get_only() {
        let range = ("range", "bytes=0-9");
        let part = Decision::Send(Selection::One(0..10));
        let whole = Decision::Send(Selection::Whole);
        assert_eq!(decided(Method::GET, &[range]), part);
        assert_eq!(decided(Method::HEAD, &[range]), whole);
        assert_eq!(decided(Method::GET, &[range, ("if-range", "\"abc\"")]), part);
        assert_eq!(decided(Method::GET, &[range, ("if-range", "W/\"abc\"")]), whole);
        assert_eq!(decided(Method::GET, &[range, ("if-range", THEN)]), part);
        assert_eq!(decided(Method::GET, &[range, ("if-range", BEFORE)]), whole);
    }
}
