//! Pairs of a ruleset with private events, which exists in the build with mutants alone: every
//! event of chess is public, so that in chess nobody's numbers can tell of a hidden one.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::facts::Fact;
use super::generate::random_of;
use super::pair::{At, Pair, Step, Way};
use crate::client::protocol::{Side, ViewClass};

/// The ruleset: turns as in `turn-log`, and notes that nobody but their writer is told of.
const RULESET: &str = "private-notes";
/// Turns of a game.
const TURNS: usize = 10;
/// Notes before a turn, in either game.
const NOTES_MAX: usize = 3;

/// The pair of that number of the run of that seed.
#[must_use]
pub fn private_notes(seed: u64, nth: usize) -> Pair {
    let mut random = random_of(seed, nth, 0);
    let class = match nth % 3 {
        0 => ViewClass::Seat(Side::White),
        1 => ViewClass::Seat(Side::Black),
        _ => ViewClass::Public,
    };
    let mut steps = Vec::new();
    for turn in 0..TURNS {
        let by = if turn % 2 == 0 {
            Side::White
        } else {
            Side::Black
        };
        let append = json!({"type": "append", "payload": turn});
        match turn {
            3 => steps.push(Step::Late),
            5 => steps.push(Step::Cut),
            7 => steps.extend([Step::Back, Step::Look]),
            _ => {}
        }
        if class == ViewClass::Seat(by) {
            steps.push(Step::Own {
                action: append,
                way: if random.random_bool(0.5) {
                    Way::Socket
                } else {
                    Way::Post
                },
                again: random.random_bool(0.2),
            });
            continue;
        }
        // In the first turn the games differ for certain.
        let one = random.random_range(0..=NOTES_MAX);
        let other = if turn < 2 {
            (one + 1) % (NOTES_MAX + 1)
        } else {
            random.random_range(0..=NOTES_MAX)
        };
        steps.push(Step::Hidden {
            by,
            actions: [one, other].map(|count| with_notes(count, &append, &mut random)),
        });
        if class != ViewClass::Public {
            steps.push(Step::Vain {
                action: json!({"type": "accept_draw"}),
                way: Way::Post,
                at: At::Latest,
            });
        }
    }
    steps.push(Step::Look);
    Pair {
        nth,
        ruleset: RULESET,
        class,
        clock: None,
        is_private: false,
        steps,
        facts: BTreeSet::from([Fact::HiddenEvents]),
    }
}

fn with_notes(count: usize, append: &Value, random: &mut StdRng) -> Vec<Value> {
    let notes = (0..count).map(|_| json!({"type": "note", "payload": random.random::<u16>()}));
    notes.chain([append.clone()]).collect()
}
