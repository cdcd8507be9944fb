//! Lets the kernel send stored bytes, while the HTTP library believes that it writes them.
//!
//! The library frames, counts and paces what it is given, but can only be given memory. So a body yields a
//! *stand-in* for a stored range: a slice of an address space that nobody ever reads or writes. When the slice
//! arrives at the socket, its address tells which bytes of which file are meant, and `sendfile` takes its
//! place. However much of it the library has written, the rest of the slice names the rest of the range.
//!
//! Only for HTTP/1.1 without TLS: HTTP/2 copies and frames what it is given. Invariants: a slice of the address
//! space without a range fails the connection and is never sent; what the kernel took is held until the client has
//! it ([`Hold`]): it asked twice more on the same connection, or has closed its side, or is cut off. A request that
//! was sent before its predecessor was answered tells nothing of what the client has: from then on nothing is let go
//! of before the end, and what is sent is read first.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use mediahooks_model::chain;
use mediahooks_recorder::{Hold, StoredPiece};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use crate::telemetry::DOWNLOADED;

/// Addresses for the stand-ins of one connection. The library holds at most some sixteen at a time.
const SPACE_LEN: usize = 64 << 20;

/// Zeroed pages that are never touched take no memory. All connections share the addresses: each looks only
/// its own ranges up.
static SPACE: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; SPACE_LEN]);

/// How long a client whose connection ends may take to read what has arrived at its machine, and to close its side.
/// What has not left ours yet it may take at any pace before that.
const FETCH_TIME_MAX: Duration = Duration::from_secs(120);

/// The same while the server stops.
const FETCH_TIME_STOPPING: Duration = Duration::from_secs(1);

/// The stand-ins of one connection that are still to be written, and what it holds.
#[derive(Clone, Default)]
pub(crate) struct StandIns(Arc<Mutex<Live>>);

#[derive(Default)]
struct Live {
    /// Where in the space the next one begins.
    next: usize,
    /// In the order in which they were made.
    ranges: VecDeque<(Range<usize>, Arc<StoredPiece>)>,
    /// How many requests came.
    requests: u64,
    /// What the kernel may still be sending, with the request that it was sent for.
    sent: Vec<(u64, Hold)>,
    /// How often the client sent something.
    reads: u64,
    /// The same when the last request came or the last stand-in was written, whichever was later.
    reads_before: u64,
    /// Whether the client once sent a request without waiting for an answer.
    pipelines: bool,
}

/// What the library holds in place of a range.
struct StandIn {
    range: Range<usize>,
    of: StandIns,
}

impl AsRef<[u8]> for StandIn {
    fn as_ref(&self) -> &[u8] {
        &SPACE[self.range.clone()]
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let mut live = self.of.lock();
        live.ranges.retain(|(range, _)| *range != self.range);
        live.reads_before = live.reads;
    }
}

impl StandIns {
    /// Another request came: whoever sent it has the answers to those before the last one. Of the last one it
    /// need not have all, if it asked a little early.
    pub(crate) fn next_request(&self) {
        let mut live = self.lock();
        live.requests += 1;
        live.pipelines |= live.reads == live.reads_before;
        live.reads_before = live.reads;
        let (current, pipelines) = (live.requests, live.pipelines);
        live.sent.retain(|(request, _)| pipelines || request + 2 > current);
    }

    /// The client sent something.
    fn next_read(&self) {
        self.lock().reads += 1;
    }

    /// Whether the client may not have all that was sent.
    pub(crate) fn holds(&self) -> bool {
        !self.lock().sent.is_empty()
    }

    /// Nothing is on its way any more.
    fn let_go(&self) {
        self.lock().sent.clear();
    }

    /// Whether there are any more on this connection.
    pub(crate) fn are_made(&self) -> bool {
        !self.lock().pipelines
    }

    /// Bytes to put into a body of this connection in place of `piece`. The piece comes back when there are no
    /// addresses for it, or it would be held for too long.
    pub(crate) fn stand_in(&self, piece: StoredPiece) -> Result<Bytes, StoredPiece> {
        let Some(len) = usize::try_from(piece.len()).ok().filter(|len| (1..=SPACE_LEN).contains(len)) else {
            return Err(piece);
        };
        let mut live = self.lock();
        if live.pipelines {
            return Err(piece);
        }
        let begin = if live.next + len > SPACE_LEN { 0 } else { live.next };
        let range = begin..begin + len;
        if live.ranges.iter().any(|(other, _)| other.start < range.end && range.start < other.end) {
            return Err(piece);
        }
        live.next = range.end;
        let held = (live.requests, piece.hold());
        if !live.sent.contains(&held) {
            live.sent.push(held);
        }
        live.ranges.push_back((range.clone(), Arc::new(piece)));
        Ok(Bytes::from_owner(StandIn { range, of: self.clone() }))
    }

