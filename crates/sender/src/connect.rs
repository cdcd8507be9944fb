//! From an endpoint's host to a connection that requests can be sent on.
//!
//! Name, TCP, proxy, TLS, HTTP, in this order, each timed in the [`Progress`] of the attempt that asked. What
//! always holds: a connection is made to exactly an address that the resolver's check let pass, or through
//! the proxy that the operator configured; the environment has no say in it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::Request;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mediahooks_database::Timings;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::config::{Proxy, SenderConfig};
use crate::failure::Failure;
use crate::resolver::Resolver;

/// The head of a response may be this long, and this many headers: the heads of real answers are a hundredth
/// of it, and one without end must not fill the memory.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;

/// What an HTTP/2 server may send of one body before it is read, and of all bodies of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// An HTTP/2 connection that does not answer a ping is given up, so that a dead one does not fail every
/// later request to its host until TCP notices.
const PING_EVERY: Duration = Duration::from_secs(10);

/// The next address is tried when the one before it has not answered for so long (RFC 8305 §5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// How far an attempt has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) step: Step,
    pub(crate) timings: Timings,
}

/// What an attempt waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Step {
    /// Its turn to connect, or the addresses of the name.
    #[default]
    Name,
    /// A TCP connection.
    Tcp,
    /// A TLS session.
    Tls,
    /// The head of the answer.
    Answer,
}

/// Where an endpoint is.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// For `https`.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A connection on which requests can be sent.
pub(crate) enum Connection {
    /// One request after another.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Many at a time.
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a connection was made to. None: through the proxy, which alone knows.
pub(crate) type Remote = Option<IpAddr>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes connections.
pub(crate) struct Connector {
    resolver: Resolver,
    proxy: Option<Proxy>,
}

impl Connector {
    pub(crate) fn new(config: &SenderConfig) -> Self {
        let resolver = Resolver::new(Arc::new(config.targets.clone()), config.lookup.clone());
        Self { resolver, proxy: config.proxy.clone() }
    }

    /// Connects to `origin`. How long each step took is in `progress`, also when a later one fails.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        progress: &mut Progress,
    ) -> Result<(Connection, Remote), Failure> {
        let (io, remote) = match &self.proxy {
            Some(proxy) => (tunnel(proxy, origin, progress).await?, None),
            None => {
                let (socket, remote) = self.dial(origin, progress).await?;
                (Box::new(socket) as Box<dyn Io>, Some(remote))
            }
        };
        let Some((config, name)) = &origin.tls else {
            return Ok((http1(io).await?, remote));
        };
        progress.step = Step::Tls;
        let begin = Instant::now();
        let tls = TlsConnector::from(config.clone()).connect(name.clone(), io).await.map_err(Failure::Tls)?;
        progress.timings.tls_us = Some(micros(begin));
        let connection = if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2(tls).await?
        } else {
            http1(tls).await?
        };
        Ok((connection, remote))
    }

    /// Resolves, checks and connects.
    async fn dial(&self, origin: &Origin, progress: &mut Progress) -> Result<(TcpStream, IpAddr), Failure> {
        progress.step = Step::Name;
        let begin = Instant::now();
        let addresses = self.resolver.resolve(&origin.host, origin.port).await?;
        progress.timings.dns_us = matches!(origin.host, Host::Domain(_)).then(|| micros(begin));
        progress.step = Step::Tcp;
        let begin = Instant::now();
        let dialled = first_to_answer(addresses).await.map_err(Failure::Connect)?;
        progress.timings.connect_us = Some(micros(begin));
        Ok(dialled)
    }
}

/// Connects to the first of `addresses` that answers. They are tried one after another, the families by
/// turns; one that keeps silent does not hold up the next (RFC 8305).
async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<(TcpStream, IpAddr)> {
    let mut rest = by_turns(addresses).into_iter().take(ADDRESSES_MAX);
    let mut under_way = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = rest.next() {
            under_way
                .push(async move { Ok::<_, io::Error>((TcpStream::connect(address).await?, address.ip())) });
        } else if under_way.is_empty() {
            return Err(failed);
        }
        tokio::select! {
            Some(ended) = under_way.next() => match ended {
                Ok((socket, address)) => {
                    // A request is one write, so there is nothing to wait for.
                    socket.set_nodelay(true)?;
                    return Ok((socket, address));
                }
                Err(error) => failed = error,
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if rest.len() > 0 => {}
        }
    }
}

/// The same addresses, of one family and the other by turns, beginning with the first one's.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    one.reverse();
    other.reverse();
    let mut ordered = Vec::with_capacity(one.len() + other.len());
    while !(one.is_empty() && other.is_empty()) {
        ordered.extend(one.pop());
        ordered.extend(other.pop());
    }
    ordered
}

/// Has the proxy connect (CONNECT, RFC 9110 §9.3.6), for `http` too: then no more than the address of the
/// endpoint is in the proxy's hands.
async fn tunnel(proxy: &Proxy, origin: &Origin, progress: &mut Progress) -> Result<Box<dyn Io>, Failure> {
    progress.step = Step::Tcp;
    let begin = Instant::now();
    let unreachable = |error: &dyn std::fmt::Display| Failure::Proxy(error.to_string());
    let socket =
        TcpStream::connect((proxy.host(), proxy.port())).await.map_err(|error| unreachable(&error))?;
    socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
        .await
        .map_err(|error| unreachable(&error))?;
    tokio::spawn(connection.with_upgrades());
    let authority = format!("{}:{}", origin.host, origin.port);
    let mut request = Request::connect(&authority).header(HOST, &authority);
    if let Some(credentials) = proxy.credentials() {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::new()).map_err(|error| unreachable(&error))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    if !response.status().is_success() {
        return Err(Failure::ProxyRefused(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| unreachable(&error))?;
    progress.timings.connect_us = Some(micros(begin));
    Ok(Box::new(TokioIo::new(upgraded)))
}

async fn http1(io: impl Io + 'static) -> Result<Connection, Failure> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(Failure::Http)?;
    // Whoever has a request on it learns how it ended.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection::Http1(sender))
}

async fn http2(io: impl Io + 'static) -> Result<Connection, Failure> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .handshake(TokioIo::new(io))
        .await
        .map_err(Failure::Http)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection::Http2(sender))
}

/// Microseconds since `begin`.
pub(crate) fn micros(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        let ordered = by_turns(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]));
        assert_eq!(ordered, addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]));
        assert_eq!(by_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closed = SocketAddr::new("127.0.0.2".parse().unwrap(), address.port());
        let (_, remote) = first_to_answer(vec![closed, address]).await.unwrap();
        assert_eq!(remote, address.ip());
        let error = first_to_answer(vec![closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_to_answer(Vec::new()).await.is_err());
    }
}
