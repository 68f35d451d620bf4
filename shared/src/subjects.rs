//! Names on NATS: the stream, its subjects, and the relay's wake-up hint.

use crate::ids::{GameId, PlayerId, hyphenated};
use crate::shard::Shard;

/// The stream that holds every published event.
pub const STREAM: &str = "EVENTS";

/// What the stream captures.
pub const STREAM_SUBJECTS: &str = "events.>";

/// Core-NATS hint that rows wait in the outbox. Best effort: it only shortens a wait.
pub const WAKE: &str = "outbox.wake";

/// The Postgres channel of the same hint, for producers that have no NATS.
pub const WAKE_CHANNEL: &str = "outbox_wake";

/// The subject of a game's events, also the text that its shard is made from with `game.<id>`.
#[must_use]
pub fn game(id: GameId) -> String {
    format!("events.game.{id}")
}

/// The game whose events have this subject, if it is one of a game's.
#[must_use]
pub fn game_of(subject: &str) -> Option<GameId> {
    let id = subject.strip_prefix("events.game.")?;
    hyphenated(id).map(GameId)
}

/// The outbox key of a game: what orders its events and gives its shard.
#[must_use]
pub fn game_key(id: GameId) -> String {
    format!("game.{id}")
}

/// The subject of a player's events.
#[must_use]
pub fn player(id: PlayerId) -> String {
    format!("events.player.{id}")
}

/// The outbox key of a player.
#[must_use]
pub fn player_key(id: PlayerId) -> String {
    format!("player.{id}")
}

/// The subject of a shard's fence: what makes a batch conditional on its predecessor.
#[must_use]
pub fn fence(shard: Shard) -> String {
    format!("events.fence.{shard}")
}