    /// The range that `slice` stands for, and how much of it was written already.
    ///
    /// Errors: it lies in the space and stands for nothing.
    fn find(&self, slice: &[u8]) -> io::Result<Option<(Arc<StoredPiece>, usize)>> {
        let Some(at) = position(slice) else { return Ok(None) };
        let live = self.lock();
        let found = live.ranges.iter().find(|(range, _)| range.contains(&at));
        match found {
            Some((range, piece)) if at + slice.len() <= range.end => {
                Ok(Some((Arc::clone(piece), at - range.start)))
            }
            _ => Err(io::Error::other("a stored range was to be sent that nobody holds any more")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Live> {
        // Whole after every statement that touches it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is that the client hung up, or that the network does not reach it any more.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::BrokenPipe
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

/// Where in the space a slice lies.
fn position(slice: &[u8]) -> Option<usize> {
    let (begin, space) = (slice.as_ptr().addr(), SPACE.as_ptr().addr());
    begin.checked_sub(space).filter(|at| *at < SPACE_LEN && !slice.is_empty())
}

/// A socket that sends stored ranges where it is given their stand-ins.
pub(crate) struct RangeStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    stopping: CancellationToken,
    /// Whether the kernel ends it when its client takes nothing.
    is_watched: bool,
    /// Since it is to be ended.
    fetching: Option<Fetching>,
}

/// The end of a connection whose client may not have all that was sent.
struct Fetching {
    /// The server stops, and has waited long enough since.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Since everything has left, and the end was announced to the client.
    last: Option<Pin<Box<Sleep>>>,
}

impl Fetching {
    fn new(stopping: CancellationToken) -> Self {
        let stopped = Box::pin(async move {
            stopping.cancelled().await;
            tokio::time::sleep(FETCH_TIME_STOPPING).await;
        });
        Self { stopped, last: None }
    }
}

impl RangeStream {
    /// Sends what is made with the stand-ins of `activity`. `stopping`: of the server. While bytes wait for the client, the kernel ends
    /// the connection once the client has taken none of them for `patience` (RFC 5482), and does not before, however slow
    /// it is. `unsent_max`: bytes beyond what is on its way that the kernel takes for it.
    pub(crate) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        stopping: CancellationToken,
        patience: Duration,
        unsent_max: Option<u32>,
    ) -> Self {
        if let Some(unsent_max) = unsent_max
            && let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(unsent_max)
        {
            tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT: the kernel may keep megabytes for a slow client");
        }
        let is_watched = match SockRef::from(&stream).set_tcp_user_timeout(Some(patience)) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT: slow clients may be taken for dead ones");
                false
            }
        };
        Self { stream, activity, stopping, is_watched, fetching: None }
    }

    /// Whether the kernel ends it when its client takes nothing.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Has the kernel send what `slice` stands for.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        piece: &StoredPiece,
        skip: usize,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let sent =
                self.stream.try_io(Interest::WRITABLE, || piece.send(&self.stream, skip as u64, len as u64));
            match sent {
                // What the last one was told is out of date; the next look registers.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    if !is_of_client(&error) {
                        tracing::error!(error = chain(&error), "a download was cut short");
                    }
                    return Poll::Ready(Err(error));
                }
                Ok(sent) => {
                    metrics::counter!(DOWNLOADED, "way" => "kernel").increment(sent as u64);
                    return Poll::Ready(Ok(sent));
                }
            }
        }
    }
}

impl AsyncRead for RangeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.stand_ins().next_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RangeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.activity.stand_ins().find(bytes)? {
            Some((piece, skip)) => self.poll_send(cx, &piece, skip, bytes.len()),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let plain = slices.iter().take_while(|slice| position(slice).is_none()).count();
        match slices.first() {
            Some(first) if plain == 0 => self.poll_write(cx, first),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..plain]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Without it the library would copy what it is given.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.stand_ins().holds() {
            return self.poll_fetched(cx);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl RangeStream {
    /// Ends our side once everything has left it, and waits until the client has closed its own, which it does when it
    /// has everything.
    fn poll_fetched(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut fetching = match self.fetching.take() {
            Some(fetching) => fetching,
            None => Fetching::new(self.stopping.clone()),
        };
        if fetching.last.is_none() && self.poll_left(cx)?.is_ready() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            fetching.last = Some(Box::pin(tokio::time::sleep(FETCH_TIME_MAX)));
        }
        let is_over = fetching.stopped.as_mut().poll(cx).is_ready()
            || fetching.last.as_mut().is_some_and(|last| last.as_mut().poll(cx).is_ready());
        self.fetching = Some(fetching);
        if is_over {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let mut ignored = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut ignored);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.activity.stand_ins().let_go();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits until everything has been sent to the client's machine, if there is somebody who ends that.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Writable from then on is only what has nothing left to send.
        if !self.is_watched || SockRef::from(&self.stream).set_tcp_notsent_lowat(1).is_err() {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let left = self.stream.try_io(Interest::WRITABLE, || {
                let mut now = [PollFd::new(&self.stream, PollFlags::OUT)];
                match poll(&mut now, Some(&Timespec::default()))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            match left {
                // What the last one was told is out of date; the next look registers.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                left => return Poll::Ready(left),
            }
        }
    }
}

impl Drop for RangeStream {
    fn drop(&mut self) {
        if self.activity.stand_ins().holds() || self.activity.is_cut_off() {
            // What is on its way is not to arrive changed: it is dropped, and the client told that it was cut
            // off. Fails when the connection is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_takes_no_more_than_it_may_for_who_takes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for unsent_max in [256 << 10, 64 << 10] {
            let client = TcpStream::connect(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let activity = Arc::new(Activity::new(StandIns::default()));
            let patience = Duration::from_secs(60);
            let stream =
                RangeStream::new(stream, activity, CancellationToken::new(), patience, Some(unsent_max));
            let mut taken = 0;
            stream.stream.writable().await.unwrap();
            while let Ok(bytes) = stream.stream.try_write(&[0; 16 << 10]) {
                taken += bytes;
            }
            // What the client's system has room for is on its way.
            let room = SockRef::from(&client).recv_buffer_size().unwrap();
            assert!(
                taken > 16 << 10 && taken <= room + unsent_max as usize + (16 << 10),
                "{taken} bytes, {room} of them there"
            );
        }
    }
}
