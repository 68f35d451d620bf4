//! The events of the games that are watched on this instance, over a connection of its own.
//!
//! The client of NATS keeps a channel for each subscription, with room for 32 messages from the
//! start: more than half of what a room takes. Here a subscription is a line that was sent; what
//! comes is handed to the one listener where it is read, and most of it, the instance's own
//! events, goes no further. See ADR 34.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::ServerAddr;
use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use shared::ids::GameId;
use shared::lifecycle::Lifecycle;
use shared::subjects;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::dial::{Dialled, Identity, READ_BYTES, Wire, dial, neighbours};
use super::protocol::{self, Delivered, Malformed, Op};
use super::servers::Servers;
use crate::database::chain;

/// Between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A server of which nothing was heard for so long, three pings among it, is given up; a frozen one
/// keeps its connections open.
const SILENT_MAX: Duration = Duration::from_millis(3200);
/// A server that says much and leaves a ping unanswered for so long is given up too: what is asked
/// of it does not arrive.
const UNANSWERED_MAX: Duration = Duration::from_secs(6);
/// A server that takes nothing for so long is given up.
const WRITE_MAX: Duration = Duration::from_secs(3);
/// Between attempts to connect; short, since reconciliation polls the database in the meantime.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// By so much the delay grows with each attempt.
const RECONNECT_DELAY_STEP: Duration = Duration::from_millis(50);
/// A connection that ends sooner, or before all subscriptions stand, was of no use. It counts as one
/// more attempt, since each costs the server and its neighbours all subscriptions, and its server is
/// tried last. It is more than it takes to give up a server that answers no ping.
const BRIEF: Duration = Duration::from_secs(10);
const _: () = assert!(BRIEF.as_secs() > UNANSWERED_MAX.as_secs() + PING_EVERY.as_secs());
/// Room for what is to be sent that is kept: the lines of a burst of wishes, not those of all that
/// is watched.
const OUT_BYTES_KEPT: usize = 32 * 1024;
/// Wishes that may wait; whoever has one more waits.
const WISHES_MAX: usize = 1024;
/// Wishes that are sent in one go.
const WISHES_AT_ONCE: usize = 256;

/// Who hears of messages.
pub trait Listener: Send + Sync + 'static {
    /// A message of a game; false if nobody watches the game here any more. Must not wait.
    fn hear(&self, game: GameId, message: &Delivered<'_>) -> bool;

    /// All games that are watched here.
    fn watched(&self) -> Vec<GameId>;
}

enum Wish {
    /// The one who waits is told when the server has taken the subscription in.
    Subscribe(GameId, oneshot::Sender<()>),
    Unsubscribe(GameId),
}

/// The subscriptions of an instance. Clones share one connection.
#[derive(Clone)]
pub struct Events {
    wishes: mpsc::Sender<Wish>,
    connected: watch::Receiver<bool>,
    received: Arc<AtomicU64>,
    missed: Missed,
    worker: Arc<Mutex<Option<Worker>>>,
}

/// Whether somebody did not wait until a wish could be taken.
type Missed = Arc<AtomicBool>;

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Addresses have passwords in them.
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

struct Worker {
    servers: Servers,
    identity: Identity,
    wishes: mpsc::Receiver<Wish>,
    connected: watch::Sender<bool>,
    received: Arc<AtomicU64>,
    missed: Missed,
    /// Attempts to connect since the last connection that was worth it.
    attempts: u32,
    /// That there is no server has been said.
    said: bool,
}

impl Events {
    pub(super) fn new(servers: Vec<ServerAddr>, identity: Identity) -> Self {
        let (sender, wishes) = mpsc::channel(WISHES_MAX);
        let (connected, link) = watch::channel(false);
        let received = Arc::<AtomicU64>::default();
        let missed = Missed::default();
        let worker = Worker {
            servers: Servers::new(servers),
            identity,
            wishes,
            connected,
            received: Arc::clone(&received),
            missed: Arc::clone(&missed),
            attempts: 0,
            said: false,
        };
        Self {
            wishes: sender,
            connected: link,
            received,
            missed,
            worker: Arc::new(Mutex::new(Some(worker))),
        }
    }

    /// Connects, and stays connected until the last one who could subscribe is gone, or the hard
    /// stop. There is one listener; a second one hears nothing.
    pub fn start(&self, listener: impl Listener, life: &Lifecycle) {
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(worker) = worker {
            let stopping = life.stopping();
            life.spawn_task("events", async move {
                tokio::select! {
                    () = worker.run(&listener) => {}
                    () = stopping.cancelled() => {}
                }
            });
        }
    }

