//! The router on a real socket: keep-alive, HTTP/2 and a graceful end.

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use common::Bench;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn requests_are_served_until_the_shutdown() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(mediahooks_api::serve(listener, bench.router.clone(), shutdown.clone()));

    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(REQUEST).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(br#"{"status":"success","data":true}"#) {
            assert_ne!(stream.read_buf(&mut reply).await.unwrap(), 0, "{}", String::from_utf8_lossy(&reply));
        }
        assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }

    let mut second = TcpStream::connect(address).await.unwrap();
    // The preface and an empty SETTINGS frame of HTTP/2 with prior knowledge; SETTINGS come back.
    second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    second.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
    drop(second);

    shutdown.cancel();
    serving.await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_of_it_is_let_go() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(mediahooks_api::serve(listener, bench.router.clone(), shutdown.clone()));
    // Time jumps to the next deadline from here on.
    tokio::time::pause();
    for said in [&b""[..], b"PRI * HT", b"GET /healthz HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut reply = Vec::new();
        // Either a reset or an end; what matters is that it comes.
        let _ = stream.read_to_end(&mut reply).await;
        assert!(!reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    }
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_client_that_only_pings_is_let_go() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(mediahooks_api::serve(listener, bench.router.clone(), shutdown.clone()));
    tokio::time::pause();
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let pinging = tokio::spawn(async move {
        while writer.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    let mut replies = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(300), reader.read_to_end(&mut replies)).await;
    assert!(ended.is_ok(), "still open after {} bytes", replies.len());
    assert!(replies.windows(8).any(|bytes| bytes == b"pingping"), "the pings were answered");
    pinging.await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_long_download_is_not_idle() {
    let slow = || async {
        Body::from_stream(futures::stream::iter(0..10).then(|_| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"part"))
        }))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let shutdown = CancellationToken::new();
    let router = Router::new().route("/slow", get(slow));
    let serving = tokio::spawn(mediahooks_api::serve(listener, router, shutdown.clone()));
    tokio::time::pause();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut reply).await.unwrap(), 0, "{}", String::from_utf8_lossy(&reply));
    }
    assert_eq!(reply.windows(4).filter(|bytes| bytes == b"part").count(), 10);
    drop(stream);
    shutdown.cancel();
    serving.await.unwrap();
}
