//! The hooks of every build that is deployed: nothing happens in them.

use serde_json::{Map, Value};
use shared::ids::{GameId, PlayerId};

use crate::games::entity::Seq;
use crate::rules::{Refusal, Ruleset, Stored, ViewClass};

/// Which class a view is drawn for.
pub(crate) const fn drawn_for(class: ViewClass) -> ViewClass {
    class
}

/// A view that was drawn.
pub(crate) const fn drawn(_view: &mut Map<String, Value>, _scene: &Stored, _class: ViewClass) {}

/// Why a move is refused.
pub(crate) fn refusal(refusal: Refusal, _state: &Stored, _action: &Map<String, Value>) -> Refusal {
    refusal
}

/// Whom an event is told to.
pub(crate) const fn audience(audience: [bool; 3]) -> [bool; 3] {
    audience
}

/// The cursor of a frame.
pub(crate) fn cursor(cursor: String, _seq: Seq) -> String {
    cursor
}

/// The cursor that a client shows.
pub(crate) const fn bare_cursor(cursor: &str) -> &str {
    cursor
}

/// Which class's frames a viewer is sent, while it replays the past or afterwards.
pub(crate) const fn replayed_for(class: ViewClass, _replaying: bool) -> ViewClass {
    class
}

/// Somebody has opened a game.
pub(crate) const fn entered(_game: GameId, _player: Option<PlayerId>) {}

/// The message of who is there of a game.
pub(crate) fn presence(text: String, _game: GameId) -> String {
    text
}

/// A ruleset that is no game's.
pub(crate) const fn ruleset(_name: &str) -> Option<&'static dyn Ruleset> {
    None
}
