//! Finding games.

use std::sync::Arc;

use shared::ids::{GameId, PlayerId};

use super::{Games, may_see, not_found};
use crate::database::{Failures, bounded};
use crate::games::entity::{Game, GameStatus};
use crate::games::repo::{self, LobbyPosition};
use crate::mutants;
use crate::problem::Problem;

impl Games {
    /// The current game from the database.
    ///
    /// # Errors
    /// `unavailable` if the database is away.
    pub async fn load(&self, id: GameId) -> Result<Option<Arc<Game>>, Problem> {
        let game = bounded(repo::load(&self.0.pool, id))
            .await
            .map_err(|error| Failures::read(&error))?;
        Ok(game.map(|game| self.remember(Arc::new(game))))
    }

    /// The game as `viewer` may know of it: a private game is there for its seats and for whoever
    /// presents its code.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn visible(
        &self,
        id: GameId,
        viewer: Option<PlayerId>,
        code: Option<&str>,
    ) -> Result<Arc<Game>, Problem> {
        let game = self.load(id).await?.ok_or_else(not_found)?;
        if may_see(&game, viewer, code) {
            Ok(game)
        } else {
            Err(not_found())
        }
    }

    /// The id of the game with that code.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn by_code(&self, code: &str) -> Result<GameId, Problem> {
        bounded(repo::by_code(&self.0.pool, code))
            .await
            .map_err(|error| Failures::read(&error))?
            .ok_or_else(not_found)
    }

    /// Public games of a status, newest first.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn lobby(
        &self,
        status: GameStatus,
        after: Option<LobbyPosition>,
        limit: i64,
    ) -> Result<Vec<Game>, Problem> {
        let games = bounded(repo::lobby(&self.0.pool, status, after, limit))
            .await
            .map_err(|error| Failures::read(&error))?;
        Ok(mutants::lobby(status, games))
    }
}
