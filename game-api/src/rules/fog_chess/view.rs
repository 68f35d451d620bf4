//! What a scene looks like to each view class (RULES, *What P sees* and *Never sent to P*).

use cozy_chess::{BitBoard, Color, File, Rank, Square};

use super::ending::{color, seat};
use super::movegen::moves;
use super::moves::{Uci, UciText};
use super::position::{Position, letter};
use super::stored::{Place, Scene};
use super::vision::seen;
use crate::rules::{Members, Seat, View, ViewClass};

/// A square in fog: not the same as seen and empty.
const FOG: char = '?';

/// A square that is seen to be empty.
const EMPTY: char = '.';

/// The bytes of the usual view.
const VIEW_BYTES_USUAL: usize = 512;

/// The view of a scene that does not decode: nothing at all, since fog must not depend on the
/// stored data being sound.
pub(super) fn blank() -> View {
    let board = String::from(FOG).repeat(Square::NUM);
    let mut members = Members::default();
    members.put("board", &board);
    members.put("turn", &None::<Seat>);
    members.put("ply", &0);
    View { ply: 0, members }
}

/// The view of `scene` for `class`. A live game: one side's, or the entirely fogged one of those
/// without a seat. An ended one hides nothing, and nobody is to move.
pub(super) fn draw(scene: &Scene, class: ViewClass, over: bool) -> View {
    let position = &scene.position;
    let turn = (!over).then(|| seat(position.turn));
    let visible = match class.seat() {
        _ if over => BitBoard::FULL,
        Some(viewer) => seen(position, color(viewer)),
        None => BitBoard::EMPTY,
    };
    let mut members = Members::with_capacity(VIEW_BYTES_USUAL);
    members.put_text("board", |out| write_board(out, position, visible));
    members.put("turn", &turn);
    members.put("ply", &position.ply);
    if let Some(viewer) = class.seat() {
        put_own_past(&mut members, scene, viewer);
        if turn.is_some() {
            members.put("castling", &castling(position, color(viewer)));
        }
        if turn == Some(viewer) {
            put_choices(&mut members, position);
        }
    }
    View {
        ply: position.ply,
        members,
    }
}

/// What the viewer knows of the last plies: its own last move, and the square on which the last
/// ply captured a piece of its own.
fn put_own_past(view: &mut Members, scene: &Scene, viewer: Seat) {
    if let Some(last) = scene.last.of(viewer) {
        view.put("last", &last);
    }
    let own_loss = seat(scene.position.turn) == viewer;
    if let Some(lost) = scene.lost.filter(|_| own_loss) {
        view.put("lost", &lost);
    }
}

/// What the side to move can choose from. It follows from the rest of its view, so it leaks
/// nothing.
fn put_choices(view: &mut Members, position: &Position) {
    let moves = moves(position);
    let mut texts: Vec<UciText> = moves.iter().map(|&mv| Uci::from(mv).text()).collect();
    texts.sort_unstable();
    view.put_text("moves", |out| {
        out.push(b'[');
        for (nth, text) in texts.iter().enumerate() {
            // Letters and digits alone: nothing to escape.
            out.extend_from_slice(if nth == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(text.as_str().as_bytes());
            out.push(b'"');
        }
        out.push(b']');
    });
    if let Some(square) = position.ep {
        view.put("ep", &Place(square));
    }
}

/// The viewer's own castling rights: `KQ`, `K`, `Q` or nothing, in capitals for either side.
fn castling(position: &Position, viewer: Color) -> &'static str {
    let home = Rank::First.relative_to(viewer);
    let intact = |file| position.castling.has(Square::new(file, home));
    match (intact(File::H), intact(File::A)) {
        (true, true) => "KQ",
        (true, false) => "K",
        (false, true) => "Q",
        (false, false) => "",
    }
}

/// The 64 squares from a8 to h1, in fog unless they are `visible`.
fn write_board(out: &mut Vec<u8>, position: &Position, visible: BitBoard) {
    let symbol = |square| match position.on(square) {
        _ if !visible.has(square) => FOG,
        Some((color, piece)) => letter(color, piece),
        None => EMPTY,
    };
    let ranks = Rank::ALL.into_iter().rev();
    let squares = ranks.flat_map(|rank| File::ALL.map(|file| Square::new(file, rank)));
    out.push(b'"');
    // Letters of pieces, a dot and a question mark: all of them ASCII, and nothing to escape.
    out.extend(squares.map(|square| symbol(square) as u8));
    out.push(b'"');
}
