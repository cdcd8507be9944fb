//! Ends a connection that is of no use: a client that connects and asks for nothing, or that stops
//! taking what it asked for.
//!
//! Without an open request bytes prove nothing: the PINGs of HTTP/2 cost a client a few bytes a
//! minute and would hold a connection for ever. While bytes wait for a client, the kernel judges ([`RangeStream`]): only
//! it sees whether any are taken, as it hands us room a third of its buffer at a time, more than a megabyte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::activity::{Activity, OpenRequest, WaitingForUs};
use super::stand_in::RangeStream;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The body of a reply. Its request is open until the last byte has left the library, which has mostly taken a
/// megabyte more than the socket.
pub(crate) struct OpenBody {
    body: Body,
    request: Arc<OpenRequest>,
    waiting: Option<WaitingForUs>,
}

impl OpenBody {
    /// The body of the reply to `request`.
    pub(crate) fn new(body: Body, request: OpenRequest) -> Self {
        Self { body, request: Arc::new(request), waiting: None }
    }
}

/// Bytes of an open request.
struct OpenBytes {
    bytes: Bytes,
    _request: Arc<OpenRequest>,
}

impl AsRef<[u8]> for OpenBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl hyper::body::Body for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.waiting = self.waiting.take().or_else(|| Some(self.request.wait_for_us()));
            return Poll::Pending;
        };
        self.waiting = None;
        let open = |bytes| Bytes::from_owner(OpenBytes { bytes, _request: Arc::clone(&self.request) });
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(open))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails once no request began or ended for a while and, if one is in flight, nothing
/// was read or written either, nor waits to be.
pub(crate) struct IdleTimeout {
    stream: RangeStream,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    activity: Arc<Activity>,
    counts_seen: (usize, usize),
    /// What was written last waits for the client, and the kernel for it.
    is_waited_for: bool,
}

impl IdleTimeout {
    /// Watches `stream`, and tells `activity`, which is of the same connection, what it writes.
    pub(crate) fn new(stream: RangeStream, patience: Duration, activity: Arc<Activity>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(patience));
        let counts_seen = activity.requests();
        Self { stream, patience, deadline, activity, counts_seen, is_waited_for: false }
    }

    /// Passes a result on, or fails at the deadline, which progress moves.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let counts = self.activity.requests();
        let (begun, ended) = counts;
        if counts != self.counts_seen || (begun != ended && polled.is_ready()) {
            self.counts_seen = counts;
            let deadline = Instant::now() + self.patience;
            self.deadline.as_mut().reset(deadline);
        }
        if self.is_waited_for || self.deadline.as_mut().poll(cx).is_pending() {
            return polled;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request or no byte for too long")))
    }

    /// The same of a write.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = if let Poll::Ready(Ok(bytes)) = &polled { *bytes } else { 0 };
        self.activity.wrote(written, polled.is_pending());
        let was_waited_for = self.is_waited_for;
        self.is_waited_for = polled.is_pending() && self.stream.is_watched();
        if was_waited_for && !self.is_waited_for {
            self.deadline.as_mut().reset(Instant::now() + self.patience);
        }
        self.watch(cx, polled)
    }
}

impl AsyncRead for IdleTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for IdleTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A flush of a socket is ready at once and moves no byte.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::stand_in::StandIns;
    use super::*;

    #[tokio::test]
    async fn a_request_is_open_until_its_last_byte_has_left() {
        let activity = Arc::new(Activity::new(StandIns::default()));
        let mut body = OpenBody::new(Body::from("all"), activity.open());
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(3));
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        assert_eq!(activity.requests(), (1, 0), "the library still has {bytes:?}");
        drop(bytes);
        assert_eq!(activity.requests(), (1, 1));
    }
}
