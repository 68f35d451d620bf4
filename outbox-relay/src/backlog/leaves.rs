//! Has the leaves of `outbox_events` emptied as a whole: a leaf has rows of 65,536 ids, and once all
//! of them are published it holds nothing but dead ones, which vacuum may not take out while a
//! transaction runs that began before.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::repo::clear_leaf;
use crate::error::database_sentence;

/// Between two looks. A leaf lasts six seconds at 10,000 events a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever comes after a lock that is waited for waits, too: after one that was not had the next
/// look is twice as far away, at most so far.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Runs until `stop`. An error only delays: what is not emptied is vacuumed some day.
pub async fn run(pool: PgPool, stop: CancellationToken) {
    let mut pause = LOOK_EVERY;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match clear_leaf(&pool).await {
            Ok(look) => {
                if let Some(leaf) = look.cleared {
                    tracing::debug!(outbox.leaf = leaf, "emptied a leaf of the outbox");
                }
                pause = if look.busy {
                    (pause * 2).min(LOOK_MAX)
                } else {
                    LOOK_EVERY
                };
            }
            Err(error) => {
                tracing::debug!("no leaf was emptied: {}", database_sentence(&error));
                pause = (pause * 2).min(LOOK_MAX);
            }
        }
    }
}
