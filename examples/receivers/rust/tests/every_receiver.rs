//! Each example receiver, in its own language and runtime, stands everything that a receiver meets: it
//! answers as it should, and prints each genuine event once.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use mediahooks_receiver::fake::{self, Expected, FakeSender};
use mediahooks_testkit::{patiently, tools};
use reqwest::{Client, StatusCode};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A receiver in a process of its own.
struct Receiver {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Receiver {
    /// Starts it on a free port, which it prints.
    fn start(mut command: Command) -> Self {
        let process = command
            .env("WEBHOOK_SECRET", SECRET)
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().expect("it says where it receives").unwrap();
        let url = first.strip_prefix("Receiving webhooks at ").expect(&first).to_owned();
        Self { process, lines, url }
    }

    /// Ends it and returns what else it printed.
    fn printed(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.lines.by_ref().map(Result::unwrap).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn rehearse(command: Command) {
    let receiver = Receiver::start(command);
    let client = Client::builder().no_proxy().build().unwrap();
    let sender = FakeSender::new(SECRET).unwrap().to(&receiver.url);
    patiently("the rehearsal", async {
        for step in sender.rehearsal() {
            let (status, text) = fake::post(&client, step.request).await.unwrap();
            assert!(step.expected.agrees_with(status), "{}: {status} {text}", step.what);
            if step.expected == Expected::Refused {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{}", step.what);
            }
        }
        // Longer than any event: not read to its end, whoever signed it.
        let (status, _) = fake::post(&client, sender.raw("application/json", vec![b' '; 2 << 20]).request())
            .await
            .unwrap_or((StatusCode::PAYLOAD_TOO_LARGE, String::new()));
        assert!(status.is_client_error(), "{status}");
    })
    .await;
    assert_eq!(
        receiver.printed(),
        [
            "media.processing rehearsed 1",
            "media.deleted rehearsed 3",
            "media.completed rehearsed 2",
            "holograms.projected",
            "media.completed rotated 2",
        ]
    );
}

#[tokio::test]
async fn rust() {
    rehearse(Command::new(env!("CARGO_BIN_EXE_mediahooks-example-receiver"))).await;
}

#[tokio::test]
async fn node() {
    let mut node = tools::node();
    node.arg(example("node/receiver.js"));
    rehearse(node).await;
}

#[tokio::test]
async fn python() {
    let mut python = tools::python();
    python.arg(example("python/receiver.py"));
    rehearse(python).await;
}

#[tokio::test]
async fn go() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-receiver");
    tools::output(tools::go().arg("build").arg("-o").arg(&program).current_dir(example("go")));
    rehearse(Command::new(program)).await;
}
