//! A room's reading of the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::actor::Follower;
use super::timeline::{Timeline, Verdict};
use crate::games::entity::{Logged, Seq};
use crate::games::repo;

/// Events of one query of the log.
const LOG_PAGE: i64 = 256;
/// A query that takes longer has failed.
const QUERY_MAX: Duration = Duration::from_secs(5);

/// Reading the log did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the log could not be read")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("too much is being read right now")]
    Crowded,
    #[error("the log has no events")]
    Empty,
    #[error("event {0:?} of the log does not follow the one before it")]
    Broken(Seq),
}

impl Follower {
    /// Reads what follows `from` into a timeline.
    pub(super) async fn read_end(&self, from: Seq) -> Result<Timeline, LogError> {
        let _turn = self.gateway.turn().await.map_err(|_| LogError::Crowded)?;
        let mut events = self.page(from).await?.into_iter();
        let mut timeline = Timeline::beginning_with(events.next().ok_or(LogError::Empty)?);
        for event in events {
            let seq = event.moment.seq;
            match timeline.apply(Arc::new(event)) {
                Ok(Verdict::Applied) => {}
                Ok(_) | Err(_) => return Err(LogError::Broken(seq)),
            }
        }
        Ok(timeline)
    }

    async fn page(&self, from: Seq) -> Result<Vec<Logged>, LogError> {
        let query = repo::events_after(self.gateway.pool(), self.room.game, from, LOG_PAGE);
        Ok(timeout(QUERY_MAX, query).await??)
    }

    /// Reads the log to its end.
    pub(super) async fn read_log(&self) -> Result<(), LogError> {
        loop {
            let from = self.room.seq().unwrap_or_default();
            let events = self.page(from).await?;
            let count = events.len();
            for event in events {
                let seq = event.moment.seq;
                match self.room.apply(Arc::new(event)) {
                    Ok(Verdict::Applied | Verdict::Old) => {}
                    Ok(Verdict::Hole) | Err(_) => return Err(LogError::Broken(seq)),
                }
            }
            self.room.announce();
            if i64::try_from(count).is_ok_and(|count| count < LOG_PAGE) {
                return Ok(());
            }
        }
    }

    /// Says once, where it is handled, what went wrong.
    pub(super) fn log_failure(&self, error: &LogError) {
        if matches!(error, LogError::Broken(_) | LogError::Empty) {
            let violations = &self.gateway.metrics().invariant_violations_total;
            violations.with_label_values(&["sequence"]).inc();
        }
        let error: &dyn std::error::Error = error;
        tracing::warn!(error, game = %self.room.game, "a room could not read its game");
    }
}
