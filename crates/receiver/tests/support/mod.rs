//! A server that plays back prepared responses, one connection each, and remembers what it was asked.
//! It closes the connection after each response, wherever in the body that is.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mediahooks_receiver::DownloadPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The server, for as long as the test's runtime lives.
pub struct Scripted {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Answers the first request with the first response, and so on; afterwards connections are closed.
    pub async fn playing<const N: usize>(responses: [String; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            for response in responses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                heard.lock().unwrap().push(head);
                stream.write_all(response.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { address, requests }
    }

    /// The link to the file.
    pub fn url(&self) -> String {
        format!("http://{}/file?signature=secret", self.address)
    }

    /// The value of `header` in each request so far; empty where it was absent.
    pub fn asked(&self, header: &str) -> Vec<String> {
        let value = |head: &String| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let found = lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
            found.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        self.requests.lock().unwrap().iter().map(value).collect()
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A response with these headers; the body may be shorter than they say.
pub fn response(status: u16, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status} Scripted\r\n{headers}connection: close\r\n\r\n{body}")
}

/// Three attempts without waits.
pub fn impatient() -> DownloadPolicy {
    DownloadPolicy {
        attempts_max: NonZeroU32::new(3).unwrap(),
        backoff_first: Duration::ZERO,
        backoff_max: Duration::ZERO,
        ..DownloadPolicy::default()
    }
}

/// The names of the files in a folder, sorted.
pub fn files_in(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
