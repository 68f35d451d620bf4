//! The record of a finished game: nothing is hidden any more, and what each side saw is kept.

use serde_json::{Map, Value, json};
use shared::ids::PlayerId;

use super::Games;
use crate::database::{Failures, bounded};
use crate::games::entity::{Game, Logged, Seq};
use crate::games::repo;
use crate::mutants;
use crate::problem::{Problem, Reason};
use crate::rules::ViewClass;

/// Events in one record. The fifty-move rule and threefold repetition end every game well before;
/// what is left are draw offers without end.
const RECORD_EVENTS_MAX: i64 = 10_000;

impl Games {
    /// `{game, complete, events}`: each event with the full position and all three views.
    ///
    /// # Errors
    /// `live_game` while the game is being played, `unavailable`.
    pub async fn record(&self, game: &Game, viewer: Option<PlayerId>) -> Result<Value, Problem> {
        if !game.status.is_over() {
            return Err(Reason::LiveGame.into());
        }
        let events = bounded(repo::events_after(
            &self.0.pool,
            game.id,
            Seq(0),
            RECORD_EVENTS_MAX,
        ))
        .await
        .map_err(|error| Failures::read(&error))?;
        let complete = events
            .last()
            .is_some_and(|last| last.moment.seq == game.seq);
        let events: Vec<Value> = events.iter().map(entry).collect();
        Ok(json!({
            "game": self.describe(game, viewer).await?,
            "complete": complete,
            "events": events,
        }))
    }
}

fn entry(logged: &Logged) -> Value {
    let moment = &logged.moment;
    let views: Map<String, Value> = ViewClass::ALL
        .into_iter()
        .map(|class| {
            let view = moment.view(class).members.to_map();
            let view = mutants::recorded(view, moment, class);
            (class.as_str().to_owned(), Value::Object(view))
        })
        .collect();
    json!({
        "seq": moment.seq,
        "event_id": logged.event_id,
        "kind": logged.kind,
        "by": logged.by,
        "ply": moment.ruleset.ply(&moment.scene),
        "at_ms": moment.at_ms,
        "move": logged.record,
        "position": moment.ruleset.view(&moment.scene, ViewClass::Public, true),
        "views": views,
    })
}
