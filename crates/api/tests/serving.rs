//! The router on a real socket: keep-alive, HTTP/2 and a graceful end.

mod common;

use common::Bench;
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
