//! RULES, *Moves and endings*, as far as it says when a game is over.

use super::Game;
use crate::rules::Seat;

const WHITE_WINS: Option<(Option<Seat>, &str)> = Some((Some(Seat::White), "king_captured"));
const BLACK_WINS: Option<(Option<Seat>, &str)> = Some((Some(Seat::Black), "king_captured"));
const NO_MOVE: Option<(Option<Seat>, &str)> = Some((None, "no_move"));
const FIFTY: Option<(Option<Seat>, &str)> = Some((None, "fifty_moves"));
const THREEFOLD: Option<(Option<Seat>, &str)> = Some((None, "threefold"));

#[test]
fn any_piece_wins_by_capturing_the_king() {
    for (fen, uci) in [
        ("8/8/8/3k4/4P3/8/8/K7 w - - 0 1", "e4d5"),
        ("8/8/8/3k4/8/4N3/8/K7 w - - 0 1", "e3d5"),
        ("8/8/8/3k4/8/8/8/K6B w - - 0 1", "h1d5"),
        ("8/8/8/3k4/8/8/8/K2R4 w - - 0 1", "d1d5"),
        ("8/8/8/3k4/8/8/8/K2Q4 w - - 0 1", "d1d5"),
        ("8/8/8/3k4/3K4/8/8/8 w - - 0 1", "d4d5"),
        ("3k4/4P3/8/8/8/8/8/K7 w - - 0 1", "e7d8q"),
    ] {
        let mut game = Game::from_fen(fen);
        assert_eq!(game.play(uci).outcome(), WHITE_WINS, "{uci} at {fen}");
    }
    let mut black = Game::from_fen("8/8/8/3k4/3K4/8/8/8 b - - 0 1");
    assert_eq!(black.play("d5d4").outcome(), BLACK_WINS);
}

#[test]
fn a_king_capture_comes_before_every_draw() {
    let mut last = Game::from_fen("8/8/8/8/8/8/7r/k6K w - - 99 80");
    assert_eq!(last.play("h1h2").outcome(), None);
    let mut game = Game::from_fen("8/8/8/8/8/7k/8/6K1 w - - 98 80");
    assert_eq!(game.play("g1h2 h3h2").outcome(), BLACK_WINS);
}

#[test]
fn attacking_the_king_ends_nothing() {
    let mut game = Game::new();
    game.play("f2f3 e7e5 g2g4 d8h4");
    assert_eq!(game.outcome(), None);
    game.play("a2a3 h4e1");
    assert_eq!(game.outcome(), BLACK_WINS);
}

#[test]
fn no_pseudo_legal_move_is_a_draw() {
    let mut game = Game::from_fen("7K/8/8/8/8/8/pppbp3/k1r1B3 w - - 0 1");
    assert_eq!(game.play("e1d2").outcome(), None);
    let mut given = Game::from_fen("6K1/8/8/8/8/8/ppp1p3/kbrbB3 w - - 0 1");
    given.play("g8h8");
    assert_eq!(given.fen(), "7K/8/8/8/8/8/ppp1p3/kbrbB3 b - - 1 1");
    assert_eq!(given.outcome(), NO_MOVE);
    let mut blocked = Game::from_fen("8/8/8/p7/8/P7/8/K7 w - - 0 1");
    assert_eq!(blocked.play("a3a4").outcome(), NO_MOVE);
}

#[test]
fn a_side_that_can_only_expose_its_king_must_move() {
    let mut game = Game::from_fen("7k/8/8/8/8/6q1/8/K7 b - - 0 1");
    assert_eq!(game.play("g3b3").outcome(), None);
    assert_eq!(game.moves(), ["a1a2", "a1b1", "a1b2"]);
}

#[test]
fn a_hundred_quiet_half_moves_are_a_draw() {
    let mut game = Game::from_fen("7k/8/8/8/8/8/7P/K6R w - - 98 80");
    assert_eq!(game.play("a1b1").outcome(), None);
    assert_eq!(game.play("h8g8").outcome(), FIFTY);
}

