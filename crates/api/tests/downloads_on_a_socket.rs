//! Files as real clients get them: over HTTP/1.1 the kernel sends what it has in its page cache, over HTTP/2 and
//! everything else it is read first. The bytes are the same.

mod common;

use std::time::Duration;

use common::Bench;
use futures::TryStreamExt;
use mediahooks_recorder::DownloadPiece;
use mediahooks_storage::DiskStorage;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Some megabytes more than sockets take at once.
const PICTURES: i64 = 60;
const PICTURE_BYTES: usize = 300_000;

struct Served {
    bench: Bench,
    id: String,
    link: String,
    address: std::net::SocketAddr,
    /// As the router alone gives them.
    file: Vec<u8>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let mut publisher = bench.publish("stage", &[]).await;
        publisher.send_large(PICTURES, PICTURE_BYTES).await;
        publisher.finish().await;
        let recording = bench.get("/api/v3/media/assets?type=recording").await.data()[0].clone();
        let url = recording["download"]["downloadUrl"].as_str().unwrap();
        let link = url.strip_prefix("https://media.example.com").unwrap().to_owned();
        let file = bench.get(&link).await.body.to_vec();
        assert!(file.len() > PICTURES as usize * PICTURE_BYTES);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(mediahooks_api::serve(listener, bench.router.clone(), shutdown.clone()));
        let id = recording["id"].as_str().unwrap().to_owned();
        Self { bench, id, link, address, file, shutdown, serving }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    fn storage(&self) -> DiskStorage {
        DiskStorage::open(self.bench.directory.path().join("media")).unwrap()
    }

    /// Returns once at most so many chunk files are left.
    async fn freed_but(&self, left: usize) {
        let storage = self.storage();
        while storage.chunk_files().await.unwrap().len() > left {
            tokio::task::yield_now().await;
        }
    }

    /// Deletes the recording, and has all of it freed that nobody holds. A clip that keeps the last of its pictures keeps
    /// the file that they are in: what is freed of that may arrive as zeros.
    async fn delete_all_but_a_clip(&self) {
        let timeline = self.bench.get("/api/v3/media/assets?type=timeline").await.data()[0].clone();
        let start: mediahooks_model::Timestamp = timeline["startTime"].as_str().unwrap().parse().unwrap();
        let body = serde_json::json!({
            "streamName": "stage", "startTime": start.plus_micros(1_200_000), "stopTime": start.plus_micros(2_300_000),
        });
        self.bench.call("POST", "/api/v3/media/assets", body).await.data();
        while self.bench.get("/api/v3/media/assets?type=clip&status=complete").await.data()
            == serde_json::json!([])
        {
            tokio::task::yield_now().await;
        }
        let chunks = self.storage().chunk_files().await.unwrap().len();
        for kind in ["timeline", "recording"] {
            self.bench.raw("DELETE", &format!("/api/v3/media/assets/all/{kind}"), "").await.data();
        }
        // The sweep that frees the second of these began when that which freed the first was over; both came later
        // than the deletion.
        for _ in 0..2 {
            let mut other = self.bench.publish("other", &[]).await;
            other.send(80).await;
            other.finish().await;
            for kind in ["timeline", "recording"] {
                self.bench.raw("DELETE", &format!("/api/v3/media/assets/all/{kind}"), "").await.data();
            }
            self.freed_but(chunks).await;
        }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }
}

/// One kept connection of a client that speaks as little HTTP as is needed.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn ask(&mut self, request: &str) -> (String, Vec<u8>) {
        self.stream.write_all(format!("{request}\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let head_len = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "ended in the head");
        };
        let head = String::from_utf8(self.read.drain(..head_len).collect()).unwrap();
        let len =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let len = if request.starts_with("HEAD") { 0 } else { len };
        while self.read.len() < len {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "ended in the body");
        }
        (head, self.read.drain(..len).collect())
    }
}

/// Counts what is served while the test's only thread runs.
fn counting() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    (recorder.handle(), metrics::set_default_local_recorder(recorder))
}

