//! Appending at a rate, and taking out what waits as the relay does, but without a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::{PgPool, Row as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::layout::{Layout, RING_PARTS, RING_STEP, partition};

/// Shards, as the outbox has them.
const SHARDS: i16 = 64;
/// Batches in flight at once, as the relay has workers.
pub(super) const WORKERS: i16 = 4;
/// Events of a batch, as the relay's.
const BATCH: i64 = 999;
/// Transactions that append, side by side.
const LANES: u32 = 2;
/// Between two of them.
const APPEND_EVERY: Duration = Duration::from_millis(20);
/// What was given so many seconds ago is read over no more, as the relay's floor has it.
const FLOOR_SECONDS: i64 = 4;
/// Between two looks at an empty table.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two looks at the partitions.
const ROLL_EVERY: Duration = Duration::from_secs(1);

/// What goes on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Events are appended and taken out.
    Both,
    /// Nothing.
    Rest,
    /// Events are taken out.
    Drain,
    /// All is over.
    End,
}

/// What goes on in one run.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) pool: PgPool,
    pub(super) layout: Layout,
    pub(super) per_second: u32,
    counts: Arc<Counts>,
    phase: watch::Receiver<Phase>,
}

/// What has gone on.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) appended: AtomicU64,
    pub(super) settled: AtomicU64,
    reads: AtomicU64,
    read_micros: AtomicU64,
    /// Up to which id each worker has nothing left.
    done: [AtomicI64; WORKERS as usize],
}

impl Counts {
    /// The mean time of the reading statements since it was last asked, in milliseconds.
    pub(super) fn take_read_ms(&self) -> f64 {
        let reads = self.reads.swap(0, Ordering::Relaxed);
        let micros = self.read_micros.swap(0, Ordering::Relaxed);
        micros as f64 / 1e3 / reads.max(1) as f64
    }
}

impl Load {
    pub(super) fn new(
        pool: &PgPool,
        layout: Layout,
        per_second: u32,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            pool: pool.clone(),
            layout,
            per_second,
            counts: Arc::default(),
            phase,
        }
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Appends at the rate in [`Phase::Both`].
    pub(super) fn append(&self, tasks: &mut JoinSet<Result<()>>) {
        for _ in 0..LANES {
            tasks.spawn(self.clone().append_lane());
        }
    }

    /// Takes out what waits in [`Phase::Both`] and [`Phase::Drain`].
    pub(super) fn drain(&self, tasks: &mut JoinSet<Result<()>>) {
        for worker in 0..WORKERS {
            tasks.spawn(self.clone().drain_shards(worker));
        }
        if self.layout.has_ring() {
            tasks.spawn(self.clone().roll_partitions());
        }
    }

