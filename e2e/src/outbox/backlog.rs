//! How many events wait, looked at again and again.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two looks: a count over some ten thousand rows takes a few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Follows the number of pending events until it is dropped.
#[derive(Debug)]
pub struct Backlog {
    pending: watch::Receiver<u64>,
    _looking: JoinSet<()>,
}

impl Backlog {
    /// Begins to look.
    #[must_use]
    pub fn follow(pool: &PgPool) -> Self {
        let (sender, pending) = watch::channel(0);
        let pool = pool.clone();
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            loop {
                if let Ok(count) = pending_now(&pool).await {
                    sender.send_replace(count);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self {
            pending,
            _looking: looking,
        }
    }

    /// The number, as of the last look.
    #[must_use]
    pub fn pending(&self) -> watch::Receiver<u64> {
        self.pending.clone()
    }
}

/// How many events wait now.
///
/// # Errors
/// The database does not answer.
pub async fn pending_now(pool: &PgPool) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("select count(*) from outbox_events")
        .fetch_one(pool)
        .await
        .context("the outbox cannot be counted")?;
    Ok(count.unsigned_abs())
}
