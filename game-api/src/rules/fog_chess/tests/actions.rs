//! The form of actions, refusals, the log's records and the stored form.

use serde_json::{Value, json};

use super::super::FogChess;
use super::super::fen::FenError;
use super::super::position::Position;
use super::{Game, action, object};
use crate::rules::{Refusal, Ruleset, Seat, ViewClass, by_name};

#[test]
fn it_is_found_by_its_name() {
    assert_eq!(by_name("fog-chess").map(Ruleset::name), Some("fog-chess"));
}

#[test]
fn a_move_has_exactly_its_form() {
    for uci in [
        "e2e4", "a1h8", "e7e8q", "h2h1n", "a7b8r", "c7c8b", "e2e2", "e2e4q",
    ] {
        assert_eq!(FogChess.check_form(&action(uci)), Ok(()), "{uci}");
    }
}

#[test]
fn anything_else_is_malformed_whatever_the_position() {
    let texts = [
        "", "e2", "e2e", "e2e44", "e2e4k", "e2e4p", "e2e4Q", "E2E4", "i2e4", "e9e4", "e0e4", "O-O",
        " e2e4", "e2e4 ", "e2-e4", "e7e8qq", "é2e4", "e2é",
    ];
    let other = [
        json!({}),
        json!({ "type": "move" }),
        json!({ "uci": "e2e4" }),
        json!({ "type": "append", "uci": "e2e4" }),
        json!({ "type": 1, "uci": "e2e4" }),
        json!({ "type": "move", "uci": null }),
        json!({ "type": "move", "uci": ["e2e4"] }),
        json!({ "type": "move", "uci": "e2e4", "at": 3 }),
    ];
    let actions = texts
        .map(action)
        .into_iter()
        .chain(other.map(|value| object(&value)));
    let game = Game::new();
    for action in actions {
        let refused = FogChess.check_form(&action);
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{action:?}");
        for seat in [Seat::White, Seat::Black] {
            let played = FogChess.play(&game.state, seat, &action);
            assert_eq!(played.map(|_| ()), refused, "{action:?}");
        }
    }
}

#[test]
fn turn_is_judged_before_legality() {
    let game = Game::new();
    for uci in ["e7e5", "e2e4", "a1a8"] {
        let refused = FogChess.play(&game.state, Seat::Black, &action(uci));
        assert_eq!(refused.err(), Some(Refusal::NotYourTurn), "{uci}");
    }
}

#[test]
fn an_illegal_move_gets_the_same_answer_whatever_made_it_illegal() {
    let front = "4k3/8/8/8/8/4n3/4P3/K7 w - - 0 1";
    let between = "4k3/8/8/8/4n3/8/4P3/K7 w - - 0 1";
    let nothing = "4k3/8/8/8/8/8/4P3/K7 w - - 0 1";
    for (fen, uci) in [
        (front, "e2e3"),
        (front, "e2e4"),
        (between, "e2e4"),
        (nothing, "e2d3"),
        (nothing, "e8e7"),
        (nothing, "h4h5"),
        (nothing, "e2e3q"),
    ] {
        let refused = Game::from_fen(fen).attempt(uci);
        assert_eq!(refused.err(), Some(Refusal::Illegal), "{uci} at {fen}");
    }
}

#[test]
fn a_state_that_does_not_decode_is_refused() {
    let game = Game::new();
    let mut broken = vec![json!(null), json!({}), json!([])];
    for (member, value) in [
        ("fen", json!("8/8/8/8/8/8/8/8 w")),
        ("quiet", json!("g1f3g")),
        ("last", json!(7)),
    ] {
        let mut state = json!(game.state);
        state[member] = value;
        broken.push(state);
    }
    for state in broken {
        let refused = FogChess.play(&state.clone().into(), Seat::White, &action("e2e4"));
        assert_eq!(refused.err(), Some(Refusal::Illegal), "{state}");
    }
}

#[test]
fn a_move_is_told_to_its_mover_alone_while_the_game_lives() {
    let record = json!({ "uci": "e2e4" });
    let told = |class, over| {
        let members = FogChess.event_members(&record.clone().into(), Seat::White, class, over);
        Value::Object(members.to_map())
    };
    assert_eq!(told(ViewClass::White, false), record);
    assert_eq!(told(ViewClass::Black, false), json!({}));
    assert_eq!(told(ViewClass::Public, false), json!({}));
    for class in ViewClass::ALL {
        assert_eq!(told(class, true), record);
    }
}

