//! Changes everything that a side cannot know.

use super::reference::expand;
use crate::rules::Seat;

/// The FEN of another position that `viewer`, who sees the squares flagged in `visible`, cannot tell
/// from the one of `fen`. On hidden squares pieces of the other side come, go and change, but
/// never where the viewer's pawns tell by what they *cannot* do: a hidden square in a pawn's way is
/// occupied, a hidden square aslant of it is not. The other side's rights, an en passant that is
/// not the viewer's and the quiet plies change too.
pub(super) fn scramble(fen: &str, viewer: Seat, visible: &[bool], seed: u64) -> String {
    let fields: Vec<&str> = fen.split(' ').collect();
    let mut dice = Dice(seed ^ fen.len() as u64);
    let white = viewer == Seat::White;
    let mut board = expand(fen);
    let known = pawn_knowledge(&board, white);
    for square in (0..64).filter(|&square| !visible[square]) {
        board[square] = match known[square] {
            Some(true) => dice.piece(&board, square, white),
            None if dice.roll(3) == 0 => dice.piece(&board, square, white),
            Some(false) | None => b'.',
        };
    }
    let own = |right: &char| right.is_ascii_uppercase() == white;
    let mut rights: String = fields[2]
        .chars()
        .filter(|&right| right != '-')
        .filter(own)
        .collect();
    rights.extend(dice.rights(&board, white));
    let turn = if white { "w" } else { "b" };
    let ep = if fields[1] == turn { fields[3] } else { "-" };
    let castling = if rights.is_empty() { "-" } else { &rights };
    let quiet_plies = dice.roll(100);
    format!(
        "{} {} {castling} {ep} {quiet_plies} {}",
        placement(&board),
        fields[1],
        fields[5]
    )
}

/// What the viewer's pawns tell of squares that they do not show: `true` occupied, `false` empty.
fn pawn_knowledge(board: &[u8], white: bool) -> Vec<Option<bool>> {
    let mut known = vec![None; 64];
    let (pawn, forward, home) = if white { (b'P', -8, 6) } else { (b'p', 8, 1) };
    for from in (0..64_usize).filter(|&from| board[from] == pawn) {
        let Some(first) = from.checked_add_signed(forward).filter(|&to| to < 64) else {
            continue;
        };
        known[first] = Some(true);
        if from / 8 == home && board[first] == b'.' {
            known[first.wrapping_add_signed(forward)] = Some(true);
        }
        let file = from % 8;
        let left = (file > 0).then(|| first - 1);
        let right = (file < 7).then(|| first + 1);
        for to in [left, right].into_iter().flatten() {
            known[to] = Some(false);
        }
    }
    known
}

fn placement(board: &[u8]) -> String {
    let rank = |symbols: &[u8]| {
        let mut text = String::new();
        let mut gap = 0;
        for &symbol in symbols {
            if symbol == b'.' {
                gap += 1;
                continue;
            }
            if gap > 0 {
                text += &gap.to_string();
            }
            gap = 0;
            text.push(char::from(symbol));
        }
        if gap > 0 {
            text += &gap.to_string();
        }
        text
    };
    board.chunks(8).map(rank).collect::<Vec<_>>().join("/")
}

/// Chance that follows from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // A linear congruence (Knuth, MMIX); its high bits are good enough here.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// A piece of the viewer's opponent that may stand on that square.
    fn piece(&mut self, board: &[u8], square: usize, viewer_white: bool) -> u8 {
        let outer = !(8..56).contains(&square);
        let kinds: &[u8] = if outer { b"nbrqk" } else { b"nbrqkp" };
        let kind = kinds[self.roll(kinds.len())];
        let case = |kind: u8| {
            if viewer_white {
                kind
            } else {
                kind.to_ascii_uppercase()
            }
        };
        match kind {
            b'k' if board.contains(&case(b'k')) => case(b'n'),
            _ => case(kind),
        }
    }

    /// Rights of the viewer's opponent: a chance choice among those that its men at home allow.
    fn rights(&mut self, board: &[u8], viewer_white: bool) -> Vec<char> {
        let (home, king, rook, letters) = if viewer_white {
            (0, b'k', b'r', ['k', 'q'])
        } else {
            (56, b'K', b'R', ['K', 'Q'])
        };
        let mut rights = Vec::new();
        for (corner, letter) in [home + 7, home].into_iter().zip(letters) {
            let possible = board[home + 4] == king && board[corner] == rook;
            if possible && self.roll(2) == 0 {
                rights.push(letter);
            }
        }
        rights
    }
}
