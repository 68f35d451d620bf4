//! One client's TCP connection, with what HTTP and WebSocket on top of it cannot see: whether a
//! write makes progress, and whether the other side is still there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// A client that takes nothing for so long holds buffers for nothing.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// A write waited for [`STALL_MAX`]: the client takes nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client takes nothing")]
pub struct Stalled;

/// What is known of a connection, shared with the requests that come over it.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    begun: AtomicBool,
    late: AtomicBool,
    stalled: AtomicBool,
    lost: AtomicBool,
}

impl Fate {
    /// A request's head has come.
    pub(super) fn begin(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
    }

    /// Whether a request's head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// No head came in time: the connection says so when it is dropped.
    pub(super) fn give_up(&self) {
        self.0.late.store(true, Ordering::Relaxed);
    }

    /// How the connection ended, as far as it is known, in the words of
    /// `gateway_disconnects_total`.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        if self.0.stalled.load(Ordering::Relaxed) {
            Some("stalled")
        } else if self.0.lost.load(Ordering::Relaxed) {
            Some("silent")
        } else {
            None
        }
    }

    /// Notes what the kernel says of the other side.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
        {
            self.0.lost.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// A connection that holds its place also after an upgrade, for as long as it is open.
pub(super) struct Transport {
    stream: TcpStream,
    fate: Fate,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is answered to a client whose request does not come.
    late_answer: &'static [u8],
    _place: OwnedSemaphorePermit,
}

impl Transport {
    pub(super) fn new(
        stream: TcpStream,
        fate: Fate,
        late_answer: &'static [u8],
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            fate,
            stalled: None,
            late_answer,
            _place: place,
        }
    }

    /// Lets a write wait for the client for [`STALL_MAX`] and no longer.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(result) => {
                self.stalled = None;
                Poll::Ready(self.fate.note(result))
            }
            Poll::Pending => {
                let timer = self
                    .stalled
                    .get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
                std::task::ready!(timer.as_mut().poll(cx));
                self.fate.0.stalled.store(true, Ordering::Relaxed);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Stalled)))
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if self.fate.0.late.load(Ordering::Relaxed) {
            // Nothing was written before, so there is room; if not, the client goes without.
            let _ = self.stream.try_write(self.late_answer);
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        Poll::Ready(self.fate.note(read))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
