//! Turn log, the minimal referee: it keeps turns and order, and the clients replay.
//!
//! Nothing is hidden, and a game never ends by its moves.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Members, Opening, Played, Refusal, Ruleset, Seat, Stored, View, ViewClass};

/// Bytes of a payload as compact JSON: what is stored with the event and sent to every viewer.
const PAYLOAD_BYTES_MAX: usize = 4096;

/// The ruleset `turn-log`. Its only action is `{"type": "append", "payload": …}`, with any JSON
/// of at most 4096 bytes.
#[derive(Clone, Copy, Debug)]
pub struct TurnLog;

/// All that is needed to judge the next append.
#[derive(Serialize, Deserialize)]
struct State {
    /// Appends made so far; white makes the first.
    ply: u32,
}

/// All that is needed to draw any view.
#[derive(Serialize, Deserialize)]
struct Scene<T> {
    /// Appends made so far.
    ply: u32,
    /// What was appended last; null before the first.
    last: T,
}

/// An append in the log.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    payload: T,
}

impl Ruleset for TurnLog {
    fn name(&self) -> &'static str {
        "turn-log"
    }

    fn opening(&self) -> Opening {
        Opening {
            state: Stored::of(&State { ply: 0 }),
            scene: Stored::of(&Scene {
                ply: 0,
                last: Value::Null,
            }),
            turn: turn(0),
        }
    }

    fn check_form(&self, action: &Map<String, Value>) -> Result<(), Refusal> {
        payload_of(action).map(drop)
    }

    fn play(
        &self,
        state: &Stored,
        seat: Seat,
        action: &Map<String, Value>,
    ) -> Result<Played, Refusal> {
        let payload = payload_of(action)?;
        let State { ply } = state.decode().map_err(|error| {
            tracing::error!(
                error = %error,
                "a stored state of a turn log does not decode; its game refuses every append"
            );
            Refusal::Illegal
        })?;
        if turn(ply) != seat {
            return Err(Refusal::NotYourTurn);
        }
        let ply = ply.checked_add(1).ok_or(Refusal::Illegal)?;
        Ok(Played {
            state: Stored::of(&State { ply }),
            scene: Stored::of(&Scene { ply, last: payload }),
            record: Stored::of(&Record { payload }),
            turn: turn(ply),
            ending: None,
            audience: [true; 3],
        })
    }

    /// Members: `turn` (null once over), `ply`, `last` (the payload appended last, or null).
    fn draw(&self, scene: &Stored, _class: ViewClass, over: bool) -> View {
        let decoded = decode_scene(scene);
        let (ply, last) = decoded.map_or((0, None), |Scene { ply, last }| (ply, Some(last)));
        let mut members = Members::with_capacity(last.map_or(0, |last| last.get().len()) + 32);
        members.put("turn", &(!over).then(|| turn(ply)));
        members.put("ply", &ply);
        members.put("last", &last);
        View { ply, members }
    }

    fn event_members(&self, record: &Stored, _by: Seat, _class: ViewClass, _over: bool) -> Members {
        let record: Option<Record<&RawValue>> = record.decode().ok();
        let mut members = Members::default();
        members.put("payload", &record.map(|record| record.payload));
        members
    }
}

/// Whose turn it is after `ply` appends.
fn turn(ply: u32) -> Seat {
    if ply.is_multiple_of(2) {
        Seat::White
    } else {
        Seat::Black
    }
}

/// The payload of an action, if the action has the right form.
fn payload_of(action: &Map<String, Value>) -> Result<&Value, Refusal> {
    let malformed = |sentence: String| Err(Refusal::Malformed(sentence));
    if action.get("type").and_then(Value::as_str) != Some("append") {
        return malformed("the action's type must be \"append\"".to_owned());
    }
    if action
        .keys()
        .any(|name| name != "type" && name != "payload")
    {
        return malformed("an append has no members but \"type\" and \"payload\"".to_owned());
    }
    match action.get("payload") {
        None => malformed("an append needs a \"payload\"".to_owned()),
        Some(payload) if payload.to_string().len() > PAYLOAD_BYTES_MAX => malformed(format!(
            "the payload may have {PAYLOAD_BYTES_MAX} bytes as compact JSON"
        )),
        Some(payload) => Ok(payload),
    }
}

/// The payload stays the text that it is.
fn decode_scene(scene: &Stored) -> Option<Scene<&RawValue>> {
    scene
        .decode()
        .inspect_err(|error| {
            tracing::error!(
                error = %error,
                "a stored scene of a turn log does not decode; its view is drawn blank"
            );
        })
        .ok()
}
