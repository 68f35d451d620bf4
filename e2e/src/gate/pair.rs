//! A pair: what happens in two games that are one and the same to a viewer.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::facts::Fact;
use crate::client::protocol::{Side, ViewClass};

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a message on the viewer's socket.
    Socket,
    /// By `POST`.
    Post,
}

/// What a command says of the frame that it acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The latest frame.
    Latest,
    /// The one before it.
    Earlier,
    /// One that has not come yet.
    Later,
    /// Nothing.
    Unsaid,
}

/// How it comes out that a clock has run out.
#[derive(Clone, Debug, PartialEq)]
pub enum Fall {
    /// Nobody says anything.
    ByItself,
    /// Somebody whom the viewer cannot look over the shoulder asks the server to look.
    Asked,
    /// The viewer does.
    Claimed,
    /// The viewer, whose clock it is, makes a move too late.
    Late(Value),
}

/// One step of both games.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// What somebody does whom the viewer cannot look over the shoulder: in the one game and in the
    /// other. The last of each makes a frame for everyone, those before it for nobody else.
    Hidden {
        /// Who does it.
        by: Side,
        /// The actions in each game.
        actions: [Vec<Value>; 2],
    },
    /// What the viewer does, the same in both games.
    Own {
        /// The action.
        action: Value,
        /// How it is sent.
        way: Way,
        /// Whether it is sent a second time under the same id, and then under it as another action.
        again: bool,
    },
    /// What the viewer tries in vain.
    Vain {
        /// The action.
        action: Value,
        /// How it is sent.
        way: Way,
        /// What it says it acts upon.
        at: At,
    },
    /// Everyone reads whatever can be read, and tries what is not theirs to do.
    Look,
    /// Those who come late connect.
    Late,
    /// The viewer's second socket is cut.
    Cut,
    /// It comes back, by its cursor.
    Back,
    /// Whoever is to move has thought until their time was up.
    Fall(Fall),
    /// What ends both games and so reveals all: what it shows is not compared.
    Last(Box<Self>),
    /// Everyone reads the game again, now that it has ended.
    After,
}

impl Step {
    /// What is done to the game in this step, in one of the two games.
    fn actions(&self, which: usize) -> Vec<Value> {
        match self {
            Self::Hidden { actions, .. } => actions[which].clone(),
            Self::Own { action, .. } => vec![action.clone()],
            Self::Fall(_) => vec![json!({"type": "flag"})],
            Self::Last(step) => step.actions(which),
            _ => vec![],
        }
    }
}

/// Two games that differ in nothing that `class` may see.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its number in the run.
    pub nth: usize,
    /// The rules.
    pub ruleset: &'static str,
    /// Who is not to notice any difference. A seat is meant with everyone who has none.
    pub class: ViewClass,
    /// Initial time and increment in milliseconds.
    pub clock: Option<(u64, u64)>,
    /// Whether the game is hidden from whoever does not know its code.
    pub is_private: bool,
    /// What happens.
    pub steps: Vec<Step>,
    /// What differs.
    pub facts: BTreeSet<Fact>,
}

/// How the games of a pair end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// They are left as they stand.
    Open,
    /// Somebody resigned, or a draw was agreed.
    ByHand,
    /// A clock ran out.
    ByFlag,
}

impl Ending {
    /// A few words for reports.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "are left as they stand",
            Self::ByHand => "end by resigning or a draw, and are read afterwards",
            Self::ByFlag => "end by a clock that runs out, and are read afterwards",
        }
    }
}

impl Pair {
    /// How its games end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let last = self.steps.iter().find_map(|step| match step {
            Step::Last(last) => Some(&**last),
            _ => None,
        });
        match last {
            None => Ending::Open,
            Some(Step::Fall(_)) => Ending::ByFlag,
            Some(_) => Ending::ByHand,
        }
    }

    /// Which side is the viewer's; none if everyone at the board is hidden from it.
    #[must_use]
    pub const fn seat(&self) -> Option<Side> {
        match self.class {
            ViewClass::Seat(side) => Some(side),
            ViewClass::Public => None,
        }
    }

    /// The actions of one of the two games, each on its way to be read by people.
    #[must_use]
    pub fn told(&self, which: usize) -> String {
        let actions = self.steps.iter().flat_map(|step| step.actions(which));
        let words: Vec<String> = actions
            .map(|action| match action["uci"].as_str() {
                Some(uci) => uci.to_owned(),
                None => action["type"].as_str().unwrap_or("?").to_owned(),
            })
            .collect();
        words.join(" ")
    }
}

/// A digest of pairs, by which two runs are seen to have tried the same.
#[must_use]
pub fn digest<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> String {
    let mut hash = Sha256::new();
    for pair in pairs {
        hash.update(format!("{pair:?}"));
    }
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(8)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
