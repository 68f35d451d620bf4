//! What happens around the moves of a pair: looks, vain attempts, draw offers, late and cut
//! connections. The same in both games.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::facts::Fact;
use super::generate::Walk;
use super::pair::{At, Fall, Step, Way};
use super::probes::vain_moves;
use super::track::Track;
use crate::client::protocol::{Side, ViewClass, move_action};
use crate::history::board::Position;

/// Of so many pairs, one is played to an end by hand: not of chance, so that each run begins with
/// some. Nor are the classes of the viewers, of which there are eight in turn.
const ENDED_OF: usize = 5;
/// Of so many, a clock runs out in one.
const FALLING_OF: usize = 7;

/// The steps of a walk, and what is at stake in its vain attempts.
pub(super) fn steps(walk: &Walk, nth: usize, random: &mut StdRng) -> (Vec<Step>, BTreeSet<Fact>) {
    let seat = match walk.class {
        ViewClass::Seat(side) => Some(side),
        ViewClass::Public => None,
    };
    let plies = walk.moves.len();
    let late = random.random_range(1..=plies / 2);
    let cut = random.random_range(late..plies - 1);
    let back = random.random_range(cut + 1..plies);
    let mut steps = Vec::new();
    let mut facts = BTreeSet::new();
    for (ply, (both, games)) in walk.moves.iter().zip(&walk.games).enumerate() {
        for (at, step) in [(late, Step::Late), (cut, Step::Cut), (back, Step::Back)] {
            if at == ply {
                steps.push(step);
            }
        }
        if ply == back {
            steps.push(Step::Look);
        }
        let turn = games[0].position.turn();
        if let Some(viewer) = seat {
            attempts(games, viewer, random, &mut steps, &mut facts);
            offer(viewer, turn, random, &mut steps);
        }
        steps.push(match seat {
            Some(viewer) if viewer == turn => Step::Own {
                action: move_action(&both[0]),
                way: way(random),
                again: random.random_bool(0.15),
            },
            _ => Step::Hidden {
                by: turn,
                actions: [0, 1].map(|which| vec![move_action(&both[which])]),
            },
        });
    }
    if let Some(viewer) = seat {
        attempts(&walk.games[plies], viewer, random, &mut steps, &mut facts);
    }
    steps.push(Step::Look);
    let last = &walk.games[plies][0].position;
    if nth % ENDED_OF == 1 {
        steps.extend(end(seat, last.turn(), random));
    } else if nth % FALLING_OF == 2 {
        let fall = fall(seat, last, random);
        steps.extend([Step::Last(Box::new(Step::Fall(fall))), Step::After]);
    }
    (steps, facts)
}

/// Whoever is to move lets their clock run out, and somebody or nobody says so.
fn fall(seat: Option<Side>, last: &Position, random: &mut StdRng) -> Fall {
    let is_own = seat == Some(last.turn());
    match random.random_range(0..4) {
        0 if is_own => match last.moves().choose(random) {
            Some(uci) => Fall::Late(move_action(uci)),
            None => Fall::ByItself,
        },
        1 if seat.is_some() => Fall::Claimed,
        2 => Fall::Asked,
        _ => Fall::ByItself,
    }
}

/// Both games end alike: somebody resigns, or a draw is agreed.
fn end(seat: Option<Side>, turn: Side, random: &mut StdRng) -> Vec<Step> {
    let hidden = |by: Side, kind: &str| {
        let action = vec![json!({"type": kind})];
        Step::Hidden {
            by,
            actions: [action.clone(), action],
        }
    };
    let Some(viewer) = seat else {
        return vec![Step::Last(Box::new(hidden(turn, "resign"))), Step::After];
    };
    let own = |kind: &str, random: &mut StdRng| Step::Own {
        action: json!({"type": kind}),
        way: way(random),
        again: false,
    };
    let opponent = viewer.other();
    let (first, last) = match random.random_range(0..4) {
        0 => (None, own("resign", random)),
        1 => (None, hidden(opponent, "resign")),
        2 => (
            Some(hidden(opponent, "offer_draw")),
            own("accept_draw", random),
        ),
        _ => (
            Some(own("offer_draw", random)),
            hidden(opponent, "accept_draw"),
        ),
    };
    first
        .into_iter()
        .chain([Step::Last(Box::new(last)), Step::After])
        .collect()
}

fn way(random: &mut StdRng) -> Way {
    if random.random_bool(0.5) {
        Way::Socket
    } else {
        Way::Post
    }
}

/// What the viewer tries in vain before this half-move.
fn attempts(
    games: &[Track; 2],
    viewer: Side,
    random: &mut StdRng,
    steps: &mut Vec<Step>,
    facts: &mut BTreeSet<Fact>,
) {
    let mut vain = |action: Value, at: At, random: &mut StdRng| {
        let way = way(random);
        steps.push(Step::Vain { action, way, at });
    };
    let is_own_turn = games[0].position.turn() == viewer;
    if is_own_turn && random.random_bool(0.5) {
        let all = vain_moves(games, viewer);
        let telling: Vec<_> = all.iter().filter(|vain| vain.hides_something).collect();
        let chosen = [telling.choose(random).copied(), all.choose(random)];
        for attempt in chosen.into_iter().flatten() {
            if attempt.hides_something {
                facts.insert(Fact::Blocker);
            }
            vain(move_action(&attempt.uci), At::Latest, random);
        }
    }
    if !is_own_turn && random.random_bool(0.2) {
        vain(move_action("a2a3"), At::Unsaid, random);
    }
    if random.random_bool(0.15) {
        let (action, at) = match random.random_range(0..7) {
            0 => (json!({"type": "accept_draw"}), At::Unsaid),
            1 => (json!({"type": "flag"}), At::Latest),
            2 => (json!({"type": "resign"}), At::Later),
            3 => (json!({"type": "offer_draw"}), At::Earlier),
            4 => (move_action("e9e5"), At::Latest),
            5 => (json!({"type": "move", "uci": "e2e4", "why": 1}), At::Latest),
            _ => (json!({"type": "sing"}), At::Latest),
        };
        vain(action, at, random);
    }
}

/// Now and then the opponent offers a draw, and the viewer declines.
fn offer(viewer: Side, turn: Side, random: &mut StdRng, steps: &mut Vec<Step>) {
    if turn != viewer || !random.random_bool(0.05) {
        return;
    }
    let offer = vec![json!({"type": "offer_draw"})];
    steps.push(Step::Hidden {
        by: viewer.other(),
        actions: [offer.clone(), offer],
    });
    steps.push(Step::Own {
        action: json!({"type": "decline_draw"}),
        way: way(random),
        again: false,
    });
}
