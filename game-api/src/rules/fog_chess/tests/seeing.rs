//! RULES, *What P sees* and *Never sent to P*, line by line.

use serde_json::{Value, json};

use super::super::FogChess;
use super::{Game, board, names};
use crate::rules::ViewClass::{self, Black, Public, White};
use crate::rules::{Ruleset, Stored};

#[test]
fn the_start() {
    let game = Game::new();
    let white = game.board(White);
    assert_eq!(
        white,
        "????????/????????/????????/????????/......../......../PPPPPPPP/RNBQKBNR"
    );
    let black = game.board(Black);
    assert_eq!(
        black,
        "rnbqkbnr/pppppppp/......../......../????????/????????/????????/????????"
    );
}

#[test]
fn fog_is_not_the_same_as_seen_and_empty() {
    let game = Game::from_fen("7k/8/8/8/8/8/8/R6K w - - 0 1");
    assert_eq!(
        game.board(White),
        ".???????/.???????/.???????/.???????/.???????/.???????/.?????../R......K"
    );
}

#[test]
fn a_piece_in_front_of_a_pawn_stays_hidden() {
    let blocked = Game::from_fen("7k/8/8/8/8/4n3/4P3/K7 w - - 0 1");
    assert_eq!(
        blocked.board(White),
        "????????/????????/????????/????????/????????/????????/..??P???/K.??????"
    );
}

#[test]
fn the_double_step_counts() {
    let free = Game::from_fen("7k/8/8/8/8/8/4P3/8 w - - 0 1");
    let see = "????????/????????/????????/????????/????.???/????.???/????P???/????????";
    assert_eq!(free.board(White), see);
    let half = Game::from_fen("7k/8/8/8/4n3/8/4P3/8 w - - 0 1");
    let see = "????????/????????/????????/????????/????????/????.???/????P???/????????";
    assert_eq!(half.board(White), see);
    let gone = Game::from_fen("7k/8/8/8/8/4P3/8/8 w - - 0 1");
    let see = "????????/????????/????????/????????/????.???/????P???/????????/????????";
    assert_eq!(gone.board(White), see);
}

#[test]
fn pawn_diagonals_are_seen_only_if_something_can_be_captured() {
    let game = Game::from_fen("7k/8/8/3n4/4P3/8/8/8 w - - 0 1");
    assert_eq!(
        game.board(White),
        "????????/????????/????????/???n.???/????P???/????????/????????/????????"
    );
}

#[test]
fn both_sides_see_on_either_turn() {
    for turn in ["w", "b"] {
        let fen = format!("6k1/8/8/8/3n4/8/8/K2R4 {turn} - - 0 1");
        let game = Game::from_fen(&fen);
        let white = "????????/????????/????????/????????/???n????/???.????/..?.????/K..R....";
        assert_eq!(game.board(White), white, "{fen}");
        let black = "?????.k./?????.../??.?.???/?.???.??/???n????/?.???.??/??.?.???/????????";
        assert_eq!(game.board(Black), black, "{fen}");
    }
}

#[test]
fn en_passant_shows_target_and_victim_until_the_move_ends() {
    let mut game = Game::from_fen("8/3p4/8/4P3/8/8/8/K6k b - - 0 1");
    game.play("d7d5");
    let see = "????????/????????/???..???/???pP???/????????/????????/..??????/K.??????";
    assert_eq!(game.board(White), see);
    assert_eq!(game.view(White)["ep"], "d6");
    game.play("a1a2");
    let see = "????????/????????/????.???/????P???/????????/..??????/P.??????/..??????";
    assert_eq!(
        game.board(White),
        see.replace('P', "K").replacen('K', "P", 1)
    );
    assert_eq!(game.view(White).get("ep"), None);
}

#[test]
fn en_passant_never_shows_in_the_other_sides_view() {
    let mut game = Game::from_fen("k7/2pp4/8/4P3/8/8/8/K6B b - - 0 1");
    game.play("d7d5");
    let see = "k.??????/..p?????/??.?????/??.p????/???.????/????????/????????/????????";
    assert_eq!(game.board(Black), see, "neither e5 nor the passed d6");
    assert_eq!(game.view(Black).get("ep"), None);
}

#[test]
fn an_en_passant_that_nobody_can_make_shows_nothing() {
    let mut game = Game::from_fen("8/3p4/8/5P2/8/8/8/K6k b - - 0 1");
    game.play("d7d5");
    let see = "????????/????????/?????.??/?????P??/????????/????????/..??????/K.??????";
    assert_eq!(game.board(White), see);
    assert_eq!(game.view(White).get("ep"), None);
}

#[test]
fn a_captured_piece_vanishes_and_its_capturer_stays_hidden() {
    let mut game = Game::from_fen("3r3k/8/8/8/3N4/8/8/K7 b - - 0 1");
    game.play("d8d4");
    let alone = "????????/????????/????????/????????/????????/????????/..??????/K.??????";
    assert_eq!(game.board(White), alone);
    assert_eq!(game.view(White)["lost"], "d4");
}

#[test]
fn a_capturer_is_seen_by_another_piece() {
    let mut game = Game::from_fen("3r3k/8/8/8/3N4/8/8/K5B1 b - - 0 1");
    game.play("d8d4");
    let guarded = "????????/????????/????????/????????/???r????/????.???/..???.?./K.????B?";
    assert_eq!(game.board(White), guarded);
}

