//! What the operator chooses about sending, and why a choice cannot work.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use mediahooks_delivery::{HealthPolicy, RetryPolicy, TargetPolicy};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::downloads::DownloadLinks;
use crate::resolver::Lookup;

/// How webhooks are sent. [`SenderConfig::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// When to try again.
    pub retry: RetryPolicy,
    /// When to leave an endpoint alone that keeps failing.
    pub health: HealthPolicy,
    /// What was not delivered so long after its event is given up; default 30 days.
    pub hold_for: Duration,
    /// Which addresses may be reached.
    pub targets: TargetPolicy,
    /// Through what all connections are made; default none. Then the proxy resolves names, and it is the proxy
    /// that has to check the addresses they lead to: only literals are still checked here.
    pub proxy: Option<Proxy>,
    /// Who resolves names; default the system.
    pub lookup: Lookup,
    /// Who makes links for webhooks that ask for them; default nobody.
    pub downloads: Option<DownloadLinks>,
    /// The whole of one exchange, from name resolution to the last byte read; default 15 s.
    pub deadline: Duration,
    /// Bytes of a response that are read before the connection is closed; default 64 KiB.
    pub response_bytes_max: usize,
    /// Attempts in flight to one webhook; default 16.
    pub per_webhook: u32,
    /// Attempts in flight in all; default 256. One costs up to [`SenderConfig::response_bytes_max`]
    /// of memory on top of its body.
    pub total: u32,
    /// How long a claimed delivery is this sender's alone; default 60 s. At least twice the deadline,
    /// so that it outlasts the attempt and its record.
    pub lease: Duration,
    /// How long requests in flight may take to end at shutdown; default 2 s. Those that are cut are sent again by the
    /// next start, so an endpoint that was about to answer gets them twice.
    pub grace: Duration,
    /// In whose name deliveries are leased. The same at every start on one data directory: what the
    /// process before this one had leased is taken over at once.
    pub owner: String,
    /// The `User-Agent` header; default `mediahooks/<version>`.
    pub user_agent: String,
}

impl SenderConfig {
    /// The defaults, in the name of `owner`: the default retry schedule, public targets only.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            retry: RetryPolicy::default(),
            health: HealthPolicy::default(),
            hold_for: Duration::from_secs(30 * 24 * 3600),
            targets: TargetPolicy::default(),
            proxy: None,
            lookup: Lookup::system(),
            downloads: None,
            deadline: Duration::from_secs(15),
            response_bytes_max: 64 * 1024,
            per_webhook: 16,
            total: 256,
            lease: Duration::from_secs(60),
            grace: Duration::from_secs(2),
            owner: owner.into(),
            user_agent: concat!("mediahooks/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SenderError> {
        if self.deadline.is_zero() {
            return Err(SenderError::NoDeadline);
        }
        if self.per_webhook == 0 || self.total == 0 {
            return Err(SenderError::NoSlots { per_webhook: self.per_webhook, total: self.total });
        }
        if self.lease < self.deadline.saturating_mul(2) {
            return Err(SenderError::ShortLease { lease: self.lease, deadline: self.deadline });
        }
        Ok(())
    }
}

/// Why a sender cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// No request could end in time.
    #[error("the deadline of a webhook request is 0: give it some seconds, 15 is the default")]
    NoDeadline,
    /// Nothing could ever be sent.
    #[error(
        "webhooks could never be sent with {per_webhook} requests in flight per webhook and {total} in all: both have to be at least 1"
    )]
    NoSlots {
        /// [`SenderConfig::per_webhook`].
        per_webhook: u32,
        /// [`SenderConfig::total`].
        total: u32,
    },
    /// Deliveries would be sent again while they are being sent.
    #[error(
        "a lease of {lease:?} is too short for a deadline of {deadline:?}: it has to be at least twice as long"
    )]
    ShortLease {
        /// [`SenderConfig::lease`].
        lease: Duration,
        /// [`SenderConfig::deadline`].
        deadline: Duration,
    },
    /// The user agent cannot be sent.
    #[error("the user agent of webhook requests has to be visible ASCII")]
    UserAgent,
    /// No certificate of the system could be read.
    #[error(
        "this machine has no certificates to trust, so no https endpoint can be verified: install them (on Debian the package ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    NoCertificates(#[source] Option<rustls_native_certs::Error>),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be prepared")]
    Tls(#[from] rustls::Error),
}

/// An HTTP proxy that connects on behalf of the sender (CONNECT), written `http://user:password@host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Url,
    host: String,
    port: u16,
    credentials: Option<HeaderValue>,
}

/// Why a text names no proxy. The text is left out: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of an HTTP proxy: write it as http://proxy.example.com:3128, without a path")]
pub struct InvalidProxy;

impl Proxy {
    /// Its name or address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it wants to see in `Proxy-Authorization`.
    pub(crate) fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }

    /// As it was written, password included.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidProxy)?;
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !is_bare {
            return Err(InvalidProxy);
        }
        let host = match url.host().ok_or(InvalidProxy)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            // As a socket address has it, without the brackets of a URL.
            Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port_or_known_default().ok_or(InvalidProxy)?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let user = decoded(user).map_err(|_| InvalidProxy)?;
                let password = decoded(password.unwrap_or_default()).map_err(|_| InvalidProxy)?;
                let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                let mut value = HeaderValue::try_from(basic).map_err(|_| InvalidProxy)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { url, host, port, credentials })
    }
}

impl fmt::Debug for Proxy {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_credentials() {
        let proxy: Proxy = "http://us%40er:pass@proxy.example.com:3128".parse().unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example.com", 3128));
        assert_eq!(proxy.credentials().unwrap(), "Basic dXNAZXI6cGFzcw==");
        assert!(!format!("{proxy:?}").contains("pass"));
        let plain: Proxy = "http://[::1]/".parse().unwrap();
        assert_eq!((plain.host(), plain.port(), plain.credentials()), ("::1", 80, None));
        for text in ["proxy:3128", "https://proxy:3128", "socks5://proxy", "http://proxy/path", "", "http://"]
        {
            assert_eq!(text.parse::<Proxy>(), Err(InvalidProxy), "{text}");
        }
    }
}
