//! One game of a pair while it is generated: the position, and what the rules count beside it.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;

use crate::client::protocol::Side;
use crate::history::board::Position;

/// Half-moves without a capture or a pawn's move that end a game.
const QUIET_PLIES_MAX: u32 = 100;
/// Occurrences of one position that end a game.
const OCCURRENCES_MAX: usize = 3;

/// A game so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) position: Position,
    /// Half-moves since the last capture or pawn's move.
    pub(super) quiet_plies: u32,
    /// A fingerprint of every position since then.
    past: Vec<u64>,
    /// The last half-move, if it was a capture: the letter of the piece that captured, and its move.
    pub(super) captured_by: Option<(char, String)>,
}

impl Track {
    /// The game at its start.
    pub(super) fn start() -> Self {
        let mut track = Self::default();
        track.past.push(fingerprint(&track.position));
        track
    }

    /// The game after a legal move.
    pub(super) fn after(&self, uci: &str) -> Result<Self> {
        let mut next = self.clone();
        let mover = uci.get(..2).and_then(|from| self.position.on(from));
        let mover = mover.unwrap_or('.');
        next.position.play(uci)?;
        let captured = next.position.lost_by(next.position.turn()).is_some();
        next.captured_by = captured.then(|| (mover, uci.to_owned()));
        if captured || mover.eq_ignore_ascii_case(&'p') {
            next.quiet_plies = 0;
            next.past.clear();
        } else {
            next.quiet_plies += 1;
        }
        next.past.push(fingerprint(&next.position));
        Ok(next)
    }

    /// How often the position has been on the board, this time included.
    pub(super) fn occurrences(&self) -> usize {
        let now = self.past.last();
        self.past.iter().filter(|past| Some(*past) == now).count()
    }

    /// Whether the game has ended here, which reveals everything.
    pub(super) fn is_over(&self) -> bool {
        self.is_decided() || self.position.moves().is_empty()
    }

    /// The same but for a side that has no move, which takes longer to see.
    pub(super) fn is_decided(&self) -> bool {
        let board = self.position.board();
        !board.contains('K')
            || !board.contains('k')
            || self.quiet_plies >= QUIET_PLIES_MAX
            || self.occurrences() >= OCCURRENCES_MAX
    }

    /// All that a side may know, as one text: two games in which it is equal at every half-move are
    /// one and the same game to that side.
    pub(super) fn view(&self, side: Side) -> String {
        let position = &self.position;
        let mut view = position.seen_by(side);
        for part in [
            position.castling(side),
            position.last_of(side).unwrap_or_default().to_owned(),
            position.lost_by(side).unwrap_or_default(),
        ] {
            view.push('/');
            view.push_str(&part);
        }
        if position.turn() == side {
            view.push('/');
            view.push_str(&position.en_passant().unwrap_or_default());
            view.push('/');
            view.push_str(&position.moves().join(" "));
        }
        view
    }
}

/// What the rule of threefold repetition compares.
fn fingerprint(position: &Position) -> u64 {
    let mut hasher = DefaultHasher::new();
    position.board().hash(&mut hasher);
    position.turn().hash(&mut hasher);
    for side in [Side::White, Side::Black] {
        position.castling(side).hash(&mut hasher);
    }
    position.en_passant().hash(&mut hasher);
    hasher.finish()
}
