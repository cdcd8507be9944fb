//! One webhook's endpoint, made ready: where it is, what every request to it begins with, and its open
//! connections.
//!
//! `exchange` asks for it by the webhook as it is now; it is prepared anew when something about it changed,
//! and forgotten when it was not used for a while.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use mediahooks_delivery::headers::shown_value;
use mediahooks_delivery::{TargetPolicy, parse_url};
use mediahooks_model::{Webhook, WebhookId};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use url::{Host, Url};

use crate::config::SenderConfig;
use crate::connect::{Connection, Connector, Origin, Progress, Remote};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::tls::Tls;

/// How long a request waits for a connection that another one is making, in case both can use it (HTTP/2). Beyond
/// it connects by itself: the other may hang.
const SHARE_WAIT_MAX: Duration = Duration::from_secs(1);

/// An endpoint that nothing was sent to for so long is forgotten.
const UNUSED_MAX: Duration = Duration::from_secs(60);

/// An endpoint made ready.
pub(crate) struct Endpoint {
    webhook: Arc<Webhook>,
    origin: Origin,
    /// The path and query, for HTTP/1.1.
    path: Uri,
    /// The whole, for HTTP/2.
    absolute: Uri,
    /// What all requests have in common, but for the host, which only HTTP/1.1 sends as a header.
    headers: HeaderMap,
    host: HeaderValue,
    /// `headers` and `host` as the delivery log shows them.
    shown: String,
    pool: Pool,
    /// Held while the first connection is made, until it is known whether all can share it.
    connecting: tokio::sync::Mutex<()>,
    used: Mutex<Instant>,
}

/// An open connection for one request.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) remote: Remote,
    /// It was open already.
    pub(crate) reused: bool,
}

impl Endpoint {
    /// Errors: in words, for the delivery log, after `refused: `.
    fn new(
        webhook: Arc<Webhook>,
        policy: &TargetPolicy,
        tls: &Tls,
        user_agent: &HeaderValue,
    ) -> Result<Self, String> {
        let url = parse_url(&webhook.url, policy).map_err(|refused| refused.to_string())?;
        let unusable = |what: &dyn std::fmt::Display| format!("the webhook URL cannot be requested: {what}");
        let host = url.host().ok_or_else(|| unusable(&"it has no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| unusable(&"it has no port"))?;
        let tls = match url.scheme() {
            "https" => {
                let config = tls.config(webhook.tls.as_ref()).map_err(|invalid| invalid.to_string())?;
                Some((config, server_name(&host).map_err(|invalid| unusable(&invalid))?))
            }
            _ => None,
        };
        let absolute: Uri = without_fragment(&url).parse().map_err(|invalid| unusable(&invalid))?;
        let path = absolute.path_and_query().map_or("/", |path| path.as_str());
        let path: Uri = path.parse().map_err(|invalid| unusable(&invalid))?;
        let authority = absolute.authority().ok_or_else(|| unusable(&"it has no host"))?;
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|invalid| unusable(&invalid))?;

        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, user_agent.clone());
        let mut shown = format!("host: {authority}\ncontent-type: application/json\nuser-agent: ");
        shown.push_str(user_agent.to_str().unwrap_or_default());
        for (name, value) in &webhook.headers {
            let refused = || format!("the header `{name}` cannot be sent: set the webhook's headers again");
            let name: HeaderName = name.parse().map_err(|_| refused())?;
            let header = HeaderValue::from_str(value).map_err(|_| refused())?;
            // Writing into a text cannot fail.
            let _ = write!(shown, "\n{name}: {}", shown_value(name.as_str(), value));
            headers.insert(name, header);
        }
        Ok(Self {
            origin: Origin { host, port, tls },
            webhook,
            path,
            absolute,
            headers,
            host: host_header,
            shown,
            pool: Pool::default(),
            connecting: tokio::sync::Mutex::new(()),
            used: Mutex::new(Instant::now()),
        })
    }

    /// Target and headers of a request on a connection, room for more headers included.
    pub(crate) fn head(&self, connection: &Connection) -> (Uri, HeaderMap) {
        let mut headers = self.headers.clone();
        match connection {
            Connection::Http1(_) => {
                headers.insert(HOST, self.host.clone());
                (self.path.clone(), headers)
            }
            Connection::Http2(_) => (self.absolute.clone(), headers),
        }
    }

