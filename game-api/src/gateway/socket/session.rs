//! One socket's life: a loop that reads requests, carries topics and commands on, and flushes what
//! waits when nothing more is ready.

use std::future::{Future, ready};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use shared::ids::PlayerId;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tungstenite::error::CapacityError;

use super::commands::{Commands, Done};
use super::end::End;
use super::inbound::Topic;
use super::leave::Leave;
use super::outbound::Outbound;
use super::requests;
use super::topics::{Step, Topics};
use super::writer::{WriteError, Writer};
use crate::app::App;
use crate::gateway::heartbeat::Beat;
use crate::gateway::places::Place;
use crate::problem::{Problem, Reason};

/// From the welcome to the client's first message.
const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(5);
/// Messages of one socket a second, in the long run: more than 32 games at 20 commands a second
/// of one player need no socket.
const MESSAGES_PER_S: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// Messages of one socket at once: every topic subscribed twice over.
const MESSAGES_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// What a socket's loop was woken by.
enum Woken {
    Read(Option<Result<Message, axum::Error>>),
    Topic(Topic, Step),
    Command(Done),
    Beat(Beat),
    Late,
    Leave,
}

/// By the operating system's clock: the library's own default looks at the processor's features
/// for each limiter, which takes longer than all else that opening a socket takes.
type MessageLimiter =
    RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

type NextBeat = Pin<Box<dyn Future<Output = (watch::Receiver<Beat>, Beat)> + Send>>;

pub(super) struct Session {
    pub(super) app: Arc<App>,
    pub(super) player: Option<PlayerId>,
    pub(super) writer: Writer,
    pub(super) topics: Topics,
    pub(super) commands: Commands,
    pub(super) messages: MessageLimiter,
    beat: NextBeat,
    /// Until the first message has come.
    first_message: Option<Pin<Box<Sleep>>>,
    /// Since the last ping, something was heard.
    heard: bool,
    leave: Leave,
    place: Place,
}

/// Serves a socket to its end.
///
/// A socket waits most of the time, and its task is as large as the largest that it can wait for.
/// So what is rare, or long, is in boxes of its own, here and in what this calls.
pub(super) async fn run(mut session: Box<Session>) {
    let stopping = session.app.life.stopping();
    let end = tokio::select! {
        end = session.serve() => end,
        () = stopping.cancelled() => End::DRAIN,
    };
    Box::pin(session.part(end)).await;
}

impl Session {
    /// A socket that was just opened.
    pub(super) fn new(app: Arc<App>, socket: WebSocket, place: Place) -> Self {
        let gateway = &app.gateway;
        Self {
            player: place.player(),
            writer: Writer::new(socket, gateway.clone()),
            topics: Topics::default(),
            commands: Commands::default(),
            messages: RateLimiter::direct_with_clock(
                Quota::per_second(MESSAGES_PER_S).allow_burst(MESSAGES_BURST),
                MonotonicClock,
            ),
            beat: next_beat(gateway.heartbeat().place()),
            first_message: Some(Box::pin(sleep(FIRST_MESSAGE_MAX))),
            heard: true,
            leave: Leave::Stays,
            place,
            app,
        }
    }

    /// Closes the socket, and carries out the commands that have come.
    async fn part(self: Box<Self>, end: End) {
        let Self {
            app,
            writer,
            topics,
            mut commands,
            leave,
            place,
            ..
        } = *self;
        drop(topics);
        let disconnects = &app.metrics.gateway_disconnects_total;
        disconnects.with_label_values(&[end.reason]).inc();
        let goodbye = async move {
            match end.close {
                Some((code, reason)) => writer.close(code, reason, end.readable).await,
                None if end.readable => writer.part().await,
                None => drop(writer),
            }
        };
        // Who sends a command and goes has sent it all the same.
        let until = leave.commands_until();
        let stopping = app.life.stopping();
        let finished = async {
            tokio::select! {
                () = commands.finish(&app.games) => {}
                () = sleep_until(until) => {}
                () = stopping.cancelled() => {}
            }
        };
        tokio::join!(goodbye, finished);
        drop(place);
    }

    async fn serve(&mut self) -> End {
        match self.serve_until_end().await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn serve_until_end(&mut self) -> Result<std::convert::Infallible, End> {
        let now_ms = self.app.gateway.now_ms();
        self.writer.say(&Outbound::Welcome { now_ms }).await?;
        loop {
            let woken = if self.writer.is_dirty() {
                // More may be ready: it goes out in the same flush.
                let Some(woken) = self.more().now_or_never() else {
                    self.writer.flush().await?;
                    continue;
                };
                woken
            } else {
                self.woken().await
            };
            self.act(woken).await?;
        }
    }

    /// Each in a box of its own: the most frequent, to send frames, is small enough for what
    /// allocators have at hand.
    fn act(&mut self, woken: Woken) -> BoxFuture<'_, Result<(), End>> {
        match woken {
            Woken::Topic(topic, step) => Box::pin(self.step(topic, step)),
            Woken::Read(read) => Box::pin(self.read(read)),
            Woken::Command(done) => Box::pin(self.answer(done)),
            Woken::Beat(beat) => Box::pin(self.beat(beat)),
            Woken::Late => Box::pin(self.late()),
            Woken::Leave => Box::pin(ready(self.go())),
        }
    }

