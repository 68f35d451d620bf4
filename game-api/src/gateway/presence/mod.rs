//! Presence: how many watch a game and whether its players are there, on all gateways together, and
//! never who watches.
//!
//! Each gateway writes what changes on it and one heartbeat, in one statement an interval, and reads
//! the counts of all games that are watched on it in one query. So what happens on one gateway is
//! seen on every other within two intervals. Who has left is kept for a grace ([`roster`]); a
//! gateway that has died counts no more when the database has not heard of it for too long.

mod keeper;
mod repo;
pub mod roster;
mod stats;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use shared::ids::{GameId, PlayerId};
use sqlx::PgPool;
use tokio::time::Instant;

pub(super) use keeper::run;
pub(super) use stats::{CachedStats, stats};

use super::frame;
use crate::database::{Failures, bounded};
use crate::games::entity::{Game, Visibility};
use crate::mutants;
use crate::problem::Problem;
use roster::{Key, Roster, Viewer};

/// Added to the time over which a drain spreads the return of its clients: what they then need to
/// connect, and a page to be loaded again.
const RETURN_MAX: Duration = Duration::from_secs(2);

/// Whose counts are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) game: GameId,
    pub(super) white: Option<PlayerId>,
    pub(super) black: Option<PlayerId>,
}

impl From<&Game> for Wanted {
    fn from(game: &Game) -> Self {
        Self {
            game: game.id,
            white: game.white,
            black: game.black,
        }
    }
}

/// Who is there of a game: what everyone who may see the game may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many watch who have no seat.
    pub watching: i64,
    /// Whether white's player is there.
    pub white: bool,
    /// Whether black's player is there.
    pub black: bool,
}

/// Which seats' players are there.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seats {
    white: bool,
    black: bool,
}

/// Who is there of all public games together.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Stats {
    /// Players who have a game open, each once.
    players: i64,
    /// Those, and viewers who are not signed in.
    viewers: i64,
    /// Games that somebody has open.
    games: i64,
}

#[derive(Serialize)]
struct PresenceFrame<'a> {
    r#type: &'static str,
    topic: &'a str,
    watching: i64,
    seats: Seats,
}

impl Counts {
    /// Which seats' players are there.
    #[must_use]
    pub const fn seats(&self) -> Seats {
        Seats {
            white: self.white,
            black: self.black,
        }
    }

    /// The `presence` message of a game.
    #[must_use]
    pub fn text(&self, game: GameId) -> Utf8Bytes {
        let message = PresenceFrame {
            r#type: "presence",
            topic: &frame::topic(game),
            watching: self.watching,
            seats: self.seats(),
        };
        let text = serde_json::to_string(&message).unwrap_or_else(|error| {
            unreachable!("a message has text keys and serializes: {error}");
        });
        mutants::presence(text, game).into()
    }
}

/// Who is here. Clones share it.
#[derive(Clone, Debug)]
pub struct Presence(Arc<Mutex<Roster>>);

impl Presence {
    /// Nobody is here; who leaves is waited for as long as a drain may send its clients away.
    #[must_use]
    pub fn new(reconnect_spread: Duration) -> Self {
        let roster = Roster::new(reconnect_spread + RETURN_MAX);
        Self(Arc::new(Mutex::new(roster)))
    }

    /// A connection has opened the game, until what this gives is dropped.
    #[must_use]
    pub fn enter(&self, game: &Game, player: Option<PlayerId>) -> Present {
        mutants::entered(game, player);
        let key = Key {
            game: game.id,
            viewer: player.map_or(Viewer::Anonymous, Viewer::Player),
        };
        let listed = game.visibility == Visibility::Public;
        self.roster().enter(key, listed);
        Present {
            presence: self.clone(),
            key,
        }
    }

    /// Who is there of each of these games. A game of which nobody is there may be left out.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn of_games(
        &self,
        pool: &PgPool,
        games: &[Game],
    ) -> Result<HashMap<GameId, Counts>, Problem> {
        let wanted: Vec<Wanted> = games.iter().map(Wanted::from).collect();
        bounded(repo::counts(pool, &wanted))
            .await
            .map_err(|error| Failures::read(&error))
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that has a game open.
#[derive(Debug)]
pub struct Present {
    presence: Presence,
    key: Key,
}

impl Present {
    /// The game has become public.
    pub fn list(&self) {
        self.presence.roster().list(self.key);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.roster().leave(self.key, Instant::now());
    }
}
