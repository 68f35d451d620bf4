//! Moves that a viewer tries in vain: what a piece could do on an empty board and cannot do here.

use super::track::Track;
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
const LINES: [(i8, i8); 4] = [(0, 1), (1, 0), (0, -1), (-1, 0)];
const DIAGONALS: [(i8, i8); 4] = [(1, 1), (1, -1), (-1, -1), (-1, 1)];

/// A move that the rules refuse in both games.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vain {
    pub(super) uci: String,
    /// Whether the square where it would have led holds something else in the other game.
    pub(super) hides_something: bool,
}

/// The vain moves of `viewer`, whose turn it is.
pub(super) fn vain_moves([one, other]: &[Track; 2], viewer: Side) -> Vec<Vain> {
    let legal = one.position.moves();
    let mut vain = Vec::new();
    for (file, rank) in (0..8).flat_map(|file| (0..8).map(move |rank| (file, rank))) {
        let Some(from) = name(file, rank) else {
            continue;
        };
        let Some(piece) = one.position.on(&from) else {
            continue;
        };
        if piece == '.' || piece.is_ascii_uppercase() != (viewer == Side::White) {
            continue;
        }
        for to in reach(piece, file, rank) {
            let uci = format!("{from}{to}");
            if !legal.iter().any(|known| known.starts_with(&uci)) {
                let hides_something = one.position.on(&to) != other.position.on(&to);
                vain.push(Vain {
                    uci,
                    hides_something,
                });
            }
        }
    }
    vain
}

/// Where a piece could go if nothing stood in its way.
fn reach(piece: char, file: i8, rank: i8) -> Vec<String> {
    let far = |directions: &[(i8, i8)], steps: i8| -> Vec<(i8, i8)> {
        let rays = directions
            .iter()
            .flat_map(|(df, dr)| (1..=steps).map(move |step| (file + df * step, rank + dr * step)));
        rays.collect()
    };
    let squares = match piece.to_ascii_lowercase() {
        'n' => far(&KNIGHT, 1),
        'b' => far(&DIAGONALS, 7),
        'r' => far(&LINES, 7),
        'q' => [far(&DIAGONALS, 7), far(&LINES, 7)].concat(),
        'k' => [
            far(&DIAGONALS, 1),
            far(&LINES, 1),
            vec![(file + 2, rank), (file - 2, rank)],
        ]
        .concat(),
        _ => {
            let up = if piece.is_ascii_uppercase() { 1 } else { -1 };
            vec![
                (file, rank + up),
                (file, rank + 2 * up),
                (file - 1, rank + up),
                (file + 1, rank + up),
            ]
        }
    };
    let named = squares
        .into_iter()
        .filter_map(|(file, rank)| name(file, rank));
    named.collect()
}

fn name(file: i8, rank: i8) -> Option<String> {
    let letter = |base: u8, at: i8| {
        let at = u8::try_from(at).ok().filter(|at| *at < 8)?;
        Some(char::from(base + at))
    };
    Some([letter(b'a', file)?, letter(b'1', rank)?].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::openings::opening;

    #[test]
    fn a_blocked_pawn_tries_the_square_that_is_held_by_something_else() {
        let mut games = [Track::start(), Track::start()];
        for both in &opening(1, Side::White)[..4] {
            for (game, uci) in games.iter_mut().zip(both) {
                *game = game.after(uci).expect("a legal move");
            }
        }
        let vain = vain_moves(&games, Side::White);
        let blocked = vain.iter().find(|vain| vain.uci == "d2d4");
        assert!(blocked.is_some_and(|vain| vain.hides_something), "{vain:?}");
        assert!(!vain.iter().any(|vain| vain.uci == "e2e4"));
        assert!(
            vain.iter()
                .any(|vain| vain.uci == "e1g1" && !vain.hides_something)
        );
    }
}
