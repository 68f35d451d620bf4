//! Pseudo-legal moves (RULES, *Moves and endings*): check does not exist, so nothing here asks
//! whether a king is attacked.

use cozy_chess::{
    BitBoard, Color, File, Piece, Rank, Square, get_between_rays, get_bishop_moves, get_king_moves,
    get_knight_moves, get_pawn_attacks, get_pawn_quiets, get_rook_moves,
};

use super::moves::{Move, PROMOTIONS, last_rank};
use super::position::Position;

/// Every pseudo-legal move of the side to move, in no particular order.
pub(super) fn moves(position: &Position) -> Vec<Move> {
    let color = position.turn;
    let mut moves = Vec::with_capacity(48);
    for piece in Piece::ALL {
        for from in position.pieces_of(color, piece) {
            let targets = targets(position, color, piece, from);
            let promoting = match piece {
                Piece::Pawn => targets & last_rank(color),
                _ => BitBoard::EMPTY,
            };
            let to = |to, promotion| Move {
                piece,
                from,
                to,
                promotion,
            };
            moves.extend((targets - promoting).iter().map(|square| to(square, None)));
            for square in promoting {
                moves.extend(PROMOTIONS.map(|piece| to(square, Some(piece))));
            }
        }
    }
    moves
}

/// Whether the side to move has any pseudo-legal move.
pub(super) fn any_move(position: &Position) -> bool {
    let color = position.turn;
    Piece::ALL.into_iter().any(|piece| {
        let mut from = position.pieces_of(color, piece).iter();
        from.any(|from| !targets(position, color, piece, from).is_empty())
    })
}

/// Where the `piece` of `color` on `from` could go if it were `color`'s turn.
pub(super) fn targets(position: &Position, color: Color, piece: Piece, from: Square) -> BitBoard {
    let occupied = position.occupied();
    let reach = match piece {
        Piece::Pawn => return pawn_targets(position, color, from),
        Piece::Knight => get_knight_moves(from),
        Piece::Bishop => get_bishop_moves(from, occupied),
        Piece::Rook => get_rook_moves(from, occupied),
        Piece::Queen => get_bishop_moves(from, occupied) | get_rook_moves(from, occupied),
        Piece::King => get_king_moves(from) | castling_targets(position, color, from),
    };
    reach - position.of(color)
}

/// Pushes onto empty squares, captures, and en passant if `color` is to move: the right to it
/// lives for that one move.
fn pawn_targets(position: &Position, color: Color, from: Square) -> BitBoard {
    let passed = match position.ep {
        Some(square) if color == position.turn => square.bitboard(),
        _ => BitBoard::EMPTY,
    };
    let captures = get_pawn_attacks(from, color) & (position.of(!color) | passed);
    get_pawn_quiets(from, color, position.occupied()) | captures
}

/// Where the king on `from` can castle to (RULES, *Castling*): the right is intact and nothing
/// stands between king and rook. A right implies that both are at home.
fn castling_targets(position: &Position, color: Color, from: Square) -> BitBoard {
    let rank = Rank::First.relative_to(color);
    let rights = position.castling & rank.bitboard();
    let free = |rook: &Square| get_between_rays(from, *rook).is_disjoint(position.occupied());
    rights
        .iter()
        .filter(free)
        .map(|rook| match rook.file() {
            File::H => Square::new(File::G, rank),
            _ => Square::new(File::C, rank),
        })
        .collect()
}
