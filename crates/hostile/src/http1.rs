//! HTTP/1.1, on a bare connection so that nothing keeps it from going wrong.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, sleep, timeout};

use crate::mode::Mode;
use crate::request;
use crate::{Event, PATIENCE, Shared, Wire};

/// Sent over and over by modes without end.
const PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Serves requests until a mode, or the client, ends the connection.
pub(crate) async fn serve(stream: impl Wire, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut is_stale = false;
    for number in 0.. {
        let read = timeout(PATIENCE, request::read(&mut stream, number)).await;
        let Ok(Some(request)) = read.map_err(io::Error::from)? else { break };
        let mode = Mode::of_path(&request.target);
        let target = request.target.clone();
        shared.tell(Event::Request(request)).await;
        if is_stale || !act(&mut stream, &mode, &target, shared).await? {
            break;
        }
        is_stale = mode == Mode::Stale;
    }
    // Some bytes of the client may be unread; closing on them would be a reset.
    stream.shutdown().await
}

/// Does what `mode` says; returns whether the connection goes on.
async fn act(
    stream: &mut BufReader<impl Wire>,
    mode: &Mode,
    target: &str,
    shared: &Shared,
) -> io::Result<bool> {
    match mode {
        Mode::Status { code, retry_after } => {
            let patience =
                retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
            return answer(stream, *code, &patience, "as asked").await;
        }
        Mode::Flap { failures } => {
            let is_due = shared.count(target) % failures.saturating_add(1) == *failures;
            return answer(stream, if is_due { 200 } else { 503 }, "", "flap").await;
        }
        Mode::Redirect => return answer(stream, 307, "location: /followed\r\n", "elsewhere").await,
        Mode::Followed => return answer(stream, 200, "", "a redirect was followed").await,
        Mode::Stale => return answer(stream, 200, "", "for now").await,
        Mode::Goaway => {
            answer(stream, 200, "connection: close\r\n", "goodbye").await?;
        }
        Mode::Hang => endless(stream, mode, shared, b"", b"", PATIENCE).await?,
        Mode::HangBody => endless(stream, mode, shared, HEAD_OF_MUCH, b"", PATIENCE).await?,
        Mode::Drip { every } => endless(stream, mode, shared, HEAD_OF_MUCH, b".", *every).await?,
        Mode::DripHead { every } => {
            endless(stream, mode, shared, b"HTTP/1.1 200 OK\r\nx-slow: ", b"a", *every).await?
        }
        Mode::Huge => endless(stream, mode, shared, HEAD_OF_MUCH, &PIECE, Duration::ZERO).await?,
        Mode::Headers => {
            let more = b"x-more: and more\r\n".repeat(100);
            endless(stream, mode, shared, b"HTTP/1.1 200 OK\r\n", &more, Duration::ZERO).await?;
        }
        Mode::Interim => {
            let more = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
            endless(stream, mode, shared, b"", &more, Duration::ZERO).await?;
        }
        Mode::Reset => stream.get_ref().make_reset(),
        Mode::HalfClose => {
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while timeout(PATIENCE, stream.read(&mut rest)).await.map_err(io::Error::from)?? > 0 {}
        }
        Mode::Short => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789").await?,
        Mode::Long => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            stream.write_all(&PIECE[..98]).await?;
            // So that the client sees the rest before the end.
            sleep(Duration::from_millis(50)).await;
        }
        Mode::Garbage => stream.write_all(b"220 mail.example.com ESMTP\r\n").await?,
        Mode::Unframed => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await?,
        Mode::Upgrade => {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
            stream.write_all(head).await?;
        }
    }
    Ok(false)
}

/// The head of a body that is never sent whole.
const HEAD_OF_MUCH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";

async fn answer(stream: &mut BufReader<impl Wire>, code: u16, headers: &str, body: &str) -> io::Result<bool> {
    // A status without a body must not be followed by one (RFC 9110 §6.4.1).
    let body = if matches!(code, 204 | 205 | 304) { "" } else { body };
    let length =
        if matches!(code, 204 | 304) { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let text = format!("HTTP/1.1 {code} As Asked\r\n{headers}{length}\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    Ok(true)
}

/// Says `begin` and then `piece` again and again until the client leaves, and tells of it.
async fn endless(
    stream: &mut BufReader<impl Wire>,
    mode: &Mode,
    shared: &Shared,
    begin: &[u8],
    piece: &[u8],
    every: Duration,
) -> io::Result<()> {
    let started = Instant::now();
    let mut sent_bytes = 0;
    let _ = stream.write_all(begin).await;
    let mut unread = [0; 1024];
    while started.elapsed() < PATIENCE {
        let step = async {
            stream.write_all(piece).await?;
            stream.flush().await?;
            sent_bytes += u64::try_from(piece.len()).unwrap_or_default();
            // Here the end of the client shows, even when nothing is written.
            match timeout(every, stream.read(&mut unread)).await {
                Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read.map(drop),
                Err(_) => Ok(()),
            }
        };
        if step.await.is_err() {
            shared.tell(Event::Left { mode: mode.clone(), sent_bytes, after: started.elapsed() }).await;
            break;
        }
    }
    Ok(())
}
