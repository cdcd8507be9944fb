//! An endpoint that webhooks are sent to: plain HTTP/1.1 on a socket, so that it can misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::in_time;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub request_line: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The id of the event.
    pub fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }
}

/// What an endpoint does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Sends this status line and headers, and a body.
    Answer(&'static str, String),
    /// Answers 200 once it is released.
    WhenReleased,
    /// Says 200 and then one byte now and then, for ever.
    Drip,
    /// Says 200 and then as much as is read.
    Flood,
}

pub fn status(code: u16) -> Reply {
    let line = match code {
        200 => "200 OK",
        302 => "302 Found\r\nlocation: /elsewhere",
        410 => "410 Gone",
        500 => "500 Internal Server Error",
        503 => "503 Service Unavailable\r\nretry-after: 7200",
        other => panic!("no line for {other}"),
    };
    Reply::Answer(line, String::new())
}

type Script = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// A running endpoint.
pub struct Endpoint {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Received>,
    closed: mpsc::UnboundedReceiver<u64>,
    released: Arc<Notify>,
}

impl Endpoint {
    /// Answers the n-th request (counted from 0) as `script` says.
    pub async fn new(script: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let (ended, closed) = mpsc::unbounded_channel();
        let released = Arc::new(Notify::new());
        tokio::spawn(accept(listener, Arc::new(script), seen, ended, released.clone()));
        Self { address, requests, closed, released }
    }

    pub async fn answering(code: u16) -> Self {
        Self::new(move |_, _| status(code)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    /// The next request.
    pub async fn next(&mut self) -> Received {
        in_time(self.requests.recv()).await.unwrap()
    }

    /// The next `count` requests.
    pub async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await);
        }
        taken
    }

    /// What has come and was not looked at.
    pub fn unread(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    /// Waits until the sender closes a connection that drips or floods; returns the bytes sent on it.
    pub async fn connection_closed(&mut self) -> u64 {
        in_time(self.closed.recv()).await.unwrap()
    }

    /// Answers one request that waits, now or later.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

async fn accept(
    listener: TcpListener,
    script: Arc<Script>,
    seen: mpsc::UnboundedSender<Received>,
    ended: mpsc::UnboundedSender<u64>,
    released: Arc<Notify>,
) {
    let counter = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    while let Ok((socket, _)) = listener.accept().await {
        let (script, seen, ended) = (script.clone(), seen.clone(), ended.clone());
        let (released, counter) = (released.clone(), counter.clone());
        tokio::spawn(async move {
            let mut socket = BufReader::new(socket);
            let Some(request) = read_request(&mut socket).await else { return };
            let number = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let reply = script(number, &request);
            let _ = seen.send(request);
            if let Some(sent) = answer(socket.into_inner(), reply, &released).await {
                let _ = ended.send(sent);
            }
        });
    }
}

async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut request_line = String::new();
    socket.read_line(&mut request_line).await.ok().filter(|read| *read > 0)?;
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Received {
        request_line: request_line.trim_end().into(),
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// Returns the bytes of a body without end, once the peer is gone.
async fn answer(mut socket: TcpStream, reply: Reply, released: &Notify) -> Option<u64> {
    let (line, body) = match reply {
        Reply::Answer(line, body) => (line, body),
        Reply::WhenReleased => {
            released.notified().await;
            ("200 OK", String::new())
        }
        Reply::Drip => return Some(pour(&mut socket, b".", Duration::from_millis(5)).await),
        Reply::Flood => return Some(pour(&mut socket, &[b'x'; 65_536], Duration::ZERO).await),
    };
    let head =
        format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = socket.write_all(head.as_bytes()).await;
    None
}

async fn pour(socket: &mut TcpStream, piece: &[u8], pause: Duration) -> u64 {
    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await;
    let mut sent = 0;
    while socket.write_all(piece).await.is_ok() {
        sent += piece.len() as u64;
        tokio::time::sleep(pause).await;
    }
    sent
}
