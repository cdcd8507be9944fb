//! The built program as a process: started on free ports, looked at, stopped or killed, started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use crate::{eventually, patiently};

/// The API secret of test servers.
const SECRET: &str = "test-secret-of-the-testkit";

/// A port of 127.0.0.1 for a program that is to listen on it, and again after it has ended: the kernel gives it to
/// nobody else who asks for any free one, as parallel tests do all the time.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Bound, not listening: whoever names the port may have it as well.
    _held: TcpSocket,
}

impl Port {
    /// One that nobody has.
    pub fn free() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.set_reuseaddr(true).expect("a socket takes it");
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address, _held: held }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    program: PathBuf,
    /// What it runs under, with its arguments.
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl ServerOptions {
    /// For the program at `program`: in a test of the crate that builds it, `env!("CARGO_BIN_EXE_mediahooks")`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let arguments = ["--webhook-allow", "127.0.0.0/8", "--log-format", "json"];
        Self {
            program: program.into(),
            wrapper: Vec::new(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: vec![("MEDIAHOOKS_API_SECRET".to_owned(), SECRET.to_owned())],
        }
    }

    /// Runs it under another program, which has to become it or leave it the direct child, such as
    /// [`crate::power::record`].
    #[must_use]
    pub fn under(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// Adds arguments of `serve`.
    #[must_use]
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it on a fresh data directory, which is removed with it.
    pub async fn start(self) -> TestServer {
        let data = TempDir::with_prefix("mediahooks-test-").expect("a temporary directory");
        let (http, rtmp) = (Port::free(), Port::free());
        let process = Process::spawn(&self, data.path(), http.address, rtmp.address);
        let mut server = TestServer { options: self, data, process, http, rtmp };
        server.wait_until_ready().await;
        server
    }
}

/// A server in a process of its own.
#[derive(Debug)]
pub struct TestServer {
    options: ServerOptions,
    data: TempDir,
    process: Process,
    http: Port,
    rtmp: Port,
}

impl TestServer {
    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where REST and downloads are served.
    pub fn http(&self) -> SocketAddr {
        self.http.address
    }

    /// Where encoders publish.
    pub fn rtmp(&self) -> SocketAddr {
        self.rtmp.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id().expect("the process runs")
    }

    /// `http://ADDRESS`
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address)
    }

    /// Its API secret.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Where an encoder publishes `stream` with `token`.
    pub fn publish_url(&self, stream: &str, token: &str) -> String {
        format!("rtmp://{}/v2/pub/{stream}?token={token}", self.rtmp.address)
    }

    /// Its REST interface.
    pub fn rest(&self) -> Rest {
        Rest { http: reqwest::Client::new(), server: self.url() }
    }

    /// Everything it wrote to standard error so far, line by line.
    pub fn log(&self) -> Vec<String> {
        self.process.stderr.lines()
    }

    /// Everything it wrote to standard output so far, line by line.
    pub fn output(&self) -> Vec<String> {
        self.process.stdout.lines()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub async fn kill(&mut self) {
        self.process.child.kill().await.expect("the process can be killed");
    }

    /// Sends a signal without waiting for what comes of it.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process id"), signal)
            .expect("the process can be signalled");
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait().await
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        patiently("the server ends", self.process.child.wait()).await.expect("the process can be awaited")
    }

    /// Starts it again, after a kill or a stop, on the same data and the same ports.
    pub async fn restart(&mut self) {
        self.process = Process::spawn(&self.options, self.data.path(), self.http.address, self.rtmp.address);
        self.wait_until_ready().await;
    }

    /// Waits for its addresses, and then until `/readyz` says yes.
    async fn wait_until_ready(&mut self) {
        let said = eventually("the server says where it serves", async || self.addresses()).await;
        assert_eq!(said, (self.http.address, self.rtmp.address));
        let client = reqwest::Client::new();
        let url = format!("{}/readyz", self.url());
        eventually("the server is ready", async || {
            let response = client.get(&url).send().await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
    }

    /// The addresses in the log line that says so. A process that ended instead is a panic with its log.
    fn addresses(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        if let Ok(Some(status)) = self.process.child.try_wait() {
            panic!("the server ended with {status}:\n{}", self.log().join("\n"));
        }
        self.log().iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let address = |name: &str| line[name].as_str()?.parse().ok();
            Some((address("http")?, address("rtmp")?))
        })
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    fn spawn(options: &ServerOptions, data: &Path, http: SocketAddr, rtmp: SocketAddr) -> Self {
        let mut words =
            options.wrapper.iter().map(std::ffi::OsString::from).chain([options.program.clone().into()]);
        let mut command = Command::new(words.next().expect("there is a program at least"));
        command.args(words).arg("serve").arg("--data").arg(data);
        command.args(["--http", &http.to_string(), "--rtmp", &rtmp.to_string()]);
        command.args(&options.arguments).envs(options.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {}: {error}", options.program.display());
        });
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }
}

/// The lines of a pipe, read as they come so that the pipe never fills.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Self::default();
        let read = lines.clone();
        tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = pipe.next_line().await {
                read.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        lines
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The REST interface of a [`TestServer`], as an application uses it.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    server: String,
}

impl Rest {
    /// Sends a request and returns its status and JSON; a broken connection is an error, since servers are
    /// killed in tests.
    pub async fn send(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(http::StatusCode, Value), reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.server)).bearer_auth(SECRET);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// The `data` of a request that has to succeed.
    pub async fn data(&self, method: http::Method, path: &str, body: Option<&Value>) -> Value {
        let (status, mut answer) = self.send(method.clone(), path, body).await.expect("the server answers");
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer["data"].take()
    }

    /// `GET`; it has to succeed.
    pub async fn get(&self, path: &str) -> Value {
        self.data(http::Method::GET, path, None).await
    }

    /// `POST`; it has to succeed.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.data(http::Method::POST, path, Some(&body)).await
    }

    /// Makes a token for one stream, with recording and clips, and returns its secret.
    pub async fn create_token(&self, stream: &str) -> String {
        let body = json!({
            "label": stream, "streams": [{"streamName": stream}], "record": true, "clip": true,
        });
        let token = self.post("/api/publish_token", body).await;
        token["token"].as_str().expect("a token has a secret").to_owned()
    }

    /// Adds a webhook for feeds and media, and returns it.
    pub async fn add_webhook(&self, url: &str) -> Value {
        self.post("/api/webhooks", json!({"url": url, "isFeedHooks": true, "isMediaHooks": true})).await
    }

    /// Fetches the file of a complete asset.
    pub async fn download(&self, id: &str) -> bytes::Bytes {
        let asset = self.get(&format!("/api/v3/media/assets/{id}")).await;
        let link = asset["download"]["downloadUrl"].as_str().unwrap_or_else(|| panic!("no link in {asset}"));
        let response = self.http.get(link).send().await.expect("the server answers");
        assert!(response.status().is_success(), "{}", response.status());
        response.bytes().await.expect("the file comes whole")
    }
}