#[test]
fn lost_is_for_the_loser_and_for_the_last_ply_alone() {
    let mut game = Game::new();
    game.play("e2e4 d7d5 e4d5");
    assert_eq!(game.view(Black)["lost"], "d5");
    assert_eq!(game.view(White).get("lost"), None);
    game.play("g8f6");
    assert_eq!(game.view(Black).get("lost"), None);
    game.play("c2c4 e7e5 d5e6");
    assert_eq!(
        game.view(Black)["lost"],
        "e5",
        "en passant: where the pawn stood"
    );
}

#[test]
fn last_is_ones_own_move() {
    let mut game = Game::new();
    assert_eq!(game.view(White).get("last"), None);
    game.play("e2e4");
    assert_eq!(game.view(White)["last"], "e2e4");
    assert_eq!(game.view(Black).get("last"), None);
    game.play("e7e5");
    assert_eq!(game.view(White)["last"], "e2e4");
    assert_eq!(game.view(Black)["last"], "e7e5");
}

#[test]
fn those_without_a_seat_see_an_entirely_fogged_board() {
    let mut game = Game::new();
    for uci in ["e2e4", "d7d5", "e4d5", "d8d5", "b1c3"] {
        game.play(uci);
        let view = game.view(Public);
        assert_eq!(names(&view), ["board", "ply", "turn"]);
        assert_eq!(board(&view), "?".repeat(64));
        assert_eq!(view["turn"], json!(game.turn));
    }
    assert_eq!(game.view(Public)["ply"], 5);
}

#[test]
fn when_it_is_over_everyone_sees_everything() {
    let mut game = Game::new();
    game.play("f2f3 e7e5 g2g4 d8h4 a2a3 h4e1");
    let truth = "rnb.kbnr/pppp.ppp/......../....p.../......P./P....P../.PPPP..P/RNBQqBNR";
    for (class, members) in [
        (White, vec!["board", "last", "lost", "ply", "turn"]),
        (Black, vec!["board", "last", "ply", "turn"]),
        (Public, vec!["board", "ply", "turn"]),
    ] {
        let view = game.view(class);
        assert_eq!(game.board(class), truth);
        assert_eq!(view["turn"], Value::Null);
        assert_eq!(view["ply"], 6);
        assert_eq!(names(&view), members);
    }
    assert_eq!(game.view(White)["lost"], "e1");
}

#[test]
fn a_view_has_no_other_members() {
    let mut game = Game::from_fen("4k3/3p4/8/4P3/8/8/8/4K3 b - - 7 9");
    assert_eq!(
        names(&game.view(Black)),
        ["board", "castling", "moves", "ply", "turn"]
    );
    assert_eq!(
        names(&game.view(White)),
        ["board", "castling", "ply", "turn"]
    );
    game.play("d7d5");
    let mover = ["board", "castling", "ep", "moves", "ply", "turn"];
    assert_eq!(names(&game.view(White)), mover);
    assert_eq!(
        names(&game.view(Black)),
        ["board", "castling", "last", "ply", "turn"]
    );
    assert_eq!(game.view(White)["turn"], "white");
    assert_eq!(game.view(White)["ply"], 18);
}

#[test]
fn rights_to_castle_are_ones_own() {
    let game = Game::from_fen("r3k2r/8/8/8/8/8/8/R3K2R w Kq - 0 1");
    assert_eq!(game.view(White)["castling"], "K");
    assert_eq!(game.view(Black)["castling"], "Q");
    let other = Game::from_fen("r3k2r/8/8/8/8/8/8/R3K2R w KQ - 0 1");
    assert_eq!(other.view(White)["castling"], "KQ");
    assert_eq!(other.view(Black)["castling"], "");
}

#[test]
fn moves_are_sorted_and_for_the_side_to_move_alone() {
    let game = Game::from_fen("7k/P7/8/8/8/8/8/K7 w - - 0 1");
    let moves = ["a1a2", "a1b1", "a1b2", "a7a8b", "a7a8n", "a7a8q", "a7a8r"];
    assert_eq!(game.moves(), moves);
    assert_eq!(game.view(Black).get("moves"), None);
}

#[test]
fn a_check_is_told_to_nobody() {
    let safe = Game::from_fen("7k/8/8/8/8/8/4r3/K7 w - - 0 1");
    let check = Game::from_fen("7k/8/8/8/r7/8/8/K7 w - - 0 1");
    let unseen = Game::from_fen("7k/8/8/8/8/4b3/8/K7 w - - 0 1");
    assert_eq!(check.view(White), safe.view(White));
    assert_eq!(check.view(White), unseen.view(White));
}

#[test]
fn a_scene_that_does_not_decode_shows_nothing() {
    for scene in [
        json!(null),
        json!({ "fen": "8/8 w - - 0 1", "last": {} }),
        json!({}),
    ] {
        let scene = Stored::from(scene);
        for class in ViewClass::ALL {
            let view = FogChess.view(&scene, class, true);
            assert_eq!(board(&view), "?".repeat(64));
            assert_eq!(names(&view), ["board", "ply", "turn"]);
        }
        assert_eq!(FogChess.ply(&scene), 0);
    }
}
