//! What a publisher asks for: stream name, token and parameters, out of the many ways in which
//! encoders split `rtmp://HOST/v2/pub/NAME?token=HEX&...` into app, `tcUrl` and stream key.
//!
//! Pure. The path and query of the app and of the key are joined before they are read, so every
//! split of one URL gives the same target.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// The path before the stream name in every publish URL.
const PUBLISH_PATH: &str = "v2/pub";

/// Hexadecimal digits of a token.
const TOKEN_HEX_DIGITS: usize = 64;

/// Characters of app and stream key together; a real one has a few hundred.
const TARGET_LENGTH_MAX: usize = 4096;

/// The stream to publish to, and with what right.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishTarget {
    /// Name of the stream, decoded; may contain `/`.
    pub stream_name: String,
    /// The publish token in lower-case hexadecimal, whether it came as `token` or as `t`. Secret:
    /// never logged, and left out of `Debug`.
    pub token_hex: Option<String>,
    /// The other query parameters in the order given, decoded. One without value has an empty one.
    pub params: Vec<(String, String)>,
}

impl fmt::Debug for PublishTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishTarget")
            .field("stream_name", &self.stream_name)
            .field("token_hex", &self.token_hex.as_ref().map(|_| "<secret>"))
            .field("params", &self.params)
            .finish()
    }
}

/// Why a publish URL cannot be used. The messages are sent to the encoder and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The path does not begin with `v2/pub`.
    #[error("this server takes streams at rtmp://HOST/v2/pub; set that as the server address of the encoder")]
    WrongApp,
    /// No stream name follows the path.
    #[error("the stream key is empty; set it to STREAM?token=TOKEN")]
    NoStreamName,
    /// App and key are longer than any real ones.
    #[error("the publish URL is longer than {TARGET_LENGTH_MAX} characters")]
    TooLong,
    /// The stream name is not text after decoding.
    #[error("the stream name has control characters or is not UTF-8 after percent-decoding")]
    BadStreamName,
    /// The name looks like a stream key that was mangled; it is not repeated, since it holds the token.
    #[error(
        "the publish token is part of the stream name; set the stream key to STREAM?token=TOKEN, not encoded"
    )]
    TokenInName,
    /// `token` is not hexadecimal or `t` is not base64url.
    #[error(
        "the publish token is malformed: `token` is hexadecimal, `t` is unpadded base64url; copy it again"
    )]
    MalformedToken,
    /// More than one token.
    #[error("the publish URL has more than one token; give either `token` or `t`, once")]
    SeveralTokens,
}

impl TargetError {
    /// Stable identifier of the error, for logs and counters.
    pub fn code(&self) -> &'static str {
        match self {
            TargetError::WrongApp => "wrong_app",
            TargetError::NoStreamName => "no_stream_name",
            TargetError::TooLong => "publish_url_too_long",
            TargetError::BadStreamName => "bad_stream_name",
            TargetError::TokenInName => "token_in_name",
            TargetError::MalformedToken => "malformed_token",
            TargetError::SeveralTokens => "several_tokens",
        }
    }
}

/// Reads the target out of what an RTMP encoder sends.
///
/// - `app`, `tc_url`: of the `connect` command. The URL is only looked at for a query that is
///   missing from the app.
/// - `stream_key`: the name given to the `publish` command.
///
/// # Errors
/// A [`TargetError`] that tells the person at the encoder what to change.
pub fn parse_publish_target(app: &str, tc_url: &str, stream_key: &str) -> Result<PublishTarget, TargetError> {
    if app.len() + stream_key.len() > TARGET_LENGTH_MAX || tc_url.len() > TARGET_LENGTH_MAX {
        return Err(TargetError::TooLong);
    }
    let (app_path, app_query) = split_query(app);
    let (key_path, key_query) = split_query(stream_key);
    let url_query = if app_query.is_empty() { split_query(tc_url).1 } else { app_query };

    let mut query = Query::default();
    query.read(url_query)?;
    query.read(key_query)?;
    Ok(PublishTarget {
        stream_name: stream_name(app_path, key_path)?,
        token_hex: query.token_hex,
        params: query.params,
    })
}

