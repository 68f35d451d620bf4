//! The events of the games that are watched on this instance, over a connection of its own.
//!
//! The client of NATS keeps a channel for each subscription, with room for 32 messages from the
//! start: more than half of what a room takes. Here a subscription is a line that was sent; what
//! comes is handed to the one listener where it is read, and most of it, the instance's own
//! events, goes no further. See ADR 34.

mod connection;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::ServerAddr;
use shared::ids::GameId;
use shared::lifecycle::Lifecycle;
use tokio::sync::{mpsc, oneshot, watch};

use self::worker::Worker;
use super::dial::Identity;
use super::protocol::Delivered;
use super::servers::Servers;

/// Wishes that may wait; whoever has one more waits.
const WISHES_MAX: usize = 1024;

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
