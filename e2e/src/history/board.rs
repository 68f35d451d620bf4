//! A second opinion on fog-of-war chess: positions, pseudo-legal moves and vision by plain loops over
//! a mailbox, written from the rules alone and sharing nothing with the server's bitboards.

use anyhow::{Context, Result, bail};

use crate::client::protocol::Side;

const KNIGHT: [(i8, i8); 8] = [
    (1, 2),
    (2, 1),
    (2, -1),
    (1, -2),
    (-1, -2),
    (-2, -1),
    (-2, 1),
    (-1, 2),
];
const DIAGONAL: [(i8, i8); 4] = [(1, 1), (1, -1), (-1, -1), (-1, 1)];
const STRAIGHT: [(i8, i8); 4] = [(0, 1), (1, 0), (0, -1), (-1, 0)];
const START: &str = "rnbqkbnrpppppppp................................PPPPPPPPRNBQKBNR";

/// A square: file and rank, both 0..8.
type Square = (i8, i8);

/// A position, with what decides the next move.
#[derive(Clone, Debug)]
pub struct Position {
    /// Piece letters and `.`, a8 to h1, as in the protocol.
    squares: [u8; 64],
    turn: Side,
    /// Castling rights, of `KQkq`.
    rights: Vec<u8>,
    /// The square that a pawn has just jumped over.
    jumped: Option<Square>,
    /// Each side's last move, in UCI: White's, Black's.
    last: [Option<String>; 2],
    /// Where the last half-move captured a piece.
    captured: Option<Square>,
}

impl Default for Position {
    fn default() -> Self {
        let mut squares = [b'.'; 64];
        squares.copy_from_slice(START.as_bytes());
        Self {
            squares,
            turn: Side::White,
            rights: b"KQkq".to_vec(),
            jumped: None,
            last: [None, None],
            captured: None,
        }
    }
}

impl Position {
    /// The whole board, as everyone sees it after the end.
    #[must_use]
    pub fn board(&self) -> String {
        self.squares
            .iter()
            .map(|piece| char::from(*piece))
            .collect()
    }

    /// What a side sees: its own pieces, and where they could go if it were its turn.
    #[must_use]
    pub fn seen_by(&self, side: Side) -> String {
        let mut seen = [false; 64];
        for (square, is_seen) in seen.iter_mut().enumerate() {
            *is_seen = owner(self.squares[square]) == Some(side);
        }
        for (_, to, _) in self.moves_of(side) {
            seen[index(to)] = true;
            // En passant is there only for the side to move: then the victim is seen too.
            if let Some(victim) = self
                .passed_pawn(to, side)
                .filter(|_| self.en_passant_reaches(to, side))
            {
                seen[index(victim)] = true;
            }
        }
        (0..64)
            .map(|i| {
                if seen[i] {
                    char::from(self.squares[i])
                } else {
                    '?'
                }
            })
            .collect()
    }

    /// The moves of the side to move, in UCI, sorted.
    #[must_use]
    pub fn moves(&self) -> Vec<String> {
        let mut moves: Vec<String> = self
            .moves_of(self.turn)
            .into_iter()
            .map(|(from, to, promotion)| {
                let promotion = promotion
                    .map(|piece| char::from(piece).to_string())
                    .unwrap_or_default();
                format!("{}{}{promotion}", name(from), name(to))
            })
            .collect();
        moves.sort();
        moves
    }

    /// Who is to move.
    #[must_use]
    pub const fn turn(&self) -> Side {
        self.turn
    }

    /// What stands on a square such as `e4`: a piece letter, or `.`; none for what is no square.
    #[must_use]
    pub fn on(&self, name: &str) -> Option<char> {
        square(Some(name)).map(|square| char::from(self.at(square)))
    }

