//! Boards: topics that are no game. The lobby shows which public games wait for a player; `me` shows
//! a player their own games. What a board shows is read once an interval for all its readers, and
//! only what has changed is sent; who missed a change is shown the whole.

mod keeper;
mod lobby;
mod me;
mod repo;
mod told;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use prometheus::IntGauge;
use serde_json::Value;
use shared::ids::PlayerId;
use tokio::sync::{Notify, watch};

pub(super) use keeper::run;

use super::frame::FrameKind;
use super::subscription::Counted;

/// What a board shows.
#[derive(Debug)]
struct Posted {
    /// 1, 2, 3 …
    version: u64,
    /// All of it.
    whole: Utf8Bytes,
    /// What is new since the version before.
    change: Utf8Bytes,
}

/// A board, as its keeper has it.
#[derive(Debug)]
struct Board {
    posted: watch::Sender<Option<Arc<Posted>>>,
    version: u64,
}

impl Board {
    fn new() -> Self {
        Self {
            posted: watch::Sender::new(None),
            version: 0,
        }
    }

    fn has_readers(&self) -> bool {
        self.posted.receiver_count() > 0
    }

    fn is_blank(&self) -> bool {
        self.posted.borrow().is_none()
    }

    fn post(&mut self, whole: &Value, change: &Value) {
        self.version += 1;
        self.posted.send_replace(Some(Arc::new(Posted {
            version: self.version,
            whole: whole.to_string().into(),
            change: change.to_string().into(),
        })));
    }

    /// What is shown is not kept up to date any more.
    fn wipe(&mut self) {
        // A reader of before must not take the next version for the one that follows.
        self.version += 1;
        self.posted.send_replace(None);
    }
}

/// A reader of a board.
#[derive(Debug)]
pub struct Reader {
    posted: watch::Receiver<Option<Arc<Posted>>>,
    seen: u64,
    _counted: Counted,
}

impl Reader {
    /// Waits for what is new: a snapshot of the whole first, then changes.
    pub async fn next(&mut self) -> (FrameKind, Utf8Bytes) {
        loop {
            let posted = self.posted.borrow_and_update().clone();
            if let Some(posted) = posted.filter(|posted| posted.version != self.seen) {
                let follows = self.seen != 0 && posted.version == self.seen + 1;
                self.seen = posted.version;
                return if follows {
                    (FrameKind::Event, posted.change.clone())
                } else {
                    (FrameKind::Snapshot, posted.whole.clone())
                };
            }
            if self.posted.changed().await.is_err() {
                // The board was taken down, which a board that is read is not.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The boards of this gateway.
#[derive(Debug)]
pub struct Boards {
    lobby: Mutex<Board>,
    /// One for each player who reads theirs here.
    players: Mutex<HashMap<PlayerId, Board>>,
    /// Rings when somebody reads a blank board.
    bell: Notify,
    subscriptions: IntGauge,
}

impl Boards {
    /// Nobody reads any; `subscriptions` counts who does.
    #[must_use]
    pub fn new(subscriptions: IntGauge) -> Self {
        Self {
            lobby: Mutex::new(Board::new()),
            players: Mutex::default(),
            bell: Notify::new(),
            subscriptions,
        }
    }

    /// Reads the lobby.
    #[must_use]
    pub fn lobby(&self) -> Reader {
        self.reader(&lock(&self.lobby))
    }

    /// Reads a player's own board.
    #[must_use]
    pub fn of_player(&self, player: PlayerId) -> Reader {
        let mut players = lock(&self.players);
        self.reader(players.entry(player).or_insert_with(Board::new))
    }

    /// Whether nobody reads any.
    fn are_unread(&self) -> bool {
        let players = lock(&self.players);
        !lock(&self.lobby).has_readers() && !players.values().any(Board::has_readers)
    }

    fn reader(&self, board: &Board) -> Reader {
        if board.is_blank() {
            self.bell.notify_one();
        }
        Reader {
            posted: board.posted.subscribe(),
            seen: 0,
            _counted: Counted::new(&self.subscriptions),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn next(reader: &mut Reader) -> (FrameKind, String) {
        let (kind, text) = reader.next().await;
        (kind, text.to_string())
    }

    #[tokio::test]
    async fn a_reader_is_shown_the_whole_then_changes_and_the_whole_again_if_one_was_missed() {
        let boards = Boards::new(IntGauge::new("open", "open").unwrap());
        let post = |n: i64| lock(&boards.lobby).post(&json!(n), &json!(n * 10));
        let mut reader = boards.lobby();
        assert_eq!(boards.subscriptions.get(), 1);
        post(1);
        assert_eq!(next(&mut reader).await, (FrameKind::Snapshot, "1".into()));
        post(2);
        assert_eq!(next(&mut reader).await, (FrameKind::Event, "20".into()));
        post(3);
        post(4);
        assert_eq!(next(&mut reader).await, (FrameKind::Snapshot, "4".into()));
        lock(&boards.lobby).wipe();
        post(5);
        assert_eq!(next(&mut reader).await, (FrameKind::Snapshot, "5".into()));
        drop(reader);
        assert_eq!(boards.subscriptions.get(), 0);
        assert!(!lock(&boards.lobby).has_readers());
    }
}