    /// The beginning of a request as the delivery log shows it, without a line break at the end.
    pub(crate) fn shown_head(&self, connection: &Connection) -> String {
        let version = match connection {
            Connection::Http1(_) => "HTTP/1.1",
            Connection::Http2(_) => "HTTP/2",
        };
        let mut head = String::with_capacity(self.shown.len() + 512);
        let _ = write!(head, "POST {} {version}\n{}", self.path, self.shown);
        head
    }

    /// An open connection: one that is free, or a new one.
    pub(crate) async fn open(
        &self,
        connector: &Connector,
        progress: &mut Progress,
    ) -> Result<Opened, Failure> {
        let free = |(connection, remote)| Opened { connection, remote, reused: true };
        if let Some(taken) = self.pool.take() {
            return Ok(free(taken));
        }
        let mut _turn = None;
        if self.origin.tls.is_some() {
            _turn = tokio::time::timeout(SHARE_WAIT_MAX, self.connecting.lock()).await.ok();
            if let Some(taken) = self.pool.take() {
                return Ok(free(taken));
            }
        }
        let (connection, remote) = connector.connect(&self.origin, progress).await?;
        if let Connection::Http2(sender) = &connection {
            self.pool.share(sender, remote);
        }
        Ok(Opened { connection, remote, reused: false })
    }

    /// Takes back a connection whose answer was read to its end.
    pub(crate) fn give_back(self: &Arc<Self>, connection: Connection, remote: Remote, idle_max: usize) {
        let Connection::Http1(mut sender) = connection else { return };
        if sender.is_ready() {
            return self.pool.put(sender, remote, idle_max);
        }
        // The connection's own task has not got round to it yet.
        let endpoint = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                endpoint.pool.put(sender, remote, idle_max);
            }
        });
    }

    /// Lets go of all open connections.
    pub(crate) fn hang_up(&self) {
        self.pool.clear();
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_unused(&self) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= UNUSED_MAX
    }

    /// Whether it is still what `webhook` says.
    fn fits(&self, webhook: &Arc<Webhook>) -> bool {
        Arc::ptr_eq(&self.webhook, webhook)
            || (self.webhook.url == webhook.url
                && self.webhook.headers == webhook.headers
                && self.webhook.tls == webhook.tls)
    }
}

/// The endpoints in use.
pub(crate) struct Endpoints {
    policy: TargetPolicy,
    tls: Tls,
    user_agent: HeaderValue,
    by_webhook: Mutex<HashMap<WebhookId, Arc<Endpoint>>>,
}

impl Endpoints {
    pub(crate) fn new(config: &SenderConfig, tls: Tls, user_agent: HeaderValue) -> Self {
        Self { policy: config.targets.clone(), tls, user_agent, by_webhook: Mutex::default() }
    }

    /// The endpoint of `webhook` as it is now. Errors: why nothing can be sent there.
    pub(crate) fn get(&self, webhook: &Arc<Webhook>) -> Result<Arc<Endpoint>, String> {
        if let Some(known) = known(&self.lock(), webhook) {
            return Ok(known);
        }
        let made = Arc::new(Endpoint::new(webhook.clone(), &self.policy, &self.tls, &self.user_agent)?);
        let mut all = self.lock();
        // Two attempts may come at the same moment: they have to share one, or each opens a connection.
        Ok(known(&all, webhook).unwrap_or_else(|| {
            all.insert(webhook.id, made.clone());
            made
        }))
    }

    /// Closes idle connections and forgets unused endpoints.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, endpoint| endpoint.pool.sweep() || !endpoint.is_unused());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WebhookId, Arc<Endpoint>>> {
        self.by_webhook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoint that is kept for `webhook`, if it is still what that says.
fn known(all: &HashMap<WebhookId, Arc<Endpoint>>, webhook: &Arc<Webhook>) -> Option<Arc<Endpoint>> {
    let known = all.get(&webhook.id).filter(|endpoint| endpoint.fits(webhook))?;
    known.touch();
    Some(known.clone())
}

/// The fragment stays with whoever wrote the URL (RFC 9110 §7.1).
fn without_fragment(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

fn server_name(host: &Host) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    match host {
        Host::Ipv4(address) => Ok(ServerName::from(std::net::IpAddr::V4(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(std::net::IpAddr::V6(*address))),
        // A certificate names a host without the dot of the root.
        Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()),
    }
}
