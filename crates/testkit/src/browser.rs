//! Headless Chromium, which opens a page and sends what it sees of media.
//!
//! The page and what it fetches are served from here; it posts its findings to `/seen`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// For how long the browser may take over everything: longer than other processes, as it plays in real time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Reads the number in the picture of a `<video>` (see [`crate::ffmpeg`]): a function `numberIn(video)` for pages.
pub const NUMBER_IN: &str = "
const canvas = new OffscreenCanvas(256, 16), context = canvas.getContext('2d', {willReadFrequently: true});
function numberIn(video) {
  context.drawImage(video, 0, 0);
  let value = 0;
  for (let bit = 0; bit < 16; bit++) {
    if (context.getImageData(bit * 16 + 8, 8, 1, 1).data[0] > 127) value |= 1 << bit;
  }
  return value;
}
";

/// The browser: named by `MEDIAHOOKS_CHROMIUM`, or on the path.
fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("MEDIAHOOKS_CHROMIUM") {
        return path.into();
    }
    let found =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    assert!(is_there, "chromium is needed by this test; run scripts/install-test-tools.sh");
    "chromium".into()
}

/// Opens `page` and returns what it posts to `/seen`. What it fetches beside it is asked of `resource`, by its path
/// without the slash, as a media type and bytes.
pub fn open(page: &str, resource: impl Fn(&str) -> Option<(&'static str, Vec<u8>)>) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("a port").port();
    let profile = std::env::temp_dir().join(format!("mediahooks-chromium-{port}"));
    let mut browser = Browser(start(&chromium(), &profile, port), profile);
    let serve = |path: &str| match path {
        "" => Some(("text/html", page.as_bytes().to_vec())),
        path => resource(path),
    };
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "Chromium told nothing for {PATIENCE:?}");
        assert!(browser.0.try_wait().expect("it was started").is_none(), "Chromium ended");
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(seen) = answer(stream, serve) {
                    return seen;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ends with its profile when dropped.
struct Browser(Child, PathBuf);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn start(program: &Path, profile: &Path, port: u16) -> Child {
    let mut command = Command::new(program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("http://127.0.0.1:{port}/"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("Chromium starts")
}

/// Answers one request; returns what was seen when that is what it brings.
fn answer(stream: TcpStream, serve: impl Fn(&str) -> Option<(&'static str, Vec<u8>)>) -> Option<Value> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok()?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let path = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut seen = None;
    let (kind, body) = if path == "seen" {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        seen = serde_json::from_slice(&body).ok();
        ("text/plain", Vec::new())
    } else {
        serve(&path).unwrap_or(("text/plain", Vec::new()))
    };
    let mut stream = reader.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    seen
}
