//! Leaf counts of the move tree (RULES, *Perft*), in which a king capture has no successor.

use cozy_chess::Piece;

use super::super::movegen::moves;
use super::super::position::Position;
use super::position;

fn perft(position: &Position, depth: u32) -> u64 {
    let king = position.pieces_of(position.turn, Piece::King);
    if king.is_empty() {
        return 0;
    }
    let moves = moves(position);
    if depth == 1 {
        return moves.len() as u64;
    }
    let children = moves.into_iter().map(|mv| position.after(mv).0);
    children.map(|child| perft(&child, depth - 1)).sum()
}

fn assert_perft(fen: &str, counts: &[u64]) {
    let position = position(fen);
    for (depth, &count) in (1..).zip(counts) {
        assert_eq!(perft(&position, depth), count, "{fen} at depth {depth}");
    }
}

#[test]
fn start() {
    let fen = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1";
    assert_eq!(Position::start(), position(fen));
    assert_perft(fen, &[20, 400, 8902, 197_742, 4_897_256]);
}

#[test]
fn castling_and_pins() {
    let fen = "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1";
    assert_perft(fen, &[48, 2049, 98_903, 4_206_146]);
}

#[test]
fn en_passant_in_an_endgame() {
    let fen = "8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1";
    assert_perft(fen, &[16, 278, 4840, 88_813, 1_603_830]);
}

#[test]
fn promotions() {
    let fen = "r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1";
    assert_perft(fen, &[38, 1845, 71_811, 3_500_218]);
}

#[test]
fn a_pawn_about_to_capture_and_promote() {
    let fen = "rnbq1k1r/pp1Pbppp/2p5/8/2B5/8/PPP1NnPP/RNBQK2R w KQ - 1 8";
    assert_perft(fen, &[44, 1552, 71_104, 2_590_828]);
}
