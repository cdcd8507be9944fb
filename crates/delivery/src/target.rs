//! The outbound guard: which URLs a webhook may have and which answers of the resolver may be used.
//!
//! `api` asks when a webhook is registered, `sender` at every attempt: [`check_url`] before the name is
//! resolved, [`check_answers`] on everything the resolver said, then it connects to one of exactly
//! those addresses. A literal in the URL passes the same check as a resolved name, because HTTP
//! clients do not ask their resolver about literals.

use std::net::IpAddr;

use url::{Host, Url};

use crate::address::{TargetPolicy, check_address};

/// Longest URL, in bytes of its normalised form.
pub const URL_BYTES_MAX: usize = 2048;

/// Longest host name, in bytes (RFC 1035 §2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// Why a request may not be sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefused {
    /// Not an absolute URL.
    #[error("the webhook URL cannot be read: {0}")]
    NotAUrl(url::ParseError),
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the webhook URL is {0} bytes long: at most 2048 are accepted")]
    UrlTooLong(usize),
    /// Neither `http` nor `https`.
    #[error("the webhook URL begins with `{0}:`: only http and https are accepted")]
    Scheme(String),
    /// No host, or a name longer than [`HOST_BYTES_MAX`].
    #[error("the webhook URL has no usable host name: it has to hold 1 to 253 bytes")]
    Host,
    /// `user:password@`.
    #[error(
        "the webhook URL holds a user name or password: requests are proven by their signature, leave it out"
    )]
    Credentials,
    /// An address outside the public Internet that is not allow-listed.
    #[error(
        "{address} may not be reached: it is {range}. The operator can allow a private range with --webhook-allow"
    )]
    Address {
        /// As the URL or the resolver had it.
        address: IpAddr,
        /// The range it falls in.
        range: &'static str,
    },
    /// A cloud metadata service.
    #[error("{address} may never be reached: it is a cloud metadata service, which no allow-list opens")]
    Metadata {
        /// As the URL or the resolver had it.
        address: IpAddr,
    },
    /// The resolver gave nothing.
    #[error("the host name has no address")]
    NoAddress,
}

impl TargetRefused {
    /// The stable word for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAUrl(_) => "url_invalid",
            Self::UrlTooLong(_) => "url_too_long",
            Self::Scheme(_) => "url_scheme",
            Self::Host => "url_host",
            Self::Credentials => "url_credentials",
            Self::Address { .. } => "target_not_public",
            Self::Metadata { .. } => "target_metadata",
            Self::NoAddress => "target_without_address",
        }
    }
}

/// Reads and checks the URL of a webhook: [`check_url`] on text.
pub fn parse_url(text: &str, policy: &TargetPolicy) -> Result<Url, TargetRefused> {
    // Before parsing, so that a long text costs nothing.
    if text.len() > URL_BYTES_MAX {
        return Err(TargetRefused::UrlTooLong(text.len()));
    }
    let url = Url::parse(text).map_err(TargetRefused::NotAUrl)?;
    check_url(&url, policy)?;
    Ok(url)
}

/// Checks all that can be known of a URL without resolving its host.
///
/// The `url` crate has already brought every spelling of an IPv4 literal (`127.1`, `0x7f.0.0.1`,
/// `0177.0.0.1`, `2130706433`, full-width digits) to one form, as WHATWG URL §3.5 demands.
pub fn check_url(url: &Url, policy: &TargetPolicy) -> Result<(), TargetRefused> {
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(TargetRefused::UrlTooLong(url.as_str().len()));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetRefused::Scheme(url.scheme().chars().take(32).collect()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetRefused::Credentials);
    }
    match url.host() {
        Some(Host::Ipv4(address)) => check_address(IpAddr::V4(address), policy),
        Some(Host::Ipv6(address)) => check_address(IpAddr::V6(address), policy),
        Some(Host::Domain(name)) => check_name(name, policy),
        None => Err(TargetRefused::Host),
    }
}

fn check_name(name: &str, policy: &TargetPolicy) -> Result<(), TargetRefused> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return Err(TargetRefused::Host);
    }
    // RFC 6761 §6.3: these names are the loopback whatever a resolver says, so registration can
    // already tell the user.
    if name == "localhost" || name.ends_with(".localhost") {
        return check_address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), policy);
    }
    Ok(())
}

