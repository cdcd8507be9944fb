//! Headers that a webhook's owner adds to its requests: which may be set, and what of them may be shown.
//!
//! `api` asks [`check_headers`] when a webhook is registered; `sender` sends what was stored and asks
//! [`shown_value`] before it writes a request into the delivery log. What always holds: a header that
//! passed cannot change how the request is framed, routed, signed or traced.

use std::collections::BTreeMap;

/// Most headers of one webhook.
pub const HEADERS_MAX: usize = 16;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;

/// What stands in place of a value that is not shown.
pub const MASKED: &str = "***";

/// Names that decide how a request is framed, routed or understood, or that say who sends it. Hop-by-hop
/// ones: RFC 9110 §7.6.1 and RFC 2616 §13.5.1.
const REFUSED: [&str; 31] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "alt-used",
    "connection",
    "date",
    "early-data",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "method",
    "origin",
    "range",
    "referer",
    "te",
    "trace-parent",
    "traceparent",
    "tracestate",
    "baggage",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
    "x-method-override",
    "x-original-url",
];

/// Families of names, for the same reasons: a receiver must be able to trust what is in them.
const REFUSED_PREFIXES: [&str; 10] = [
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "svix-",
    "webhook-",
    "x-forwarded-",
    "x-http-method",
    "x-millicast-",
    "x-rewrite-",
];

/// Parts of names whose values are credentials.
const SECRET_NAMES: [&str; 12] = [
    "auth",
    "bearer",
    "cookie",
    "credential",
    "hmac",
    "key",
    "pass",
    "secret",
    "session",
    "signature",
    "token",
    "jwt",
];

/// Values this long without a space that mix letters and digits may be credentials, whatever their name.
const SECRET_CHARS_MIN: usize = 16;

/// Why a header cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// More than [`HEADERS_MAX`].
    #[error("{0} headers are too many: a webhook has at most 16")]
    TooMany(usize),
    /// Empty, or longer than [`NAME_BYTES_MAX`], or not a token (RFC 9110 §5.6.2).
    #[error(
        "`{0}` cannot be the name of a header: use 1 to 64 letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~"
    )]
    Name(String),
    /// On the deny-list.
    #[error("the header `{0}` cannot be set: it is the sender's own")]
    Refused(String),
    /// The same name twice in different case.
    #[error("the header `{0}` is there twice: names do not depend on case")]
    Twice(String),
    /// Longer than [`VALUE_BYTES_MAX`], or holding a control character or anything beyond ASCII.
    #[error(
        "the value of the header `{0}` cannot be sent: use up to 1024 bytes of visible ASCII, with spaces between"
    )]
    Value(String),
}

/// Checks the headers of a webhook and returns them as they are stored: names in lower case, values without
/// the spaces around them.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, InvalidHeader> {
    if headers.len() > HEADERS_MAX {
        return Err(InvalidHeader::TooMany(headers.len()));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in headers {
        let name = check_name(name)?;
        let value = value.trim_matches(' ');
        let is_sendable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if value.len() > VALUE_BYTES_MAX || !value.bytes().all(is_sendable) {
            return Err(InvalidHeader::Value(name));
        }
        if checked.insert(name.clone(), value.to_owned()).is_some() {
            return Err(InvalidHeader::Twice(name));
        }
    }
    Ok(checked)
}