#[test]
fn the_stored_form_is_compact() {
    let mut game = Game::new();
    game.play("g1f3 g8f6");
    let fen = "rnbqkb1r/pppppppp/5n2/8/8/5N2/PPPPPPPP/RNBQKB1R w KQkq - 2 2";
    let last = json!({ "white": "g1f3", "black": "g8f6" });
    assert_eq!(
        json!(game.state),
        json!({ "fen": fen, "quiet": "g1f3g8f6", "last": last })
    );
    assert_eq!(json!(game.scene), json!({ "fen": fen, "last": last }));
    game.play("e2e4 f6e4");
    assert_eq!(json!(game.state)["quiet"], "");
    assert_eq!(json!(game.scene)["lost"], "e4");
}

#[test]
fn plies_are_counted_from_the_start() {
    let mut game = Game::new();
    assert_eq!(FogChess.ply(&game.scene), 0);
    for (ply, uci) in (1..).zip(["e2e4", "e7e5", "g1f3", "b8c6"]) {
        game.play(uci);
        assert_eq!(FogChess.ply(&game.scene), ply);
        assert_eq!(game.view(ViewClass::Public)["ply"], ply);
    }
    assert_eq!(
        FogChess.ply(&Game::from_fen("8/8/8/8/8/8/8/8 b - - 0 1").scene),
        1
    );
}

#[test]
fn a_fen_comes_back_as_it_was() {
    for fen in [
        "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1",
        "4k3/8/8/3pP3/8/8/8/4K3 w - d6 0 2",
        "4k3/8/8/8/1pP5/8/8/4K3 b - c3 0 2",
        "r3k2r/8/8/8/8/8/8/R3K2R b Qk - 31 77",
        "8/8/8/8/8/8/8/8 b - - 0 1",
    ] {
        assert_eq!(super::position(fen).to_string(), fen);
    }
}

#[test]
fn an_en_passant_square_that_no_pawn_can_use_is_dropped() {
    let position = super::position("4k3/8/8/3p4/8/8/8/4K3 w - d6 0 2");
    assert_eq!(position.to_string(), "4k3/8/8/3p4/8/8/8/4K3 w - - 0 2");
}

#[test]
fn a_text_that_is_no_fen_is_refused_by_its_field() {
    let kings = "4k3/8/8/8/8/8/8/4K3";
    for (fen, error) in [
        (String::new(), FenError::Fields),
        (format!("{kings} w - - 0"), FenError::Fields),
        (format!("{kings} w - - 0 1 "), FenError::Fields),
        (format!("{kings}/8 w - - 0 1"), FenError::Placement),
        (format!("{kings}1 w - - 0 1"), FenError::Placement),
        ("4k3/8/8/8/8/8/8/4K2 w - - 0 1".into(), FenError::Placement),
        ("4k3/9/8/8/8/8/8/4K3 w - - 0 1".into(), FenError::Placement),
        ("4k3/0/8/8/8/8/8/4K3 w - - 0 1".into(), FenError::Placement),
        ("4k3/8/8/8/8/8/8/4K2x w - - 0 1".into(), FenError::Placement),
        ("4k2P/8/8/8/8/8/8/4K3 w - - 0 1".into(), FenError::Placement),
        ("4k3/8/8/8/8/8/8/3KK3 w - - 0 1".into(), FenError::Placement),
        (format!("{kings} W - - 0 1"), FenError::Turn),
        (format!("{kings} w K - 0 1"), FenError::Castling),
        (format!("{kings} w x - 0 1"), FenError::Castling),
        ("4k3/8/8/8/8/8/8/3K3R w K - 0 1".into(), FenError::Castling),
        (format!("{kings} w - d6 0 1"), FenError::EnPassant),
        (format!("{kings} w - z 0 1"), FenError::EnPassant),
        (
            "4k3/8/8/3pP3/8/8/8/4K3 b - d6 0 1".into(),
            FenError::EnPassant,
        ),
        (
            "4k3/8/3n4/3pP3/8/8/8/4K3 w - d6 0 1".into(),
            FenError::EnPassant,
        ),
        (format!("{kings} w - - x 1"), FenError::Counter),
        (format!("{kings} w - - 0 0"), FenError::Counter),
        (format!("{kings} w - - 0 4294967295"), FenError::Counter),
    ] {
        assert_eq!(Position::from_fen(&fen), Err(error), "{fen}");
    }
}
