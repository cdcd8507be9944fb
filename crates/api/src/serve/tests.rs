//! Real clients that take what there is of the server's places, from addresses of their own.

use std::io;
use std::net::SocketAddr;

use axum::body::Bytes;
use axum::routing::get;
use futures::StreamExt;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use super::*;

/// Places in all and of one address.
const FEW: (usize, usize) = (12, 6);

/// The preface and empty SETTINGS of HTTP/2, but that no stream may be sent anything: INITIAL_WINDOW_SIZE is 0.
const H2_WITHOUT_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// HEADERS of stream 1 (RFC 7541 C.4.1 without a scheme's and an authority's Huffman code): GET /, http, x.
const H2_REQUEST: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";

const H2_PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingping";

struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    metrics: PrometheusHandle,
    log: Log,
    _guards: (metrics::LocalRecorderGuard<'static>, tracing::subscriber::DefaultGuard),
}

impl Served {
    /// `/` never ends, `/events` waits for ever after the first, `/small` is small.
    async fn new() -> Self {
        Self::with(FEW).await
    }

    async fn with(places: (usize, usize)) -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .finish();
        let metrics = recorder.handle();
        let guards =
            (metrics::set_default_local_recorder(recorder), tracing::subscriber::set_default(subscriber));
        let endless = || async {
            Body::from_stream(futures::stream::repeat_with(|| {
                Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 16 << 10]))
            }))
        };
        let events = || async {
            let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"first"))]);
            Body::from_stream(first.chain(futures::stream::pending()))
        };
        let router = Router::new()
            .route("/", get(endless))
            .route("/events", get(events))
            .route("/small", get(async || "small"));
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let shutdown = CancellationToken::new();
        let server = Server::new(router, shutdown.clone(), TAKE_NOTHING_MAX, places);
        let serving = tokio::spawn(server.run(listener));
        Self { address, shutdown, serving, metrics, log, _guards: guards }
    }

    /// A client whose address ends in `number`.
    async fn client(&self, number: u8, says: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, number], 0))).unwrap();
        let mut client = socket.connect(self.address).await.unwrap();
        client.write_all(says).await.unwrap();
        client
    }

    /// So many that download, and take no more than the beginning.
    async fn takers(&self, number: u8, count: usize) -> Vec<TcpStream> {
        let mut takers = Vec::new();
        for _ in 0..count {
            let mut taker = self.client(number, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut some = [0; 100];
            taker.read_exact(&mut some).await.unwrap();
            takers.push(taker);
        }
        takers
    }

    /// What a client gets that asks for something small.
    async fn small(&self, number: u8) -> String {
        let says = b"GET /small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut client = self.client(number, says).await;
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        reply
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    async fn end(self) -> String {
        self.shutdown.cancel();
        tokio::time::pause();
        self.serving.await.unwrap();
        self.log.text()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns once so many of the clients were cut off, and everybody has had a turn since. The others stay.
async fn are_cut_off(clients: &mut Vec<TcpStream>, count: usize) {
    let left = clients.len() - count;
    let mut turns = 0;
    while clients.len() > left || turns < 100 {
        // An error is told once.
        clients.retain(|client| client.take_error().unwrap().is_none());
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert_eq!(clients.len(), left);
}

#[tokio::test]
async fn two_addresses_that_take_nothing_shut_nobody_else_out() {
    let served = Served::new().await;
    let mut takers = served.takers(2, 6).await;
    takers.extend(served.takers(3, 6).await);
    assert_eq!(served.metric("mediahooks_http_connections "), 12);
    let mut quiet = served.takers(4, 2).await;
    let small = served.small(5).await;
    assert!(small.ends_with("small"), "{small}");
    let cut = served.metric("mediahooks_http_connections_cut_total{standing=\"awaited\"} ");
    assert_eq!(cut, 3, "two that stay, one that left");
    are_cut_off(&mut takers, 3).await;
    are_cut_off(&mut quiet, 0).await;
    let log = served.end().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("HTTP connections")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("held=6") && lines[1].contains("cut=3 refused=0"), "{log}");
    assert!(
        lines[1].contains("addresses=127.0.0.2 (") || lines[1].contains("addresses=127.0.0.3 ("),
        "{log}"
    );
}

#[tokio::test]
async fn http_2_without_a_window_holds_no_place_against_others() {
    let served = Served::new().await;
    let mut holders = Vec::new();
    for number in 0..12 {
        let mut holder = served.client(2 + number % 2, H2_WITHOUT_WINDOW).await;
        holder.write_all(H2_REQUEST).await.unwrap();
        // Its answer begins.
        let mut read = Vec::new();
        while !read.windows(9).any(|frame| frame.starts_with(&[0, 0]) && frame[3] == 1 && frame[8] == 1) {
            assert_ne!(holder.read_buf(&mut read).await.unwrap(), 0, "{read:?}");
        }
        holder.write_all(H2_PING).await.unwrap();
        holders.push(holder);
    }
    for _ in 0..3 {
        assert!(served.small(4).await.ends_with("small"));
    }
    are_cut_off(&mut holders, 1).await;
    served.end().await;
}

/// What the server says in its first SETTINGS of HTTP/2 (RFC 9113 §6.5.2).
async fn streams_max(served: &Served) -> u32 {
    let mut client = served.client(2, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame");
    let mut settings = vec![0; usize::from(head[2])];
    client.read_exact(&mut settings).await.unwrap();
    let max = settings.chunks(6).find(|setting| setting[1] == 3).unwrap();
    u32::from_be_bytes(max[2..].try_into().unwrap())
}

#[tokio::test]
async fn one_of_a_crowd_has_fewer_requests_at_a_time() {
    let served = Served::with(PLACES).await;
    assert_eq!(streams_max(&served).await, STREAMS_MAX);
    let mut others = Vec::new();
    for _ in 0..PLACES.0 / CROWD_PART {
        others.push(served.client(3, b"").await);
    }
    assert_eq!(streams_max(&served).await, STREAMS_IN_A_CROWD);
    served.end().await;
}

#[tokio::test]
async fn localhost_gets_a_place_when_all_others_have_one_each_and_use_it() {
    let served = Served::new().await;
    let mut takers = Vec::new();
    for number in 2..14 {
        takers.extend(served.takers(number, 1).await);
    }
    assert!(served.small(1).await.ends_with("small"));
    are_cut_off(&mut takers, 1).await;
    served.end().await;
}

/// All places are taken, each by another address, of clients who wait for the server.
async fn followers(served: &Served) -> Vec<TcpStream> {
    let mut followers = Vec::new();
    for number in 2..14 {
        let mut follower = served.client(number, b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut head = Vec::new();
        while !head.ends_with(b"first\r\n") {
            assert_ne!(follower.read_buf(&mut head).await.unwrap(), 0);
        }
        followers.push(follower);
    }
    followers
}

#[tokio::test]
async fn who_finds_no_place_waits_for_one() {
    let served = Served::new().await;
    let mut followers = followers(&served).await;
    let says = b"GET /small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut waiting = served.client(20, says).await;
    are_cut_off(&mut followers, 0).await;
    drop(followers.pop());
    let mut reply = String::new();
    waiting.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("small"), "{reply}");
    are_cut_off(&mut followers, 0).await;
    served.end().await;
}

#[tokio::test]
async fn who_waits_in_vain_is_refused_and_told_of() {
    let served = Served::new().await;
    let _followers = followers(&served).await;
    let mut waiting = served.client(20, b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::pause();
    let mut reply = Vec::new();
    // Refused is refused: by an end or by a reset.
    let _ = waiting.read_to_end(&mut reply).await;
    assert!(reply.is_empty());
    assert_eq!(served.metric("mediahooks_http_connections_refused_total "), 1);
    tokio::time::resume();
    let log = served.end().await;
    assert!(
        log.contains("more are refused") && log.contains("cut=0 refused=1 addresses=127.0.0.20 (1)"),
        "{log}"
    );
}

/// The kernel cuts it off, by its own clock.
#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let gone = CancellationToken::new();
    let guard = Mutex::new(Some(gone.clone().drop_guard()));
    let endless = Arc::new(move || {
        let guard = guard.lock().unwrap().take();
        let parts = std::iter::repeat_with(move || {
            let _ = &guard;
            Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 64 << 10]))
        });
        Body::from_stream(futures::stream::iter(parts))
    });
    let router = Router::new().route("/", get(move || std::future::ready(endless())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let shutdown = CancellationToken::new();
    let patience = Duration::from_millis(300);
    let server = Server::new(router, shutdown.clone(), patience, PLACES);
    let serving = tokio::spawn(server.run(listener));
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(IDLE_TIME_MAX / 2, gone.cancelled()).await.expect("it is held");
    shutdown.cancel();
    serving.await.unwrap();
}
