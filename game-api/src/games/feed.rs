//! From commit to the rooms of this instance: whoever watches a game here is told of each event
//! that this instance committed, without waiting for the relay. A hint: the queue is bounded, and
//! what does not fit is found by sequence number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::ids::GameId;
use shared::telemetry::TraceContext;
use tokio::sync::mpsc;

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
    rooms: Arc<Mutex<HashMap<GameId, mpsc::Sender<Committed>>>>,
}

impl Feed {
    /// Watches a game. A second watcher of the same game replaces the first.
    #[must_use]
    pub fn watch(&self, game: GameId) -> mpsc::Receiver<Committed> {
        let (sender, receiver) = mpsc::channel(FEED_EVENTS_MAX);
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(game, sender);
        receiver
    }

    /// Forgets a game that nobody watches here any more.
    pub fn unwatch(&self, game: GameId) {
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&game);
    }

    /// Tells the room of this game, if there is one. Never waits.
    pub fn publish(&self, committed: Committed) {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(&committed.logged.game) {
            // Full or gone: the room sees the hole by sequence number and reads the log.
            let _ = room.try_send(committed);
        }
    }
}
