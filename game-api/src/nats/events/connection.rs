//! One connection: what it asks for, and what it is told.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use shared::ids::GameId;
use shared::subjects;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::worker::{EndError, Worker};
use super::{Listener, Wish};
use crate::nats::dial::{Dialled, READ_BYTES, Wire, neighbours};
use crate::nats::protocol::{self, Op};

/// Between two pings.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);
/// A server of which nothing was heard for so long, three pings among it, is given up; a frozen one
/// keeps its connections open.
pub(super) const SILENT_MAX: Duration = Duration::from_millis(3200);
/// A server that says much and leaves a ping unanswered for so long is given up too: what is asked
/// of it does not arrive.
pub(super) const UNANSWERED_MAX: Duration = Duration::from_secs(6);
/// A server that takes nothing for so long is given up.
const WRITE_MAX: Duration = Duration::from_secs(3);
/// Room for what is to be sent that is kept: the lines of a burst of wishes, not those of all that
/// is watched.
pub(super) const OUT_BYTES_KEPT: usize = 32 * 1024;
/// Wishes that are sent in one go.
const WISHES_AT_ONCE: usize = 256;

/// A ping that is not answered yet: when it was sent, and who waits for the answer.
struct Awaited(Instant, Vec<oneshot::Sender<()>>);

/// An open connection, and what is on its way.
pub(super) struct Connection {
    reader: ReadHalf<Box<dyn Wire>>,
    writer: WriteHalf<Box<dyn Wire>>,
    buffer: BytesMut,
    pub(super) out: String,
    /// In their order.
    pings: VecDeque<Awaited>,
    heard: Instant,
    encrypted: bool,
}

impl Connection {
    /// Asks for all that is watched. With the answer to the ping behind it all subscriptions stand.
    pub(super) async fn open(dialled: Dialled, listener: &impl Listener) -> Result<Self, EndError> {
        let (reader, writer) = tokio::io::split(dialled.wire);
        let mut connection = Self {
            reader,
            writer,
            buffer: dialled.buffer,
            out: String::new(),
            pings: VecDeque::new(),
            heard: Instant::now(),
            encrypted: dialled.encrypted,
        };
        for game in listener.watched() {
            connection.say_subscribe(game);
        }
        connection.say_ping(Vec::new());
        connection.send().await?;
        Ok(connection)
    }

    pub(super) async fn serve(
        &mut self,
        worker: &mut Worker,
        listener: &impl Listener,
    ) -> EndError {
        let mut ticks = interval(PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes = Vec::new();
        loop {
            let served = tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => match read {
                    Ok(0) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                    Ok(_) => self.read(worker, listener).await,
                    Err(error) => Err(error.into()),
                },
                count = worker.wishes.recv_many(&mut wishes, WISHES_AT_ONCE) => match count {
                    0 => Err(EndError::Unwanted),
                    _ => self.grant(wishes.drain(..)).await,
                },
                _ = ticks.tick() => self.tick(worker, listener).await,
            };
            if let Err(end) = served {
                return end;
            }
        }
    }

    async fn grant(&mut self, wishes: impl Iterator<Item = Wish>) -> Result<(), EndError> {
        let mut awaited = Vec::new();
        for wish in wishes {
            match wish {
                Wish::Subscribe(game, answer) => {
                    self.say_subscribe(game);
                    awaited.push(answer);
                }
                Wish::Unsubscribe(game) => self.say_unsubscribe(game),
            }
        }
        if !awaited.is_empty() {
            self.say_ping(awaited);
        }
        self.send().await
    }

    async fn tick(
        &mut self,
        worker: &mut Worker,
        listener: &impl Listener,
    ) -> Result<(), EndError> {
        if self.heard.elapsed() > SILENT_MAX {
            // What was said while this process had no time is heard before it is missed.
            return match self.reader.read_buf(&mut self.buffer).now_or_never() {
                Some(Ok(1..)) => self.read(worker, listener).await,
                _ => Err(EndError::Silent),
            };
        }
        let oldest = self.pings.front();
        if oldest.is_some_and(|Awaited(sent, _)| sent.elapsed() > UNANSWERED_MAX) {
            return Err(EndError::Silent);
        }
        if worker.missed.swap(false, Ordering::AcqRel) {
            // Which wish it was is not known. A subscription that stands may be asked for again.
            for game in listener.watched() {
                self.say_subscribe(game);
            }
        }
        self.say_ping(Vec::new());
        self.send().await
    }

    /// Takes in what has come.
    async fn read(
        &mut self,
        worker: &mut Worker,
        listener: &impl Listener,
    ) -> Result<(), EndError> {
        self.heard = Instant::now();
        let mut used = 0;
        while let Some((op, bytes)) = protocol::first(&self.buffer[used..])? {
            used += bytes;
            match op {
                Op::Message(message) => {
                    worker.received.fetch_add(1, Ordering::Relaxed);
                    let game = subjects::game_of(message.subject);
                    if let Some(game) = game.filter(|game| !listener.hear(*game, &message)) {
                        say_unsubscribe(&mut self.out, game);
                    }
                }
                Op::Ping => self.out.push_str("PONG\r\n"),
                Op::Pong => {
                    // The first one stands behind all that was watched when the connection opened.
                    if !*worker.connected.borrow() {
                        tracing::info!("connected to NATS");
                        worker.said = false;
                        worker.connected.send_replace(true);
                    }
                    for waiting in self.pings.pop_front().into_iter().flat_map(|ping| ping.1) {
                        let _ = waiting.send(());
                    }
                }
                Op::Err(error) => tracing::warn!(error, "NATS refuses something"),
                Op::Info(info) => worker.servers.name(&neighbours(info), self.encrypted),
                Op::Other => {}
            }
        }
        self.buffer.advance(used);
        self.buffer.reserve(READ_BYTES);
        self.send().await
    }

    fn say_subscribe(&mut self, game: GameId) {
        let _ = write!(
            self.out,
            "SUB {} {}\r\n",
            subjects::game(game),
            game.0.simple()
        );
    }

    fn say_unsubscribe(&mut self, game: GameId) {
        say_unsubscribe(&mut self.out, game);
    }

    fn say_ping(&mut self, waiting: Vec<oneshot::Sender<()>>) {
        self.out.push_str("PING\r\n");
        self.pings.push_back(Awaited(Instant::now(), waiting));
    }

    async fn send(&mut self) -> Result<(), EndError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = async {
            self.writer.write_all(self.out.as_bytes()).await?;
            self.writer.flush().await
        };
        timeout(WRITE_MAX, sent).await??;
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        Ok(())
    }
}

/// A game's subscription has the game's id for its own.
fn say_unsubscribe(out: &mut String, game: GameId) {
    let _ = write!(out, "UNSUB {}\r\n", game.0.simple());
}
