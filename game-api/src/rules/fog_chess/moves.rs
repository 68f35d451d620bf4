//! A move: its text form (UCI), and what it does to a position.

use std::str::FromStr;

use cozy_chess::{BitBoard, Color, File, Piece, Rank, Square, get_pawn_attacks};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::position::{Position, beyond};
use crate::rules::text;

/// What a pawn may become (RULES, *Promotion*).
pub(super) const PROMOTIONS: [Piece; 4] = [Piece::Queen, Piece::Rook, Piece::Bishop, Piece::Knight];

/// A move of the side to move. Made by [`super::movegen`] alone, so it is pseudo-legal in the
/// position it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// What moves.
    pub(super) piece: Piece,
    /// Where it stood.
    pub(super) from: Square,
    /// Where it goes; castling is the king's two steps.
    pub(super) to: Square,
    /// What a pawn becomes on its last rank.
    pub(super) promotion: Option<Piece>,
}

/// A captured piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its kind.
    pub(super) piece: Piece,
    /// Where it stood: not the capturer's square in an en passant capture.
    pub(super) square: Square,
}

/// A move as a client names it: `[a-h][1-8][a-h][1-8][qrbn]?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uci {
    from: Square,
    to: Square,
    promotion: Option<Piece>,
}

impl Uci {
    /// Reads a move, whatever the position.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let promotion = match text.get(4..)? {
            "" => None,
            letter => Some(
                letter
                    .parse()
                    .ok()
                    .filter(|piece| PROMOTIONS.contains(piece))?,
            ),
        };
        Some(Self {
            from: text.get(..2)?.parse().ok()?,
            to: text.get(2..4)?.parse().ok()?,
            promotion,
        })
    }

    /// Its text.
    pub(super) fn text(self) -> UciText {
        let letters: [char; 4] = [
            self.from.file().into(),
            self.from.rank().into(),
            self.to.file().into(),
            self.to.rank().into(),
        ];
        let promotion = self.promotion.map_or('\0', char::from);
        let [a, b, c, d] = letters;
        UciText([a, b, c, d, promotion].map(|letter| letter as u8))
    }
}

impl From<Move> for Uci {
    fn from(mv: Move) -> Self {
        Self {
            from: mv.from,
            to: mv.to,
            promotion: mv.promotion,
        }
    }
}

/// A text that names no move.
#[derive(Debug, thiserror::Error)]
#[error("a move is such as e2e4 or e7e8q")]
pub(super) struct UciError;

impl FromStr for Uci {
    type Err = UciError;

    fn from_str(text: &str) -> Result<Self, UciError> {
        Self::parse(text).ok_or(UciError)
    }
}

impl Serialize for Uci {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

impl<'de> Deserialize<'de> for Uci {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// The text of a move, followed by a zero where it is no promotion: so the order of bytes is the
/// order of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UciText([u8; 5]);

impl UciText {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        let text = self.0.strip_suffix(&[0]).unwrap_or(&self.0);
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl Position {
    /// The position after `mv`, and what was captured. A captured king is just gone: ending the
    /// game is [`super::ending`]'s.
    pub(super) fn after(&self, mv: Move) -> (Self, Option<Taken>) {
        let color = self.turn;
        let mut next = self.clone();
        let taken = next.capture(mv);
        next.take(mv.from);
        next.put(mv.to, color, mv.promotion.unwrap_or(mv.piece));
        next.castling -= rights_of(mv.from) | rights_of(mv.to);
        if mv.piece == Piece::King {
            next.castle_rook(mv);
        }
        next.turn = !color;
        next.ep = passed(mv, color).filter(|&square| next.can_capture_en_passant(square));
        next.quiet_plies = match (mv.piece, taken) {
            (Piece::Pawn, _) | (_, Some(_)) => 0,
            (_, None) => self.quiet_plies.saturating_add(1),
        };
        next.ply = self.ply.saturating_add(1);
        (next, taken)
    }

    /// Whether a pawn of the side to move attacks `square`, which a pawn has just passed.
    pub(super) fn can_capture_en_passant(&self, square: Square) -> bool {
        let from = get_pawn_attacks(square, !self.turn);
        !from.is_disjoint(self.pieces_of(self.turn, Piece::Pawn))
    }

    /// Takes away what `mv` captures.
    fn capture(&mut self, mv: Move) -> Option<Taken> {
        let square = match self.ep_victim() {
            Some(victim) if mv.piece == Piece::Pawn && self.ep == Some(mv.to) => victim,
            _ => mv.to,
        };
        let (_, piece) = self.take(square)?;
        Some(Taken { piece, square })
    }

    /// Brings the rook over if this move of the king is castling: its only way to go two steps.
    fn castle_rook(&mut self, mv: Move) {
        let rank = mv.from.rank();
        let (home, goal) = match (mv.from.file(), mv.to.file()) {
            (File::E, File::G) => (File::H, File::F),
            (File::E, File::C) => (File::A, File::D),
            _ => return,
        };
        self.carry(Square::new(home, rank), Square::new(goal, rank));
    }
}

/// The castling rights that end when whatever stands on `square` leaves it: a rook's own, or both
/// of a king. None but the piece they belong to can stand there while they last.
fn rights_of(square: Square) -> BitBoard {
    match square {
        Square::E1 | Square::E8 => square.rank().bitboard(),
        corner => corner.bitboard(),
    }
}

/// The square that a pawn's double step passes.
fn passed(mv: Move, color: Color) -> Option<Square> {
    let middle = beyond(mv.from, color)?;
    let double = mv.piece == Piece::Pawn && beyond(middle, color) == Some(mv.to);
    double.then_some(middle)
}

/// The rank on which `color`'s pawns promote.
pub(super) fn last_rank(color: Color) -> BitBoard {
    Rank::Eighth.relative_to(color).bitboard()
}
