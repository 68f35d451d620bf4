//! Keeps the gauges of the whole table.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::census::Census;
use super::repo::{dead, oldest_age_seconds, pending};
use crate::metrics::Metrics;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What reads over waiting rows, or over the dead entries before them, may take this part of the
/// time at most: after 100 ms, it is next done after five seconds.
const PART_OF_TIME: u32 = 50;

/// Runs until `stop`. An error only delays: the next look tries again.
pub async fn run(pool: PgPool, metrics: Metrics, stop: CancellationToken) {
    let mut looks = Looks::default();
    loop {
        if let Err(error) = looks.look(&pool, &metrics).await {
            tracing::debug!(%error, "the backlog could not be looked at");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[derive(Default)]
struct Looks {
    census: Census,
    count_due: Option<Instant>,
    age_due: Option<Instant>,
}

impl Looks {
    async fn look(&mut self, pool: &PgPool, metrics: &Metrics) -> sqlx::Result<()> {
        metrics.dead.set(dead(pool).await?);
        let now = Instant::now();
        if self.age_due.is_none_or(|due| due <= now) {
            let age = oldest_age_seconds(pool).await?;
            metrics.oldest_pending_age_seconds.set(age);
            self.age_due = Some(Instant::now() + now.elapsed() * PART_OF_TIME);
        }
        let now = Instant::now();
        if self.count_due.is_none_or(|due| due <= now) {
            match pending(pool, &self.census.next()).await {
                Ok(counts) => self.census.counted(&counts, now.elapsed()),
                Err(error) => {
                    self.census.failed();
                    return Err(error);
                }
            }
            metrics.pending.set(self.census.total());
            self.count_due = Some(Instant::now() + now.elapsed() * PART_OF_TIME);
        }
        Ok(())
    }
}
