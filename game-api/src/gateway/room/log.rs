//! A room's reading of the log.

use std::sync::Arc;

use super::Room;
use super::actor::Follower;
use super::timeline::{Timeline, Verdict};
use crate::games::entity::{Logged, Seq};
use crate::games::read_lane::{LOG_PAGE, ReadError};
use crate::gateway::Gateway;

/// Reading the log did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the log could not be read")]
    Unread(#[from] ReadError),
    #[error("the log has no events")]
    Empty,
    #[error("event {0:?} of the log does not follow the one before it")]
    Broken(Seq),
}

/// The end of a log, as a timeline.
pub(super) fn timeline(events: Vec<Arc<Logged>>) -> Result<Timeline, LogError> {
    let mut events = events.into_iter();
    let mut timeline = Timeline::beginning_with(events.next().ok_or(LogError::Empty)?);
    for event in events {
        let seq = event.moment.seq;
        match timeline.apply(event) {
            Ok(Verdict::Applied) => {}
            Ok(_) | Err(_) => return Err(LogError::Broken(seq)),
        }
    }
    Ok(timeline)
}

impl Follower {
    /// Reads the log to its end.
    pub(super) async fn read_log(&self) -> Result<(), LogError> {
        loop {
            let from = self.room.seq().unwrap_or_default();
            let lane = self.gateway.read_lane();
            let events = lane.log_after(self.room.game, from).await?;
            let count = events.len();
            for event in events {
                let seq = event.moment.seq;
                match self.room.apply(event) {
                    Ok(Verdict::Applied | Verdict::Old) => {}
                    Ok(Verdict::Hole) | Err(_) => return Err(LogError::Broken(seq)),
                }
            }
            self.room.announce();
            if count < LOG_PAGE {
                return Ok(());
            }
        }
    }
}

impl Room {
    /// Says once, where it is handled, what went wrong.
    pub(super) fn log_failure(&self, gateway: &Gateway, error: &LogError) {
        if matches!(error, LogError::Broken(_) | LogError::Empty) {
            let violations = &gateway.metrics().invariant_violations_total;
            violations.with_label_values(&["sequence"]).inc();
        }
        let game = self.game;
        if matches!(error, LogError::Unread(ReadError::Away)) {
            // Why, was said once for all that were read together.
            tracing::debug!(%game, "a room could not read its game");
            return;
        }
        let error: &dyn std::error::Error = error;
        tracing::warn!(error, %game, "a room could not read its game");
    }
}
