//! The writing side of a socket: what waits goes out in one flush. A client that takes nothing for
//! [`STALL_MAX`](crate::http::transport::STALL_MAX) is given up by the connection itself, which
//! alone sees whether a write makes progress.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;

use super::outbound::Outbound;
use crate::gateway::Gateway;
use crate::gateway::frame::Frame;
use crate::gateway::subscription::Subscription;
use crate::http::transport::Stalled;

/// The close handshake: until the client has answered, or longer than it would need to.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Why a socket cannot be written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteError {
    /// No progress in time.
    Stalled,
    /// What was sent is not acknowledged: the other side is not there any more.
    Silent,
    /// The connection is gone.
    Gone,
}

impl WriteError {
    /// What the connection says of its end.
    pub(super) fn of(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref()
            && inner.is::<Stalled>()
        {
            return Self::Stalled;
        }
        match error.kind() {
            ErrorKind::TimedOut => Self::Silent,
            _ => Self::Gone,
        }
    }
}

/// A socket with what was written to it and not yet flushed.
pub(super) struct Writer {
    socket: WebSocket,
    gateway: Gateway,
    dirty: bool,
    /// When the live events that wait for the flush were committed, the database's clock.
    committed_ms: Vec<i64>,
}

impl Writer {
    /// Nothing is written yet.
    pub(super) fn new(socket: WebSocket, gateway: Gateway) -> Self {
        Self {
            socket,
            gateway,
            dirty: false,
            committed_ms: Vec::new(),
        }
    }

    /// Whether something waits for a flush.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The next message of the client; none once the connection has ended.
    pub(super) async fn read(&mut self) -> Option<Result<Message, axum::Error>> {
        self.socket.next().await
    }

    /// Writes a message.
    pub(super) async fn say(&mut self, message: &Outbound<'_>) -> Result<(), WriteError> {
        self.count(message.kind());
        self.put(Message::Text(message.text())).await
    }

    /// Writes a frame; if its event happened while the viewer was there, its way is timed.
    pub(super) async fn frame(&mut self, frame: &Frame, live: bool) -> Result<(), WriteError> {
        self.count(frame.kind.as_str());
        if live {
            self.committed_ms.push(frame.at_ms);
        }
        self.put(Message::Text(frame.text.clone())).await
    }

    /// Writes frames of a subscription.
    pub(super) async fn frames(
        &mut self,
        subscription: &Subscription,
        frames: &[Frame],
    ) -> Result<(), WriteError> {
        for frame in frames {
            self.frame(frame, subscription.saw_live(frame)).await?;
        }
        Ok(())
    }

    /// Writes what was made for many.
    pub(super) async fn text(&mut self, kind: &str, text: Utf8Bytes) -> Result<(), WriteError> {
        self.count(kind);
        self.put(Message::Text(text)).await
    }

    /// Writes a ping.
    pub(super) async fn ping(&mut self) -> Result<(), WriteError> {
        self.put(Message::Ping(bytes::Bytes::new())).await
    }

    /// Sends what was written.
    pub(super) async fn flush(&mut self) -> Result<(), WriteError> {
        self.socket.flush().await.map_err(write_error)?;
        self.dirty = false;
        if !self.committed_ms.is_empty() {
            let now = Instant::now();
            for at_ms in self.committed_ms.drain(..) {
                self.gateway.observe_delivery(at_ms, now);
            }
        }
        Ok(())
    }

    /// Says why and goes. `readable` is false after a message that could not be read to its end:
    /// what is left of it stands in the way of the client's answer, and closing at once would
    /// take the explanation back from the network, so there the client is given the time alone.
    pub(super) async fn close(mut self, code: u16, reason: &'static str, readable: bool) {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        let goodbye = async {
            self.socket.send(Message::Close(Some(frame))).await?;
            if readable {
                while let Some(Ok(_)) = self.socket.next().await {}
            } else {
                tokio::time::sleep(GOODBYE_MAX).await;
            }
            Ok::<_, axum::Error>(())
        };
        let _ = timeout(GOODBYE_MAX, goodbye).await;
    }

    /// Answers the client's own close: the answer was made when the close was read, and waits for
    /// a flush. Without it the client would take the end for a broken connection.
    pub(super) async fn part(mut self) {
        let _ = timeout(GOODBYE_MAX, self.socket.close()).await;
    }

    async fn put(&mut self, message: Message) -> Result<(), WriteError> {
        self.dirty = true;
        self.socket.feed(message).await.map_err(write_error)
    }

    fn count(&self, kind: &str) {
        self.gateway.metrics().frame_sent(kind);
    }
}

fn write_error(error: axum::Error) -> WriteError {
    let error = error.into_inner().downcast::<tungstenite::Error>();
    match error.as_deref() {
        Ok(tungstenite::Error::Io(io)) => WriteError::of(io),
        _ => WriteError::Gone,
    }
}
