//! What every scenario stands on: servers, relays, a producer, and the audit at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};

use super::spread::Spread;
use super::{Outcome, Plan, Progress};
use crate::environment;
use crate::outbox::{
    Audit, Backlog, Counters, Pace, Produced, Producer, ProducerPlan, Verdict, pending_now,
    read_ledger, read_whole_stream,
};
use crate::supervisor::{Child, Relays, RelaysOptions, Staging, connect_nats};

/// Producers, the backlog's follower, and a question in between.
const CONNECTIONS_MAX: u32 = 6;
/// Nothing published for so long, while no broker is frozen: it will not be any more.
const STANDSTILL_MAX: Duration = Duration::from_mins(2);
/// Between two looks at the progress.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The nats-servers of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brokers {
    nodes: usize,
    staging: Staging,
}

impl Brokers {
    /// One, which can be killed: it stages batches on the disk.
    pub(super) const ONE: Self = Self::cluster(1);
    /// One that stages batches in memory, where it matters how long something takes.
    pub(super) const AS_DEPLOYED: Self = Self {
        nodes: 1,
        staging: Staging::Memory,
    };

    /// Several.
    pub(super) const fn cluster(nodes: usize) -> Self {
        Self {
            nodes,
            staging: Staging::Disk,
        }
    }
}

/// Servers and relays under load.
pub(super) struct Bed {
    pub(super) relays: Relays,
    pub(super) pool: PgPool,
    plan: Plan,
    backlog: Backlog,
    producer: Option<Producer>,
    committed: Arc<AtomicU64>,
    pub(super) counters: Counters,
    strikes: Vec<(&'static str, u64)>,
    pub(super) measured: Vec<String>,
    pub(super) too_slow: Vec<String>,
    pub(super) breaches: Vec<String>,
}

impl Bed {
    /// Starts the servers, without relays.
    pub(super) async fn prepare(
        plan: &Plan,
        brokers: Brokers,
        extra_env: &[(&str, &str)],
    ) -> Result<Self> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        // The relays' last lines are read at the end, whatever this program's own log is.
        let env = [("LOG_FORMAT", "json"), ("RUST_LOG", "info")];
        let env = env.iter().chain(extra_env).map(owned);
        let options = RelaysOptions {
            name: plan.name,
            program: plan.program.clone(),
            relays: plan.relays,
            nats_nodes: brokers.nodes,
            durability: plan.durability,
            staging: brokers.staging,
            broker_durability: plan.durability,
            extra_env: env.collect(),
        };
        plan.progress
            .send_modify(|progress| "starting the servers".clone_into(&mut progress.doing));
        let relays = Relays::prepare(&environment::target_dir(), options).await?;
        let options: PgConnectOptions = relays.postgres.addresses.owner_url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            // Reading a million rows takes long, which nobody needs to be warned of.
            .connect_with(options.disable_statement_logging())
            .await
            .context("Postgres cannot be connected to")?;
        Ok(Self {
            backlog: Backlog::follow(&pool),
            relays,
            pool,
            plan: plan.clone(),
            producer: None,
            committed: Arc::default(),
            counters: Counters::default(),
            strikes: vec![],
            measured: vec![],
            too_slow: vec![],
            breaches: vec![],
        })
    }

    /// Starts the servers and the relays, and has the shards spread.
    pub(super) async fn start(plan: &Plan, brokers: Brokers, env: &[(&str, &str)]) -> Result<Self> {
        let mut bed = Self::prepare(plan, brokers, env).await?;
        bed.relays.start_relays().await?;
        bed.until_even(plan.relays).await?;
        Ok(bed)
    }

    /// Begins to produce as the plan says.
    pub(super) fn produce(&mut self) {
        self.produce_at(self.plan.events, self.plan.pace);
    }

    /// Begins to produce.
    pub(super) fn produce_at(&mut self, events: u64, pace: Pace) {
        let plan = ProducerPlan {
            events,
            keys: self.plan.keys,
            pace,
            seed: self.plan.seed,
        };
        let producer = Producer::start(&self.pool, plan, &self.backlog.pending());
        self.committed = producer.committed();
        self.producer = Some(producer);
        self.doing("publishing");
    }

    /// Has the producer stop before it has produced everything.
    pub(super) fn stop_producing(&self) {
        if let Some(producer) = &self.producer {
            producer.stop();
        }
    }

    pub(super) fn doing(&self, what: &str) {
        self.plan
            .progress
            .send_modify(|progress| what.clone_into(&mut progress.doing));
    }

