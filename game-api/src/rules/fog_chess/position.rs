//! The true position: where everything stands, whatever anyone sees of it.
//!
//! Ours and not the chess library's, because positions that are normal here (a king in check on
//! the other side's turn, a king gone) are refused there. Only its bitboards and attack tables
//! are used.

use cozy_chess::{BitBoard, Color, Piece, Square};

/// A position. In JSON it is its FEN (see [`super::fen`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Squares by kind of piece, both sides together.
    pub(super) pieces: [BitBoard; Piece::NUM],
    /// Squares by side.
    pub(super) colors: [BitBoard; Color::NUM],
    /// The side to move.
    pub(super) turn: Color,
    /// Castling rights, each as the home square of its rook.
    pub(super) castling: BitBoard,
    /// The square that a pawn has just passed, kept only if some pawn of the side to move can
    /// capture there. So FEN, repetition and views need no rule of their own for it.
    pub(super) ep: Option<Square>,
    /// Half-moves since the last pawn move or capture.
    pub(super) quiet_plies: u32,
    /// Half-moves made since the start.
    pub(super) ply: u32,
}

impl Position {
    /// The start of standard chess.
    pub(super) fn start() -> Self {
        let back = |rank: u64| BitBoard(rank | rank << 56);
        Self {
            pieces: [
                BitBoard(0x00ff_0000_0000_ff00),
                back(0x42),
                back(0x24),
                back(0x81),
                back(0x08),
                back(0x10),
            ],
            colors: [BitBoard(0xffff), BitBoard(0xffff << 48)],
            turn: Color::White,
            castling: BitBoard::CORNERS,
            ep: None,
            quiet_plies: 0,
            ply: 0,
        }
    }

    /// A board with nothing on it, white to move.
    pub(super) fn empty() -> Self {
        Self {
            pieces: [BitBoard::EMPTY; Piece::NUM],
            colors: [BitBoard::EMPTY; Color::NUM],
            turn: Color::White,
            castling: BitBoard::EMPTY,
            ep: None,
            quiet_plies: 0,
            ply: 0,
        }
    }

    /// All pieces of `color`.
    pub(super) fn of(&self, color: Color) -> BitBoard {
        self.colors[color as usize]
    }

    /// The pieces of `color` that are of this kind.
    pub(super) fn pieces_of(&self, color: Color, piece: Piece) -> BitBoard {
        self.of(color) & self.pieces[piece as usize]
    }

    /// Every square that is not empty.
    pub(super) fn occupied(&self) -> BitBoard {
        self.of(Color::White) | self.of(Color::Black)
    }

    /// What stands on `square`.
    pub(super) fn on(&self, square: Square) -> Option<(Color, Piece)> {
        let color = Color::ALL
            .into_iter()
            .find(|&color| self.of(color).has(square))?;
        let piece = Piece::ALL
            .into_iter()
            .find(|&piece| self.pieces[piece as usize].has(square))?;
        Some((color, piece))
    }

    /// The pawn that an en passant capture would take.
    pub(super) fn ep_victim(&self) -> Option<Square> {
        self.ep.and_then(|square| beyond(square, !self.turn))
    }

    /// Puts a piece on an empty square.
    pub(super) fn put(&mut self, square: Square, color: Color, piece: Piece) {
        self.colors[color as usize] |= square.bitboard();
        self.pieces[piece as usize] |= square.bitboard();
    }

    /// Empties a square and says what stood there.
    pub(super) fn take(&mut self, square: Square) -> Option<(Color, Piece)> {
        let taken = self.on(square)?;
        self.colors[taken.0 as usize] -= square.bitboard();
        self.pieces[taken.1 as usize] -= square.bitboard();
        Some(taken)
    }

    /// Carries what stands on `from` to the empty square `to`; nothing, if nothing stands there.
    pub(super) fn carry(&mut self, from: Square, to: Square) {
        if let Some((color, piece)) = self.take(from) {
            self.put(to, color, piece);
        }
    }

    /// Whether the same pieces stand on the same squares.
    pub(super) fn same_placement(&self, other: &Self) -> bool {
        self.pieces == other.pieces && self.colors == other.colors
    }
}

/// The next square of the file in the direction in which `color`'s pawns go.
pub(super) fn beyond(square: Square, color: Color) -> Option<Square> {
    match color {
        Color::White => square.try_offset(0, 1),
        Color::Black => square.try_offset(0, -1),
    }
}

/// The letter of a piece as in FEN: capital for white.
pub(super) fn letter(color: Color, piece: Piece) -> char {
    let lower = char::from(piece);
    match color {
        Color::White => lower.to_ascii_uppercase(),
        Color::Black => lower,
    }
}
