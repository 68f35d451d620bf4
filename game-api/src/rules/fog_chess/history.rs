//! Repetition of the true position (RULES, *50 moves, threefold*).
//!
//! A position is the same if placement, side to move, castling rights and a usable en passant
//! square are. None that came before a pawn move, a capture, a change of castling rights or a
//! forgone en passant can come again, so only the plies since are kept, and as each of them merely
//! carried a piece from one square to another, they are undone to count. That is exact, without
//! hashes, and takes four bytes a ply.

use std::str::FromStr;

use cozy_chess::Square;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::moves::Move;
use super::position::Position;
use crate::rules::text;

/// Characters of a ply: `g1f3`.
const PLY_CHARS: usize = 4;

/// The plies since the earliest position that can still come again. In JSON: `"g1f3g8f6"`.
/// Never longer than the fifty-move rule allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct QuietRun(Vec<(Square, Square)>);

/// A text that is no quiet run.
#[derive(Debug, thiserror::Error)]
#[error("a quiet run is pairs of squares")]
pub(super) struct QuietRunError;

impl QuietRun {
    /// Takes in the ply `mv` that led from `before` to `after`.
    pub(super) fn extend(&mut self, before: &Position, mv: Move, after: &Position) {
        let quiet =
            after.quiet_plies > 0 && before.castling == after.castling && before.ep.is_none();
        if quiet {
            self.0.push((mv.from, mv.to));
        } else {
            self.0.clear();
        }
    }

    /// How often the position `now`, at the run's end, has occurred, this time included.
    pub(super) fn occurrences(&self, now: &Position) -> usize {
        let mut earlier = now.clone();
        let mut occurrences = 1;
        for (index, &(from, to)) in self.0.iter().rev().enumerate() {
            earlier.carry(to, from);
            let same_turn = index % 2 == 1;
            if same_turn && earlier.same_placement(now) {
                occurrences += 1;
            }
        }
        occurrences
    }
}

impl Serialize for QuietRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len() * PLY_CHARS);
        for square in self.0.iter().flat_map(|&(from, to)| [from, to]) {
            text.push(square.file().into());
            text.push(square.rank().into());
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for QuietRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl FromStr for QuietRun {
    type Err = QuietRunError;

    fn from_str(text: &str) -> Result<Self, QuietRunError> {
        let square = |text: &[u8]| {
            let text = std::str::from_utf8(text).map_err(|_| QuietRunError)?;
            text.parse::<Square>().map_err(|_| QuietRunError)
        };
        // Room for the ply that is played next.
        let mut run = Vec::with_capacity(text.len() / PLY_CHARS + 1);
        for ply in text.as_bytes().chunks(PLY_CHARS) {
            let (from, to) = ply.split_at_checked(2).ok_or(QuietRunError)?;
            run.push((square(from)?, square(to)?));
        }
        Ok(Self(run))
    }
}
