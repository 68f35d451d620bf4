//! Keeps the gauges of the whole table.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::repo::{dead, oldest_age_seconds, pending};
use crate::metrics::Metrics;

/// Between two looks at the oldest row and the dead letters: both are cheap.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Counting may take this part of the time at most: a count that took 100 ms is next made after
/// five seconds.
const COUNT_SHARE: u32 = 50;

/// Runs until `stop`. An error only delays: the next look tries again.
pub async fn run(pool: PgPool, metrics: Metrics, stop: CancellationToken) {
    let mut count_at = Instant::now();
    loop {
        if let Err(error) = look(&pool, &metrics, &mut count_at).await {
            tracing::debug!(%error, "the backlog could not be looked at");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look(pool: &PgPool, metrics: &Metrics, count_at: &mut Instant) -> sqlx::Result<()> {
    metrics
        .oldest_pending_age_seconds
        .set(oldest_age_seconds(pool).await?);
    metrics.dead.set(dead(pool).await?);
    let begun = Instant::now();
    if begun >= *count_at {
        metrics.pending.set(pending(pool).await?);
        *count_at = Instant::now() + begun.elapsed() * COUNT_SHARE;
    }
    Ok(())
}
