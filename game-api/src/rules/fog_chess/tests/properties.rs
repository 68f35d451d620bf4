//! What holds at every ply of random games.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::FogChess;
use super::super::history::QuietRun;
use super::super::movegen::moves as generate;
use super::super::position::Position;
use super::super::stored::{LastMoves, Scene};
use super::reference::{Chart, expand};
use super::scramble::scramble;
use super::{Game, board, moves, names, position};
use crate::rules::{Ruleset, Seat, ViewClass};

const STARTS: [&str; 6] = [
    "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1",
    "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1",
    "8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1",
    "r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1",
    "4k3/pppppppp/8/8/8/8/PPPPPPPP/4K3 w - - 0 1",
    "r3k2r/8/8/8/8/8/8/R3K2R b KQkq - 0 1",
];

const SEATS: [Seat; 2] = [Seat::White, Seat::Black];

/// A start, and for each ply which move of those there are.
fn games() -> impl Strategy<Value = (usize, Vec<usize>)> {
    let choices = prop::collection::vec(any::<u16>().prop_map(usize::from), 1..120);
    (0..STARTS.len(), choices)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Plays the game and shows each position of it, the first and the last included.
fn walk(
    (start, choices): &(usize, Vec<usize>),
    mut look: impl FnMut(&Game) -> Result<(), TestCaseError>,
) -> Result<Game, TestCaseError> {
    let mut game = Game::from_fen(STARTS[*start]);
    look(&game)?;
    for choice in choices {
        let moves = game.moves();
        game.play(&moves[choice % moves.len()]);
        if game.ending.is_some() {
            break;
        }
        look(&game)?;
    }
    Ok(game)
}

/// The true board of a game, with what the rules let `seat` know besides it.
fn with_chart<T>(game: &Game, seat: Seat, ask: impl FnOnce(Chart<'_>) -> T) -> T {
    let fields: Vec<&str> = game.fen().split(' ').collect();
    let own = |right: &char| right.is_ascii_uppercase() == (seat == Seat::White);
    let rights: String = fields[2]
        .chars()
        .filter(|&right| right != '-')
        .filter(own)
        .collect();
    let usable = seat == game.turn && fields[3] != "-";
    ask(Chart {
        board: &expand(game.fen()),
        white: seat == Seat::White,
        castling: &rights.to_uppercase(),
        ep: usable.then_some(fields[3]),
    })
}

/// The members that a live view may have.
fn expected_names(view: &Map<String, Value>, game: &Game, seat: Seat) -> Vec<&'static str> {
    let mut names = vec!["board", "castling"];
    let to_move = seat == game.turn;
    let ep = game.fen().split(' ').nth(3) != Some("-");
    let optional = [
        ("ep", to_move && ep),
        ("last", view.contains_key("last")),
        ("lost", to_move && view.contains_key("lost")),
        ("moves", to_move),
    ];
    let present = optional.into_iter().filter(|(_, present)| *present);
    names.extend(present.map(|(name, _)| name));
    names.extend(["ply", "turn"]);
    names
}

proptest! {
    #![proptest_config(config())]

    /// A view shows what the rules say, and not a square or a member more.
    #[test]
    fn a_view_shows_what_the_rules_allow(game in games()) {
        walk(&game, |game| {
            let truth = expand(game.fen());
            for seat in SEATS {
                let seen = with_chart(game, seat, |chart| chart.seen());
                let view = game.view(seat.into());
                let allowed = truth.iter().zip(&seen);
                let allowed = allowed.map(|(&symbol, &seen)| if seen { symbol } else { b'?' });
                let allowed: String = allowed.map(char::from).collect();
                prop_assert_eq!(board(&view), allowed, "{:?} at {}", seat, game.fen());
                prop_assert_eq!(names(&view), expected_names(&view, game, seat));
            }
            let public = game.view(ViewClass::Public);
            prop_assert_eq!(names(&public), ["board", "ply", "turn"]);
            prop_assert_eq!(board(&public), "?".repeat(64));
            Ok(())
        })?;
    }

    /// Sending the legal moves leaks nothing: they follow from the rest of the view.
    #[test]
    fn the_moves_follow_from_the_view(game in games()) {
        walk(&game, |game| {
            let view = game.view(game.turn.into());
            let chart = Chart {
                board: board(&view).as_bytes(),
                white: view["turn"] == "white",
                castling: view["castling"].as_str().expect("rights are text"),
                ep: view.get("ep").and_then(Value::as_str),
            };
            prop_assert_eq!(moves(&view), chart.moves(), "{}", game.fen());
            Ok(())
        })?;
    }

    /// Nothing that a side does not see changes what it is sent.
    #[test]
    fn hidden_facts_do_not_change_a_view(game in games(), seed: u64) {
        let mut changed = 0;
        walk(&game, |game| {
            for seat in SEATS {
                let seen = with_chart(game, seat, |chart| chart.seen());
                let fen = scramble(game.fen(), seat, &seen, seed);
                changed += u32::from(fen != game.fen());
                let mut scene = json!(game.scene);
                scene["fen"] = json!(fen);
                scene["last"][seat.other().as_str()] = json!("a1h8");
                let view = FogChess.view(&scene.into(), seat.into(), false);
                prop_assert_eq!(view, game.view(seat.into()), "{:?}: {} or {}", seat, game.fen(), fen);
            }
            Ok(())
        })?;
        prop_assert!(changed > 0, "no hidden fact was changed");
    }

    /// The log alone reproduces what is stored.
    #[test]
    fn folding_the_log_reproduces_state_and_scene(choices in games()) {
        let mut stored = Vec::new();
        let mut log = Vec::new();
        let last = walk(&(0, choices.1), |game| {
            stored.push((game.state.clone(), game.scene.clone()));
            let own = json!(game.scene)["last"][game.turn.other().as_str()].take();
            log.extend(own.as_str().map(str::to_owned));
            Ok(())
        })?;
        let mut game = Game::new();
        for (ply, (state, scene)) in stored.iter().enumerate() {
            if ply > 0 {
                game.play(&log[ply - 1]);
            }
            prop_assert_eq!(game.state.text(), state.text());
            prop_assert_eq!(game.scene.text(), scene.text());
            prop_assert_eq!(FogChess.ply(scene) as usize, ply);
        }
        let left = last.outcome().is_some();
        prop_assert_eq!(FogChess.ply(&last.scene) as usize, stored.len() - 1 + usize::from(left));
    }

    /// Every true position survives its stored form.
    #[test]
    fn a_position_survives_its_fen(game in games()) {
        walk(&game, |game| {
            let read = position(game.fen());
            prop_assert_eq!(read.to_string(), game.fen());
            let scene = json!(Scene { position: read, last: LastMoves::default(), lost: None });
            prop_assert_eq!(&scene["fen"], game.fen());
            Ok(())
        })?;
    }

    /// Undoing the quiet run counts what a table of all past positions counts.
    #[test]
    fn repetitions_are_counted_as_by_a_table((start, choices) in games()) {
        let mut now = position(STARTS[start]);
        let mut run = QuietRun::default();
        let mut own_last = [None, None];
        let mut table = HashMap::from([(key(&now), 1)]);
        for choice in choices {
            let moves = generate(&now);
            let Some(any) = moves.get(choice % moves.len().max(1)) else { break };
            let side = now.turn as usize;
            let back = moves.iter().find(|mv| own_last[side] == Some((mv.to, mv.from)));
            let mv = *back.filter(|_| choice % 3 > 0).unwrap_or(any);
            own_last[side] = Some((mv.from, mv.to));
            let (next, _) = now.after(mv);
            run.extend(&now, mv, &next);
            now = next;
            let times = table.entry(key(&now)).or_insert(0);
            *times += 1;
            prop_assert_eq!(run.occurrences(&now), *times, "{}", now);
            let stored = json!(run);
            let read: QuietRun = serde_json::from_value(stored).expect("a run is readable");
            prop_assert_eq!(&read, &run);
        }
    }
}

/// What must be the same for a position to be the same: the first four fields of its FEN.
fn key(position: &Position) -> String {
    let fen = position.to_string();
    fen.split(' ').take(4).collect::<Vec<_>>().join(" ")
}
