//! RULES, *Moves and endings*, as far as it says how pieces move.

use super::Game;
use crate::rules::{Refusal, ViewClass};

fn assert_legal(fen: &str, moves: &[&str]) {
    let legal = Game::from_fen(fen).moves();
    for &uci in moves {
        assert!(
            legal.iter().any(|mv| mv == uci),
            "{uci} at {fen}: {legal:?}"
        );
    }
}

fn assert_illegal(fen: &str, moves: &[&str]) {
    let game = Game::from_fen(fen);
    for &uci in moves {
        assert_eq!(
            game.attempt(uci).err(),
            Some(Refusal::Illegal),
            "{uci} at {fen}"
        );
    }
}

#[test]
fn a_king_may_stay_in_check_and_move_into_it() {
    assert_legal("4k3/8/8/8/8/8/4r2P/4K3 w - - 0 1", &["h2h3", "e1e2"]);
    assert_legal("3rk3/8/8/8/8/8/8/4K3 w - - 0 1", &["e1d1", "e1d2"]);
    assert_legal("8/8/8/8/8/4k3/8/4K3 w - - 0 1", &["e1e2", "e1d2"]);
}

#[test]
fn a_pinned_piece_may_move() {
    assert_legal("4r1k1/8/8/8/8/8/4N3/4K3 w - - 0 1", &["e2c3"]);
}

#[test]
fn castling_out_of_through_and_into_attack() {
    assert_legal("4r1k1/8/8/8/8/8/8/R3K2R w KQ - 0 1", &["e1g1", "e1c1"]);
    assert_legal("3r1rk1/8/8/8/8/8/8/R3K2R w KQ - 0 1", &["e1g1", "e1c1"]);
    assert_legal("2r3r1/1k6/8/8/8/8/8/R3K2R w KQ - 0 1", &["e1g1", "e1c1"]);
    assert_legal("r3k2r/8/8/8/8/8/8/2RQ1RK1 b kq - 0 1", &["e8g8", "e8c8"]);
}

#[test]
fn castling_moves_both_pieces() {
    let fen = "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1";
    let mut short = Game::from_fen(fen);
    short.play("e1g1 e8c8");
    assert_eq!(short.fen(), "2kr3r/8/8/8/8/8/8/R4RK1 w - - 2 2");
    let mut long = Game::from_fen(fen);
    long.play("e1c1 e8g8");
    assert_eq!(long.fen(), "r4rk1/8/8/8/8/8/8/2KR3R w - - 2 2");
}

#[test]
fn castling_needs_every_square_between_to_be_empty() {
    for fen in [
        "4k3/8/8/8/8/8/8/RN2KB1R w KQ - 0 1",
        "4k3/8/8/8/8/8/8/R1b1K1nR w KQ - 0 1",
        "4k3/8/8/8/8/8/8/R2QKb1R w KQ - 0 1",
        "4k3/8/8/8/8/8/8/Rn2K1NR w KQ - 0 1",
    ] {
        assert_illegal(fen, &["e1g1", "e1c1"]);
    }
}

#[test]
fn castling_needs_the_right() {
    assert_illegal("4k3/8/8/8/8/8/8/R3K2R w - - 0 1", &["e1g1", "e1c1"]);
    assert_illegal("4k3/8/8/8/8/8/8/R3K2R w K - 0 1", &["e1c1"]);
    assert_illegal("4k3/8/8/8/8/8/8/R3K2R w Q - 0 1", &["e1g1"]);
}

#[test]
fn moving_king_or_rook_loses_the_right_for_good() {
    let fen = "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1";
    let mut rook = Game::from_fen(fen);
    rook.play("h1h2 a8b8 h2h1 b8a8");
    assert_eq!(rook.view(ViewClass::White)["castling"], "Q");
    assert_eq!(rook.view(ViewClass::Black)["castling"], "K");
    assert_eq!(rook.attempt("e1g1").err(), Some(Refusal::Illegal));
    let mut king = Game::from_fen(fen);
    king.play("e1e2 e8d8 e2e1 d8e8");
    assert_eq!(king.view(ViewClass::White)["castling"], "");
    assert_eq!(king.view(ViewClass::Black)["castling"], "");
}

