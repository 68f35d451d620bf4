//! What can be done with players. A change and its event are committed together.

use shared::ids::PlayerId;
use shared::outbox;
use shared::telemetry::TraceContext;
use sqlx::PgPool;

use super::entity::{Change, Player, PlayerName, Secret, SecretHash};
use super::repo;
use crate::database::{Failures, bounded};
use crate::problem::{Problem, Reason};

/// The players of the whole deployment.
#[derive(Clone, Debug)]
pub struct Players {
    pool: PgPool,
    failures: Failures,
}

/// A new player with the secret that is shown this once.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The player.
    pub player: Player,
    /// The secret.
    pub secret: Secret,
}

impl Players {
    /// Players in this database.
    #[must_use]
    pub fn new(pool: PgPool, failures: Failures) -> Self {
        Self { pool, failures }
    }

    /// Adds a player.
    ///
    /// # Errors
    /// `persistence_failure`: the player may be there, under an id that nobody knows.
    pub async fn register(
        &self,
        name: &PlayerName,
        trace: &TraceContext,
    ) -> Result<Registered, Problem> {
        let (id, secret) = (PlayerId::generate(), Secret::new(rand::random()));
        let work = self.insert(id, name, &secret, trace);
        let player = bounded(work)
            .await
            .map_err(|error| self.failures.write(&error))?;
        Ok(Registered { player, secret })
    }

    /// Gives a player another name. The same name again changes nothing.
    ///
    /// # Errors
    /// `unauthorized` if the caller's player is not there, `persistence_failure`.
    pub async fn rename(
        &self,
        id: PlayerId,
        name: &PlayerName,
        trace: &TraceContext,
    ) -> Result<Player, Problem> {
        let renamed = bounded(self.update(id, name, trace))
            .await
            .map_err(|error| self.failures.write(&error))?;
        match renamed {
            Some(player) => Ok(player),
            None => self.own(id).await,
        }
    }

    /// A player, as everyone may see it.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get(&self, id: PlayerId) -> Result<Player, Problem> {
        let found = bounded(repo::find(&self.pool, id))
            .await
            .map_err(|error| Failures::read(&error))?;
        found.ok_or_else(|| Problem::new(Reason::NotFound, "there is no such player"))
    }

    /// The caller's own player.
    ///
    /// # Errors
    /// `unauthorized` if it is not there: its credentials are of another database.
    pub async fn own(&self, id: PlayerId) -> Result<Player, Problem> {
        self.get(id).await.map_err(|problem| match problem.reason {
            Reason::NotFound => Problem::new(
                Reason::Unauthorized,
                "the player of these credentials does not exist",
            ),
            _ => problem,
        })
    }

    /// Checks a player's secret. An unknown player and a wrong secret are one answer.
    ///
    /// # Errors
    /// `unauthorized`, `unavailable`.
    pub async fn check_secret(&self, id: PlayerId, claim: &str) -> Result<(), Problem> {
        let wrong = || Problem::new(Reason::Unauthorized, "no player has this id and secret");
        let secret = SecretHash::of_claim(claim).ok_or_else(wrong)?;
        let right = bounded(repo::has_secret(&self.pool, id, &secret))
            .await
            .map_err(|error| Failures::read(&error))?;
        if right { Ok(()) } else { Err(wrong()) }
    }

    async fn insert(
        &self,
        id: PlayerId,
        name: &PlayerName,
        secret: &Secret,
        trace: &TraceContext,
    ) -> Result<Player, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let player = repo::insert_in_tx(&mut tx, id, name, &secret.hash()).await?;
        let event = player.event(Change::Registered, trace.carrier());
        outbox::append_in_tx(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(player)
    }

    async fn update(
        &self,
        id: PlayerId,
        name: &PlayerName,
        trace: &TraceContext,
    ) -> Result<Option<Player>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let Some(player) = repo::rename_in_tx(&mut tx, id, name).await? else {
            return Ok(None);
        };
        let event = player.event(Change::Updated, trace.carrier());
        outbox::append_in_tx(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(Some(player))
    }
}
