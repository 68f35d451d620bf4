//! Fog-of-war chess: standard chess in which each side sees only where it could move.
//!
//! The rules are those of RULES.md; the parts name its lines. `position` and `moves` know what
//! stands where, `movegen` what may move, `vision` who sees what, `history` and `ending` when it is
//! over, `fen` and `stored` the form that is stored, `view` the form that is sent.

mod ending;
mod fen;
mod history;
mod movegen;
mod moves;
mod position;
mod stored;
#[cfg(test)]
mod tests;
mod view;
mod vision;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::history::QuietRun;
use self::moves::{Move, Uci};
use self::position::Position;
use self::stored::{LastMoves, Place, Scene, State};
use super::{Members, Opening, Played, Refusal, Ruleset, Seat, Stored, View, ViewClass};

/// The ruleset `fog-chess`.
///
/// Its only action is `{"type": "move", "uci": "e2e4"}`; castling is the king's two steps, and a
/// promotion names its piece in lower case (`e7e8q`).
#[derive(Clone, Copy, Debug)]
pub struct FogChess;

impl Ruleset for FogChess {
    fn name(&self) -> &'static str {
        "fog-chess"
    }

    fn opening(&self) -> Opening {
        let state = State {
            position: Position::start(),
            run: QuietRun::default(),
            last: LastMoves::default(),
        };
        let scene = Scene {
            position: state.position.clone(),
            last: state.last,
            lost: None,
        };
        Opening {
            state: Stored::of(&state),
            scene: Stored::of(&scene),
            turn: Seat::White,
        }
    }

    fn check_form(&self, action: &Map<String, Value>) -> Result<(), Refusal> {
        uci_of(action).map(drop)
    }

    fn play(
        &self,
        state: &Stored,
        seat: Seat,
        action: &Map<String, Value>,
    ) -> Result<Played, Refusal> {
        let uci = uci_of(action)?;
        let state: State = state.decode().map_err(|error| {
            tracing::error!(
                error = %error,
                "a stored state of fog chess does not decode; its game refuses every move"
            );
            Refusal::Illegal
        })?;
        if ending::seat(state.position.turn) != seat {
            return Err(Refusal::NotYourTurn);
        }
        let mut moves = movegen::moves(&state.position).into_iter();
        let legal = moves.find(|&mv| Uci::from(mv) == uci);
        legal
            .map(|mv| advance(state, seat, mv))
            .ok_or(Refusal::Illegal)
    }

    /// Members: `board` (64 characters, a8 to h1: piece letters, `.` seen and empty, `?` fog),
    /// `turn` (null once over), `ply`; for a seat also `last` and `lost` where there is one and,
    /// while the game lives, `castling` (own rights, `KQ` in capitals for either seat, `""` for
    /// none); for the seat to move also `moves` (UCI, sorted) and, where usable, `ep`.
    fn draw(&self, scene: &Stored, class: ViewClass, over: bool) -> View {
        decode_scene(scene).map_or_else(view::blank, |scene| view::draw(&scene, class, over))
    }

    /// The move itself (`uci`) is for its mover, and for everyone once the game is over.
    fn event_members(&self, record: &Stored, by: Seat, class: ViewClass, over: bool) -> Members {
        let mut members = Members::default();
        let shown = over || class.seat() == Some(by);
        if let Some(Record { uci }) = shown.then(|| record.decode().ok()).flatten() {
            members.put("uci", &uci);
        }
        members
    }
}

/// A move in the log.
#[derive(Serialize, Deserialize)]
struct Record {
    uci: Uci,
}

/// Plays a legal move.
fn advance(state: State, seat: Seat, mv: Move) -> Played {
    let State {
        position: before,
        mut run,
        mut last,
    } = state;
    let (position, taken) = before.after(mv);
    run.extend(&before, mv, &position);
    last.set(seat, mv.into());
    let ending = ending::judge(&position, taken, &run);
    let scene = Scene {
        position: position.clone(),
        last,
        lost: taken.map(|taken| Place(taken.square)),
    };
    let state = State {
        position,
        run,
        last,
    };
    Played {
        state: Stored::of(&state),
        scene: Stored::of(&scene),
        record: Stored::of(&Record { uci: mv.into() }),
        turn: seat.other(),
        ending,
        audience: [true; 3],
    }
}

/// The move that an action names, if the action has the right form.
fn uci_of(action: &Map<String, Value>) -> Result<Uci, Refusal> {
    let malformed = |sentence: &str| Err(Refusal::Malformed(sentence.to_owned()));
    if action.get("type").and_then(Value::as_str) != Some("move") {
        return malformed("the action's type must be \"move\"");
    }
    if action.keys().any(|name| name != "type" && name != "uci") {
        return malformed("a move has no members but \"type\" and \"uci\"");
    }
    let uci = action.get("uci").and_then(Value::as_str);
    match uci.and_then(Uci::parse) {
        Some(uci) => Ok(uci),
        None => malformed("\"uci\" must be a move such as \"e2e4\" or \"e7e8q\""),
    }
}

fn decode_scene(scene: &Stored) -> Option<Scene> {
    scene
        .decode()
        .inspect_err(|error| {
            tracing::error!(
                error = %error,
                "a stored scene of fog chess does not decode; its view is drawn blank"
            );
        })
        .ok()
}
