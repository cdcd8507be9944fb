//! What a connection runs over, and how a publisher's socket is read: on a common beat.
//!
//! A publisher sends a packet for every picture and every sound. To be woken by each of them costs more than all that
//! is done with their bytes, so the socket of a publisher is no longer watched for input: on every beat what has
//! arrived is read. What always holds: nothing waits longer than a beat, whoever sends more than a read takes is
//! read again at once, and writing is woken as ever.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// Between two readings of a publisher's socket. In step with no frame rate in use: the picture that is read soonest
/// after it arrived tells when those of the stream were captured.
const BEAT: Duration = Duration::from_millis(93);

/// When the beat began: that of all sockets, so that one awakening serves them all.
static BEAT_ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a connection runs over.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {
    /// The peer is a publisher: from now on it is enough to read on the beat.
    ///
    /// # Errors
    /// The transport cannot be used any more.
    fn pace(&mut self) -> io::Result<()>;
}

/// A pipe in memory, which simulated publishers send over: there is nothing to be saved.
impl Transport for DuplexStream {
    fn pace(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A TCP connection that can be paced.
pub struct PacedTcp {
    socket: Socket,
    input: Beat,
    output: Beat,
    publishes: Arc<AtomicBool>,
}

enum Socket {
    /// By the runtime, which is woken by every packet.
    Watched(TcpStream),
    /// By nobody.
    Paced(StdStream),
    /// Leaving the runtime failed.
    Lost,
}

impl PacedTcp {
    /// A connection that is not paced yet.
    pub fn new(stream: TcpStream) -> PacedTcp {
        let publishes = Arc::default();
        PacedTcp { socket: Socket::Watched(stream), input: Beat::new(), output: Beat::new(), publishes }
    }

    /// Set once the peer is a publisher.
    pub fn publishes(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.publishes)
    }
}

impl Transport for PacedTcp {
    fn pace(&mut self) -> io::Result<()> {
        self.publishes.store(true, Ordering::Relaxed);
        self.socket = match std::mem::replace(&mut self.socket, Socket::Lost) {
            // It stays non-blocking.
            Socket::Watched(stream) => Socket::Paced(stream.into_std()?),
            paced => paced,
        };
        Ok(())
    }
}

impl AsyncRead for PacedTcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let PacedTcp { socket, input, .. } = self.get_mut();
        match socket {
            Socket::Watched(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Paced(stream) => {
                let length = ready!(input.poll_io(cx, || stream.read(buffer.initialize_unfilled())))?;
                buffer.advance(length);
                // One that fills the buffer leaves more behind.
                if buffer.remaining() > 0 {
                    input.begin();
                }
                Poll::Ready(Ok(()))
            }
            Socket::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for PacedTcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let PacedTcp { socket, output, .. } = self.get_mut();
        match socket {
            Socket::Watched(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Paced(stream) => output.poll_io(cx, || stream.write(bytes)),
            Socket::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Paced(stream) => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Socket::Lost => Poll::Ready(Ok(())),
        }
    }
}

/// Waits for the next beat.
struct Beat {
    sleep: Pin<Box<Sleep>>,
    waits: bool,
}

impl Beat {
    fn new() -> Beat {
        Beat { sleep: Box::pin(sleep_until(Instant::now())), waits: false }
    }

    fn begin(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(*BEAT_ORIGIN).as_micros() % BEAT.as_micros();
        let passed = Duration::from_micros(u64::try_from(passed).unwrap_or(0));
        self.sleep.as_mut().reset(now + BEAT - passed);
        self.waits = true;
    }

    /// Does `work` on every beat, and at once when none is waited for, until it no longer would block.
    fn poll_io<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.waits {
                ready!(self.sleep.as_mut().poll(cx));
                self.waits = false;
            }
            match work() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.begin(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}