    /// What is to be written beside what waits for the flush.
    async fn more(&mut self) -> Woken {
        tokio::select! {
            (topic, step) = self.topics.next() => Woken::Topic(topic, step),
            done = self.commands.next(&self.app.games) => Woken::Command(done),
        }
    }

    async fn woken(&mut self) -> Woken {
        let leave = self.leave;
        let may_read = leave.may_read() && !self.commands.are_full();
        // Who is not listened to is not silent.
        self.heard |= !may_read;
        let answered = self.commands.are_done();
        tokio::select! {
            (topic, step) = self.topics.next() => Woken::Topic(topic, step),
            done = self.commands.next(&self.app.games) => Woken::Command(done),
            read = self.writer.read(), if may_read => Woken::Read(read),
            (receiver, beat) = &mut self.beat => {
                self.beat = next_beat(receiver);
                Woken::Beat(beat)
            }
            () = late(&mut self.first_message) => Woken::Late,
            () = leave.due(answered) => Woken::Leave,
        }
    }

    async fn read(&mut self, read: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match read {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(self.unreadable(error).await?),
            None => return Err(End::CLOSED),
        };
        self.heard = true;
        // Pongs are what a WebSocket library says by itself: they are no first message.
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            self.first_message = None;
        }
        match message {
            Message::Text(text) => self.message(&text).await,
            Message::Binary(_) => {
                let problem = self.messages.check().map_or_else(
                    |_| requests::too_many(),
                    |()| Problem::new(Reason::Invalid, "messages are JSON in text frames"),
                );
                self.refuse(None, &problem).await
            }
            // Each ping is answered, and so is one of the messages that a client may send.
            Message::Ping(_) | Message::Pong(_) if self.messages.check().is_err() => {
                self.refuse(None, &requests::too_many()).await
            }
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::CLOSED),
        }
    }

    async fn unreadable(&mut self, error: axum::Error) -> Result<End, End> {
        let error = error.into_inner().downcast::<tungstenite::Error>();
        match error.as_deref() {
            Ok(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                let detail = format!("a message has at most {} bytes", super::MESSAGE_BYTES_MAX);
                self.refuse(None, &Problem::new(Reason::TooLarge, detail))
                    .await?;
                Ok(End::TOO_LARGE)
            }
            Ok(tungstenite::Error::Utf8(_)) => {
                let problem = Problem::new(Reason::Invalid, "the message is no UTF-8");
                self.refuse(None, &problem).await?;
                Ok(End::PROTOCOL)
            }
            Ok(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => Ok(End::CLOSED),
            Ok(tungstenite::Error::Protocol(_)) => Ok(End::PROTOCOL),
            // Reading writes too: the answer to a ping.
            Ok(tungstenite::Error::Io(io)) => Ok(WriteError::of(io).into()),
            _ => Ok(End::ERROR),
        }
    }

    async fn beat(&mut self, beat: Beat) -> Result<(), End> {
        if beat.draining && self.leave == Leave::Stays {
            return self.take_leave().await;
        }
        if !self.leave.may_read() {
            return Ok(());
        }
        if !std::mem::take(&mut self.heard) {
            return Err(End::SILENT);
        }
        Ok(self.writer.ping().await?)
    }

    async fn late(&mut self) -> Result<(), End> {
        let seconds = FIRST_MESSAGE_MAX.as_secs();
        let detail = format!("the first message was not there within {seconds} s");
        self.refuse(None, &Problem::new(Reason::Invalid, detail))
            .await?;
        Err(End::SILENT)
    }

    /// Tells the client when to come back, and goes on until then.
    async fn take_leave(&mut self) -> Result<(), End> {
        let departures = self.app.gateway.departures();
        let after = departures.after();
        self.leave = Leave::Goes(Instant::now() + after + departures.overlap());
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Ok(self.writer.say(&Outbound::Reconnect { after_ms }).await?)
    }

    /// The client's time is over: what it has sent is answered, then it is closed.
    fn go(&mut self) -> Result<(), End> {
        if !self.leave.may_read() {
            return Err(End::DRAIN);
        }
        self.leave = Leave::last_answers();
        Ok(())
    }
}

fn next_beat(mut receiver: watch::Receiver<Beat>) -> NextBeat {
    Box::pin(async move {
        let changed = receiver.changed().await;
        if changed.is_err() {
            // The wheel has stopped; the hard stop ends the socket.
            std::future::pending::<()>().await;
        }
        let beat = *receiver.borrow_and_update();
        (receiver, beat)
    })
}

async fn late(first_message: &mut Option<Pin<Box<Sleep>>>) {
    match first_message {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::future_bytes;

    /// Bytes of a session without its buffers: 696 are used.
    const SESSION_BYTES_MAX: usize = 800;
    /// Bytes of its wait for whatever comes next: 376 are used.
    const WAIT_BYTES_MAX: usize = 450;

    #[test]
    fn a_socket_is_not_as_large_as_all_that_it_may_do() {
        let (session, wait) = (size_of::<Session>(), future_bytes(run));
        assert!(
            session <= SESSION_BYTES_MAX && wait <= WAIT_BYTES_MAX,
            "{session} and {wait} bytes"
        );
    }
}