/// Checks everything the resolver answered for one name. One forbidden address refuses them all: a
/// name that is public and private at once is an attack or a mistake, and which address a client
/// ends up with is chance.
pub fn check_answers(addresses: &[IpAddr], policy: &TargetPolicy) -> Result<(), TargetRefused> {
    if addresses.is_empty() {
        return Err(TargetRefused::NoAddress);
    }
    addresses.iter().try_for_each(|address| check_address(*address, policy))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str, allowed: &[&str]) -> &'static str {
        let policy = TargetPolicy::new(allowed.iter().map(|net| net.parse().unwrap()).collect());
        parse_url(text, &policy).map_or_else(|refused| refused.code(), |_| "ok")
    }

    /// Every spelling of the loopback and of the metadata address that clients are known to accept.
    #[test]
    fn literals_in_every_spelling_are_judged() {
        let loopback = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7f.0.0.1",
            "0x7F000001",
            "0177.0.0.1",
            "0177.1",
            "2130706433",
            "017700000001",
            "127.0.0.1.",
            "127.0.0.01",
            "127.255.255.254",
            "0",
            "0.0.0.0",
            "0x0",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "%31%32%37.0.0.1",
            "127.0.0.%31",
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "127.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "l%6fcalhost",
        ];
        for host in loopback {
            for scheme in ["http", "https"] {
                assert_eq!(code(&format!("{scheme}://{host}:8080/hook"), &[]), "target_not_public", "{host}");
            }
        }
        let metadata = [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:a9fe:a9fe]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "168.63.129.16",
        ];
        for host in metadata {
            assert_eq!(code(&format!("http://{host}/"), &["0.0.0.0/0", "::/0"]), "target_metadata", "{host}");
        }
    }

    #[test]
    fn what_is_allow_listed_or_public_passes() {
        assert_eq!(code("https://hooks.example.com/a?b=c#d", &[]), "ok");
        assert_eq!(code("http://8.8.8.8:9000", &[]), "ok");
        assert_eq!(code("https://[2606:4700::1111]/", &[]), "ok");
        assert_eq!(code("http://127.1:9000/hook", &["127.0.0.0/8"]), "ok");
        assert_eq!(code("http://localhost:9000/hook", &["::1/128"]), "ok");
        assert_eq!(code("https://localhost.example.com/", &[]), "ok");
        assert_eq!(code("https://bücher.example/", &[]), "ok");
    }

    #[test]
    fn what_is_no_webhook_url_is_refused() {
        assert_eq!(code("", &[]), "url_invalid");
        assert_eq!(code("/hook", &[]), "url_invalid");
        assert_eq!(code("http://", &[]), "url_invalid");
        assert_eq!(code("http://[fe80::1%25eth0]/", &[]), "url_invalid");
        assert_eq!(code("http://256.256.256.256/", &[]), "url_invalid");
        assert_eq!(code("http://1.2.3.4.5/", &[]), "url_invalid");
        assert_eq!(code("ftp://example.com/", &[]), "url_scheme");
        assert_eq!(code("file:///etc/passwd", &[]), "url_scheme");
        assert_eq!(code("gopher://127.0.0.1:25/", &[]), "url_scheme");
        assert_eq!(code("javascript:alert(1)", &[]), "url_scheme");
        assert_eq!(code("https://user@example.com/", &[]), "url_credentials");
        assert_eq!(code("https://:pass@example.com/", &[]), "url_credentials");
        assert_eq!(code("http://./", &[]), "url_host");
        assert_eq!(code(&format!("http://{}.com/", ["a"; 127].join(".")), &[]), "url_host");
        assert_eq!(code(&format!("http://example.com/{}", "a".repeat(2048)), &[]), "url_too_long");
        // 3 bytes become 9 when they are percent-encoded.
        assert_eq!(code(&format!("http://example.com/{}", "€".repeat(600)), &[]), "url_too_long");
    }

    #[test]
    fn backslashes_and_at_signs_do_not_hide_the_host() {
        assert_eq!(code("http:\\\\127.0.0.1\\@example.com/", &[]), "target_not_public");
        assert_eq!(code("http://example.com\\@127.0.0.1/", &[]), "ok");
        assert_eq!(code("http://example.com@127.0.0.1/", &[]), "url_credentials");
        assert_eq!(code("http:127.0.0.1/", &[]), "target_not_public");
        assert_eq!(code("http://127.0.0.1\t/", &[]), "target_not_public");
    }

    #[test]
    fn one_forbidden_answer_refuses_them_all() {
        let check = |answers: &[&str]| {
            let answers: Vec<IpAddr> = answers.iter().map(|answer| answer.parse().unwrap()).collect();
            check_answers(&answers, &TargetPolicy::default()).map_err(|refused| refused.code())
        };
        assert_eq!(check(&["8.8.8.8", "2606:4700::1111"]), Ok(()));
        assert_eq!(check(&["8.8.8.8", "10.0.0.1"]), Err("target_not_public"));
        assert_eq!(check(&["8.8.8.8", "::ffff:169.254.169.254"]), Err("target_metadata"));
        assert_eq!(check(&[]), Err("target_without_address"));
    }

    proptest! {
        /// The guard judges one reading of a URL, the request is built from another.
        #[test]
        fn what_passes_names_one_host_to_both_parsers(
            host in "[0-9a-zA-Z.:%@\\\\\\[\\]_~!$&'()*+,;=#?/-]{1,30}|\\PC{1,12}",
            path in "[/\\\\?#a-z%0-9@:]{0,12}",
        ) {
            if let Ok(mut url) = parse_url(&format!("https://{host}{path}"), &TargetPolicy::default()) {
                url.set_fragment(None);
                if let Ok(uri) = url.as_str().parse::<http::Uri>() {
                    prop_assert_eq!(uri.host(), url.host_str(), "{}", url);
                    prop_assert_eq!(uri.port_u16(), url.port(), "{}", url);
                }
                prop_assert_eq!(parse_url(url.as_str(), &TargetPolicy::default()), Ok(url));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*", host in "[0-9a-fA-FxX.:%\\[\\]]{0,40}") {
            let _ = parse_url(&text, &TargetPolicy::default());
            let _ = parse_url(&format!("http://{host}/"), &TargetPolicy::default());
        }

        #[test]
        fn every_spelling_of_a_private_address_is_refused(last in any::<[u8; 3]>(), form in 0..5) {
            let [b, c, d] = last;
            let number = u32::from_be_bytes([10, b, c, d]);
            let host = match form {
                0 => format!("10.{b}.{c}.{d}"),
                1 => format!("{number}"),
                2 => format!("{number:#x}"),
                3 => format!("012.{:#o}.{c}.{d}", b).replace("0o", "0"),
                _ => format!("[::ffff:{:x}:{:x}]", number >> 16, number & 0xffff),
            };
            let refused = parse_url(&format!("http://{host}/"), &TargetPolicy::default());
            prop_assert!(matches!(refused, Err(TargetRefused::Address { .. })), "{host}: {refused:?}");
        }
    }
}
