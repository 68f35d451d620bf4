//! The current state of a game: enough to validate the next command.

use serde::{Deserialize, Serialize};
use shared::ids::{GameId, PlayerId};
use shared::shard::Shard;

use super::{Change, ClockReading, GameResult, GameStatus, Moment, Numbers, Seq};
use crate::rules::{Ruleset, Seat, Stored, ViewClass};

/// Who may find a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Listed in the lobby; anyone may watch.
    Public,
    /// Seen by its seats and by whoever presents its code.
    Private,
}

impl Visibility {
    /// The word of the protocol and of the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// A game made for one opponent: its second seat is reserved to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The player who may take the seat.
    pub player: PlayerId,
    /// The game's visibility once they have taken it.
    pub visibility: Visibility,
}

/// The time control, milliseconds: Fischer clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSettings {
    /// Each side's time at the start.
    pub initial_ms: i64,
    /// Added after each of one's own moves.
    pub increment_ms: i64,
}

/// A game's clock: its settings and its reading as of the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time control.
    pub settings: ClockSettings,
    /// As of the last event.
    pub reading: ClockReading,
}

/// What the database's clock said when a change was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitTimes {
    /// When the event was recorded, milliseconds since 1970.
    pub at_ms: i64,
    /// White's remaining time then.
    pub white_ms: Option<i64>,
    /// Black's remaining time then.
    pub black_ms: Option<i64>,
    /// Until the running clock's flag falls, from then.
    pub flag_in_ms: Option<i64>,
}

/// The row of `games`.
#[derive(Clone)]
pub struct Game {
    /// Its shard, from its key.
    pub shard: Shard,
    /// Its id.
    pub id: GameId,
    /// What one shares to let another join or watch.
    pub code: String,
    /// Its rules.
    pub ruleset: &'static dyn Ruleset,
    /// Where it is in its life.
    pub status: GameStatus,
    /// Who may find it.
    pub visibility: Visibility,
    /// Whether it counts for ratings.
    pub rated: bool,
    /// The last event's sequence number.
    pub seq: Seq,
    /// The latest `n` of each class.
    pub numbers: Numbers,
    /// The ruleset's state.
    pub state: Stored,
    /// What the ruleset draws views from.
    pub scene: Stored,
    /// Whose move it is, once both seats are taken.
    pub turn: Seat,
    /// Moves made by both sides together.
    pub moves_made: i32,
    /// Who has offered a draw that still stands.
    pub draw_offer: Option<Seat>,
    /// The player on the white seat.
    pub white: Option<PlayerId>,
    /// The player on the black seat.
    pub black: Option<PlayerId>,
    /// For whom it was made, if it was made for somebody.
    pub challenge: Option<Challenge>,
    /// The clock; none for an untimed game.
    pub clock: Option<Clock>,
    /// How it ended.
    pub result: Option<GameResult>,
    /// The game that this one is the rematch of.
    pub rematch_of: Option<GameId>,
    /// When it was made, microseconds since 1970.
    pub created_at_us: i64,
    /// When the last event was recorded.
    pub at_ms: i64,
    /// The database's time when this was read or committed.
    pub read_at_ms: i64,
    /// Until the flag falls, milliseconds from the reading of this row; none if no clock runs.
    pub flag_in_ms: Option<i64>,
}

impl std::fmt::Debug for Game {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // State and scene hold what players must not see; they stay out of logs.
        f.debug_struct("Game")
            .field("id", &self.id)
            .field("seq", &self.seq)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Game {
    /// The seat of a player in this game.
    #[must_use]
    pub fn seat_of(&self, player: PlayerId) -> Option<Seat> {
        if self.white == Some(player) {
            Some(Seat::White)
        } else if self.black == Some(player) {
            Some(Seat::Black)
        } else {
            None
        }
    }

    /// Whose the free seat is, if it is somebody's: also when the game has ended without them.
    #[must_use]
    pub fn reserved_to(&self) -> Option<PlayerId> {
        let has_free = self.white.is_none() || self.black.is_none();
        let challenge = self.challenge.filter(|_| has_free)?;
        Some(challenge.player)
    }

    /// The seat of a player in this game, or the free one that is reserved to them.
    #[must_use]
    pub fn seat_for(&self, player: PlayerId) -> Option<Seat> {
        let reserved = || (self.reserved_to() == Some(player)).then(|| self.free_seat());
        self.seat_of(player).or_else(reserved)
    }

    /// The seat that the next one who joins takes.
    #[must_use]
    pub fn free_seat(&self) -> Seat {
        if self.white.is_none() {
            Seat::White
        } else {
            Seat::Black
        }
    }

    /// The visibility that was asked for: a challenge has it once it is accepted.
    #[must_use]
    pub fn visibility_wanted(&self) -> Visibility {
        match self.challenge {
            Some(challenge) if self.reserved_to().is_some() => challenge.visibility,
            _ => self.visibility,
        }
    }

    /// How whoever has this seat sees this game. Who has not taken it yet sees what everyone would.
    #[must_use]
    pub fn class_on(&self, seat: Seat) -> ViewClass {
        self.player_on(seat)
            .map_or(ViewClass::Public, |_| seat.into())
    }

    /// How `viewer` sees this game: its seat's view, or everyone's.
    #[must_use]
    pub fn class_of(&self, viewer: Option<PlayerId>) -> ViewClass {
        viewer
            .and_then(|player| self.seat_of(player))
            .map_or(ViewClass::Public, ViewClass::from)
    }

    /// The player on a seat.
    #[must_use]
    pub fn player_on(&self, seat: Seat) -> Option<PlayerId> {
        match seat {
            Seat::White => self.white,
            Seat::Black => self.black,
        }
    }

    /// The game after `change` was committed with these times.
    #[must_use]
    pub fn after(&self, change: &Change, times: &CommitTimes) -> Self {
        let clock = self.clock.map(|clock| Clock {
            settings: clock.settings,
            reading: ClockReading {
                white_ms: times.white_ms.unwrap_or(clock.reading.white_ms),
                black_ms: times.black_ms.unwrap_or(clock.reading.black_ms),
                running: change.running,
            },
        });
        Self {
            status: change.status,
            visibility: change.visibility,
            seq: self.seq.next(),
            numbers: change.numbers,
            state: change.state.clone(),
            scene: change.scene.clone(),
            turn: change.turn,
            moves_made: change.moves_made,
            draw_offer: change.draw_offer,
            white: change.white,
            black: change.black,
            clock,
            result: change.result.clone(),
            at_ms: times.at_ms,
            read_at_ms: times.at_ms,
            flag_in_ms: times.flag_in_ms,
            code: self.code.clone(),
            ..*self
        }
    }

    /// The same without state and scene: who sits there and how it stands.
    #[must_use]
    pub fn without_position(&self) -> Self {
        Self {
            state: Stored::none(),
            scene: Stored::none(),
            ..self.clone()
        }
    }

    /// What views are drawn from now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment {
            ruleset: self.ruleset,
            seq: self.seq,
            numbers: self.numbers,
            scene: self.scene.clone(),
            status: self.status,
            draw_offer: self.draw_offer,
            result: self.result.clone(),
            clock: self.clock.map(|clock| clock.reading),
            at_ms: self.at_ms,
        }
    }
}