fn counted(metrics: &PrometheusHandle, way: &str) -> usize {
    let name = format!("mediahooks_download_bytes_total{{way=\"{way}\"}} ");
    metrics
        .render()
        .lines()
        .find_map(|line| line.strip_prefix(&name))
        .map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn the_same_bytes_whole_in_ranges_and_again_on_one_connection() {
    let (metrics, _guard) = counting();
    let served = Served::new().await;
    let (link, file) = (&served.link, &served.file);
    let before = (counted(&metrics, "kernel"), counted(&metrics, "memory"));
    assert_eq!(before, (0, file.len()), "the router alone has no socket to send to");
    let mut client = served.connect().await;
    for _ in 0..2 {
        let (head, body) = client.ask(&format!("GET {link} HTTP/1.1")).await;
        assert!(head.starts_with("HTTP/1.1 200") && body == *file, "{head}");
    }
    let (kernel, memory) = (counted(&metrics, "kernel"), counted(&metrics, "memory") - before.1);
    assert_eq!(kernel + memory, 2 * file.len());
    // The header is made here. Of the media next to nothing may be, where the file system says what it has cached: the
    // end of a segment that is too short to be worth a call.
    let media = PICTURES as usize * PICTURE_BYTES;
    assert!(kernel == 0 || kernel >= 2 * media / 1000 * 999, "{kernel} by the kernel, {memory} from memory");
    assert_eq!(kernel > 0, file_system_tells(&served).await, "{kernel} by the kernel");

    let (head, body) = client.ask(&format!("HEAD {link} HTTP/1.1")).await;
    assert!(head.contains(&format!("content-length: {}", file.len())) && body.is_empty(), "{head}");
    let several = "range: bytes=0-99,5000000-7999999,-10";
    let (head, body) = client.ask(&format!("GET {link} HTTP/1.1\r\n{several}")).await;
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("multipart/byteranges"), "{head}");
    for part in [&file[..100], &file[5_000_000..8_000_000], &file[file.len() - 10..]] {
        assert!(body.windows(part.len()).any(|bytes| bytes == part));
    }
    let (head, body) = client.ask(&format!("GET {link} HTTP/1.0\r\nconnection: keep-alive")).await;
    assert!(head.starts_with("HTTP/1.0 200") && body == *file, "{head}");
    drop(client);
    served.end().await;
}

/// Whether the file system that the media lies on says which bytes are in the page cache.
async fn file_system_tells(served: &Served) -> bool {
    let storage = served.storage();
    let chunk = storage.chunk_files().await.unwrap()[0].clone();
    let reader = storage.open_chunk(chunk.timeline, chunk.chunk).await.unwrap();
    reader.cached(0, 100).is_some()
}

#[test]
fn any_range_on_a_kept_connection() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(Served::new());
    let client = std::cell::RefCell::new(runtime.block_on(served.connect()));
    let len = served.file.len();
    proptest!(ProptestConfig::with_cases(24), |(first in 0..len, more in prop_oneof![0..2000usize, 0..len])| {
        let end = len.min(first + more + 1);
        let request = format!("GET {} HTTP/1.1\r\nrange: bytes={first}-{}", served.link, end - 1);
        let (head, body) = runtime.block_on(client.borrow_mut().ask(&request));
        prop_assert!(head.starts_with("HTTP/1.1 206"), "{}", head);
        prop_assert!(body == served.file[first..end]);
    });
    drop(client);
    runtime.block_on(served.end());
}

#[tokio::test]
async fn http_2_gets_the_same_bytes() {
    let served = Served::new().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}{}", served.address, served.link);
    let [one, two] = [client.get(&url).send(), client.get(&url).send()];
    let (one, two) = tokio::try_join!(one, two).unwrap();
    assert_eq!(one.version(), http::Version::HTTP_2);
    assert!(one.bytes().await.unwrap() == served.file && two.bytes().await.unwrap() == served.file);
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn streams_that_take_nothing_hold_little_memory() {
    const STREAMS: usize = 50;
    let (metrics, _guard) = counting();
    let served = Served::new().await;
    let before = counted(&metrics, "memory");
    let client = reqwest::Client::builder().http2_prior_knowledge().http2_initial_stream_window_size(1);
    let client = client.build().unwrap();
    let url = format!("http://{}{}", served.address, served.link);
    let replies: Vec<_> =
        futures::future::try_join_all((0..STREAMS).map(|_| client.get(&url).send())).await.unwrap();
    let read = || counted(&metrics, "memory") - before;
    // Each has a byte to send, and so a piece to take it from.
    while read() < STREAMS * (16 << 10) {
        tokio::task::yield_now().await;
    }
    // One that is on its way, and perhaps the next one.
    assert!(read() <= STREAMS * (32 << 10), "{} bytes", read());
    drop((replies, client));
    served.end().await;
}

#[tokio::test]
async fn what_the_kernel_may_not_send_is_read_in_bounded_pieces() {
    let served = Served::new().await;
    let file = served.bench.recorder.open_download(served.id.parse().unwrap()).await.unwrap();
    let pieces: Vec<DownloadPiece> = file.pieces(0..file.len, || false).try_collect().await.unwrap();
    let pieces: Vec<_> = pieces
        .into_iter()
        .map(|piece| match piece {
            DownloadPiece::Bytes(bytes) => bytes,
            DownloadPiece::Stored(piece) => panic!("{} bytes were not read", piece.len()),
        })
        .collect();
    assert!(pieces.iter().all(|bytes| bytes.len() <= 256 << 10));
    assert!(pieces.concat() == served.file);
    drop(file);
    served.end().await;
}

