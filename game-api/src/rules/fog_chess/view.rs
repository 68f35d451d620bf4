//! What a scene looks like to each view class (RULES, *What P sees* and *Never sent to P*).

use cozy_chess::{BitBoard, Color, File, Rank, Square};
use serde_json::{Map, Value, json};

use super::ending::{color, seat};
use super::fen::RIGHTS;
use super::movegen::moves;
use super::position::{Position, letter};
use super::stored::Scene;
use super::vision::seen;
use crate::rules::{Seat, ViewClass};

/// A square in fog: not the same as seen and empty.
const FOG: char = '?';

/// A square that is seen to be empty.
const EMPTY: char = '.';

/// The view of a scene that does not decode: nothing at all, since fog must not depend on the
/// stored data being sound.
pub(super) fn blank() -> Map<String, Value> {
    let board = String::from(FOG).repeat(Square::NUM);
    members([
        ("board", json!(board)),
        ("turn", Value::Null),
        ("ply", json!(0)),
    ])
}

/// The view of `scene` for `class`. A live game: one side's, or the entirely fogged one of those
/// without a seat. An ended one hides nothing, and nobody is to move.
pub(super) fn draw(scene: &Scene, class: ViewClass, over: bool) -> Map<String, Value> {
    let position = &scene.position;
    let turn = (!over).then(|| seat(position.turn));
    let visible = match class.seat() {
        _ if over => BitBoard::FULL,
        Some(viewer) => seen(position, color(viewer)),
        None => BitBoard::EMPTY,
    };
    let board = board(position, visible);
    let mut view = members([
        ("board", json!(board)),
        ("turn", json!(turn)),
        ("ply", json!(position.ply)),
    ]);
    if let Some(viewer) = class.seat() {
        view.extend(own_past(scene, viewer));
        if turn.is_some() {
            view.extend(members([(
                "castling",
                json!(castling(position, color(viewer))),
            )]));
        }
        if turn == Some(viewer) {
            view.extend(choices(position));
        }
    }
    view
}

/// What the viewer knows of the last plies: its own last move, and the square on which the last
/// ply captured a piece of its own.
fn own_past(scene: &Scene, viewer: Seat) -> Map<String, Value> {
    let own_loss = seat(scene.position.turn) == viewer;
    let past = [
        ("last", scene.last.of(viewer)),
        ("lost", scene.lost.as_deref().filter(|_| own_loss)),
    ];
    members(
        past.into_iter()
            .filter_map(|(name, text)| Some((name, json!(text?)))),
    )
}

/// What the side to move can choose from. It follows from the rest of its view, so it leaks
/// nothing.
fn choices(position: &Position) -> Map<String, Value> {
    let mut list: Vec<String> = moves(position).iter().map(ToString::to_string).collect();
    list.sort_unstable();
    let mut choices = members([("moves", json!(list))]);
    if let Some(square) = position.ep {
        choices.extend(members([("ep", json!(square.to_string()))]));
    }
    choices
}

/// The viewer's own castling rights: `KQ`, `K`, `Q` or nothing, in capitals for either side.
fn castling(position: &Position, viewer: Color) -> String {
    let home = Rank::First.relative_to(viewer);
    let own = RIGHTS.iter().filter(|(_, rook)| rook.rank() == home);
    let intact = own.filter(|(_, rook)| position.castling.has(*rook));
    intact
        .map(|(letter, _)| letter.to_ascii_uppercase())
        .collect()
}

/// The 64 squares from a8 to h1, in fog unless they are `visible`.
fn board(position: &Position, visible: BitBoard) -> String {
    let ranks = Rank::ALL.into_iter().rev();
    let squares = ranks.flat_map(|rank| File::ALL.map(|file| Square::new(file, rank)));
    let symbol = |square| match position.on(square) {
        _ if !visible.has(square) => FOG,
        Some((color, piece)) => letter(color, piece),
        None => EMPTY,
    };
    squares.map(symbol).collect()
}

fn members(members: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    let named = members.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
