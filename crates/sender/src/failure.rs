//! Why a request got no response: from the HTTP client's chain of errors to a kind and its cause.

use std::error::Error;
use std::io::{self, ErrorKind};

use mediahooks_delivery::{FailureKind, TargetRefused};

use crate::resolver::ResolveError;

/// Finds out what went wrong with a request to an `https` URL (`tls`) or an `http` one.
pub(crate) fn kind_of(error: &reqwest::Error, tls: bool) -> FailureKind {
    if let Some(kind) = causes(error).find_map(|cause| cause.downcast_ref().map(resolving)) {
        return kind;
    }
    if error.is_connect() {
        return if tls && !tcp_failed(error) { FailureKind::Tls } else { FailureKind::Connect };
    }
    // A broken connection may show as a protocol error around it.
    if causes(error).any(|cause| cause.is::<io::Error>()) {
        return FailureKind::Io;
    }
    let hyper = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    match hyper {
        Some(hyper) if hyper.is_incomplete_message() || hyper.is_closed() => FailureKind::Io,
        _ => FailureKind::Protocol,
    }
}

/// The innermost error, which says most: `Connection refused`, `invalid peer certificate: Expired`.
pub(crate) fn root_of(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn resolving(error: &ResolveError) -> FailureKind {
    match error {
        ResolveError::Lookup(_) | ResolveError::Refused(TargetRefused::NoAddress) => FailureKind::Dns,
        ResolveError::Refused(_) => FailureKind::TargetRefused,
    }
}

/// Whether there was no TCP connection to begin a TLS handshake on. TLS failures are I/O errors too,
/// of other kinds: bad data, an early end, a reset.
fn tcp_failed(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::TimedOut
                | ErrorKind::AddrNotAvailable
                | ErrorKind::PermissionDenied
        )
    })
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// `io::Error` leaves what it wraps out of its own chain.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mediahooks_delivery::TargetPolicy;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::resolver::GuardedResolver;

    /// Requests `url` as `exchange` does, without its check of the URL.
    async fn kind(url: &str) -> FailureKind {
        let resolver = GuardedResolver::new(Arc::new(TargetPolicy::default()));
        let client = reqwest::Client::builder().no_proxy().dns_resolver(resolver).build().unwrap();
        let error = client.get(url).send().await.unwrap_err();
        assert!(!root_of(&error).is_empty());
        kind_of(&error, url.starts_with("https"))
    }

    /// A server that reads a little, says `answer` and hangs up, once.
    async fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer).await;
        });
        address.to_string()
    }

    #[tokio::test]
    async fn each_failure_has_its_kind() {
        assert_eq!(
            kind(&format!("http://{}", server(b"220 mail.example.com ESMTP\r\n").await)).await,
            FailureKind::Protocol
        );
        assert_eq!(kind(&format!("http://{}", server(b"").await)).await, FailureKind::Io);
        assert_eq!(
            kind(&format!("http://{}", server(b"HTTP/1.1 200 OK\r\nconte").await)).await,
            FailureKind::Io
        );
        assert_eq!(
            kind(&format!("https://{}", server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await)).await,
            FailureKind::Tls
        );
        assert_eq!(kind(&format!("https://{}", server(b"").await)).await, FailureKind::Tls);
    }

    #[tokio::test]
    async fn nothing_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(kind(&format!("http://{address}")).await, FailureKind::Connect);
        assert_eq!(kind(&format!("https://{address}")).await, FailureKind::Connect);
    }

    #[tokio::test]
    async fn the_guard_stops_a_name_that_resolves_to_loopback() {
        let address = server(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let port = address.rsplit(':').next().unwrap();
        assert_eq!(kind(&format!("http://localhost:{port}")).await, FailureKind::TargetRefused);
    }
}
