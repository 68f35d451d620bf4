//! From commit to the rooms of this instance: whoever watches a game here is told of each event
//! that this instance committed, without waiting for the relay. A hint: the queue is bounded, and
//! what does not fit is found by sequence number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::ids::GameId;
use shared::telemetry::TraceContext;
use tokio::sync::Notify;

use super::entity::Logged;

/// Events that may wait for one room; a room that is further behind reads the log instead.
const FEED_EVENTS_MAX: usize = 64;

/// A committed event and the trace it belongs to.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The event.
    pub logged: Arc<Logged>,
    /// The span that appended it, the parent of its deliveries.
    pub trace: TraceContext,
}

/// The rooms of this instance, by game.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    rooms: Arc<Mutex<HashMap<GameId, Arc<Queue>>>>,
}

impl Feed {
    /// Watches a game. A second watcher of the same game replaces the first.
    #[must_use]
    pub fn watch(&self, game: GameId) -> Watcher {
        let queue = Arc::<Queue>::default();
        lock(&self.rooms).insert(game, Arc::clone(&queue));
        Watcher(queue)
    }

    /// Forgets a game that nobody watches here any more.
    pub fn unwatch(&self, game: GameId) {
        lock(&self.rooms).remove(&game);
    }

    /// Tells the room of this game, if there is one. Never waits.
    pub fn publish(&self, committed: Committed) {
        let rooms = lock(&self.rooms);
        if let Some(room) = rooms.get(&committed.logged.game) {
            room.push(committed);
        }
    }
}

/// What waits for one room. Most rooms wait for their next event most of the time, so an empty
/// queue holds no memory; a channel keeps a block of 32 slots.
#[derive(Debug, Default)]
struct Queue {
    events: Mutex<VecDeque<Committed>>,
    bell: Notify,
}

impl Queue {
    fn push(&self, committed: Committed) {
        let mut events = lock(&self.events);
        // If it is full, the room sees the hole by sequence number and reads the log.
        if events.len() < FEED_EVENTS_MAX {
            events.push_back(committed);
            self.bell.notify_one();
        }
    }
}

/// Where a room hears of the events of its game.
#[derive(Debug)]
pub struct Watcher(Arc<Queue>);

impl Watcher {
    /// The next event, if one waits.
    #[must_use]
    pub fn take(&self) -> Option<Committed> {
        let mut events = lock(&self.0.events);
        let next = events.pop_front();
        if events.is_empty() {
            *events = VecDeque::new();
        }
        next
    }

    /// Waits for the next event. Can be given up and asked again.
    pub async fn next(&self) -> Committed {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.0.bell.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
