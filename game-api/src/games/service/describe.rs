//! The protocol's `game` object.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use shared::ids::PlayerId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Games;
use crate::database::{Failures, bounded};
use crate::games::entity::{Game, GameStatus};
use crate::games::repo;
use crate::mutants;
use crate::problem::Problem;

impl Games {
    /// The `game` object of one game, with its `code` for the seats alone, and whom it challenges for
    /// these two alone.
    ///
    /// # Errors
    /// `unavailable` if the names cannot be read.
    pub async fn describe(&self, game: &Game, viewer: Option<PlayerId>) -> Result<Value, Problem> {
        let mut described = self
            .describe_all(std::slice::from_ref(game), viewer)
            .await?;
        Ok(described.pop().unwrap_or_default())
    }

    /// The `game` objects of many games, with one query for all names.
    ///
    /// # Errors
    /// `unavailable` if the names cannot be read.
    pub async fn describe_all(
        &self,
        games: &[Game],
        viewer: Option<PlayerId>,
    ) -> Result<Vec<Value>, Problem> {
        let each: Vec<(&Game, Option<PlayerId>)> =
            games.iter().map(|game| (game, viewer)).collect();
        self.describe_each(&each).await
    }

    /// The same, each game for a viewer of its own.
    ///
    /// # Errors
    /// `unavailable` if the names cannot be read.
    pub async fn describe_each(
        &self,
        games: &[(&Game, Option<PlayerId>)],
    ) -> Result<Vec<Value>, Problem> {
        let mut seated: Vec<PlayerId> = games
            .iter()
            .flat_map(|(game, _)| [game.white, game.black, game.reserved_to()])
            .flatten()
            .collect();
        seated.sort_unstable();
        seated.dedup();
        let names = bounded(repo::names(&self.0.pool, &seated))
            .await
            .map_err(|error| Failures::read(&error))?;
        Ok(games
            .iter()
            .map(|(game, viewer)| object(game, &names, *viewer))
            .collect())
    }
}

fn object(game: &Game, names: &HashMap<PlayerId, String>, viewer: Option<PlayerId>) -> Value {
    let player = |id: Option<PlayerId>| {
        id.map(|id| json!({"id": id, "name": names.get(&id).map_or("", String::as_str)}))
    };
    mutants::described(game);
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(game.id));
    object.insert("ruleset".to_owned(), json!(game.ruleset.name()));
    object.insert("status".to_owned(), json!(game.status));
    object.insert("visibility".to_owned(), json!(game.visibility_wanted()));
    object.insert("rated".to_owned(), json!(game.rated));
    object.insert(
        "clock".to_owned(),
        json!(game.clock.map(|clock| clock.settings)),
    );
    object.insert("white".to_owned(), json!(player(game.white)));
    object.insert("black".to_owned(), json!(player(game.black)));
    object.insert("created_at".to_owned(), json!(rfc3339(game.created_at_us)));
    object.insert("result".to_owned(), json!(game.result));
    if viewer.is_some_and(|player| game.seat_of(player).is_some()) {
        object.insert("code".to_owned(), json!(game.code));
    }
    if game.status == GameStatus::Open && viewer.is_some_and(|id| game.seat_for(id).is_some()) {
        // A game that anyone may join has no such member.
        if let Some(challenged) = game.reserved_to() {
            object.insert("challenged".to_owned(), json!(player(Some(challenged))));
        }
    }
    Value::Object(object)
}

/// RFC 3339 in UTC, to the millisecond or finer.
fn rfc3339(us: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