#[tokio::test]
async fn what_is_deleted_while_it_is_sent_arrives_whole() {
    let served = Served::new().await;
    let sweeping = CancellationToken::new();
    let sweeper = tokio::spawn(served.bench.recorder.clone().run_sweeper(sweeping.clone()));
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client
        .write_all(format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", served.link).as_bytes())
        .await
        .unwrap();
    let mut reply = vec![0; 1000];
    client.read_exact(&mut reply).await.unwrap();
    // The rest of it is on its way only as far as the sockets' buffers go.
    for kind in ["timeline", "recording"] {
        served.bench.raw("DELETE", &format!("/api/v3/media/assets/all/{kind}"), "").await.data();
    }
    client.read_to_end(&mut reply).await.unwrap();
    assert!(reply.ends_with(&served.file), "{} of {} bytes", reply.len(), served.file.len());
    drop(client);
    served.freed_but(0).await;
    sweeping.cancel();
    sweeper.await.unwrap();
    assert!(served.bench.get(&format!("/api/v3/media/assets/{}", served.id)).await.status != 500);
    served.end().await;
}

/// Asks for a part of the file, and at once for what else, waits until `answers` answers are in the sockets' buffers, and
/// takes nothing from there until all is freed that can be. Returns whether the part arrived as it was.
async fn arrives_whole_after_a_removal(also: &str, answers: usize) -> bool {
    let served = Served::new().await;
    let sweeping = CancellationToken::new();
    let sweeper = tokio::spawn(served.bench.recorder.clone().run_sweeper(sweeping.clone()));
    let mut client = served.connect().await;
    // The end of the first segment: within the pages at the edges of what is freed, the kernel writes zeros.
    let end = served.file.windows(12).position(|bytes| bytes == b"<picture 25>").unwrap();
    let first = end - 100_000;
    let request =
        format!("GET {} HTTP/1.1\r\nhost: x\r\nrange: bytes={first}-{}\r\n\r\n{also}", served.link, end - 1);
    client.stream.write_all(request.as_bytes()).await.unwrap();
    let part = &served.file[first..end];
    let mut seen = vec![0; 200_000];
    let len = loop {
        let len = client.stream.peek(&mut seen).await.unwrap();
        let begun = seen[..len].windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        if begun == answers && seen[..len].windows(100).any(|bytes| bytes == &part[part.len() - 100..]) {
            break len;
        }
    };
    served.delete_all_but_a_clip().await;
    let mut reply = vec![0; len];
    client.stream.read_exact(&mut reply).await.unwrap();
    drop(client);
    sweeping.cancel();
    sweeper.await.unwrap();
    let is_whole = reply.windows(part.len()).any(|bytes| bytes == part);
    served.end().await;
    is_whole
}

#[tokio::test]
async fn what_the_kernel_took_is_not_freed_before_the_client_has_it() {
    assert!(arrives_whole_after_a_removal("", 1).await);
}

#[tokio::test]
async fn requests_that_are_sent_at_once_let_go_of_nothing() {
    let also = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3);
    assert!(arrives_whole_after_a_removal(&also, 4).await);
}

#[tokio::test]
async fn a_client_that_hangs_up_lets_go_of_the_file() {
    let served = Served::new().await;
    let sweeping = CancellationToken::new();
    let sweeper = tokio::spawn(served.bench.recorder.clone().run_sweeper(sweeping.clone()));
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", served.link).as_bytes()).await.unwrap();
    client.read_exact(&mut [0; 1000]).await.unwrap();
    for kind in ["timeline", "recording"] {
        served.bench.raw("DELETE", &format!("/api/v3/media/assets/all/{kind}"), "").await.data();
    }
    drop(client);
    served.freed_but(0).await;
    sweeping.cancel();
    sweeper.await.unwrap();
    served.end().await;
}

/// Asks for the file on a connection whose receiver has little room.
async fn ask_with_little_room(served: &Served) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = socket.connect(served.address).await.unwrap();
    client.write_all(format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", served.link).as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn a_slow_client_gets_what_the_kernel_took() {
    let served = Served::new().await;
    let mut client = ask_with_little_room(&served).await;
    let mut reply = vec![0; 1000];
    client.read_exact(&mut reply).await.unwrap();
    tokio::time::pause();
    // A kilobyte a second. Room for more shows every quarter of an hour, and the last megabytes lie in the kernel for
    // much longer than a connection may be without a request.
    let mut part = vec![0; 1 << 20];
    while !reply.ends_with(&served.file) {
        let len = match client.read(&mut part).await {
            Ok(len @ 1..) => len,
            end => panic!("{end:?} after {} of {} bytes", reply.len(), served.file.len()),
        };
        reply.extend_from_slice(&part[..len]);
        tokio::time::sleep(Duration::from_millis(1) * len as u32).await;
    }
    drop(client);
    tokio::time::resume();
    served.end().await;
}

#[tokio::test]
async fn a_file_that_was_cut_from_outside_cuts_the_connection() {
    let served = Served::new().await;
    let storage = served.storage();
    let chunk = storage.chunk_files().await.unwrap()[0].clone();
    storage.cut_back(chunk.timeline, chunk.chunk, chunk.len / 2).await.unwrap();
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", served.link).as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    // It ends, however: what matters is that it does, and that it is too short.
    let _ = client.read_to_end(&mut reply).await;
    assert!(reply.starts_with(b"HTTP/1.1 200"));
    let head = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert!(reply.len() - head < served.file.len() && served.file.starts_with(&reply[head..]));
    served.end().await;
}
