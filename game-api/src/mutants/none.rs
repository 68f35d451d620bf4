//! The hooks of every build that is deployed: nothing happens in them.

use serde_json::{Map, Value};
use shared::ids::{GameId, PlayerId};

use crate::games::entity::{Game, GameStatus, Moment, Seq};
use crate::problem::Problem;
use crate::rules::{Members, Refusal, Ruleset, Stored, ViewClass};

/// Which class a view is drawn for.
pub(crate) const fn drawn_for(class: ViewClass) -> ViewClass {
    class
}

/// A view that was drawn.
pub(crate) const fn drawn(_view: &mut Members, _scene: &Stored, _class: ViewClass) {}

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
pub(crate) const fn replayed_for(class: ViewClass, _replaying: bool, _game: GameId) -> ViewClass {
    class
}

/// Somebody has opened a game.
pub(crate) const fn entered(_game: &Game, _player: Option<PlayerId>) {}

/// The message of who is there of a game.
pub(crate) fn presence(text: String, _game: GameId) -> String {
    text
}

/// A game is being described to somebody.
pub(crate) const fn described(_game: &Game) {}

/// The public games of a status.
pub(crate) const fn lobby(_status: GameStatus, games: Vec<Game>) -> Vec<Game> {
    games
}

/// A list of games, as it is described.
pub(crate) const fn listed(_games: &[Game], _described: &mut [Value]) {}

/// One of a player's own games, as it is described to them.
pub(crate) const fn own_game(_game: &Game, _described: &mut Value) {}

/// Whether a viewer may know of an open challenge.
pub(crate) const fn challenge_seen(is_theirs: bool) -> bool {
    is_theirs
}

/// The refusal of a game that a viewer may not know of.
pub(crate) fn unseen(problem: Problem, _game: &Game) -> Problem {
    problem
}

/// Games that are taken for challenges of these players.
pub(crate) const fn challenged(_players: &[PlayerId]) -> Vec<(PlayerId, GameId)> {
    Vec::new()
}

/// Games that are taken for these players' own.
pub(crate) const fn watched_by(_players: &[PlayerId]) -> Vec<(PlayerId, GameId)> {
    Vec::new()
}

/// What a frame says of its event.
pub(crate) const fn told(_event: &mut Members, _moment: &Moment) {}

/// Why a command is refused.
pub(crate) fn refused(problem: Problem, _game: &Game) -> Problem {
    problem
}

/// A change is committed.
pub(crate) const fn committed(_game: &Game) {}

/// A view of a record.
pub(crate) fn recorded(
    view: Map<String, Value>,
    _moment: &Moment,
    _class: ViewClass,
) -> Map<String, Value> {
    view
}

/// The digest of a view of a game.
pub(crate) fn digest(digest: String, _game: &Game) -> String {
    digest
}

/// The id of the trace in which an event was made.
pub(crate) fn trace_id(trace_id: String, _scene: &Stored) -> String {
    trace_id
}

/// Where a list of games goes on: behind a game that was made then.
pub(crate) const fn list_cursor(created_at_us: i64, _game: &Game) -> i64 {
    created_at_us
}

/// Whether a long poll is answered that there is nothing for.
pub(crate) const fn answers_whatever_happens() -> bool {
    false
}

/// A ruleset that is no game's.
pub(crate) const fn ruleset(_name: &str) -> Option<&'static dyn Ruleset> {
    None
}
