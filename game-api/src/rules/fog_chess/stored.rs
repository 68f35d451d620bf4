//! What is stored of a game of fog chess, as JSON: the state and the scene.

use cozy_chess::Square;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::history::QuietRun;
use super::moves::Uci;
use super::position::Position;
use crate::rules::{Seat, text};

/// Each side's own last move, in UCI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastMoves {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    white: Option<Uci>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    black: Option<Uci>,
}

impl LastMoves {
    /// The last move of `seat`.
    pub(super) fn of(self, seat: Seat) -> Option<Uci> {
        match seat {
            Seat::White => self.white,
            Seat::Black => self.black,
        }
    }

    /// Notes the move that `seat` has just made.
    pub(super) fn set(&mut self, seat: Seat, uci: Uci) {
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
    pub(super) lost: Option<Place>,
}

/// A square, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) Square);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = [self.0.file().into(), self.0.rank().into()].map(|letter: char| letter as u8);
        serializer.serialize_str(std::str::from_utf8(&name).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer).map(Self)
    }
}
