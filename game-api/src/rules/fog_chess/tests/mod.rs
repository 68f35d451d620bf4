//! Tests of the rules, line by line, against a naive second implementation, and against
//! published numbers and another program.

mod actions;
mod endings;
mod moving;
mod oracle;
mod perft;
mod properties;
mod reference;
mod scramble;
mod seeing;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::FogChess;
use super::ending;
use super::history::QuietRun;
use super::position::Position;
use super::stored::{LastMoves, Scene, State};
use crate::rules::{Ending, Played, Refusal, Ruleset, Seat, Stored, ViewClass};

/// A game under test, driven through the trait alone.
struct Game {
    state: Stored,
    scene: Stored,
    turn: Seat,
    ending: Option<Ending>,
}

impl Game {
    fn new() -> Self {
        let opening = FogChess.opening();
        Self {
            state: opening.state,
            scene: opening.scene,
            turn: opening.turn,
            ending: None,
        }
    }

    fn from_fen(fen: &str) -> Self {
        let position = position(fen);
        let turn = ending::seat(position.turn);
        let last = LastMoves::default();
        let scene = Scene {
            position: position.clone(),
            last,
            lost: None,
        };
        let state = State {
            position,
            run: QuietRun::default(),
            last,
        };
        Self {
            state: Stored::of(&state),
            scene: Stored::of(&scene),
            turn,
            ending: None,
        }
    }

    fn attempt(&self, uci: &str) -> Result<Played, Refusal> {
        FogChess.play(&self.state, self.turn, &action(uci))
    }

    /// Plays moves, separated by spaces. None but the last may end the game.
    fn play(&mut self, moves: &str) -> &mut Self {
        for uci in moves.split(' ') {
            assert_eq!(self.ending, None, "the game is over before {uci}");
            let played = self
                .attempt(uci)
                .unwrap_or_else(|refusal| panic!("{uci} at {}: {refusal}", self.fen()));
            assert_eq!(played.audience, [true; 3]);
            assert_eq!(json!(played.record), json!({ "uci": uci }));
            assert_eq!(played.turn, self.turn.other());
            self.state = played.state;
            self.scene = played.scene;
            self.turn = played.turn;
            self.ending = played.ending;
        }
        self
    }

    fn fen(&self) -> &str {
        #[derive(Deserialize)]
        struct Fen<'a> {
            fen: &'a str,
        }
        let Fen { fen } = self.scene.decode().expect("a scene has a FEN");
        fen
    }

    /// The first field of the FEN.
    fn placement(&self) -> &str {
        self.fen().split(' ').next().expect("a FEN has fields")
    }

    fn view(&self, class: ViewClass) -> Map<String, Value> {
        FogChess.view(&self.scene, class, self.ending.is_some())
    }

    /// The view's board, ranks separated by slashes as in a FEN.
    fn board(&self, class: ViewClass) -> String {
        ranks(board(&self.view(class)))
    }

    fn moves(&self) -> Vec<String> {
        moves(&self.view(self.turn.into()))
    }

    /// Winner and reason.
    fn outcome(&self) -> Option<(Option<Seat>, &'static str)> {
        self.ending.map(|ending| (ending.winner, ending.reason))
    }
}

fn position(fen: &str) -> Position {
    Position::from_fen(fen).unwrap_or_else(|error| panic!("{fen}: {error}"))
}

fn action(uci: &str) -> Map<String, Value> {
    object(&json!({ "type": "move", "uci": uci }))
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn board(view: &Map<String, Value>) -> &str {
    view["board"].as_str().expect("a view has a board")
}

fn ranks(board: &str) -> String {
    let symbols: Vec<char> = board.chars().collect();
    let ranks = symbols
        .chunks(8)
        .map(|rank| rank.iter().collect::<String>());
    ranks.collect::<Vec<_>>().join("/")
}

fn moves(view: &Map<String, Value>) -> Vec<String> {
    let list = view["moves"].as_array().expect("a list of moves");
    let text = |uci: &Value| uci.as_str().expect("a move is text").to_owned();
    list.iter().map(text).collect()
}

fn names(view: &Map<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = view.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