    /// A side's castling rights as its view shows them: `KQ`, `K`, `Q` or nothing.
    #[must_use]
    pub fn castling(&self, side: Side) -> String {
        let own = b"kq"
            .iter()
            .filter(|right| self.rights.contains(&coloured(**right, side)));
        own.map(|right| char::from(right.to_ascii_uppercase()))
            .collect()
    }

    /// The en passant square that the side to move can use.
    #[must_use]
    pub fn en_passant(&self) -> Option<String> {
        self.jumped
            .filter(|square| self.en_passant_reaches(*square, self.turn))
            .map(name)
    }

    /// A side's last move.
    #[must_use]
    pub fn last_of(&self, side: Side) -> Option<&str> {
        self.last[usize::from(side == Side::Black)].as_deref()
    }

    /// Where the last half-move captured a piece of that side.
    #[must_use]
    pub fn lost_by(&self, side: Side) -> Option<String> {
        self.captured.filter(|_| self.turn == side).map(name)
    }

    /// Makes a move.
    ///
    /// # Errors
    /// The side to move has no such move.
    pub fn play(&mut self, uci: &str) -> Result<()> {
        if !self.moves().iter().any(|known| known == uci) {
            bail!("{:?} has no move {uci}", self.turn);
        }
        let from = square(uci.get(..2)).context("a square")?;
        let to = square(uci.get(2..4)).context("a square")?;
        let promotion = uci.as_bytes().get(4).copied();
        let piece = self.at(from);
        self.captured = (self.at(to) != b'.').then_some(to);
        self.last[usize::from(self.turn == Side::Black)] = Some(uci.to_owned());
        if let Some(victim) = self
            .passed_pawn(to, self.turn)
            .filter(|_| piece.eq_ignore_ascii_case(&b'p'))
        {
            self.squares[index(victim)] = b'.';
            self.captured = Some(victim);
        }
        self.squares[index(from)] = b'.';
        self.squares[index(to)] = promotion.map_or(piece, |promoted| coloured(promoted, self.turn));
        if piece.eq_ignore_ascii_case(&b'k') && (to.0 - from.0).abs() == 2 {
            let (rook_from, rook_to) = if to.0 == 6 { (7, 5) } else { (0, 3) };
            self.squares[index((rook_to, from.1))] = self.at((rook_from, from.1));
            self.squares[index((rook_from, from.1))] = b'.';
        }
        for (right, home) in [
            (b'K', (7, 0)),
            (b'Q', (0, 0)),
            (b'k', (7, 7)),
            (b'q', (0, 7)),
        ] {
            let king = if right.is_ascii_uppercase() {
                (4, 0)
            } else {
                (4, 7)
            };
            if [from, to]
                .iter()
                .any(|touched| *touched == home || *touched == king)
            {
                self.rights.retain(|known| *known != right);
            }
        }
        let jumps = piece.eq_ignore_ascii_case(&b'p') && (to.1 - from.1).abs() == 2;
        self.jumped = jumps.then_some((from.0, i8::midpoint(from.1, to.1)));
        self.turn = self.turn.other();
        Ok(())
    }

    fn at(&self, square: Square) -> u8 {
        self.squares[index(square)]
    }

    fn moves_of(&self, side: Side) -> Vec<(Square, Square, Option<u8>)> {
        let mut moves = Vec::new();
        for from in (0..8).flat_map(|rank| (0..8).map(move |file| (file, rank))) {
            let piece = self.at(from);
            if owner(piece) != Some(side) {
                continue;
            }
            let targets = match piece.to_ascii_lowercase() {
                b'p' => self.pawn(from, side),
                b'n' => self.rays(from, side, &KNIGHT, 1),
                b'b' => self.rays(from, side, &DIAGONAL, 7),
                b'r' => self.rays(from, side, &STRAIGHT, 7),
                b'q' => [
                    self.rays(from, side, &DIAGONAL, 7),
                    self.rays(from, side, &STRAIGHT, 7),
                ]
                .concat(),
                _ => [
                    self.rays(from, side, &DIAGONAL, 1),
                    self.rays(from, side, &STRAIGHT, 1),
                    self.castlings(from, side),
                ]
                .concat(),
            };
            for to in targets {
                if piece.eq_ignore_ascii_case(&b'p') && matches!(to.1, 0 | 7) {
                    moves.extend(b"qrbn".iter().map(|promoted| (from, to, Some(*promoted))));
                } else {
                    moves.push((from, to, None));
                }
            }
        }
        moves
    }

