//! A ruleset with private events, for the gate alone: turns as in `turn-log`, and notes that
//! nobody but their writer is told of. Every event of chess is public, so only here can a number
//! tell of one that is not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::rules::{Members, Opening, Played, Refusal, Ruleset, Seat, Stored, View, ViewClass};

/// The ruleset `private-notes`: `{"type": "append", "payload": …}` is a turn, and
/// `{"type": "note", "payload": …}` is written beside it, in one's own turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrivateNotes;

/// State and scene in one.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Notebook {
    /// Turns made.
    ply: u32,
    /// What was appended last.
    last: Value,
    /// White's last note, and Black's.
    notes: [Value; 2],
}

impl Notebook {
    fn turn(&self) -> Seat {
        if self.ply.is_multiple_of(2) {
            Seat::White
        } else {
            Seat::Black
        }
    }

    fn played(&self, record: &Value, audience: [bool; 3]) -> Played {
        Played {
            state: Stored::of(self),
            scene: Stored::of(self),
            record: Stored::of(record),
            turn: self.turn(),
            ending: None,
            audience,
        }
    }
}

/// A notebook that does not decode is an empty one: no game but the gate's has any.
fn notebook(stored: &Stored) -> Notebook {
    stored.decode().unwrap_or_default()
}

impl Ruleset for PrivateNotes {
    fn name(&self) -> &'static str {
        "private-notes"
    }

    fn opening(&self) -> Opening {
        let empty = Notebook::default();
        Opening {
            state: Stored::of(&empty),
            scene: Stored::of(&empty),
            turn: empty.turn(),
        }
    }

    fn check_form(&self, action: &Map<String, Value>) -> Result<(), Refusal> {
        match action.get("type").and_then(Value::as_str) {
            Some("append" | "note") => Ok(()),
            _ => Err(Refusal::Malformed("append or note".to_owned())),
        }
    }

    fn play(
        &self,
        state: &Stored,
        seat: Seat,
        action: &Map<String, Value>,
    ) -> Result<Played, Refusal> {
        self.check_form(action)?;
        let mut notebook = notebook(state);
        if notebook.turn() != seat {
            return Err(Refusal::NotYourTurn);
        }
        let payload = action.get("payload").cloned().unwrap_or_default();
        if action.get("type").and_then(Value::as_str) == Some("note") {
            let own = ViewClass::from(seat);
            notebook.notes[own.index()].clone_from(&payload);
            let audience = ViewClass::ALL.map(|class| class == own);
            return Ok(notebook.played(&json!({ "note": payload }), audience));
        }
        notebook.last.clone_from(&payload);
        notebook.ply += 1;
        Ok(notebook.played(&json!({ "payload": payload }), [true; 3]))
    }

    fn draw(&self, scene: &Stored, class: ViewClass, over: bool) -> View {
        let notebook = notebook(scene);
        let turn = (!over).then(|| notebook.turn());
        let mut members = Members::default();
        members.put("turn", &turn);
        members.put("ply", &notebook.ply);
        members.put("last", &notebook.last);
        if class.seat().is_some() {
            members.put("note", &notebook.notes[class.index()]);
        }
        View {
            ply: notebook.ply,
            members,
        }
    }

    fn event_members(&self, record: &Stored, by: Seat, class: ViewClass, over: bool) -> Members {
        let own = over || class.seat() == Some(by);
        let mut all: Map<String, Value> = record.decode().unwrap_or_default();
        all.retain(|name, _| own || name != "note");
        all.into()
    }
}
