//! A producer as docs/outbox.md has it: `outbox_append`, in transactions of many sizes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Transactions open at once: so that ids of one shard are committed out of their order.
const LANES: u32 = 3;
/// Events of a transaction at most. Each holds a lock on its key.
const EVENTS_A_TRANSACTION_MAX: u32 = 400;
/// Between two transactions of a producer that keeps a rate.
const RATE_STEP: Duration = Duration::from_millis(10);

/// How fast events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the database takes them, while fewer than so many wait.
    Backlog {
        /// Pending events at most, about.
        pending_max: u64,
    },
    /// So many events a second, all lanes together.
    Rate {
        /// Events a second.
        per_second: u32,
    },
}

/// What is produced.
#[derive(Clone, Copy, Debug)]
pub struct ProducerPlan {
    /// How many events in all, unless it is stopped before.
    pub events: u64,
    /// Over how many keys.
    pub keys: u32,
    /// How fast.
    pub pace: Pace,
    /// The same seed chooses the same keys and sizes.
    pub seed: u64,
}

/// What was committed, as the producer remembers it: `by_key[k]` events of key `k<k>`, numbered
/// from 1 in the order of their commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// Events of each key.
    pub by_key: Vec<u32>,
}

impl Produced {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_key.iter().map(|count| u64::from(*count)).sum()
    }
}

/// A producer at work.
#[derive(Debug)]
pub struct Producer {
    committed: Arc<AtomicU64>,
    /// Lanes that still produce.
    working: Arc<AtomicU32>,
    stop: watch::Sender<bool>,
    lanes: JoinSet<Result<Vec<(u32, u32)>>>,
    keys: u32,
}

struct Lane {
    pool: PgPool,
    plan: ProducerPlan,
    nth: u32,
    lanes: u32,
    pending: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    committed: Arc<AtomicU64>,
    random: StdRng,
    /// How many events each of the lane's keys has.
    counts: Vec<u32>,
}

impl Producer {
    /// Begins. `pending` tells how many events wait in the outbox.
    #[must_use]
    pub fn start(pool: &PgPool, plan: ProducerPlan, pending: &watch::Receiver<u64>) -> Self {
        let committed = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(false);
        let lanes = LANES.min(plan.keys);
        let working = Arc::new(AtomicU32::new(lanes));
        let mut tasks = JoinSet::new();
        for nth in 0..lanes {
            let lane = Lane {
                pool: pool.clone(),
                plan,
                nth,
                lanes,
                pending: pending.clone(),
                stop: stopped.clone(),
                committed: Arc::clone(&committed),
                random: StdRng::seed_from_u64(plan.seed.wrapping_add(u64::from(nth))),
                counts: vec![0; (plan.keys - nth).div_ceil(lanes) as usize],
            };
            let working = Arc::clone(&working);
            tasks.spawn(async move {
                let done = lane.run().await;
                working.fetch_sub(1, Ordering::Release);
                done
            });
        }
        Self {
            committed,
            working,
            stop,
            lanes: tasks,
            keys: plan.keys,
        }
    }

    /// How many events are committed by now, for whoever asks while it works.
    #[must_use]
    pub fn committed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.committed)
    }

    /// Whether it has produced everything, has stopped, or has failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.working.load(Ordering::Acquire) == 0
    }

    /// Has it stop before it has produced everything.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has produced everything, or has stopped.
    ///
    /// # Errors
    /// The database refused or went away: what is committed is not known then.
    pub async fn finish(mut self) -> Result<Produced> {
        let mut by_key = vec![0; self.keys as usize];
        while let Some(lane) = self.lanes.join_next().await {
            for (key, count) in lane.context("a producer panicked")?? {
                by_key[key as usize] = count;
            }
        }
        Ok(Produced { by_key })
    }
}

impl Lane {
    async fn run(mut self) -> Result<Vec<(u32, u32)>> {
        let share = self.plan.events / u64::from(self.lanes)
            + u64::from(u64::from(self.nth) < self.plan.events % u64::from(self.lanes));
        let (begun, mut done) = (Instant::now(), 0_u64);
        while done < share && !*self.stop.borrow() {
            let wanted = match self.plan.pace {
                Pace::Backlog { pending_max } => self.when_few_wait(pending_max).await,
                Pace::Rate { per_second } => self.when_due(per_second, begun, done).await,
            };
            let count = u64::from(wanted).min(share - done);
            if count > 0 {
                self.append(count).await?;
                done += count;
            }
        }
        let (nth, lanes) = (self.nth, self.lanes);
        let keys = (0_u32..).map(|index| nth + lanes * index);
        Ok(keys.zip(self.counts).collect())
    }

    /// Waits until fewer than so many wait; gives how many events the next transaction has.
    async fn when_few_wait(&mut self, pending_max: u64) -> u32 {
        tokio::select! {
            _ = self.pending.wait_for(|pending| *pending < pending_max) => {
                self.random.random_range(1..=EVENTS_A_TRANSACTION_MAX)
            }
            _ = self.stop.wait_for(|stop| *stop) => 0,
        }
    }

    /// Waits a step; gives how many events are due by then.
    async fn when_due(&self, per_second: u32, begun: Instant, done: u64) -> u32 {
        tokio::time::sleep(RATE_STEP).await;
        let mine =
            u128::from(per_second) * begun.elapsed().as_millis() / (1000 * u128::from(self.lanes));
        let due = mine.saturating_sub(u128::from(done));
        u32::try_from(due).map_or(EVENTS_A_TRANSACTION_MAX, |due| {
            due.min(EVENTS_A_TRANSACTION_MAX)
        })
    }

    /// Appends events of keys that chance names, in one transaction.
    async fn append(&mut self, count: u64) -> Result<()> {
        let (mut keys, mut numbers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let index = self.random.random_range(0..self.counts.len());
            self.counts[index] += 1;
            keys.push(i64::from(self.nth) + i64::from(self.lanes) * i64::try_from(index)?);
            numbers.push(i64::from(self.counts[index]));
        }
        sqlx::query(
            "select count(outbox_append('k' || k, 'events.chaos.k' || k, 'chaos.happened.v1',
                                        jsonb_build_object('n', n)))
             from unnest($1::bigint[], $2::bigint[]) as e (k, n)",
        )
        .bind(&keys)
        .bind(&numbers)
        .execute(&self.pool)
        .await
        .context("events could not be appended")?;
        self.committed.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}
