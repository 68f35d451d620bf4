//! Rulesets: what may be played and what each side may see of it.
//!
//! Pure: nothing here knows sqlx, axum, NATS or a clock. What every game has whatever its rules
//! (seats, clocks, resigning, draw offers, aborting) is `games::entity`'s; a ruleset decides
//! moves and draws views. A new ruleset is one new folder here and one line in [`by_name`].

pub mod fog_chess;
mod members;
mod stored;
mod text;
pub mod turn_log;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use members::{Members, write_json};
pub use stored::Stored;

/// One of the two seats of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// The seat that moves first.
    White,
    /// The other seat.
    Black,
}

impl Seat {
    /// The opponent's seat.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::White => Self::Black,
            Self::Black => Self::White,
        }
    }

    /// `white` or `black`, as in the protocol and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Black => "black",
        }
    }
}

/// Who looks: there are exactly three ways to see a game, and no unfiltered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViewClass {
    /// The player on the white seat.
    White,
    /// The player on the black seat.
    Black,
    /// Everyone without a seat.
    Public,
}

impl ViewClass {
    /// All view classes, in the order in which per-class values are stored.
    pub const ALL: [Self; 3] = [Self::White, Self::Black, Self::Public];

    /// Index into per-class arrays, in the order of [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::White => 0,
            Self::Black => 1,
            Self::Public => 2,
        }
    }

    /// `white`, `black` or `public`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Black => "black",
            Self::Public => "public",
        }
    }

    /// The seat of this class, if it has one.
    #[must_use]
    pub const fn seat(self) -> Option<Seat> {
        match self {
            Self::White => Some(Seat::White),
            Self::Black => Some(Seat::Black),
            Self::Public => None,
        }
    }
}

impl From<Seat> for ViewClass {
    fn from(seat: Seat) -> Self {
        match seat {
            Seat::White => Self::White,
            Seat::Black => Self::Black,
        }
    }
}

/// How a ruleset ended a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The winner; `None` is a draw.
    pub winner: Option<Seat>,
    /// `king_captured`, `no_move`, `fifty_moves`, `threefold`, … as in the protocol's `result`.
    pub reason: &'static str,
}

/// Where a game stands before its first move.
#[derive(Clone, Debug)]
pub struct Opening {
    /// See [`Played::state`].
    pub state: Stored,
    /// See [`Played::scene`].
    pub scene: Stored,
    /// Who moves first.
    pub turn: Seat,
}

/// What an accepted move leads to.
#[derive(Clone, Debug)]
pub struct Played {
    /// All that is needed to judge the next move. One row of the database, never sent to anyone.
    pub state: Stored,
    /// All that is needed to draw any class's view after this move; stored with the event, so that
    /// a frame is made from one event alone. Never sent to a client as it is.
    pub scene: Stored,
    /// The move itself, for the log: `{"uci": "e2e4"}`.
    pub record: Stored,
    /// Who moves next.
    pub turn: Seat,
    /// Set when this move ended the game.
    pub ending: Option<Ending>,
    /// Which view classes this move concerns, in the order of [`ViewClass::ALL`]. A class that is
    /// not concerned gets no frame and no number for it.
    pub audience: [bool; 3],
}

/// Why a move was refused. Carries nothing that depends on what the mover cannot see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The action is not of the ruleset's form, whatever the position (reason `invalid`).
    #[error("{0}")]
    Malformed(String),
    /// The other seat is to move.
    #[error("it is the other side's turn")]
    NotYourTurn,
    /// The move is not allowed. One answer for every cause.
    #[error("that is not a legal move here")]
    Illegal,
}

/// A game's rules. Stateless: states and scenes are JSON that the ruleset made itself.
pub trait Ruleset: Send + Sync + 'static {
    /// The name in `POST /v1/games {ruleset}`.
    fn name(&self) -> &'static str;

    /// The state before the first move.
    fn opening(&self) -> Opening;

    /// Checks the form of an action without any position.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with a sentence for the client.
    fn check_form(&self, action: &Map<String, Value>) -> Result<(), Refusal>;

    /// Judges `action` by `seat`. Turn is judged before legality.
    ///
    /// # Errors
    /// The [`Refusal`]; a state that does not decode is a [`Refusal::Illegal`] and is logged.
    fn play(
        &self,
        state: &Stored,
        seat: Seat,
        action: &Map<String, Value>,
    ) -> Result<Played, Refusal>;

    /// What this ruleset puts into the view of `class`: board, turn, ply, own legal moves … . With
    /// `over`, the whole truth: a finished game hides nothing.
    fn draw(&self, scene: &Stored, class: ViewClass, over: bool) -> View;

    /// Half-moves made, as of `scene`.
    fn ply(&self, scene: &Stored) -> u32 {
        self.draw(scene, ViewClass::Public, true).ply
    }

    /// The members of [`Self::draw`], as a tree.
    fn view(&self, scene: &Stored, class: ViewClass, over: bool) -> Map<String, Value> {
        self.draw(scene, class, over).members.to_map()
    }

    /// What a `moved` event's `event` object says of the move to `class`, `by` being the mover.
    fn event_members(&self, record: &Stored, by: Seat, class: ViewClass, over: bool) -> Members;
}

/// What one class sees of a scene.
#[derive(Clone, Debug)]
pub struct View {
    /// Half-moves made.
    pub ply: u32,
    /// The members of the protocol's `view` object, `ply` among them.
    pub members: Members,
}

/// The ruleset of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Ruleset> {
    const ALL: [&dyn Ruleset; 2] = [&fog_chess::FogChess, &turn_log::TurnLog];
    ALL.into_iter()
        .find(|ruleset| ruleset.name() == name)
        .or_else(|| crate::mutants::ruleset(name))
}
