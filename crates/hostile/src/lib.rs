//! An endpoint that misbehaves on demand, to try webhook senders on.
//!
//! `mediahooks conformance-receiver` runs it for people, the tests of `sender` run it in their own process. Each
//! way to misbehave is a path ([`mode`]) or, where TLS itself is at fault, a port ([`Door`]). What always
//! holds: whatever it does to its clients, it does not fall over itself, and it tells what each of them did.
//!
//! Stands alone: it knows nothing of Media Hooks, so that any sender can be pointed at it.

mod certificates;
mod http1;
mod http2;
pub mod mode;
mod request;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use certificates::Pems;
pub use mode::Mode;
pub use request::Received;

/// How long a peer may take for its request, and a mode that never ends may last.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Between two bytes of a slow TLS handshake.
const TLS_BYTE_EVERY: Duration = Duration::from_millis(100);

/// Events that wait for whoever reads them.
const EVENTS_MAX: usize = 1024;

/// Where misbehaviour below HTTP has a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// Plain HTTP/1.1.
    Http,
    /// TLS with a certificate of [`Pems::authority`] for `localhost` and the loopback; HTTP/2 for who asks for it.
    Https,
    /// The same, without HTTP/2.
    Https1,
    /// The same, one byte of the handshake at a time.
    SlowTls,
    /// The same, for another name.
    WrongName,
    /// The same, out of date.
    Expired,
    /// The same, for clients with a certificate of the same authority only.
    Mutual,
}

impl Door {
    /// Every door, in the order of their ports.
    pub const ALL: [Door; 7] =
        [Self::Http, Self::Https, Self::Https1, Self::SlowTls, Self::WrongName, Self::Expired, Self::Mutual];

    /// What is behind it, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1",
            Self::Https => "TLS; HTTP/2 and HTTP/1.1",
            Self::Https1 => "TLS; HTTP/1.1 only",
            Self::SlowTls => "TLS, the handshake one byte every 100 ms",
            Self::WrongName => "TLS, the certificate is for another name",
            Self::Expired => "TLS, the certificate is out of date",
            Self::Mutual => "TLS, the client has to show a certificate",
        }
    }
}

/// What a client did.
#[derive(Debug)]
pub enum Event {
    /// A whole request came.
    Request(Received),
    /// A mode without end was ended by the client.
    Left {
        /// Which.
        mode: Mode,
        /// Bytes sent to it after the head of the answer.
        sent_bytes: u64,
        /// After so long.
        after: Duration,
    },
    /// A TLS handshake came to nothing.
    NoTls {
        /// Behind which door.
        door: Door,
        /// What the TLS library says.
        reason: String,
    },
}

/// A running endpoint. It runs as long as its runtime.
#[derive(Debug)]
pub struct Hostile {
    addresses: HashMap<Door, SocketAddr>,
    pems: Pems,
}

/// What connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    events: mpsc::Sender<Event>,
    /// How often [`Mode::Flap`] was asked, by the whole target.
    asked: Arc<Mutex<HashMap<String, u32>>>,
}

impl Shared {
    pub(crate) async fn tell(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.events.send(event).await;
    }

    /// Counts a request to a target: 0 for the first.
    pub(crate) fn count(&self, target: &str) -> u32 {
        const TARGETS_MAX: usize = 10_000;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= TARGETS_MAX {
            asked.clear();
        }
        let count = asked.entry(target.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count - 1
    }
}

impl Hostile {
    /// Listens on `ip`, door after door from `first_port` on; 0 for free ports. The second value tells what
    /// happens; it has to be read, because clients wait while it is full.
    pub async fn start(ip: IpAddr, first_port: u16) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let (events, happened) = mpsc::channel(EVENTS_MAX);
        let shared = Shared { events, asked: Arc::default() };
        let certificates = certificates::Certificates::new(ip)?;
        let mut addresses = HashMap::new();
        for (door, number) in Door::ALL.into_iter().zip(0u16..) {
            let port = if first_port == 0 { 0 } else { first_port.saturating_add(number) };
            let listener = TcpListener::bind((ip, port)).await?;
            addresses.insert(door, listener.local_addr()?);
            let tls = certificates.acceptor(door)?;
            tokio::spawn(accept(listener, door, tls, shared.clone()));
        }
        Ok((Self { addresses, pems: certificates.pems }, happened))
    }

    /// Where a door is.
    pub fn address(&self, door: Door) -> SocketAddr {
        self.addresses.get(&door).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The URL of a path behind a door.
    pub fn url(&self, door: Door, path: &str) -> String {
        let scheme = if door == Door::Http { "http" } else { "https" };
        format!("{scheme}://{}{path}", self.address(door))
    }

    /// The authority that vouches for the doors, and what a client can show.
    pub fn pems(&self) -> &Pems {
        &self.pems
    }
}

/// A connection that can end badly.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming end of the connection a reset instead of a goodbye.
    fn make_reset(&self);
}

impl Wire for TcpStream {
    fn make_reset(&self) {
        // Then it is a goodbye after all.
        let _ = self.set_zero_linger();
    }
}

impl Wire for TlsStream<TcpStream> {
    fn make_reset(&self) {
        self.get_ref().0.make_reset();
    }
}

impl Wire for TlsStream<DuplexStream> {
    fn make_reset(&self) {}
}

async fn accept(listener: TcpListener, door: Door, tls: Option<TlsAcceptor>, shared: Shared) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors: others have to end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            // A client that breaks off is what this is for.
            let _ = serve(socket, door, tls, &shared).await;
        });
    }
}

async fn serve(socket: TcpStream, door: Door, tls: Option<TlsAcceptor>, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let Some(acceptor) = tls else { return http1::serve(socket, shared).await };
    if door == Door::SlowTls {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(trickle(socket, far));
        return http1::serve(shaken(acceptor.accept(near).await, door, shared).await?, shared).await;
    }
    let stream = shaken(acceptor.accept(socket).await, door, shared).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2::serve(stream, shared).await,
        _ => http1::serve(stream, shared).await,
    }
}

async fn shaken<T>(handshake: io::Result<T>, door: Door, shared: &Shared) -> io::Result<T> {
    if let Err(error) = &handshake {
        shared.tell(Event::NoTls { door, reason: error.to_string() }).await;
    }
    handshake
}

/// Passes bytes on, to the client one at a time.
async fn trickle(socket: TcpStream, inner: DuplexStream) {
    let (mut from_client, mut to_client) = socket.into_split();
    let (mut from_inner, mut to_inner) = tokio::io::split(inner);
    let slowly = async {
        while let Ok(byte) = from_inner.read_u8().await {
            if to_client.write_u8(byte).await.is_err() {
                return;
            }
            tokio::time::sleep(TLS_BYTE_EVERY).await;
        }
    };
    let at_once = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_inner).await;
    };
    tokio::select! {
        () = slowly => {}
        () = at_once => {}
    }
}
