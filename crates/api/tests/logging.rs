//! The log names each request and holds none of its secrets.

mod common;

use std::io;
use std::sync::{Arc, Mutex};

use common::{Bench, SECRET};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn paths_are_logged_and_signatures_and_secrets_are_not() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let bench = Bench::new().await;
    let recording = bench.recording().await;
    let token = bench.get("/api/publish_token/1").await.data();
    let url = recording["download"]["downloadUrl"].as_str().unwrap();
    let link = url.strip_prefix("https://media.example.com").unwrap();
    assert_eq!(bench.get(link).await.status, 200);
    let reply = bench.get(&format!("{link}x")).await;
    reply.failed(403);
    bench.database.close().await.unwrap();
    assert_eq!(bench.raw("DELETE", "/api/webhooks/1", "").await.status, 503);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let (path, query) = link.split_once('?').unwrap();
    let signature = query.split_once("signature=").unwrap().1;
    assert!(text.contains(path) && text.contains(reply.header("x-request-id")), "{text}");
    assert!(text.contains("the database is closed for writing"), "{text}");
    for secret in [signature, SECRET, token["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{text}");
    }
}