#[test]
fn losing_the_rook_at_home_loses_the_right() {
    let mut game = Game::from_fen("r3k2r/8/8/8/8/8/6n1/R3K2R b KQkq - 0 1");
    game.play("h8h1 a1a2 h1h8 a2a1");
    assert_eq!(game.view(ViewClass::White)["castling"], "");
    assert_eq!(game.view(ViewClass::Black)["castling"], "Q");
    let mut back = Game::from_fen("4k3/8/8/8/8/5n2/R7/4K2R b K - 0 1");
    back.play("f3g1 a2a1 g1h3 a1b1 h3f2 b1a1 f2h1 e1e2 h1g3 a1h1 g3f5 e2e1 f5g7");
    assert_eq!(back.placement(), "4k3/6n1/8/8/8/8/8/4K2R");
    assert_eq!(back.view(ViewClass::White)["castling"], "");
}

#[test]
fn en_passant_takes_the_passing_pawn() {
    let mut white = Game::from_fen("4k3/3p4/8/4P3/8/8/8/4K3 b - - 0 1");
    white.play("d7d5 e5d6");
    assert_eq!(white.fen(), "4k3/8/3P4/8/8/8/8/4K3 b - - 0 2");
    let mut black = Game::from_fen("4k3/8/8/8/1p6/8/P7/4K3 w - - 0 1");
    black.play("a2a4 b4a3");
    assert_eq!(black.fen(), "4k3/8/8/8/8/p7/8/4K3 w - - 0 2");
}

#[test]
fn en_passant_may_expose_the_king() {
    assert_legal("8/8/8/K2pP2r/8/8/8/4k3 w - d6 0 2", &["e5d6"]);
    assert_legal("4r1k1/8/8/3pP3/8/8/8/4K3 w - d6 0 2", &["e5d6"]);
}

#[test]
fn en_passant_is_for_the_next_move_alone() {
    let mut game = Game::from_fen("4k3/3p4/8/4P3/8/8/8/4K3 b - - 0 1");
    game.play("d7d5 e1e2 e8e7");
    assert_eq!(game.attempt("e5d6").err(), Some(Refusal::Illegal));
    assert_illegal("4k3/8/3p4/4P3/8/8/8/4K3 b - - 0 1", &["e5d6"]);
    assert_illegal("4k3/8/8/3pP3/8/8/8/4K3 w - - 0 1", &["e5d6"]);
}

#[test]
fn only_a_pawn_captures_en_passant() {
    let mut game = Game::from_fen("4k3/3p4/8/2B1P3/8/8/8/4K3 b - - 0 1");
    game.play("d7d5 c5d6");
    assert_eq!(game.placement(), "4k3/8/3B4/3pP3/8/8/8/4K3");
}

#[test]
fn a_pawn_promotes_to_four_kinds_and_to_nothing_else() {
    let fen = "8/P6k/8/8/8/8/8/K7 w - - 0 1";
    assert_legal(fen, &["a7a8q", "a7a8r", "a7a8b", "a7a8n"]);
    assert_illegal(fen, &["a7a8", "a1a2q"]);
    let mut game = Game::from_fen("8/7k/8/8/8/8/p7/7K b - - 0 1");
    game.play("a2a1n");
    assert_eq!(game.placement(), "8/7k/8/8/8/8/8/n6K");
}

#[test]
fn pawns_push_onto_empty_squares_and_capture_aslant() {
    let fen = "4k3/8/8/8/1n1n4/2P5/P1n1P3/4K3 w - - 0 1";
    assert_legal(
        fen,
        &["a2a3", "a2a4", "e2e3", "e2e4", "c3b4", "c3d4", "c3c4"],
    );
    assert_illegal(fen, &["c3c5", "a2b3", "e2d3", "e2f3"]);
    assert_illegal("4k3/8/8/8/4n3/8/4P3/4K3 w - - 0 1", &["e2e4"]);
    assert_illegal("4k3/8/8/8/8/4n3/4P3/4K3 w - - 0 1", &["e2e3", "e2e4"]);
}

#[test]
fn own_pieces_are_not_captured() {
    assert_illegal(
        "4k3/8/8/8/8/8/4P3/R3K3 w Q - 0 1",
        &["e1e2", "a1e1", "a1f1"],
    );
    assert_illegal("4k3/8/8/8/8/8/4P3/R3K3 b Q - 0 1", &["a1a2"]);
}