    /// Whether the server is there and every subscription stands. Changes wake whoever watches.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Messages that have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Subscribes to a game, which must be watched already, and waits until the server has taken it
    /// in: what is published from then on is heard. While there is no server nobody waits: what is
    /// watched when one comes is subscribed to then. Who waits no longer is subscribed all the same.
    pub async fn subscribe(&self, game: GameId) {
        let is_up = *self.connected.borrow();
        let (answer, taken_in) = oneshot::channel();
        let unsent = Unsent(&self.missed);
        let wished = self.wishes.send(Wish::Subscribe(game, answer)).await;
        std::mem::forget(unsent);
        if is_up && wished.is_ok() {
            let _ = taken_in.await;
        }
    }

    /// Gives a game up. Never waits: if too much is wished for, the game's next message brings it
    /// about.
    pub fn unsubscribe(&self, game: GameId) {
        let _ = self.wishes.try_send(Wish::Unsubscribe(game));
    }
}

/// A wish that could not be taken yet: who gives it up leaves word.
struct Unsent<'a>(&'a AtomicBool);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error("nobody is left who could subscribe")]
    Unwanted,
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("the server took nothing in time")]
    Stalled(#[from] tokio::time::error::Elapsed),
    #[error("nothing was heard of the server in time")]
    Silent,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Worker {
    async fn run(mut self, listener: &impl Listener) {
        loop {
            let Some((server, dialled)) = self.dial().await else {
                return;
            };
            let begun = Instant::now();
            let end = match Connection::open(dialled, listener).await {
                Ok(mut connection) => connection.serve(&mut self, listener).await,
                Err(error) => error,
            };
            let all_stood = self.connected.send_replace(false);
            if matches!(end, EndError::Unwanted) {
                return;
            }
            if all_stood && begun.elapsed() >= BRIEF {
                self.attempts = 0;
                self.servers.lasted(server);
            } else {
                self.servers.failed(server);
            }
            self.say_away(&end);
        }
    }

    /// Tries one server after the other until one lets this client in; none when nobody is left
    /// who could subscribe.
    async fn dial(&mut self) -> Option<(ServerAddr, Dialled)> {
        loop {
            for server in self.servers.in_turn() {
                let delay = RECONNECT_DELAY_STEP.saturating_mul(self.attempts);
                self.meanwhile(sleep(delay.min(RECONNECT_DELAY_MAX)))
                    .await?;
                self.attempts = self.attempts.saturating_add(1);
                let identity = self.identity.clone();
                match self.meanwhile(dial(&server, &identity)).await? {
                    Ok(dialled) => {
                        self.servers.name(&dialled.neighbours, dialled.encrypted);
                        return Some((server, dialled));
                    }
                    Err(error) => self.say_away(&error),
                }
            }
        }
    }

    /// Says that there is no server, once until there is one.
    fn say_away(&mut self, error: &(dyn std::error::Error + 'static)) {
        let error = chain(error);
        if std::mem::replace(&mut self.said, true) {
            tracing::debug!(error, "NATS is still away");
        } else {
            tracing::warn!(error, "NATS is away; clients are served from the database");
        }
    }

    /// Waits; wishes are granted by the next connection, which asks for all that is watched. None
    /// when nobody is left who could wish.
    async fn meanwhile<T>(&mut self, done: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                out = &mut done => return Some(out),
                wish = self.wishes.recv() => drop(wish?),
            }
        }
    }
}

/// A ping that is not answered yet: when it was sent, and who waits for the answer.
struct Awaited(Instant, Vec<oneshot::Sender<()>>);

struct Connection {
    reader: ReadHalf<Box<dyn Wire>>,
    writer: WriteHalf<Box<dyn Wire>>,
    buffer: BytesMut,
    out: String,
    /// In their order.
    pings: VecDeque<Awaited>,
    heard: Instant,
    encrypted: bool,
}

impl Connection {
    /// Asks for all that is watched. With the answer to the ping behind it all subscriptions stand.
    async fn open(dialled: Dialled, listener: &impl Listener) -> Result<Self, EndError> {
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

    async fn serve(&mut self, worker: &mut Worker, listener: &impl Listener) -> EndError {
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
                Op::Err(error) => tracing::warn!(error, "NATS"),
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

#[cfg(test)]
mod tests;