    fn rays(&self, from: Square, side: Side, directions: &[(i8, i8)], steps: i8) -> Vec<Square> {
        let mut targets = Vec::new();
        for (files, ranks) in directions {
            for step in 1..=steps {
                let to = (from.0 + files * step, from.1 + ranks * step);
                if !on_board(to) || owner(self.at(to)) == Some(side) {
                    break;
                }
                targets.push(to);
                if self.at(to) != b'.' {
                    break;
                }
            }
        }
        targets
    }

    fn pawn(&self, from: Square, side: Side) -> Vec<Square> {
        let (forward, home) = match side {
            Side::White => (1, 1),
            Side::Black => (-1, 6),
        };
        let mut targets = Vec::new();
        let one = (from.0, from.1 + forward);
        if on_board(one) && self.at(one) == b'.' {
            targets.push(one);
            let two = (from.0, from.1 + 2 * forward);
            if from.1 == home && self.at(two) == b'.' {
                targets.push(two);
            }
        }
        for to in [(from.0 - 1, one.1), (from.0 + 1, one.1)] {
            if on_board(to)
                && (owner(self.at(to)) == Some(side.other())
                    || self.passed_pawn(to, side).is_some())
            {
                targets.push(to);
            }
        }
        targets
    }

    /// The pawn that would be taken by going to `to` en passant: only for the side to move.
    fn passed_pawn(&self, to: Square, side: Side) -> Option<Square> {
        let backward = if side == Side::White { -1 } else { 1 };
        (side == self.turn && self.jumped == Some(to)).then_some((to.0, to.1 + backward))
    }

    /// Whether a pawn of that side stands where it can take en passant on `to`.
    fn en_passant_reaches(&self, to: Square, side: Side) -> bool {
        let backward = if side == Side::White { -1 } else { 1 };
        [-1, 1].into_iter().any(|file| {
            let from = (to.0 + file, to.1 + backward);
            on_board(from) && self.at(from) == coloured(b'p', side)
        })
    }

    fn castlings(&self, from: Square, side: Side) -> Vec<Square> {
        let home = if side == Side::White { 0 } else { 7 };
        if from != (4, home) {
            return Vec::new();
        }
        let free = |files: &[i8]| files.iter().all(|file| self.at((*file, home)) == b'.');
        let mut targets = Vec::new();
        if self.rights.contains(&coloured(b'k', side)) && free(&[5, 6]) {
            targets.push((6, home));
        }
        if self.rights.contains(&coloured(b'q', side)) && free(&[1, 2, 3]) {
            targets.push((2, home));
        }
        targets
    }
}

fn owner(piece: u8) -> Option<Side> {
    match piece {
        b'.' => None,
        _ if piece.is_ascii_uppercase() => Some(Side::White),
        _ => Some(Side::Black),
    }
}

const fn coloured(piece: u8, side: Side) -> u8 {
    match side {
        Side::White => piece.to_ascii_uppercase(),
        Side::Black => piece.to_ascii_lowercase(),
    }
}

const fn on_board((file, rank): Square) -> bool {
    file >= 0 && file < 8 && rank >= 0 && rank < 8
}

fn index((file, rank): Square) -> usize {
    usize::try_from((7 - rank) * 8 + file).expect("a square of the board")
}

fn name((file, rank): Square) -> String {
    let letter = |base: u8, offset: i8| {
        char::from(base + u8::try_from(offset).expect("a square of the board"))
    };
    [letter(b'a', file), letter(b'1', rank)].iter().collect()
}