/// Whether a `connect` to `app` can ever lead to a valid target; the rest of the path may still
/// follow in the stream key.
pub(crate) fn is_publish_app(app: &str) -> bool {
    let path = split_query(app).0.trim_matches('/');
    path.len() <= TARGET_LENGTH_MAX
        && (after_publish_path(path).is_some()
            || PUBLISH_PATH.split('/').next() == Some(path)
            || path.is_empty())
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn stream_name(app_path: &str, key_path: &str) -> Result<String, TargetError> {
    let joined = format!("{}/{}", app_path.trim_matches('/'), key_path.trim_matches('/'));
    let encoded = after_publish_path(joined.trim_matches('/')).ok_or(TargetError::WrongApp)?;
    let name = percent_decode_str(encoded.trim_matches('/'))
        .decode_utf8()
        .map_err(|_| TargetError::BadStreamName)?;
    if name.chars().any(char::is_control) {
        return Err(TargetError::BadStreamName);
    }
    if name.is_empty() {
        return Err(TargetError::NoStreamName);
    }
    if holds_token(&name) {
        return Err(TargetError::TokenInName);
    }
    Ok(name.into_owned())
}

/// Whether a name has a token in it: `&` or an encoded `?` before the query are frequent slips, and
/// names are logged.
fn holds_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut hex_run = 0;
    let is_long_hex = |byte: u8| {
        hex_run = if byte.is_ascii_hexdigit() { hex_run + 1 } else { 0 };
        hex_run >= TOKEN_HEX_DIGITS
    };
    name.contains("token=")
        || ["?t=", "&t=", "/t="].iter().any(|mark| name.contains(mark))
        || name.bytes().any(is_long_hex)
}

/// What follows `v2/pub` in `path`, which has no slash at either end.
fn after_publish_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PUBLISH_PATH)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[derive(Default)]
struct Query {
    token_hex: Option<String>,
    params: Vec<(String, String)>,
}

impl Query {
    fn read(&mut self, query: &str) -> Result<(), TargetError> {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "token" => self.set_token(token_from_hex(&value)?)?,
                "t" => self.set_token(token_from_base64(&value)?)?,
                _ => self.params.push((name.into_owned(), value.into_owned())),
            }
        }
        Ok(())
    }

    fn set_token(&mut self, token_hex: String) -> Result<(), TargetError> {
        match self.token_hex.replace(token_hex) {
            None => Ok(()),
            Some(_) => Err(TargetError::SeveralTokens),
        }
    }
}

fn token_from_hex(value: &str) -> Result<String, TargetError> {
    let bytes = hex::decode(value).map_err(|_| TargetError::MalformedToken)?;
    if bytes.is_empty() { Err(TargetError::MalformedToken) } else { Ok(hex::encode(bytes)) }
}

