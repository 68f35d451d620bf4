//! Raises each held shard's `low_id`: the id up to which no row is pending or can become so.
//!
//! Reading a shard from there, and not from its first index entry, keeps the drain fast while a
//! transaction elsewhere keeps vacuum from removing the entries of rows long gone. An id may be
//! given long before its row appears, so the highest id seen proves nothing: a mark is set, and
//! counts once every transaction that ran at that moment has ended.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::repo::{Mark, is_closed, lowest, mark};
use crate::leases::holdings::Holdings;

/// Between two looks: dead entries of one second are read over at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`. An error only delays: the next look tries again.
pub async fn run(pool: PgPool, holdings: Holdings, stop: CancellationToken) {
    let mut pending: Option<Mark> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match look(&pool, &holdings, pending).await {
            Ok(next) => pending = next,
            Err(error) => tracing::debug!(%error, "the horizon could not be raised"),
        }
    }
}

async fn look(
    pool: &PgPool,
    holdings: &Holdings,
    pending: Option<Mark>,
) -> sqlx::Result<Option<Mark>> {
    if let Some(mark) = pending {
        if !is_closed(pool, mark).await? {
            return Ok(Some(mark));
        }
        raise(pool, holdings, mark).await?;
    }
    Ok(Some(mark(pool).await?))
}

async fn raise(pool: &PgPool, holdings: &Holdings, mark: Mark) -> sqlx::Result<()> {
    let held = holdings.list();
    let shards: Vec<i16> = held.iter().map(|held| held.shard.number()).collect();
    let after: Vec<i64> = held.iter().map(|held| held.low_id).collect();
    for (shard, first) in lowest(pool, &shards, &after).await? {
        let low = first.map_or(mark.given, |id| mark.given.min(id - 1));
        holdings.raise_low(shard, low);
    }
    Ok(())
}
