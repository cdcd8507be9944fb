//! HTTP/2, as far as misbehaviour there differs from HTTP/1.1.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response, Version};
use tokio::time::{Instant, sleep, timeout};

use crate::mode::Mode;
use crate::request::Received;
use crate::{Event, PATIENCE, Shared, Wire};

/// Sent over and over by a body without end.
const PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Serves streams until a mode, or the client, ends the connection.
pub(crate) async fn serve(stream: impl Wire + 'static, shared: &Shared) -> io::Result<()> {
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    let mut number = 0;
    while let Some(stream) = connection.accept().await {
        let (request, mut respond) = stream.map_err(io::Error::other)?;
        let mode = Mode::of_path(request.uri().path());
        match mode {
            // GOAWAY that leaves this stream out: the client may send it again elsewhere (RFC 9113 §6.8).
            Mode::Reset => {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            Mode::HalfClose => {
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            Mode::Goaway => connection.graceful_shutdown(),
            _ => {}
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            // A client that breaks off is what this is for.
            let _ = answer(request, respond, &mode, number, &shared).await;
        });
        number += 1;
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    mode: &Mode,
    on_connection: u32,
    shared: &Shared,
) -> Result<(), h2::Error> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let count = shared.count(&target);
    let received = Received {
        method: head.method.to_string(),
        target,
        version: Version::HTTP_2,
        headers: head.headers,
        body: body.into(),
        on_connection,
    };
    shared.tell(Event::Request(received)).await;
    let status = match mode {
        Mode::Status { code, .. } => *code,
        Mode::Flap { failures } if count % failures.saturating_add(1) != *failures => 503,
        Mode::Redirect => 307,
        _ => 200,
    };
    let mut response = Response::builder().status(status);
    if let Mode::Status { retry_after: Some(seconds), .. } = mode {
        response = response.header("retry-after", *seconds);
    }
    if *mode == Mode::Redirect {
        response = response.header("location", "/followed");
    }
    // Of a status and a text, both valid.
    let Ok(response) = response.body(()) else { return Ok(()) };
    if *mode == Mode::Hang {
        sleep(PATIENCE).await;
    }
    let is_endless = matches!(mode, Mode::HangBody | Mode::Drip { .. } | Mode::Huge);
    let mut to_client = respond.send_response(response, false)?;
    if !is_endless {
        return to_client.send_data(Bytes::from_static(b"as asked"), true);
    }
    let started = Instant::now();
    let mut sent_bytes = 0;
    while started.elapsed() < PATIENCE {
        let (piece, every) = match mode {
            Mode::Drip { every } => (Bytes::from_static(b"."), *every),
            Mode::Huge => (Bytes::from_static(&PIECE), Duration::ZERO),
            _ => (Bytes::new(), PATIENCE),
        };
        // No more than the client has room for, so that what waits here is bounded.
        to_client.reserve_capacity(piece.len());
        let room = poll_fn(|context| to_client.poll_capacity(context));
        let has_room = piece.is_empty() || matches!(timeout(PATIENCE, room).await, Ok(Some(Ok(_))));
        if !has_room || (!piece.is_empty() && to_client.send_data(piece.clone(), false).is_err()) {
            break;
        }
        sent_bytes += u64::try_from(piece.len()).unwrap_or_default();
        if timeout(every, poll_fn(|context| to_client.poll_reset(context))).await.is_ok() {
            break;
        }
    }
    shared.tell(Event::Left { mode: mode.clone(), sent_bytes, after: started.elapsed() }).await;
    Ok(())
}
