//! The least that an endpoint can do: reads HTTP/1.1 requests and answers 200, on one thread.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mediahooks_model::MediaAssetId;
use rustix::time::ClockId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::usage::cpu_seconds;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const LENGTH: &[u8] = b"content-length: ";
const ASSET: &[u8] = b"\"mediaAssetId\":\"";

/// A listener on every loopback address, so that each endpoint has an address of its own.
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    connections: AtomicUsize,
    cpu_us: AtomicU64,
    /// When the first request about an asset arrived; kept when asked for.
    arrivals: Option<Mutex<HashMap<MediaAssetId, Instant>>>,
}

impl Receiver {
    pub fn start(keeps_arrivals: bool) -> Self {
        let shared = Arc::new(Shared { arrivals: keeps_arrivals.then(Mutex::default), ..Shared::default() });
        let (tell, told) = std::sync::mpsc::channel();
        let serving = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap().port()).unwrap();
                let shared = serving.clone();
                tokio::spawn(async move {
                    loop {
                        shared
                            .cpu_us
                            .store((cpu_seconds(ClockId::ThreadCPUTime) * 1e6) as u64, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
                while let Ok((stream, _)) = listener.accept().await {
                    serving.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(stream, serving.clone()));
                }
            });
        });
        Self { port: told.recv().unwrap(), shared }
    }

    /// The URL of the endpoint number `n`, which is under 250.
    pub fn url(&self, n: usize) -> String {
        format!("http://127.0.0.{}:{}/hook", n + 1, self.port)
    }

    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub fn cpu_seconds(&self) -> f64 {
        self.shared.cpu_us.load(Ordering::Relaxed) as f64 / 1e6
    }

    pub fn arrivals(&self) -> HashMap<MediaAssetId, Instant> {
        self.shared.arrivals.as_ref().map(|kept| kept.lock().unwrap().clone()).unwrap_or_default()
    }

    /// Waits until this many requests have arrived.
    pub async fn wait_for(&self, count: usize) {
        while self.count() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(8192);
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        while let Some(length) = request_length(&buffer) {
            shared.count.fetch_add(1, Ordering::Relaxed);
            if let Some(arrivals) = &shared.arrivals
                && let Some(asset) = asset_of(&buffer[..length])
            {
                arrivals.lock().unwrap().entry(asset).or_insert_with(Instant::now);
            }
            buffer.drain(..length);
            if stream.write_all(OK).await.is_err() {
                return;
            }
        }
    }
}

/// The bytes of the first request, once it is there as a whole.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let from = find(&buffer[..head], LENGTH)? + LENGTH.len();
    let digits = buffer[from..head].iter().take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
    (buffer.len() >= head + body).then_some(head + body)
}

fn asset_of(request: &[u8]) -> Option<MediaAssetId> {
    let from = find(request, ASSET)? + ASSET.len();
    Uuid::try_parse_ascii(request.get(from..from + 32)?).ok().map(MediaAssetId)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
