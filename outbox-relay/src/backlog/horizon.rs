//! Keeps where each held shard is read from: see [`super::floor`].

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::floor::{Marks, Settled};
use super::repo::{lowest, mark, running};
use crate::leases::holdings::Holdings;

/// Between two looks: dead entries of about a second are read over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs until `stop`. An error only delays: the next look tries again.
pub async fn run(pool: PgPool, holdings: Holdings, stop: CancellationToken) {
    let mut marks = Marks::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = look(&pool, &holdings, &mut marks).await {
            tracing::debug!(%error, "the horizon could not be raised");
        }
    }
}

async fn look(pool: &PgPool, holdings: &Holdings, marks: &mut Marks) -> sqlx::Result<()> {
    let settled = marks.settle(&running(pool).await?);
    if settled != Settled::default() {
        raise(pool, holdings, &settled).await?;
    }
    marks.set(mark(pool).await?);
    Ok(())
}

/// What is pending is asked after it is known which transactions run: whoever has ended before, its
/// rows are seen.
async fn raise(pool: &PgPool, holdings: &Holdings, settled: &Settled) -> sqlx::Result<()> {
    let held = holdings.list();
    let from: Vec<_> = held
        .iter()
        .map(|held| (held.shard, holdings.read_from(held.shard)))
        .collect();
    let first = lowest(pool, &from).await?;
    for held in held {
        let up_to = |given: i64| match first.get(&held.shard) {
            Some(first) => given.min(first - 1),
            None => given,
        };
        if let Some(given) = settled.closed {
            holdings.raise_low(held.shard, held.epoch, up_to(given));
        }
        if let Some((given, witnesses)) = &settled.floor {
            let witnesses = Arc::clone(witnesses);
            holdings.set_floor(held.shard, held.epoch, up_to(*given), witnesses);
        }
    }
    Ok(())
}
