//! Headless Chromium that plays files and tells what it shows.
//!
//! The page and the files are served from here; the page seeks to given times, reads the number in the
//! picture and sends everything back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What Chromium shows of one file.
#[derive(Debug)]
pub struct Seen {
    /// In seconds.
    pub duration: f64,
    /// The number in the picture at each time asked for.
    pub numbers: Vec<u32>,
    /// What it complained about.
    pub error: Option<String>,
}

/// A file and the times to look at, in seconds.
pub struct Watched {
    pub path: PathBuf,
    pub at: Vec<f64>,
}

/// For how long the browser may take over everything.
const PATIENCE: Duration = Duration::from_secs(90);

const PAGE: &str = r#"<!doctype html><video muted playsinline></video><script>
const video = document.querySelector('video');
const canvas = new OffscreenCanvas(256, 16), context = canvas.getContext('2d', {willReadFrequently: true});
const once = (name) => new Promise((done, fail) => {
  video.addEventListener(name, done, {once: true});
  video.addEventListener('error', () => fail(new Error(video.error.message)), {once: true});
});
function number() {
  context.drawImage(video, 0, 0);
  let value = 0;
  for (let bit = 0; bit < 16; bit++) {
    if (context.getImageData(bit * 16 + 8, 8, 1, 1).data[0] > 127) value |= 1 << bit;
  }
  return value;
}
async function watch(name, times) {
  const blob = await (await fetch('/' + name)).blob();
  const ready = once('loadeddata');
  video.src = URL.createObjectURL(blob);
  await ready;
  const seen = {duration: video.duration, numbers: []};
  for (const time of times) {
    const sought = once('seeked');
    const shown = new Promise((done) => video.requestVideoFrameCallback(done));
    video.currentTime = time;
    await sought;
    await Promise.race([shown, new Promise((done) => setTimeout(done, 1500))]);
    seen.numbers.push(number());
  }
  return seen;
}
(async () => {
  const all = {};
  for (const [name, times] of Object.entries(await (await fetch('/plan')).json())) {
    try { all[name] = await watch(name, times); } catch (error) { all[name] = {error: String(error)}; }
  }
  await fetch('/seen', {method: 'POST', body: JSON.stringify(all)});
})();
</script>"#;

/// The browser: named by `MEDIAHOOKS_CHROMIUM`, or on the path.
pub fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("MEDIAHOOKS_CHROMIUM") {
        return path.into();
    }
    let found =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    assert!(is_there, "chromium is needed by this test; run scripts/install-test-tools.sh");
    "chromium".into()
}

/// Plays every file and tells what is seen, by its name.
pub fn watch(program: &Path, files: &BTreeMap<String, Watched>) -> BTreeMap<String, Seen> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let profile = std::env::temp_dir().join(format!("mediahooks-chromium-{port}"));
    let mut browser = Browser(start(program, &profile, port), profile);
    let plan: Value = files.iter().map(|(name, file)| (name.clone(), json!(file.at))).collect();
    let begun = Instant::now();
    let seen = loop {
        assert!(begun.elapsed() < PATIENCE, "Chromium told nothing for {PATIENCE:?}");
        assert!(browser.0.try_wait().unwrap().is_none(), "Chromium ended");
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(seen) = answer(stream, files, &plan) {
                    break seen;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let read = |value: &Value| Seen {
        duration: value["duration"].as_f64().unwrap_or(0.0),
        numbers: list(&value["numbers"])
            .iter()
            .filter_map(Value::as_u64)
            .map(|number| number as u32)
            .collect(),
        error: value["error"].as_str().map(str::to_owned),
    };
    seen.as_object().unwrap().iter().map(|(name, value)| (name.clone(), read(value))).collect()
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
    command.spawn().unwrap()
}

/// Answers one request; returns what was seen when that is what it brings.
fn answer(stream: TcpStream, files: &BTreeMap<String, Watched>, plan: &Value) -> Option<Value> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
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
    let name = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut seen = None;
    let (kind, body) = match name.as_str() {
        "" => ("text/html", PAGE.as_bytes().to_vec()),
        "plan" => ("application/json", plan.to_string().into_bytes()),
        "seen" => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            seen = serde_json::from_slice(&body).ok();
            ("text/plain", Vec::new())
        }
        name => match files.get(name) {
            Some(file) => ("video/mp4", std::fs::read(&file.path).unwrap()),
            None => ("text/plain", Vec::new()),
        },
    };
    let mut stream = reader.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    seen
}
