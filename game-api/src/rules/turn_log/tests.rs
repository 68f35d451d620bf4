use serde_json::{Map, Value, json};

use super::{PAYLOAD_BYTES_MAX, TurnLog};
use crate::rules::{Refusal, Ruleset, Seat, ViewClass, by_name};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn append(payload: &Value) -> Map<String, Value> {
    object(&json!({ "type": "append", "payload": payload }))
}

#[test]
fn it_is_found_by_its_name() {
    assert_eq!(by_name("turn-log").map(Ruleset::name), Some("turn-log"));
}

#[test]
fn turns_alternate_and_everyone_sees_the_last_payload() {
    let opening = TurnLog.opening();
    assert_eq!(opening.turn, Seat::White);
    let (mut state, mut scene, mut turn) = (opening.state, opening.scene, opening.turn);
    let mut last = Value::Null;
    let payloads = [json!({ "x": [1, 2] }), json!("a"), Value::Null, json!(7)];
    for (ply, payload) in (0..).zip(payloads) {
        for class in ViewClass::ALL {
            let view = Value::Object(TurnLog.view(&scene, class, false));
            assert_eq!(view, json!({ "turn": turn, "ply": ply, "last": last }));
        }
        assert_eq!(TurnLog.ply(&scene), ply);
        let refused = TurnLog.play(&state, turn.other(), &append(&payload));
        assert_eq!(refused.err(), Some(Refusal::NotYourTurn));
        let played = TurnLog
            .play(&state, turn, &append(&payload))
            .expect("its turn");
        assert_eq!(played.turn, turn.other());
        assert_eq!(played.ending, None);
        assert_eq!(played.audience, [true; 3]);
        assert_eq!(json!(played.record), json!({ "payload": payload }));
        (state, scene, turn, last) = (played.state, played.scene, played.turn, payload);
    }
}

#[test]
fn nobody_is_to_move_when_it_is_over() {
    let scene = TurnLog.opening().scene;
    let view = TurnLog.view(&scene, ViewClass::Public, true);
    assert_eq!(
        Value::Object(view),
        json!({ "turn": null, "ply": 0, "last": null })
    );
}

#[test]
fn the_payload_is_told_to_all() {
    let record = json!({ "payload": { "x": 1 } });
    for class in ViewClass::ALL {
        for over in [false, true] {
            let told = TurnLog.event_members(&record.clone().into(), Seat::White, class, over);
            assert_eq!(Value::Object(told.to_map()), record);
        }
    }
}

#[test]
fn an_append_has_exactly_its_form() {
    for payload in [json!(null), json!(0), json!(""), json!({}), json!([[]])] {
        assert_eq!(TurnLog.check_form(&append(&payload)), Ok(()));
    }
    let state = TurnLog.opening().state;
    for action in [
        json!({}),
        json!({ "type": "append" }),
        json!({ "payload": 1 }),
        json!({ "type": "move", "payload": 1 }),
        json!({ "type": ["append"], "payload": 1 }),
        json!({ "type": "append", "payload": 1, "uci": "e2e4" }),
    ] {
        let action = object(&action);
        let refused = TurnLog.check_form(&action);
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{action:?}");
        let played = TurnLog.play(&state, Seat::Black, &action);
        assert_eq!(played.map(|_| ()), refused, "form is judged before turn");
    }
}

#[test]
fn a_payload_is_bounded_in_bytes() {
    // Two bytes are the quotation marks; each "é" has two.
    let longest = "é".repeat((PAYLOAD_BYTES_MAX - 2) / 2);
    assert_eq!(TurnLog.check_form(&append(&json!(longest))), Ok(()));
    let refused = TurnLog.check_form(&append(&json!(longest + "x")));
    assert!(matches!(refused, Err(Refusal::Malformed(_))));
}

#[test]
fn what_does_not_decode_is_refused_or_drawn_blank() {
    for broken in [json!(null), json!({}), json!({ "ply": -1, "last": 0 })] {
        let refused = TurnLog.play(&broken.clone().into(), Seat::White, &append(&json!(1)));
        assert_eq!(refused.err(), Some(Refusal::Illegal));
        let view = TurnLog.view(&broken.clone().into(), ViewClass::White, false);
        assert_eq!(view["last"], Value::Null);
        assert_eq!(TurnLog.ply(&broken.into()), 0);
    }
}
