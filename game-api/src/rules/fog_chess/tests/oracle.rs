//! Agreement with another program: `OpenSpiel`'s `dark_chess`, on every ply of random games, of
//! both views and the list of moves. How the games are made, and where that program is known to
//! differ: `tests/oracle/make_fixture.py`.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::FogChess;
use super::{Game, board, moves};
use crate::rules::{Ruleset, Seat};

const DIGESTS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/oracle/digests.txt"
));
const SAMPLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/oracle/sample.txt"
));
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/make_fixture.py");

/// Games of the live check.
const LIVE_GAMES: usize = 2_000;

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    games: usize,
    plies: usize,
    /// How the games ended, `cut` being left unfinished.
    endings: BTreeMap<&'static str, usize>,
    /// Plies where the view of the side not to move was asked without the en passant square.
    asked_again: usize,
}

impl Tally {
    /// Checks that a game ended as the other program says, and counts it.
    fn count(&mut self, game: &Game, result: &str) {
        let (reason, expected) = match game.outcome() {
            Some((Some(winner), reason)) => (reason, winner.as_str()),
            Some((None, reason)) => (reason, "draw"),
            None => ("cut", "cut"),
        };
        assert_eq!(expected, result, "{reason} at {}", game.fen());
        *self.endings.entry(reason).or_default() += 1;
        self.games += 1;
    }
}

/// A ply in the other program's form.
struct Ply {
    text: String,
    /// The moves of the side to move.
    moves: Vec<String>,
}

impl Ply {
    /// The ply of the game as it stands; the last one of a game lists no moves.
    fn of(game: &Game, last: bool) -> Self {
        let view = |seat: Seat| FogChess.view(&game.scene, seat.into(), false);
        let views = [view(Seat::White), view(Seat::Black)];
        let [white, black] = views.each_ref().map(|view| {
            let member = |name| view.get(name).and_then(Value::as_str);
            let text = |name| member(name).filter(|text| !text.is_empty()).unwrap_or("-");
            format!("{} {} {}", board(view), text("castling"), text("ep"))
        });
        let moves = match game.turn {
            _ if last => Vec::new(),
            Seat::White => moves(&views[0]),
            Seat::Black => moves(&views[1]),
        };
        let text = format!("{}|{white}|{black}|{}", game.fen(), moves.join(" "));
        Self { text, moves }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Plays one game of the digests: five digits a ply, two of the move and three of the text.
fn check_digest(start: &str, digest: &str, marks: &[u8], number: usize) -> Game {
    let mut game = Game::from_fen(start);
    let mut whole = Sha256::new();
    for (at, mark) in marks.chunks(5).enumerate() {
        let (index, expected) = mark.split_at(2);
        let last = index == b"--";
        let ply = Ply::of(&game, last);
        let found = hex(&Sha256::digest(&ply.text));
        assert_eq!(
            &found.as_bytes()[..3],
            expected,
            "ply {at} of game {number} differs; `make_fixture.py text --seed 1 --only {number}` \
             has what should be there. Here: {}",
            ply.text
        );
        whole.update(ply.text + "\n");
        if !last {
            let index = str::from_utf8(index).expect("an index is text");
            let index = usize::from_str_radix(index, 16).expect("an index is hexadecimal");
            game.play(&ply.moves[index]);
        }
    }
    let found = hex(&whole.finalize());
    assert_eq!(&found[..16], digest, "game {number} differs in some ply");
    game
}

/// Plays the games of a text, line by line, and compares every ply of them.
fn check_text(lines: impl Iterator<Item = String>) -> Tally {
    let mut tally = Tally::default();
    let mut game = Game::new();
    for line in lines {
        let (kind, rest) = line.split_once(' ').expect("a kind and its text");
        match kind {
            "seed" => println!("seed {rest}"),
            "game" => {
                let (_, start) = rest.split_once(' ').expect("number and start");
                game = Game::from_fen(start);
            }
            "ply" => {
                let (expected, chosen) = rest.rsplit_once('|').expect("text and move");
                let last = chosen == "-";
                let number = tally.games;
                assert_eq!(
                    Ply::of(&game, last).text,
                    expected,
                    "game {number}, ours first"
                );
                tally.plies += 1;
                if !last {
                    game.play(chosen);
                }
            }
            "end" => tally.count(&game, rest),
            "asked_again" => tally.asked_again = rest.parse().expect("a number"),
            _ => panic!("an unknown line: {line}"),
        }
    }
    tally
}

#[test]
fn it_agrees_with_the_recorded_games() {
    let mut starts = Vec::new();
    let mut tally = Tally::default();
    for line in DIGESTS.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match *fields.as_slice() {
            ["seed", "1"] => {}
            ["start", _, ..] => starts.push(fields[2..].join(" ")),
            ["game", start, result, digest, marks] => {
                let start: usize = start.parse().expect("the number of a start");
                let marks = marks.as_bytes();
                let game = check_digest(&starts[start], digest, marks, tally.games);
                tally.plies += marks.len() / 5;
                tally.count(&game, result);
            }
            ["asked_again", count] => tally.asked_again = count.parse().expect("a number"),
            _ => panic!("an unknown line: {line}"),
        }
    }
    println!("{tally:?}");
    assert_eq!(tally.games, 2_000);
    let met: Vec<&str> = tally.endings.into_keys().collect();
    let all = [
        "cut",
        "fifty_moves",
        "king_captured",
        "no_move",
        "threefold",
    ];
    assert_eq!(met, all, "every ending is among the games");
}

#[test]
fn it_agrees_with_the_games_in_full_text() {
    let tally = check_text(SAMPLE.lines().map(str::to_owned));
    println!("{tally:?}");
    assert_eq!(tally.games, 5);
}

/// Needs Python with `open_spiel`: `FOGLINE_ORACLE_PYTHON` names the interpreter. Each run plays
/// other games; `FOGLINE_ORACLE_SEED` repeats those of a seed, which is printed.
#[test]
fn it_agrees_with_games_played_now() {
    let variable = |name: &str| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test may be told by its environment where the other program is"
        )]
        env::var(name).ok()
    };
    let Some(python) = variable("FOGLINE_ORACLE_PYTHON") else {
        println!("skipped: FOGLINE_ORACLE_PYTHON names no Python interpreter with open_spiel");
        return;
    };
    let seed = variable("FOGLINE_ORACLE_SEED").unwrap_or_else(|| "random".to_owned());
    let games = LIVE_GAMES.to_string();
    let mut player = Command::new(&python)
        .args([SCRIPT, "text", "--games", &games, "--seed", &seed])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
    let output = player.stdout.take().expect("its output is piped");
    let lines = BufReader::new(output).lines();
    let tally = check_text(lines.map(|line| line.expect("its output is text")));
    let status = player.wait().expect("it can be waited for");
    assert!(status.success(), "the other program failed: {status}");
    println!("{tally:?}");
    assert_eq!(tally.games, LIVE_GAMES);
}
