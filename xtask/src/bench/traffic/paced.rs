//! Producers that keep a rate, or go as fast as the database lets them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Bell, Moments, Waking};
use crate::bench::event;

/// How fast, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Events a second, all clients together; `None` is as fast as it goes.
    pub(crate) per_second: Option<u32>,
    /// For how long.
    pub(crate) lasts: Duration,
    /// Clients, each with one transaction at a time.
    pub(crate) clients: u32,
}

/// Has clients append one event a transaction, each as `outbox_append` has it, and ring the bell
/// after each commit. An event that is due while all clients are busy comes late, and no event is
/// left out.
///
/// # Errors
/// The database refuses.
pub(crate) async fn produce(
    pool: &PgPool,
    pace: Pace,
    waking: Waking,
    bell: &Bell,
) -> Result<Moments> {
    let committed = Moments::default();
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for nth in 0..pace.clients {
        let client = Client {
            pool: pool.clone(),
            pace,
            waking,
            bell: bell.clone(),
            committed: committed.clone(),
            begun,
        };
        clients.spawn(client.run(u64::from(nth)));
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a producer panicked")??;
    }
    Ok(committed)
}

struct Client {
    pool: PgPool,
    pace: Pace,
    waking: Waking,
    bell: Bell,
    committed: Moments,
    begun: Instant,
}

impl Client {
    /// Appends every event whose number is `first` plus a multiple of the number of clients.
    async fn run(self, first: u64) -> Result<()> {
        let mut connection = self
            .pool
            .acquire()
            .await
            .context("a producer's connection")?;
        let mut nth = first;
        loop {
            let due = match self.pace.per_second {
                Some(per_second) => due_after(nth, per_second),
                None => self.begun.elapsed(),
            };
            if due >= self.pace.lasts {
                return Ok(());
            }
            if self.pace.per_second.is_some() {
                sleep_until(self.begun + due).await;
            }
            event::append(&mut connection, nth, self.waking == Waking::NotifyInside)
                .await
                .context("an event could not be appended")?;
            self.committed.note(nth);
            self.bell.ring();
            nth += u64::from(self.pace.clients);
        }
    }
}

/// When an event is due, from the beginning.
fn due_after(nth: u64, per_second: u32) -> Duration {
    Duration::from_nanos(nth.saturating_mul(1_000_000_000) / u64::from(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::due_after;

    #[test]
    fn events_are_due_evenly() {
        assert_eq!(due_after(0, 1000), Duration::ZERO);
        assert_eq!(due_after(1500, 1000), Duration::from_millis(1500));
        assert_eq!(due_after(7, 0), Duration::from_secs(7));
    }
}
