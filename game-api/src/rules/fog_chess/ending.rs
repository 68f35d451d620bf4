//! When a game of fog chess is over by its moves (RULES, *Moves and endings*).

use cozy_chess::{Color, Piece};

use super::history::QuietRun;
use super::movegen::any_move;
use super::moves::Taken;
use super::position::Position;
use crate::rules::{Ending, Seat};

/// Half-moves without pawn move or capture at which the game is drawn.
const QUIET_PLIES_MAX: u32 = 100;

/// Occurrences of one position at which the game is drawn.
const OCCURRENCES_MAX: usize = 3;

/// The ending that the ply to `position`, which captured `taken`, brought about. Material is not
/// looked at: a lone king can still capture a king.
pub(super) fn judge(position: &Position, taken: Option<Taken>, run: &QuietRun) -> Option<Ending> {
    if taken.is_some_and(|taken| taken.piece == Piece::King) {
        return Some(Ending {
            winner: Some(seat(!position.turn)),
            reason: "king_captured",
        });
    }
    let reason = if !any_move(position) {
        "no_move"
    } else if run.occurrences(position) >= OCCURRENCES_MAX {
        "threefold"
    } else if position.quiet_plies >= QUIET_PLIES_MAX {
        "fifty_moves"
    } else {
        return None;
    };
    Some(Ending {
        winner: None,
        reason,
    })
}

/// The seat that plays `color`.
pub(super) fn seat(color: Color) -> Seat {
    match color {
        Color::White => Seat::White,
        Color::Black => Seat::Black,
    }
}

/// The colour that `seat` plays.
pub(super) fn color(seat: Seat) -> Color {
    match seat {
        Seat::White => Color::White,
        Seat::Black => Color::Black,
    }
}