    /// Appends so many at once.
    pub(super) async fn append_some(&self, count: u64) -> Result<()> {
        let first = self.counts.appended.load(Ordering::Relaxed);
        sqlx::query(self.layout.append())
            .bind(i64::try_from(first)?)
            .bind(i64::try_from(count)?)
            .execute(&self.pool)
            .await
            .context("events could not be appended")?;
        self.counts.appended.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    async fn append_lane(self) -> Result<()> {
        let (begun, mut done) = (Instant::now(), 0);
        while self.phase() == Phase::Both {
            let due = due(self.per_second, begun.elapsed());
            if due > done {
                self.append_some(due - done).await?;
                done = due;
            }
            tokio::time::sleep(APPEND_EVERY).await;
        }
        Ok(())
    }

    async fn drain_shards(self, worker: i16) -> Result<()> {
        let shards: Vec<i16> = (0..SHARDS).filter(|n| n % WORKERS == worker).collect();
        let mut floor = Floor::default();
        while self.phase() != Phase::End {
            if self.phase() == Phase::Rest {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            let above = if self.layout.has_floor() {
                floor.id(Instant::now())
            } else {
                0
            };
            let (took, done) = self.drain_batch(&shards, above).await?;
            floor.settled(Instant::now(), done);
            self.counts.done[usize::try_from(worker)?].store(above, Ordering::Relaxed);
            if took == 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Gives how many rows it took out, and up to which id nothing of these shards is left, as far
    /// as was seen.
    async fn drain_batch(&self, shards: &[i16], above: i64) -> Result<(usize, i64)> {
        let each = BATCH / i64::from(SHARDS / WORKERS);
        let begun = Instant::now();
        let rows = sqlx::query(self.layout.read())
            .bind(shards)
            .bind(vec![above; shards.len()])
            .bind(each)
            .fetch_all(&self.pool)
            .await
            .context("what waits could not be read")?;
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.counts.read_micros.fetch_add(micros, Ordering::Relaxed);
        if rows.is_empty() {
            return Ok((0, above));
        }
        let (mut of, mut ids) = (Vec::new(), Vec::new());
        for row in &rows {
            of.push(row.try_get::<i16, _>(0)?);
            ids.push(row.try_get::<i64, _>(1)?);
        }
        sqlx::query(self.layout.settle())
            .bind(&of)
            .bind(&ids)
            .bind(&ids)
            .execute(&self.pool)
            .await
            .context("what was published could not be recorded")?;
        self.counts
            .settled
            .fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok((rows.len(), lowest_of_highest(&of, &ids)))
    }

    /// Drops the partitions in which no row can be any more, and makes the next ones. Whoever has
    /// not touched the table does not hinder it.
    async fn roll_partitions(self) -> Result<()> {
        let (mut first, mut next) = (0, RING_PARTS);
        while self.phase() != Phase::End {
            let given = self.counts.appended.load(Ordering::Relaxed);
            while (next - 2) * RING_STEP < i64::try_from(given)? {
                self.define(partition(next)).await?;
                next += 1;
            }
            let done = self.counts.done.iter();
            let done = done.map(|done| done.load(Ordering::Relaxed)).min();
            while (first + 1) * RING_STEP <= done.unwrap_or(0) {
                self.define(format!("drop table pending_{first}")).await?;
                first += 1;
            }
            tokio::time::sleep(ROLL_EVERY).await;
        }
        Ok(())
    }

    async fn define(&self, statement: String) -> Result<()> {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .context("partitions could not be rolled")?;
        Ok(())
    }
}

/// How many events one lane should have appended by then.
fn due(per_second: u32, elapsed: Duration) -> u64 {
    let due = u128::from(per_second) * elapsed.as_millis() / u128::from(1000 * LANES);
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// The highest id of each shard's rows, and of those the lowest: rows come in order, so nothing up
/// to it is left of the shards that had rows.
fn lowest_of_highest(of: &[i16], ids: &[i64]) -> i64 {
    let mut highest = [0_i64; SHARDS as usize];
    for (shard, id) in of.iter().zip(ids) {
        if let Some(highest) = usize::try_from(*shard)
            .ok()
            .and_then(|n| highest.get_mut(n))
        {
            *highest = (*highest).max(*id);
        }
    }
    highest.into_iter().filter(|id| *id > 0).min().unwrap_or(0)
}

/// Up to which id a worker has settled everything, some seconds late: ids come a little out of
/// order, and the relay cannot know earlier either.
#[derive(Debug, Default)]
struct Floor {
    marks: std::collections::VecDeque<(Instant, i64)>,
    id: i64,
}

impl Floor {
    fn settled(&mut self, now: Instant, id: i64) {
        let last = self.marks.back().map_or(self.id, |(_, id)| *id);
        self.marks.push_back((now, id.max(last)));
    }

    fn id(&mut self, now: Instant) -> i64 {
        let late = Duration::from_secs(FLOOR_SECONDS.unsigned_abs());
        while let Some((at, id)) = self.marks.front()
            && now.duration_since(*at) >= late
        {
            self.id = *id;
            self.marks.pop_front();
        }
        self.id
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Floor, due, lowest_of_highest};

    #[test]
    fn lanes_share_the_rate() {
        assert_eq!(due(10_000, Duration::from_millis(20)), 100);
        assert_eq!(due(10_000, Duration::ZERO), 0);
    }

    #[test]
    fn a_floor_follows_late_and_never_sinks() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut floor = Floor::default();
        floor.settled(begun, 100);
        floor.settled(after(1), 90);
        assert_eq!(floor.id(after(3)), 0);
        assert_eq!(floor.id(after(5)), 100);
        assert_eq!(floor.id(after(60)), 100);
    }

    #[test]
    fn nothing_is_left_up_to_the_lowest_of_the_highest() {
        assert_eq!(lowest_of_highest(&[1, 1, 2], &[5, 9, 7]), 7);
        assert_eq!(lowest_of_highest(&[], &[]), 0);
    }
}
