//! A game as its rules see it: seats, status, clock, result, and the moments of its log. Pure.

mod change;
mod game;
mod moment;

use serde::{Deserialize, Serialize};

pub use change::{Action, Change, Refused, decide, flag, join};
pub use game::{Challenge, Clock, ClockSettings, CommitTimes, Game, Visibility};
pub use moment::{ClockReading, EventData, EventKind, Logged, Moment, Numbers, Published, Seq};

use crate::rules::Seat;

/// Where a game is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GameStatus {
    /// One seat is free: it stands in the lobby.
    Open,
    /// Being played.
    Active,
    /// Ended with a result.
    Finished,
    /// Ended before both sides had moved.
    Aborted,
}

impl GameStatus {
    /// Whether nothing more can happen, and so nothing is hidden any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Aborted)
    }

    /// The word of the protocol and of the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Active => "active",
            Self::Finished => "finished",
            Self::Aborted => "aborted",
        }
    }
}

/// How a game ended: `{winner, reason}` of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameResult {
    /// The winner; null for a draw and for an aborted game.
    pub winner: Option<Seat>,
    /// `king_captured|resigned|flag|agreed|no_move|fifty_moves|threefold|aborted`.
    pub reason: String,
}