fn square(name: Option<&str>) -> Option<Square> {
    let &[file, rank] = name?.as_bytes() else {
        return None;
    };
    let square = (i8::try_from(file).ok()? - 97, i8::try_from(rank).ok()? - 49);
    on_board(square).then_some(square)
}

#[cfg(test)]
mod tests {
    use super::Position;
    use crate::client::protocol::Side;

    fn after(moves: &str) -> Position {
        let mut position = Position::default();
        for uci in moves.split_whitespace() {
            position.play(uci).expect(uci);
        }
        position
    }

    /// Leaves of the tree of moves; a king's capture ends the game, so nothing follows it.
    fn perft(position: &Position, depth: u32) -> u64 {
        if depth == 0 || !position.board().contains('K') || !position.board().contains('k') {
            return u64::from(depth == 0);
        }
        let leaves = position.moves().into_iter().map(|uci| {
            let mut next = position.clone();
            next.play(&uci).expect("its own move");
            perft(&next, depth - 1)
        });
        leaves.sum()
    }

    #[test]
    fn counts_moves_as_the_rules_say() {
        for (depth, leaves) in [(1, 20), (2, 400), (3, 8902)] {
            assert_eq!(perft(&Position::default(), depth), leaves);
        }
    }

    #[test]
    fn sees_its_pieces_and_where_they_can_go() {
        let seen = Position::default().seen_by(Side::White);
        assert_eq!(
            seen,
            format!("{}{}{}", "?".repeat(32), ".".repeat(16), "PPPPPPPPRNBQKBNR")
        );
        // What stands right in front of a pawn stays hidden.
        let blocked = after("e2e4 e7e5");
        assert_eq!(blocked.seen_by(Side::White).as_bytes()[28], b'?');
        assert_eq!(blocked.seen_by(Side::Black).as_bytes()[36], b'?');
    }

    #[test]
    fn en_passant_shows_target_and_victim_to_the_side_to_move_alone() {
        let position = after("e2e4 a7a6 e4e5 d7d5");
        assert!(position.moves().contains(&"e5d6".to_owned()));
        let seen = position.seen_by(Side::White);
        assert_eq!((seen.as_bytes()[19], seen.as_bytes()[27]), (b'.', b'p'));
        assert_eq!(position.en_passant().as_deref(), Some("d6"));
        let taken = after("e2e4 a7a6 e4e5 d7d5 e5d6");
        assert_eq!(taken.lost_by(Side::Black).as_deref(), Some("d5"));
        assert_eq!(
            (taken.lost_by(Side::White), taken.last_of(Side::Black)),
            (None, Some("d7d5"))
        );
        assert_eq!(taken.board().as_bytes()[27], b'.');
        let lapsed = after("e2e4 a7a6 e4e5 d7d5 a2a3 a6a5");
        assert_eq!(lapsed.seen_by(Side::White).as_bytes()[27], b'?');
    }

    #[test]
    fn castles_through_attack_and_loses_the_right_with_the_rook() {
        let position = after("g1f3 a7a6 g2g3 a6a5 f1g2 a5a4 e1g1");
        assert!(position.board().ends_with("RNBQ.RK."));
        assert_eq!(
            (
                position.castling(Side::White).as_str(),
                position.castling(Side::Black).as_str()
            ),
            ("", "KQ")
        );
        let rook_taken = after("g2g4 b7b6 f1g2 c8b7 g1h3 b7g2 e2e4 g2h1");
        assert!(!rook_taken.moves().contains(&"e1g1".to_owned()));
        assert_eq!(rook_taken.castling(Side::White), "Q");
    }

    #[test]
    fn a_promoting_pawn_may_take_the_king() {
        let position = after("e2e4 f7f5 e4f5 g7g6 f5g6 a7a6 g6h7 a6a5 h7g8q a5a4 g8f7 a4a3 f7e8");
        assert!(!position.board().contains('k'));
    }
}
