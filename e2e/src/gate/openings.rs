//! Openings that bring about what random games seldom do.
//!
//! Written for a viewer who has White, beginning with the opponent's half-move; `x|y` are the
//! opponent's moves in the one game and in the other. For a viewer who has Black they are turned
//! around; a viewer who has White makes a move first that changes nothing.

use crate::client::protocol::Side;

/// The viewer's first move, where it has White.
const FIRST: &str = "h2h3";

/// The openings: each leads to the hidden difference that stands beside it.
const OPENINGS: [&[&str]; 6] = [
    // A bishop or a knight takes the pawn on b4, which nothing of the viewer looks at.
    &["e7e6|b8c6", "b2b4", "f8b4|c6b4"],
    // What stands on d4 blocks the pawn on d2: a pawn, which may take e4 en passant, or a knight.
    &["d7d5|b8c6", "a2a3", "d5d4|c6d4", "e2e4"],
    // The king or a knight goes out and back: the same board, without castling rights or with them.
    &["e7e6|e7e6", "a2a3", "e8e7|b8c6", "b2b3", "e7e8|c6b8"],
    // The same two moves in the other order: the same board, another half-move clock.
    &["a7a6|b8c6", "g1f3", "b8c6|a7a6"],
    // Both knights go out and back, or one of them goes on.
    &["b8c6|b8c6", "g1f3", "c6b8|c6a5", "f3g1"],
    // A rook moves once, so one right is lost.
    &["a7a6|a7a6", "b2b3", "a8a7|g8f6", "c2c3", "a7a8|f6g8"],
];

/// Half-moves of both games.
pub(super) type Both = [String; 2];

/// How many openings there are.
pub(super) const COUNT: usize = OPENINGS.len();

/// An opening as it is played against a viewer of that side.
pub(super) fn opening(nth: usize, viewer: Side) -> Vec<Both> {
    let written = OPENINGS[nth % COUNT].iter().copied();
    let first = (viewer == Side::White).then_some(FIRST);
    let turned = |uci: &str| match viewer {
        Side::White => uci.to_owned(),
        Side::Black => turned_around(uci),
    };
    let plies = first.into_iter().chain(written);
    plies
        .map(|ply| {
            let (one, other) = ply.split_once('|').unwrap_or((ply, ply));
            [turned(one), turned(other)]
        })
        .collect()
}

/// The same move of the other side.
fn turned_around(uci: &str) -> String {
    let turn = |letter: char| match letter.to_digit(10) {
        Some(rank) => char::from_digit(9 - rank, 10).unwrap_or(letter),
        None => letter,
    };
    uci.chars().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::gate::facts::{Fact, differences};
    use crate::gate::track::Track;

    #[test]
    fn every_opening_looks_the_same_to_its_viewer_and_leads_to_its_difference() {
        let expected = [
            Fact::Capturer,
            Fact::EnPassant,
            Fact::Castling,
            Fact::QuietPlies,
            Fact::Repetition,
            Fact::Castling,
        ];
        for viewer in [Side::White, Side::Black] {
            for (nth, fact) in expected.iter().enumerate() {
                let mut games = [Track::start(), Track::start()];
                let mut facts = BTreeSet::new();
                for both in opening(nth, viewer) {
                    for (game, uci) in games.iter_mut().zip(&both) {
                        *game = game.after(uci).expect("a legal move");
                    }
                    assert_eq!(
                        games[0].view(viewer),
                        games[1].view(viewer),
                        "opening {nth} as {viewer:?} after {both:?}"
                    );
                    facts.extend(differences(&games, viewer));
                }
                assert!(facts.contains(fact), "opening {nth}: {facts:?}");
            }
        }
    }
}