fn token_from_base64(value: &str) -> Result<String, TargetError> {
    let bytes =
        URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).map_err(|_| TargetError::MalformedToken)?;
    if bytes.is_empty() { Err(TargetError::MalformedToken) } else { Ok(hex::encode(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TC_URL: &str = "rtmp://localhost:1935/v2/pub";

    fn check(app: &str, tc_url: &str, stream_key: &str, expected: (&str, Option<&str>, &[(&str, &str)])) {
        let target = parse_publish_target(app, tc_url, stream_key).unwrap();
        let params: Vec<(&str, &str)> = target.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!((target.stream_name.as_str(), target.token_hex.as_deref(), &params[..]), expected);
    }

    fn check_refused(app: &str, stream_key: &str, expected: TargetError) {
        assert_eq!(parse_publish_target(app, TC_URL, stream_key), Err(expected));
    }

    #[test]
    fn every_split_of_one_url_gives_the_same_target() {
        let expected = ("cam", Some("00ff"), &[("sourceId", "a")][..]);
        // ffmpeg and OBS.
        check("v2/pub", TC_URL, "cam?token=00ff&sourceId=a", expected);
        // A slash at the end of the server address.
        check("v2/pub/", "rtmp://h/v2/pub/", "cam?token=00ff&sourceId=a", expected);
        // A slash in front of the key; capital digits.
        check("/v2/pub", TC_URL, "/cam?token=00FF&sourceId=a", expected);
        // The query behind the server address.
        check("v2/pub?token=00ff&sourceId=a", "rtmp://h/v2/pub?token=00ff&sourceId=a", "cam", expected);
        check("v2/pub", "rtmp://h/v2/pub?token=00ff&sourceId=a", "cam", expected);
        check("v2/pub?token=00ff", TC_URL, "cam?sourceId=a", expected);
        // Everything in one of the two fields.
        check("v2/pub/cam?token=00ff&sourceId=a", TC_URL, "", expected);
        check("v2", TC_URL, "pub/cam?token=00ff&sourceId=a", expected);
        check("", TC_URL, "v2/pub/cam?token=00ff&sourceId=a", expected);
    }

    #[test]
    fn stream_names_may_contain_slashes() {
        check("v2/pub", TC_URL, "a/b/c?token=00", ("a/b/c", Some("00"), &[]));
        check("v2/pub/a", TC_URL, "b?token=00", ("a/b", Some("00"), &[]));
    }

    #[test]
    fn percent_encoding_is_undone() {
        check(
            "v2/pub",
            TC_URL,
            "k%C3%BCche%2F1?sourceId=a%26b+c",
            ("küche/1", None, &[("sourceId", "a&b c")]),
        );
        check("v2/pub", TC_URL, "a+b", ("a+b", None, &[]));
        check_refused("v2/pub", "%FF", TargetError::BadStreamName);
        check_refused("v2/pub", "a%0Ab", TargetError::BadStreamName);
    }

    #[test]
    fn a_token_in_the_name_is_refused_and_not_repeated() {
        let token = "5c".repeat(32);
        for key in [
            format!("cam&token={token}"),
            format!("cam%3Ftoken={token}"),
            format!("cam/token={token}"),
            format!("cam/{token}"),
            "cam&t=XHoVKaurq6urq6urq6urq6urq6urq6urq6urq6urq6s".to_owned(),
        ] {
            check_refused("v2/pub", &key, TargetError::TokenInName);
        }
        assert!(!TargetError::TokenInName.to_string().contains(&token));
    }

    #[test]
    fn t_is_the_token_in_base64url() {
        let token = format!("5c7a1529{}", "ab".repeat(28));
        let key = "cam?t=XHoVKaurq6urq6urq6urq6urq6urq6urq6urq6urq6s";
        check("v2/pub", TC_URL, key, ("cam", Some(&token), &[]));
        check("v2/pub", TC_URL, &format!("{key}%3D"), ("cam", Some(&token), &[]));
    }

    #[test]
    fn parameters_keep_order_and_may_lack_a_value() {
        let expected = [("record", ""), ("priority", "-2"), ("simulcastId", "")];
        check("v2/pub", TC_URL, "cam?record&priority=-2&simulcastId=", ("cam", None, &expected));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        check_refused("live", "cam", TargetError::WrongApp);
        check_refused("v2/public", "cam", TargetError::WrongApp);
        check_refused("v2/pub", "", TargetError::NoStreamName);
        check_refused("v2/pub", "?token=00", TargetError::NoStreamName);
        check_refused("v2/pub", "cam?token=", TargetError::MalformedToken);
        check_refused("v2/pub", "cam?token=0g", TargetError::MalformedToken);
        check_refused("v2/pub", "cam?t=a+b", TargetError::MalformedToken);
        check_refused("v2/pub", "cam?token=00&t=AA", TargetError::SeveralTokens);
        check_refused("v2/pub?token=00", "cam?token=01", TargetError::SeveralTokens);
        check_refused("v2/pub", &"a".repeat(5000), TargetError::TooLong);
    }

    #[test]
    fn the_token_is_not_in_the_debug_text() {
        let target = parse_publish_target("v2/pub", TC_URL, "cam?token=00c0ffee").unwrap();
        let text = format!("{target:?}");
        assert!(text.contains("cam") && !text.contains("00c0ffee"), "{text}");
    }

    proptest! {
        #[test]
        fn no_text_panics(app in ".{0,40}", tc_url in ".{0,40}", key in ".{0,60}") {
            let _ = parse_publish_target(&app, &tc_url, &key);
            let _ = parse_publish_target("v2/pub", &tc_url, &key);
            let _ = is_publish_app(&app);
        }

        #[test]
        fn any_split_of_a_name_is_the_same(segments in prop::collection::vec("[a-z0-9]{1,6}", 1..6), at in 0usize..7) {
            let path: Vec<&str> = ["v2", "pub"].into_iter().chain(segments.iter().map(String::as_str)).collect();
            let (app, key) = path.split_at(at.min(path.len()));
            let target = parse_publish_target(&app.join("/"), "", &key.join("/")).unwrap();
            prop_assert_eq!(target.stream_name, segments.join("/"));
        }
    }
}
