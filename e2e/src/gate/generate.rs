//! Makes pairs by search: wherever the opponent has moves after which the viewer sees the same,
//! the two games go different ways.

use std::collections::{BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::dress;
use super::facts::{Fact, differences};
use super::openings::{self, Both};
use super::pair::{Ending, Pair};
use super::track::Track;
use crate::client::protocol::{Side, ViewClass};

/// Half-moves of a pair's games.
const PLIES: std::ops::RangeInclusive<usize> = 8..=18;
/// A walk that gets stuck before this is begun again.
const PLIES_MIN: usize = 6;
/// Ways on that are weighed against each other at each half-move.
const WEIGHED_MAX: usize = 10;
/// Moves of a side that are tried at each half-move.
const TRIED_MAX: usize = 18;
/// A walk that gets stuck so often does not exist.
const ATTEMPTS_MAX: u64 = 200;
/// A clock that nobody runs out of while a game is played, and whose readings then all have six
/// digits. Where it is to run out, it is set forward: see `clockwork`.
const CLOCK: (u64, u64) = (600_000, 0);
/// Of the pairs, so many have a clock although it does not run out.
const CLOCKED_SHARE: f64 = 0.15;

/// Of so many pairs, one is of private games.
const PRIVATE_OF: usize = 9;

/// Both games so far.
pub(super) struct Walk {
    pub(super) class: ViewClass,
    /// Both games before each half-move, and after the last.
    pub(super) games: Vec<[Track; 2]>,
    /// The half-moves.
    pub(super) moves: Vec<Both>,
    pub(super) facts: BTreeSet<Fact>,
}

/// The pair of that number of the run of that seed: the same two numbers, the same pair.
///
/// # Panics
/// Never, as long as the rules let two games go different ways.
#[must_use]
pub fn fog_chess(seed: u64, nth: usize) -> Pair {
    let class = match nth % 8 {
        0 | 2 | 4 => ViewClass::Seat(Side::White),
        1 | 3 | 5 => ViewClass::Seat(Side::Black),
        _ => ViewClass::Public,
    };
    for attempt in 0..ATTEMPTS_MAX {
        let mut random = random_of(seed, nth, attempt);
        let Some(walk) = walk(class, nth, &mut random) else {
            continue;
        };
        let is_clocked = random.random_bool(CLOCKED_SHARE);
        let is_private = nth % PRIVATE_OF == 4;
        let (steps, tried) = dress::steps(&walk, nth, &mut random);
        let mut facts = walk.facts;
        facts.extend(tried);
        let mut pair = Pair {
            nth,
            ruleset: "fog-chess",
            class,
            clock: None,
            is_private,
            steps,
            facts,
        };
        let is_timed = is_clocked || pair.ending() == Ending::ByFlag;
        pair.clock = is_timed.then_some(CLOCK);
        return pair;
    }
    unreachable!("pair {nth} of seed {seed}: no two games differ in the fog alone")
}

pub(super) fn random_of(seed: u64, nth: usize, attempt: u64) -> StdRng {
    // SplitMix64's increment keeps the streams of neighbours apart.
    let mixed = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add((nth as u64) << 16)
        .wrapping_add(attempt);
    StdRng::seed_from_u64(mixed)
}

fn walk(class: ViewClass, nth: usize, random: &mut StdRng) -> Option<Walk> {
    let plies = random.random_range(PLIES);
    let mut walk = Walk {
        class,
        games: vec![[Track::start(), Track::start()]],
        moves: vec![],
        facts: BTreeSet::new(),
    };
    // A third of the seats' pairs begin with an opening, each of them in turn with either colour.
    if let (ViewClass::Seat(viewer), 1) = (class, nth / 2 % 2) {
        for both in openings::opening(nth / 8, viewer) {
            let games = walk.now();
            let after = [
                games[0].after(&both[0]).ok()?,
                games[1].after(&both[1]).ok()?,
            ];
            walk.push(both, after);
        }
    }
    while walk.moves.len() < plies {
        let Some((both, after)) = walk.next(random) else {
            break;
        };
        walk.push(both, after);
    }
    (walk.moves.len() >= PLIES_MIN && !walk.facts.is_empty()).then_some(walk)
}

impl Walk {
    fn now(&self) -> &[Track; 2] {
        &self.games[self.games.len() - 1]
    }

    fn push(&mut self, both: Both, after: [Track; 2]) {
        match self.class {
            ViewClass::Seat(viewer) => self.facts.extend(differences(&after, viewer)),
            ViewClass::Public => {
                if after[0].position.board() != after[1].position.board() {
                    self.facts.insert(Fact::Placement);
                }
            }
        }
        self.moves.push(both);
        self.games.push(after);
    }

    /// A next half-move of both games after which nobody is the wiser.
    fn next(&self, random: &mut StdRng) -> Option<(Both, [Track; 2])> {
        let games = self.now();
        let turn = games[0].position.turn();
        let ways = match self.class {
            ViewClass::Seat(viewer) if viewer == turn => own_ways(games, viewer, random),
            ViewClass::Seat(viewer) => hidden_ways(games, Some(viewer), random),
            ViewClass::Public => hidden_ways(games, None, random),
        };
        let weighed = ways.into_iter().map(|(both, after)| {
            let worth = self.worth(&after);
            (worth + random.random_range(0..4), both, after)
        });
        let best = weighed.max_by_key(|(worth, _, _)| *worth);
        best.map(|(_, both, after)| (both, after))
    }

    /// What differs already counts one, what has not differed before counts more.
    fn worth(&self, after: &[Track; 2]) -> usize {
        let ViewClass::Seat(viewer) = self.class else {
            return 0;
        };
        let facts = differences(after, viewer);
        let counted = facts
            .iter()
            .map(|fact| if self.facts.contains(fact) { 1 } else { 4 });
        counted.sum()
    }
}

/// The viewer's moves after which both games still look the same.
fn own_ways(games: &[Track; 2], viewer: Side, random: &mut StdRng) -> Vec<(Both, [Track; 2])> {
    let moves = games[0].position.moves();
    let mut ways = Vec::new();
    for _ in 0..moves.len() {
        let Some(uci) = moves.choose(random) else {
            break;
        };
        let after = [games[0].after(uci), games[1].after(uci)];
        let [Ok(one), Ok(other)] = after else {
            continue;
        };
        let is_apart = one.view(viewer) != other.view(viewer);
        if is_apart || one.is_over() || other.is_over() {
            continue;
        }
        ways.push(([uci.clone(), uci.clone()], [one, other]));
        if ways.len() == WEIGHED_MAX {
            break;
        }
    }
    ways
}

/// Pairs of moves of the side to move after which both games look the same to the viewer.
fn hidden_ways(
    games: &[Track; 2],
    viewer: Option<Side>,
    random: &mut StdRng,
) -> Vec<(Both, [Track; 2])> {
    let [one, other] = games.each_ref().map(|game| {
        let mut by_view = ByView::default();
        for uci in tried(game, random) {
            let Ok(after) = game.after(&uci) else {
                continue;
            };
            if !after.is_decided() {
                let view = viewer.map(|viewer| after.view(viewer)).unwrap_or_default();
                by_view.add(view, (uci, after));
            }
        }
        by_view
    });
    let known = |view: &&String| other.ways.contains_key(*view);
    let shared: Vec<&String> = one.views.iter().filter(known).collect();
    let mut ways = Vec::new();
    for _ in 0..WEIGHED_MAX {
        let Some(view) = shared.choose(random) else {
            break;
        };
        let chosen = [&one, &other].map(|by_view| by_view.ways.get(*view)?.choose(random));
        if let [Some((a, after_a)), Some((b, after_b))] = chosen
            && !after_a.is_over()
            && !after_b.is_over()
        {
            ways.push(([a.clone(), b.clone()], [after_a.clone(), after_b.clone()]));
        }
    }
    ways
}

/// What a side tries: all captures, which are few, and then as many other moves as there is time
/// for.
fn tried(game: &Track, random: &mut StdRng) -> Vec<String> {
    let mut moves = game.position.moves();
    moves.shuffle(random);
    let is_quiet = |uci: &String| {
        let to = uci.get(2..4).and_then(|to| game.position.on(to));
        to.is_none_or(|piece| piece == '.')
    };
    moves.sort_by_key(is_quiet);
    moves.truncate(TRIED_MAX);
    moves
}

/// Moves by what the viewer sees after them.
#[derive(Default)]
struct ByView {
    /// In the order in which they came, since a map's own order differs from run to run.
    views: Vec<String>,
    ways: HashMap<String, Vec<(String, Track)>>,
}

impl ByView {
    fn add(&mut self, view: String, way: (String, Track)) {
        let known = self.ways.entry(view.clone()).or_default();
        if known.is_empty() {
            self.views.push(view);
        }
        known.push(way);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gate::pair::{Fall, Step, digest};

    /// Enough for every opening with either colour.
    const PAIRS: usize = 96;

    #[test]
    fn the_same_seed_generates_the_same_pairs() {
        let run = |seed| -> Vec<Pair> { (0..24).map(|nth| fog_chess(seed, nth)).collect() };
        assert_eq!(digest(&run(7)), digest(&run(7)));
        assert_ne!(digest(&run(7)), digest(&run(8)));
    }

    /// Played again by the rules alone: at every half-move the viewer sees the same in both games,
    /// and the games are not the same.
    #[test]
    fn the_two_games_of_a_pair_look_the_same_to_the_viewer_throughout() {
        for nth in 0..PAIRS {
            let pair = fog_chess(11, nth);
            let mut games = [Track::start(), Track::start()];
            for step in &pair.steps {
                let moves = match step {
                    Step::Hidden { actions, .. } => actions.clone(),
                    Step::Own { action, .. } => [vec![action.clone()], vec![action.clone()]],
                    _ => continue,
                };
                for (game, actions) in games.iter_mut().zip(&moves) {
                    for uci in actions.iter().filter_map(|action| action["uci"].as_str()) {
                        *game = game.after(uci).expect("a legal move");
                    }
                }
                if let Some(viewer) = pair.seat() {
                    assert_eq!(games[0].view(viewer), games[1].view(viewer), "{pair:?}");
                }
                assert!(!games[0].is_over() && !games[1].is_over(), "{pair:?}");
            }
            assert_ne!(pair.told(0), pair.told(1));
        }
    }

    #[test]
    fn clocks_run_out_in_every_way_and_only_where_there_is_one() {
        let mut ways = [0; 4];
        for pair in (0..3 * PAIRS).map(|nth| fog_chess(3, nth)) {
            let Some(Step::Last(last)) = pair.steps.iter().rev().nth(1) else {
                continue;
            };
            assert_eq!(pair.steps.last(), Some(&Step::After));
            let Step::Fall(fall) = &**last else {
                continue;
            };
            assert!(pair.clock.is_some());
            ways[match fall {
                Fall::ByItself => 0,
                Fall::Asked => 1,
                Fall::Claimed => 2,
                Fall::Late(_) => 3,
            }] += 1;
        }
        assert!(ways.iter().all(|count| *count > 0), "{ways:?}");
    }

    #[test]
    fn every_hidden_fact_occurs() {
        let mut counts: BTreeMap<Fact, usize> = BTreeMap::new();
        for nth in 0..PAIRS {
            for fact in fog_chess(5, nth).facts {
                *counts.entry(fact).or_default() += 1;
            }
        }
        for fact in Fact::OF_FOG_CHESS {
            let count = counts.get(&fact).copied().unwrap_or_default();
            assert!(count >= 4, "{fact:?}: {count} of {PAIRS} ({counts:?})");
        }
    }
}
