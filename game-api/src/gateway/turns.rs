//! Reads of the database for one viewer take turns.
//!
//! Rooms read together ([`ReadLane`](crate::games::read_lane::ReadLane)); what is read for one viewer alone is the
//! part of a log before its room's ring, and the players' names of a snapshot. When an instance
//! dies, all its clients come to the others at once. Without turns thousands of reads would wait
//! for a connection, which the pool refuses after a few seconds and which writes need too.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::problem::{Problem, Reason};

/// Whoever has not had a turn by then is told to try again: so long at most are viewers kept waiting
/// while the database is away.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// As many at once as half the pool's connections; the other half is for writes.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new(pool: &PgPool) -> Self {
        let connections = pool.options().get_max_connections() as usize;
        Self(Semaphore::new((connections / 2).max(1)))
    }

    /// Waits for a turn, which lasts until what is returned is dropped.
    ///
    /// # Errors
    /// `unavailable`: too many are before it.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match timeout(WAIT_MAX, self.0.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Problem::new(
                Reason::Unavailable,
                "too much is being read right now, try again",
            )),
        }
    }
}
