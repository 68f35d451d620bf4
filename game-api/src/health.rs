//! Whether this instance's writes succeed: the deploy gate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a failed write keeps `/health` at 503.
pub const UNHEALTHY_AFTER_FAILURE: Duration = Duration::from_mins(1);

/// Remembers the last write of this instance that failed.
#[derive(Debug, Default)]
pub struct Health {
    last_failure: Mutex<Option<Instant>>,
}

impl Health {
    /// Notes that a write has failed just now, or that its outcome is not known.
    pub fn write_failed(&self) {
        *self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Good unless a write failed in the last 60 s.
    ///
    /// # Errors
    /// A sentence that says how long ago the last failure was.
    pub fn check(&self) -> Result<(), String> {
        let last = *self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match last.map(|at| at.elapsed()) {
            Some(ago) if ago < UNHEALTHY_AFTER_FAILURE => {
                Err(format!("a write failed {} s ago", ago.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_held_against_the_instance_for_sixty_seconds() {
        let health = Health::default();
        assert!(health.check().is_ok());
        health.write_failed();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(health.check(), Err("a write failed 59 s ago".to_owned()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(health.check().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_counts() {
        let health = Health::default();
        health.write_failed();
        tokio::time::advance(Duration::from_secs(50)).await;
        health.write_failed();
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(health.check().is_err());
    }
}
