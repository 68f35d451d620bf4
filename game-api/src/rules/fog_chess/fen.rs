//! Positions as Forsyth–Edwards Notation, the form in which they are stored.
//!
//! Read strictly as far as the move generator relies on it (a castling right implies king and rook
//! at home; no pawn on an outer rank), and freely otherwise: a king may be attacked or absent. An
//! en passant square is dropped if no pawn can capture there.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use cozy_chess::{BitBoard, Color, File, Piece, Rank, Square};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::moves::last_rank;
use super::position::{Position, letter};
use crate::rules::text;

/// Most positions need no more.
const FEN_CHARS_USUAL: usize = 88;

/// Castling rights as in FEN, by the rook's home square.
pub(super) const RIGHTS: [(char, Square); 4] = [
    ('K', Square::H1),
    ('Q', Square::A1),
    ('k', Square::H8),
    ('q', Square::A8),
];

/// Why a text is no position, by the field at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FenError {
    /// Not six fields with one space between.
    #[error("a FEN has six fields")]
    Fields,
    /// The placement of the pieces.
    #[error("the placement of a FEN is wrong")]
    Placement,
    /// The side to move.
    #[error("the side to move of a FEN is wrong")]
    Turn,
    /// Castling rights, also if king or rook are not at home.
    #[error("the castling rights of a FEN are wrong")]
    Castling,
    /// The en passant square.
    #[error("the en passant square of a FEN is wrong")]
    EnPassant,
    /// One of the two counters.
    #[error("a counter of a FEN is wrong")]
    Counter,
}

impl FromStr for Position {
    type Err = FenError;

    fn from_str(text: &str) -> Result<Self, FenError> {
        Self::from_fen(text)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.fen())
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Position {
    /// Reads a FEN.
    pub(super) fn from_fen(text: &str) -> Result<Self, FenError> {
        let [placement, turn, castling, ep, quiet_plies, number] =
            parts(text, ' ').ok_or(FenError::Fields)?;
        let mut position = Self::empty();
        position.read_placement(placement)?;
        position.turn = turn.parse().map_err(|_| FenError::Turn)?;
        position.castling = position.read_castling(castling)?;
        position.ep = position.read_ep(ep)?;
        position.quiet_plies = quiet_plies.parse().map_err(|_| FenError::Counter)?;
        position.ply = read_ply(number, position.turn).ok_or(FenError::Counter)?;
        Ok(position)
    }

    fn read_placement(&mut self, text: &str) -> Result<(), FenError> {
        let rows: [&str; Rank::NUM] = parts(text, '/').ok_or(FenError::Placement)?;
        for (row, &rank) in rows.iter().zip(Rank::ALL.iter().rev()) {
            self.read_row(row, rank).ok_or(FenError::Placement)?;
        }
        let outer = last_rank(Color::White) | last_rank(Color::Black);
        let pawns_inside = self.pieces[Piece::Pawn as usize].is_disjoint(outer);
        let one_king = |color| self.pieces_of(color, Piece::King).len() <= 1;
        if pawns_inside && Color::ALL.into_iter().all(one_king) {
            Ok(())
        } else {
            Err(FenError::Placement)
        }
    }

    fn read_row(&mut self, row: &str, rank: Rank) -> Option<()> {
        let mut file = 0;
        for symbol in row.chars() {
            if let Some(gap @ 1..) = symbol.to_digit(10) {
                file += gap as usize;
                continue;
            }
            let color = side(symbol);
            let piece = Piece::try_from(symbol.to_ascii_lowercase()).ok()?;
            self.put(Square::new(File::try_index(file)?, rank), color, piece);
            file += 1;
        }
        (file == File::NUM).then_some(())
    }

    fn read_castling(&self, text: &str) -> Result<BitBoard, FenError> {
        let letters = if text == "-" { "" } else { text };
        let mut rights = BitBoard::EMPTY;
        for symbol in letters.chars() {
            let right = RIGHTS.iter().find(|(letter, _)| *letter == symbol);
            let &(_, rook) = right.ok_or(FenError::Castling)?;
            let color = side(symbol);
            let king = Square::new(File::E, rook.rank());
            let at_home = self.on(rook) == Some((color, Piece::Rook))
                && self.on(king) == Some((color, Piece::King));
            if !at_home {
                return Err(FenError::Castling);
            }
            rights |= rook.bitboard();
        }
        Ok(rights)
    }

    fn read_ep(&self, text: &str) -> Result<Option<Square>, FenError> {
        if text == "-" {
            return Ok(None);
        }
        let square: Square = text.parse().map_err(|_| FenError::EnPassant)?;
        let named = Self {
            ep: Some(square),
            ..self.clone()
        };
        let pawn = Some((!self.turn, Piece::Pawn));
        let passed = square.rank() == Rank::Sixth.relative_to(self.turn)
            && !self.occupied().has(square)
            && named.ep_victim().and_then(|victim| self.on(victim)) == pawn;
        if !passed {
            return Err(FenError::EnPassant);
        }
        Ok(Some(square).filter(|&square| self.can_capture_en_passant(square)))
    }
}

/// The parts of a text, if there are exactly so many.
fn parts<const N: usize>(text: &str, between: char) -> Option<[&str; N]> {
    let mut parts = [""; N];
    let mut rest = text.split(between);
    for part in &mut parts {
        *part = rest.next()?;
    }
    rest.next().is_none().then_some(parts)
}

/// The side whose letter this is.
fn side(letter: char) -> Color {
    if letter.is_ascii_uppercase() {
        Color::White
    } else {
        Color::Black
    }
}

/// Half-moves made at the start of full move `number`, or in the middle of it for black.
fn read_ply(number: &str, turn: Color) -> Option<u32> {
    let number: u32 = number.parse().ok()?;
    let black = u32::from(turn == Color::Black);
    number.checked_sub(1)?.checked_mul(2)?.checked_add(black)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fen())
    }
}

impl Position {
    /// Its FEN.
    fn fen(&self) -> String {
        let mut fen = String::with_capacity(FEN_CHARS_USUAL);
        self.push_placement(&mut fen);
        fen.push(' ');
        fen.push(self.turn.into());
        fen.push(' ');
        let rights = RIGHTS.iter().filter(|(_, rook)| self.castling.has(*rook));
        fen.extend(rights.map(|(letter, _)| letter));
        if self.castling.is_empty() {
            fen.push('-');
        }
        fen.push(' ');
        match self.ep {
            Some(square) => {
                fen.push(square.file().into());
                fen.push(square.rank().into());
            }
            None => fen.push('-'),
        }
        // Writing to a string does not fail.
        let _ = write!(fen, " {} {}", self.quiet_plies, self.ply / 2 + 1);
        fen
    }

    fn push_placement(&self, fen: &mut String) {
        for rank in Rank::ALL.into_iter().rev() {
            let mut gap = 0;
            for file in File::ALL {
                match self.on(Square::new(file, rank)) {
                    None => gap += 1,
                    Some((color, piece)) => {
                        push_gap(fen, std::mem::take(&mut gap));
                        fen.push(letter(color, piece));
                    }
                }
            }
            push_gap(fen, gap);
            if rank != Rank::First {
                fen.push('/');
            }
        }
    }
}

/// So many empty squares in a row.
fn push_gap(fen: &mut String, squares: u32) {
    fen.extend(char::from_digit(squares, 10).filter(|digit| *digit != '0'));
}
