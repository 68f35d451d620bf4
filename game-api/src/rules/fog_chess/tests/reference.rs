//! A second, naive implementation of moves and vision on 64 characters. It shares nothing with the
//! first, and where it is given a *view* it can use nothing but the view.

/// The ways of the pieces that leap or slide, as (files, ranks).
const STRAIGHT: [(i32, i32); 4] = [(0, 1), (1, 0), (0, -1), (-1, 0)];
const DIAGONAL: [(i32, i32); 4] = [(1, 1), (1, -1), (-1, -1), (-1, 1)];
const LEAPS: [(i32, i32); 8] = [
    (1, 2),
    (2, 1),
    (2, -1),
    (1, -2),
    (-1, -2),
    (-2, -1),
    (-2, 1),
    (-1, 2),
];

/// A board as in a view, a8 to h1; `?` is neither empty nor anyone's.
pub(super) struct Chart<'a> {
    /// 64 symbols.
    pub(super) board: &'a [u8],
    /// Whether white's moves are asked for.
    pub(super) white: bool,
    /// That side's castling rights, in capitals.
    pub(super) castling: &'a str,
    /// The en passant square that it can use.
    pub(super) ep: Option<&'a str>,
}

type Square = (i32, i32);

impl Chart<'_> {
    /// All moves in UCI, sorted.
    pub(super) fn moves(&self) -> Vec<String> {
        let mut list = Vec::new();
        for (from, to) in self.steps() {
            let step = name(from) + &name(to);
            let promotes = self.at(from).eq_ignore_ascii_case(&b'p') && (to.1 == 0 || to.1 == 7);
            if promotes {
                list.extend("qrbn".chars().map(|piece| format!("{step}{piece}")));
            } else {
                list.push(step);
            }
        }
        list.sort();
        list
    }

    /// What the side sees of its true board, one flag a square in the order of the board.
    pub(super) fn seen(&self) -> Vec<bool> {
        let mut seen: Vec<bool> = self
            .board
            .iter()
            .map(|&symbol| self.is_own(symbol))
            .collect();
        for (_, to) in self.steps() {
            seen[index(to)] = true;
        }
        let passed = self.ep.map(square);
        if let Some((file, rank)) = passed {
            seen[index((file, rank - self.forward()))] = true;
        }
        seen
    }

    fn steps(&self) -> Vec<(Square, Square)> {
        let mut steps = Vec::new();
        for from in (0..64).map(|n| (n % 8, n / 8)) {
            let symbol = self.at(from);
            if self.is_own(symbol) {
                let targets = match symbol.to_ascii_lowercase() {
                    b'p' => self.pawn(from),
                    b'n' => self.walk(from, &LEAPS, 1),
                    b'b' => self.walk(from, &DIAGONAL, 7),
                    b'r' => self.walk(from, &STRAIGHT, 7),
                    b'q' => self.walk(from, &[STRAIGHT, DIAGONAL].concat(), 7),
                    _ => self.king(from),
                };
                steps.extend(targets.into_iter().map(|to| (from, to)));
            }
        }
        steps
    }

    fn walk(&self, from: Square, ways: &[(i32, i32)], steps_max: i32) -> Vec<Square> {
        let mut targets = Vec::new();
        for &(files, ranks) in ways {
            for step in 1..=steps_max {
                let to = (from.0 + files * step, from.1 + ranks * step);
                let symbol = self.at(to);
                if symbol == b'.' || self.is_enemy(symbol) {
                    targets.push(to);
                }
                if symbol != b'.' {
                    break;
                }
            }
        }
        targets
    }

    fn pawn(&self, (file, rank): Square) -> Vec<Square> {
        let forward = self.forward();
        let mut targets = Vec::new();
        let first = (file, rank + forward);
        let second = (file, rank + 2 * forward);
        if self.at(first) == b'.' {
            targets.push(first);
            let home = if self.white { 1 } else { 6 };
            if rank == home && self.at(second) == b'.' {
                targets.push(second);
            }
        }
        for to in [(file - 1, rank + forward), (file + 1, rank + forward)] {
            let passed = self.ep.map(square) == Some(to);
            if passed || self.is_enemy(self.at(to)) {
                targets.push(to);
            }
        }
        targets
    }

    fn king(&self, from: Square) -> Vec<Square> {
        let mut targets = self.walk(from, &[STRAIGHT, DIAGONAL].concat(), 1);
        let home = if self.white { 0 } else { 7 };
        let free = |files: &[i32]| files.iter().all(|&file| self.at((file, home)) == b'.');
        if self.castling.contains('K') && free(&[5, 6]) {
            targets.push((6, home));
        }
        if self.castling.contains('Q') && free(&[1, 2, 3]) {
            targets.push((2, home));
        }
        targets
    }

    fn forward(&self) -> i32 {
        if self.white { 1 } else { -1 }
    }

    fn at(&self, square: Square) -> u8 {
        let inside = (0..8).contains(&square.0) && (0..8).contains(&square.1);
        if inside {
            self.board[index(square)]
        } else {
            b' '
        }
    }

    fn is_own(&self, symbol: u8) -> bool {
        symbol.is_ascii_alphabetic() && symbol.is_ascii_uppercase() == self.white
    }

    fn is_enemy(&self, symbol: u8) -> bool {
        symbol.is_ascii_alphabetic() && symbol.is_ascii_uppercase() != self.white
    }
}

/// The place of a square in a board that begins at a8.
pub(super) fn index((file, rank): Square) -> usize {
    usize::try_from((7 - rank) * 8 + file).expect("a square on the board")
}

fn name((file, rank): Square) -> String {
    let letter = |first: u8, offset: i32| {
        char::from(first + u8::try_from(offset).expect("a square on the board"))
    };
    [letter(b'a', file), letter(b'1', rank)].iter().collect()
}

fn square(name: &str) -> Square {
    let bytes = name.as_bytes();
    (i32::from(bytes[0] - b'a'), i32::from(bytes[1] - b'1'))
}

/// The 64 symbols of a FEN's placement.
pub(super) fn expand(fen: &str) -> Vec<u8> {
    let placement = fen.split(' ').next().expect("a FEN has fields");
    let mut board = Vec::with_capacity(64);
    for symbol in placement.bytes().filter(|&symbol| symbol != b'/') {
        match symbol {
            b'1'..=b'8' => board.extend(vec![b'.'; usize::from(symbol - b'0')]),
            _ => board.push(symbol),
        }
    }
    board
}