    /// Events published by now, as of the last look.
    pub(super) fn published(&self) -> u64 {
        let committed = self.committed.load(Ordering::Relaxed);
        let published = committed.saturating_sub(*self.backlog.pending().borrow());
        self.plan.progress.send_modify(|progress: &mut Progress| {
            progress.committed = committed;
            progress.published = published;
        });
        published
    }

    /// Whether all that will be produced is published.
    pub(super) fn is_drained(&self) -> bool {
        self.published();
        let finished = self.producer.as_ref().is_none_or(Producer::is_finished);
        finished && *self.backlog.pending().borrow() == 0
    }

    /// Waits until so many events are published.
    pub(super) async fn until_published(&self, count: u64) -> Result<()> {
        self.until(&format!("{count} events are published"), || {
            self.published() >= count || self.is_drained()
        })
        .await
    }

    /// Waits until everything is published.
    pub(super) async fn until_drained(&self) -> Result<()> {
        loop {
            self.until("everything is published", || self.is_drained())
                .await?;
            // The last look may be from before the last commit.
            if pending_now(&self.pool).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) -> Result<()> {
        let (mut moved, mut before) = (Instant::now(), self.published());
        while !condition() {
            let now = self.published();
            if now != before {
                (moved, before) = (Instant::now(), now);
            }
            ensure!(
                moved.elapsed() < STANDSTILL_MAX,
                "nothing was published for {} s, while waiting until {what}; {} events wait; {}",
                STANDSTILL_MAX.as_secs(),
                *self.backlog.pending().borrow(),
                self.last_words()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let words = |relay: &Child| format!("{}:\n{}", relay.name(), relay.log_tail());
        let words: Vec<String> = self.relays.relays.iter().map(words).collect();
        words.join("\n")
    }

    /// Waits until so many relays hold even shares of all shards; gives how long that took.
    pub(super) async fn until_even(&self, relays: usize) -> Result<Duration> {
        let begun = Instant::now();
        while !Spread::now(&self.pool).await?.is_even(relays) {
            if begun.elapsed() > STANDSTILL_MAX {
                bail!(
                    "the shards are not spread evenly over {relays} relays: {:?}; {}",
                    Spread::now(&self.pool).await?,
                    self.last_words()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(begun.elapsed())
    }

    /// Adds what a relay has counted so far: it is about to lose it.
    pub(super) async fn remember_counters(&mut self, nth: usize) {
        if let Some(counters) = Counters::scrape(self.relays.ops(nth)).await {
            self.counters += counters;
        }
    }

    /// Adds what relays counted that were asked to end; gives how many those were.
    pub(super) fn remember_last_lines(&mut self) -> Result<u64> {
        let mut lives = 0;
        for relay in &self.relays.relays {
            let log = std::fs::read_to_string(relay.log()).context("a relay's log")?;
            let (counters, ended) = Counters::from_last_lines(&log);
            self.counters += counters;
            lives += ended;
        }
        Ok(lives)
    }

    /// A fault was put.
    pub(super) fn struck(&mut self, fault: &'static str) {
        match self.strikes.iter_mut().find(|(name, _)| *name == fault) {
            Some((_, count)) => *count += 1,
            None => self.strikes.push((fault, 1)),
        }
        let all = self.strikes.iter().map(|(_, count)| count).sum();
        self.plan
            .progress
            .send_modify(|progress| progress.strikes = all);
    }

    /// Waits until all is published and every relay has its share, ends everything, and judges.
    pub(super) async fn judge(mut self) -> Result<Outcome> {
        self.until_drained().await?;
        let produced = match self.producer.take() {
            Some(producer) => producer.finish().await?,
            None => Produced::default(),
        };
        join_all(self.relays.relays.iter().map(Child::thaw)).await;
        // Whoever was frozen is back among the living, and has had its chance to do wrong.
        self.until_even(self.plan.relays).await?;
        for nth in 0..self.plan.relays {
            self.remember_counters(nth).await;
        }
        self.doing("reading the whole stream");
        let verdict = self.audit(&produced).await?;
        let exits = self.relays.relays.iter().map(Child::deaths).sum();
        self.pool.close().await;
        self.relays.end().await;
        Ok(Outcome {
            verdict,
            counters: self.counters,
            exits,
            strikes: self.strikes,
            measured: self.measured,
            too_slow: self.too_slow,
            breaches: self.breaches,
        })
    }

    async fn audit(&self, produced: &Produced) -> Result<Verdict> {
        let mut audit = Audit::new(read_ledger(&self.pool).await?, produced);
        let nats = connect_nats(&self.relays.nats_addresses.auditor_url).await?;
        read_whole_stream(&nats, |message| audit.message(&message)).await?;
        Ok(audit.verdict())
    }
}
