//! What each side sees (RULES, *What P sees*).

use cozy_chess::{BitBoard, Color, Piece};

use super::movegen::targets;
use super::position::Position;

/// The squares that `color` sees, on either side's turn: its own pieces, the destination of every
/// pseudo-legal move it would have if it were its turn, and, while it can capture en passant, the
/// pawn that would be taken. Everything else is fog.
pub(super) fn seen(position: &Position, color: Color) -> BitBoard {
    let mut seen = position.of(color);
    for piece in Piece::ALL {
        for from in position.pieces_of(color, piece) {
            seen |= targets(position, color, piece, from);
        }
    }
    // Whoever's turn it is: the other side sees that pawn anyway, as its own.
    match position.ep_victim() {
        Some(victim) => seen | victim.bitboard(),
        None => seen,
    }
}
