//! The checker is worth what it catches: each kind of broken history, made from a good one.

use serde_json::{Value, json};
use uuid::Uuid;

use super::board::Position;
use super::{LogRow, Story, StreamEvent, check_game};
use crate::client::Recording;
use crate::client::protocol::{Frame, Side, ViewClass};

/// White takes the king on the ninth half-move.
const MOVES: [&str; 9] = [
    "e2e4", "e7e5", "f1c4", "b8c6", "d1h5", "g8f6", "h5f7", "a7a6", "f7e8",
];
const CLASSES: [ViewClass; 3] = [
    ViewClass::Seat(Side::White),
    ViewClass::Seat(Side::Black),
    ViewClass::Public,
];

/// A game from every side; frames as JSON, so that a test can break them as a server might.
struct Told {
    log: Vec<LogRow>,
    stream: Vec<StreamEvent>,
    frames: [Vec<Value>; 3],
}

impl Told {
    fn truly() -> Self {
        let mut told = Self {
            log: vec![],
            stream: vec![],
            frames: [vec![], vec![], vec![]],
        };
        let mut position = Position::default();
        told.tell("created", Some(Side::White), None, &position, 0);
        told.tell("joined", Some(Side::Black), None, &position, 0);
        for (ply, uci) in MOVES.iter().enumerate() {
            let by = position.turn();
            position.play(uci).expect("a good move");
            told.tell("moved", Some(by), Some(uci), &position, ply + 1);
        }
        told
    }

    fn tell(
        &mut self,
        kind: &str,
        by: Option<Side>,
        uci: Option<&str>,
        position: &Position,
        ply: usize,
    ) {
        let seq = self.log.len() + 1;
        let event_id = Uuid::from_u128(seq as u128);
        let by_name = by.map(|side| {
            if side == Side::White {
                "white"
            } else {
                "black"
            }
        });
        let number = i64::try_from(seq).expect("small");
        self.log.push(LogRow {
            seq: number,
            event_id,
            command_id: Uuid::from_u128(1000 + seq as u128),
            kind: kind.to_owned(),
            by: by_name.map(str::to_owned),
            uci: uci.map(str::to_owned),
            numbers: [number; 3],
        });
        self.stream.push(StreamEvent {
            ce_id: event_id.to_string(),
            stream_seq: seq as u64,
            seq: number,
            kind: kind.to_owned(),
            traceparent: None,
        });
        let over = ply == MOVES.len();
        for (nth, class) in CLASSES.into_iter().enumerate() {
            let to_move = class == ViewClass::Seat(position.turn()) && !over && kind != "created";
            let mut event = json!({ "kind": kind, "by": by_name, "ply": ply, "at_ms": 1 });
            if uci.is_some() && (over || class == ViewClass::Seat(by.expect("a mover"))) {
                event["uci"] = json!(uci);
            }
            let board = match class {
                _ if over => position.board(),
                ViewClass::Seat(side) => position.seen_by(side),
                ViewClass::Public => "?".repeat(64),
            };
            let turn = if position.turn() == Side::White {
                "white"
            } else {
                "black"
            };
            let mut view = json!({
                "board": board, "turn": if over { Value::Null } else { json!(turn) }, "ply": ply, "clock": null,
                "draw_offer": null, "result": null,
            });
            if to_move {
                view["moves"] = json!(position.moves());
            }
            if let ViewClass::Seat(side) = class {
                let known = [
                    ("castling", (!over).then(|| position.castling(side))),
                    ("last", position.last_of(side).map(str::to_owned)),
                    ("lost", position.lost_by(side)),
                ];
                for (name, value) in known {
                    view[name] = json!(value);
                }
            }
            if over {
                view["result"] = json!({ "winner": "white", "reason": "king_captured" });
            }
            self.frames[nth].push(json!({
                "type": "event", "topic": "t", "n": seq, "cursor": "c", "event": event, "view": view,
            }));
        }
    }

    fn faults(&self) -> Vec<String> {
        let recordings = [0, 1, 2].map(|nth| {
            let mut recording = Recording::from_the_start(CLASSES[nth]);
            for frame in &self.frames[nth] {
                let frame: Frame = serde_json::from_value(frame.clone()).expect("a frame");
                recording.take(frame).expect("in order");
            }
            recording
        });
        let recordings: Vec<&Recording> = recordings.iter().collect();
        check_game(&Story {
            game: Uuid::nil(),
            log: &self.log,
            stream: &self.stream,
            recordings: &recordings,
        })
    }
}

/// Breaks a good history and expects a fault that says so.
fn broken(what: &str, breaks: impl FnOnce(&mut Told)) {
    let mut told = Told::truly();
    breaks(&mut told);
    let faults = told.faults();
    assert!(
        faults.iter().any(|fault| fault.contains(what)),
        "expected {what:?} among {faults:#?}"
    );
}

#[test]
fn a_good_history_has_no_fault() {
    assert_eq!(Told::truly().faults(), Vec::<String>::new());
}

#[test]
fn a_stream_that_lost_doubled_or_reordered_is_caught() {
    broken("the stream has", |told| drop(told.stream.remove(4)));
    broken("the stream has", |told| {
        told.stream.insert(4, told.stream[4].clone());
    });
    broken("the stream has", |told| told.stream.swap(4, 5));
    broken("other events", |told| {
        told.stream[4].ce_id = Uuid::nil().to_string();
    });
}

#[test]
fn a_log_with_a_hole_or_a_command_used_twice_is_caught() {
    broken("where 5 belongs", |told| drop(told.log.remove(4)));
    broken("made two events", |told| {
        told.log[5].command_id = told.log[4].command_id;
    });
    broken("goes from frame", |told| told.log[5].numbers[2] += 1);
}

#[test]
fn frames_that_were_never_sent_or_tell_another_move_are_caught() {
    broken("was sent 10 frames", |told| drop(told.frames[2].pop()));
    broken("the log's seq 5", |told| {
        told.frames[0][4]["event"]["by"] = json!("black");
    });
    broken("shows Seat(White) the move", |told| {
        told.frames[0][4]["event"]["uci"] = json!("f1b5");
    });
}

#[test]
fn each_leak_is_caught() {
    let true_board = |told: &Told| told.frames[0][10]["view"]["board"].clone();
    broken("the board is", |told| {
        told.frames[2][5]["view"]["board"] = true_board(told);
    });
    broken("the board is", |told| {
        told.frames[0][5]["view"]["board"] = told.frames[1][5]["view"]["board"].clone();
    });
    broken("the move", |told| {
        told.frames[1][4]["event"]["uci"] = json!("f1c4");
    });
    broken("the move", |told| {
        told.frames[2][4]["event"]["uci"] = json!("f1c4");
    });
    let show = |nth: usize, frame: usize, member: &str, value: Value| {
        broken(&format!("{member} is"), |told| {
            told.frames[nth][frame]["view"][member] = value;
        });
    };
    show(1, 3, "moves", json!(["a7a6"]));
    show(0, 3, "moves", json!(["f1c4"]));
    show(2, 3, "ep", json!("e3"));
    show(2, 5, "last", json!("f1c4"));
    show(0, 8, "lost", json!("f7"));
    show(0, 5, "castling", json!("KQkq"));
    broken("the board is", |told| {
        told.frames[2][10]["view"]["board"] = json!("?".repeat(64));
    });
}