fn check_name(name: &str) -> Result<String, InvalidHeader> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_token) {
        return Err(InvalidHeader::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    let name = name.to_ascii_lowercase();
    // CGI and its heirs make the same variable of `-` and `_`, so `content_length` is `content-length` to them.
    let judged = name.replace('_', "-");
    let is_refused = REFUSED.contains(&judged.as_str())
        || REFUSED_PREFIXES.iter().any(|prefix| judged.starts_with(prefix));
    if is_refused { Err(InvalidHeader::Refused(name)) } else { Ok(name) }
}

/// What the delivery log shows of a header's value: [`MASKED`] when it may be a credential.
pub fn shown_value<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    let is_named_secret = SECRET_NAMES.iter().any(|part| name.contains(part));
    let looks_random = |word: &str| {
        word.len() >= SECRET_CHARS_MIN
            && word.bytes().any(|byte| byte.is_ascii_alphabetic())
            && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    if is_named_secret || value.split(' ').any(looks_random) { MASKED } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, value: &str) -> Result<BTreeMap<String, String>, InvalidHeader> {
        check_headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_identifies_a_tenant_or_proves_a_client_may_be_set() {
        for name in
            ["Authorization", "X-Api-Key", "x-tenant", "Cookie", "X-GitHub-Event", "cf-access-client-id"]
        {
            let checked = check(name, " Bearer abc ").unwrap();
            assert_eq!(checked, BTreeMap::from([(name.to_lowercase(), "Bearer abc".to_owned())]), "{name}");
        }
        assert_eq!(check("x-empty", "").unwrap()["x-empty"], "");
    }

    #[test]
    fn what_frames_routes_signs_or_traces_a_request_may_not() {
        let ours = [
            "Host",
            "Connection",
            "Content-Length",
            "content-type",
            "Content_Length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
            "Proxy-Authorization",
            "Expect",
            "webhook-id",
            "Webhook-Signature",
            "svix-id",
            "X-Millicast-Signature",
            "x_millicast_signature",
            "User-Agent",
            "traceparent",
            "Forwarded",
            "X-Forwarded-For",
            "X-HTTP-Method-Override",
        ];
        for name in ours {
            assert!(matches!(check(name, "x"), Err(InvalidHeader::Refused(_))), "{name}");
        }
    }

    #[test]
    fn nothing_leaves_its_line() {
        for value in ["a\r\nhost: b", "a\nb", "a\rb", "a\0b", "\u{7f}", "tab\tbed", "grün", "\n"] {
            assert!(matches!(check("x-a", value), Err(InvalidHeader::Value(_))), "{value:?}");
        }
        for name in ["", "a b", "a:", ":path", "a\r\nb", "a\0", "ü", "(a)", "a\"", &"a".repeat(65)] {
            assert!(matches!(check(name, "x"), Err(InvalidHeader::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn number_and_length_are_bounded() {
        let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), String::new())).collect();
        assert!(check_headers(&many(16)).is_ok());
        assert_eq!(check_headers(&many(17)), Err(InvalidHeader::TooMany(17)));
        assert!(check("x-a", &"a".repeat(1024)).is_ok());
        assert_eq!(check("x-a", &"a".repeat(1025)), Err(InvalidHeader::Value("x-a".into())));
        let twice = BTreeMap::from([("X-A".into(), "1".into()), ("x-a".into(), "2".into())]);
        assert_eq!(check_headers(&twice), Err(InvalidHeader::Twice("x-a".into())));
    }

    #[test]
    fn credentials_are_not_shown() {
        for (name, value) in [
            ("authorization", "Basic YTpi"),
            ("x-api-key", "1"),
            ("cookie", "a=b"),
            ("x-shared-secret", "s"),
            ("x-tenant", "3f9a0c77b1d24e6f"),
        ] {
            assert_eq!(shown_value(name, value), MASKED, "{name}");
        }
        for (name, value) in [("x-tenant", "north-east"), ("x-env", "prod 2"), ("x-empty", "")] {
            assert_eq!(shown_value(name, value), value);
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_is_one_line_of_a_request(name in "\\PC{0,70}|[a-zA-Z_-]{1,20}", value in "(?s).{0,40}") {
            if let Ok(checked) = check(&name, &value) {
                let (name, value) = checked.first_key_value().unwrap();
                let line = format!("{name}: {value}");
                prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
                prop_assert_eq!(&check_headers(&checked), &Ok(checked.clone()));
            }
        }
    }
}
