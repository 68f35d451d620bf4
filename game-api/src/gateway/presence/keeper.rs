//! The worker that writes who is here and reads who is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::repo::{self, Incarnation};
use super::{Presence, Wanted};
use crate::gateway::Gateway;
use crate::gateway::room::Room;

/// Changes of one statement, which takes some ten milliseconds; more go in the next one at once.
const CHANGES_MAX: usize = 1000;
/// A gateway that has missed so many beats is taken to be dead: what it said of its viewers is then
/// older than they would be waited for.
const BEATS_MISSED_MAX: u32 = 5;
/// But no sooner than this: a machine under load, or a failover of Postgres, is not a death.
const SILENT_MIN: Duration = Duration::from_secs(3);
/// In a drain: until the last viewer is gone.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many rounds the dead are reaped; they have ceased to count before.
const REAP_EVERY: u32 = 5;
/// Rows of the dead that go in one statement.
const REAP_ROWS_MAX: i64 = 5000;
/// A statement that takes longer has failed.
const STATEMENT_MAX: Duration = Duration::from_secs(5);

struct Keeper {
    gateway: Gateway,
    presence: Presence,
    silent_max: Duration,
    incarnation: Option<Incarnation>,
}

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the database refused or could not be reached")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
}

/// Runs until the last viewer is gone in a drain, or its hard stop.
pub(in crate::gateway) async fn run(gateway: Gateway) {
    let every = gateway.config().presence_every;
    let (draining, stopping) = (gateway.life().draining(), gateway.life().stopping());
    let mut keeper = Keeper {
        presence: gateway.presence().clone(),
        silent_max: (every * BEATS_MISSED_MAX).max(SILENT_MIN),
        incarnation: None,
        gateway,
    };
    for round in 0_u32.. {
        let parting = draining.is_cancelled();
        let vacant = keeper.gateway.is_vacant();
        if parting {
            keeper.presence.roster().part();
        }
        if let Err(error) = keeper.round(round.is_multiple_of(REAP_EVERY)).await {
            tracing::debug!(error = %error, "presence was not kept in this round");
        }
        if parting && vacant {
            // Players are on their way to other gateways: their rows stand until this incarnation
            // is found to be silent, so that nobody sees them go.
            return;
        }
        let pause = if parting { DRAIN_LOOK_EVERY } else { every };
        tokio::select! {
            () = sleep(pause) => {}
            () = draining.cancelled(), if !parting => {}
            () = stopping.cancelled() => return,
        }
    }
}

impl Keeper {
    async fn round(&mut self, reap: bool) -> Result<(), RoundError> {
        self.presence.roster().expire(Instant::now());
        self.tell().await?;
        self.show().await?;
        if reap {
            timeout(
                STATEMENT_MAX,
                repo::reap(self.gateway.pool(), REAP_ROWS_MAX),
            )
            .await??;
        }
        Ok(())
    }

    /// Tells the database who is here, all of it if it does not know this gateway.
    async fn tell(&mut self) -> Result<(), RoundError> {
        let mut begun_anew = false;
        loop {
            let incarnation = self.incarnation().await?;
            let changes = self.presence.roster().changes(CHANGES_MAX);
            let beat = repo::beat(self.gateway.pool(), incarnation, &changes);
            let told = match timeout(STATEMENT_MAX, beat).await {
                Ok(told) => told.map_err(RoundError::from),
                Err(error) => Err(error.into()),
            };
            match told {
                Ok(true) if changes.len() < CHANGES_MAX => return Ok(()),
                Ok(true) => {}
                Ok(false) => {
                    self.incarnation = None;
                    if std::mem::replace(&mut begun_anew, true) {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.presence.roster().untold(&changes);
                    return Err(error);
                }
            }
        }
    }

    async fn incarnation(&mut self) -> Result<Incarnation, RoundError> {
        if let Some(incarnation) = self.incarnation {
            return Ok(incarnation);
        }
        let name = self.gateway.instance();
        let begin = repo::begin(self.gateway.pool(), name, self.silent_max);
        let incarnation = timeout(STATEMENT_MAX, begin).await??;
        self.presence.roster().forgotten();
        self.incarnation = Some(incarnation);
        Ok(incarnation)
    }

    /// Shows the viewers of this gateway who is there of their games.
    async fn show(&self) -> Result<(), RoundError> {
        let rooms: Vec<(Arc<Room>, Wanted)> = self.gateway.watched_seats();
        if rooms.is_empty() {
            return Ok(());
        }
        let wanted: Vec<Wanted> = rooms.iter().map(|(_, wanted)| *wanted).collect();
        let counts = repo::counts(self.gateway.pool(), &wanted);
        let counts = timeout(STATEMENT_MAX, counts).await??;
        for (room, wanted) in rooms {
            room.show_presence(counts.get(&wanted.game).copied().unwrap_or_default());
        }
        Ok(())
    }
}