#[test]
fn pawn_moves_and_captures_start_the_fifty_moves_anew() {
    let fen = "7k/8/8/8/8/8/r6P/K6R w - - 99 80";
    assert_eq!(Game::from_fen(fen).play("h1g1").outcome(), FIFTY);
    for uci in ["h2h3", "a1a2"] {
        let mut game = Game::from_fen(fen);
        assert_eq!(game.play(uci).outcome(), None);
        assert!(game.fen().ends_with(" b - - 0 80"), "{}", game.fen());
    }
}

#[test]
fn castling_does_not_start_the_fifty_moves_anew() {
    let mut game = Game::from_fen("7k/8/8/8/8/8/8/4K2R w K - 99 80");
    assert_eq!(game.play("e1g1").outcome(), FIFTY);
}

#[test]
fn the_third_occurrence_is_a_draw() {
    let mut game = Game::new();
    game.play("g1f3 g8f6 f3g1 f6g8");
    assert_eq!(game.outcome(), None);
    game.play("g1f3 g8f6 f3g1");
    assert_eq!(game.outcome(), None);
    assert_eq!(game.play("f6g8").outcome(), THREEFOLD);
}

#[test]
fn occurrences_need_not_follow_each_other() {
    let mut game = Game::new();
    game.play("g1f3 g8f6 f3g1 f6g8 b1c3 b8c6 c3b1 c6b8");
    assert_eq!(game.outcome(), THREEFOLD);
}

#[test]
fn a_pawn_move_forgets_what_was_before() {
    let mut game = Game::new();
    game.play("g1f3 g8f6 f3g1 f6g8 e2e3 e7e6 g1f3 g8f6 f3g1 f6g8");
    assert_eq!(game.outcome(), None);
    assert_eq!(game.play("g1f3 g8f6 f3g1 f6g8").outcome(), THREEFOLD);
}

#[test]
fn another_right_to_castle_is_another_position() {
    let mut game = Game::from_fen("r3k3/8/8/8/8/8/8/4K2R w Kq - 0 1");
    game.play("h1g1 a8b8 g1h1 b8a8 h1g1 a8b8 g1h1 b8a8");
    assert_eq!(
        game.outcome(),
        None,
        "the first occurrence still had the rights"
    );
    assert_eq!(game.play("h1g1").outcome(), None, "with the right of black");
    assert_eq!(game.play("a8b8").outcome(), THREEFOLD);
}

#[test]
fn the_same_board_with_the_other_side_to_move_is_another_position() {
    // White's king loses a move on its way round; black's goes to and fro.
    let mut game = Game::from_fen("7k/8/8/8/8/8/8/K7 w - - 0 1");
    game.play("a1a2 h8g8 a2b1 g8h8 b1a1");
    assert_eq!(game.placement(), "7k/8/8/8/8/8/8/K7");
    game.play("h8g8 a1a2 g8h8 a2a1");
    assert_eq!(game.placement(), "7k/8/8/8/8/8/8/K7");
    assert_eq!(
        game.outcome(),
        None,
        "twice with black to move, once with white"
    );
    assert_eq!(game.play("h8g8 a1a2 g8h8 a2a1").outcome(), THREEFOLD);
}

#[test]
fn a_usable_en_passant_square_is_part_of_the_position() {
    let dance = "g1f3 g8f6 f3g1 f6g8";
    let fen = "rnbqkbnr/ppppp1pp/8/8/5p2/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1";
    let mut usable = Game::from_fen(fen);
    usable.play("e2e4 g8f6 g1f3 f6g8 f3g1 g8f6 g1f3 f6g8 f3g1");
    assert_eq!(
        usable.outcome(),
        None,
        "at first black could capture en passant"
    );
    assert_eq!(usable.play("g8f6").outcome(), THREEFOLD);
    let mut useless = Game::new();
    useless.play("e2e4 e7e5").play(dance).play(dance);
    assert_eq!(
        useless.outcome(),
        THREEFOLD,
        "nobody could capture en passant"
    );
}

#[test]
fn material_is_never_insufficient() {
    let mut kings = Game::from_fen("7k/8/8/8/8/8/1p6/K7 w - - 0 1");
    assert_eq!(kings.play("a1b2").outcome(), None);
    assert_eq!(kings.placement(), "7k/8/8/8/8/8/1K6/8");
    let mut met = Game::from_fen("8/8/2k5/8/2K5/8/8/8 w - - 0 1");
    assert_eq!(met.play("c4c5 c6c5").outcome(), BLACK_WINS);
}
