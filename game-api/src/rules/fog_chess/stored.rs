//! What is stored of a game of fog chess, as JSON: the state and the scene.

use serde::{Deserialize, Serialize};

use super::history::QuietRun;
use super::position::Position;
use crate::rules::Seat;

/// Each side's own last move, in UCI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastMoves {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    white: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    black: Option<String>,
}

impl LastMoves {
    /// The last move of `seat`.
    pub(super) fn of(&self, seat: Seat) -> Option<&str> {
        match seat {
            Seat::White => self.white.as_deref(),
            Seat::Black => self.black.as_deref(),
        }
    }

    /// Notes the move that `seat` has just made.
    pub(super) fn set(&mut self, seat: Seat, uci: String) {
        match seat {
            Seat::White => self.white = Some(uci),
            Seat::Black => self.black = Some(uci),
        }
    }
}

/// All that is needed to judge the next move, and to make the scene after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The true position.
    #[serde(rename = "fen")]
    pub(super) position: Position,
    /// What the threefold rule needs to know of the past.
    #[serde(rename = "quiet")]
    pub(super) run: QuietRun,
    /// Carried along for the next scene.
    pub(super) last: LastMoves,
}

/// All that is needed to draw any view after a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scene {
    /// The true position.
    #[serde(rename = "fen")]
    pub(super) position: Position,
    /// Each side's own last move.
    pub(super) last: LastMoves,
    /// Where the last ply captured a piece; it was one of the side that is to move now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<String>,
}
