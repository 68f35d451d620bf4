//! A backlog, drained by one relay.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::supervisor::{Stack, loopback};
use sqlx::PgPool;

use crate::bench::event;
use crate::bench::machine::{cpu_of_tree, own_memory_bytes, peak_memory_bytes};
use crate::bench::report::{Bound, Budget, Report};

/// Between two questions to the relay how far it is.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A drain that has not ended by then has stalled.
const DEADLINE: Duration = Duration::from_mins(5);

/// What a drain took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) per_second: f64,
    relay_cpu_micros: f64,
    postgres_cpu_micros: f64,
    broker_cpu_micros: f64,
    memory_bytes: u64,
    memory_peak_bytes: u64,
}

/// Ends the relay, appends a backlog, starts the relay again and waits until all is published.
/// Taking the shards over is part of it.
pub(crate) async fn drain(stack: &Stack, pool: &PgPool, events: u64) -> Result<Drained> {
    let relay = &stack.relays[0];
    relay.end().await;
    event::append_backlog(pool, events).await?;
    // What the appending has left to write is not the drain's.
    sqlx::query("checkpoint").execute(pool).await?;
    relay.start_again().await?;
    let pids = Pids::of(stack)?;
    let before = pids.cpu();
    let begun = Instant::now();
    while published(stack).await? < events as f64 {
        if begun.elapsed() > DEADLINE {
            bail!("the drain has stalled:\n{}", relay.log_tail());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let after = pids.cpu();
    let micros =
        |nth: usize| after[nth].saturating_sub(before[nth]).as_secs_f64() * 1e6 / events as f64;
    Ok(Drained {
        per_second: events as f64 / took,
        relay_cpu_micros: micros(0),
        postgres_cpu_micros: micros(1),
        broker_cpu_micros: micros(2),
        memory_bytes: own_memory_bytes(pids.relay),
        memory_peak_bytes: peak_memory_bytes(pids.relay),
    })
}

impl Drained {
    pub(crate) fn add_to(self, report: &mut Report, broker: &str) {
        report.figure("relay", self.per_second, "events/s");
        report.figure("CPU of the relay", self.relay_cpu_micros, "µs/event");
        report.figure("CPU of Postgres", self.postgres_cpu_micros, "µs/event");
        report.figure("CPU of nats-server", self.broker_cpu_micros, "µs/event");
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        report.figure(
            "memory of the relay, its own",
            mib(self.memory_bytes),
            "MiB",
        );
        report.figure(
            "memory of the relay, peak",
            mib(self.memory_peak_bytes),
            "MiB",
        );
        report.budget(Budget {
            name: format!("CPU of the relay, {broker}"),
            value: self.relay_cpu_micros,
            unit: "µs/event",
            must: Bound::AtMost(135.0),
            aim: Bound::AtMost(135.0),
        });
    }
}

/// The processes that share the work.
struct Pids {
    relay: i32,
    postgres: i32,
    broker: i32,
}

impl Pids {
    fn of(stack: &Stack) -> Result<Self> {
        let private = "a benchmark has private servers";
        Ok(Self {
            relay: stack.relays[0].pid().context("the relay runs")?,
            postgres: stack
                .postgres
                .as_ref()
                .and_then(|postgres| postgres.child.pid())
                .context(private)?,
            broker: stack
                .nats
                .as_ref()
                .and_then(|nats| nats.child.pid())
                .context(private)?,
        })
    }

    fn cpu(&self) -> [Duration; 3] {
        [self.relay, self.postgres, self.broker].map(cpu_of_tree)
    }
}

/// How many events the relay has published since it was started.
async fn published(stack: &Stack) -> Result<f64> {
    let url = format!("http://{}/metrics", loopback(stack.ports.relay_ops[0]));
    let text = reqwest::get(url).await?.text().await?;
    text.lines()
        .find_map(|line| line.strip_prefix("outbox_published_total ")?.parse().ok())
        .context("the relay's metrics lack outbox_published_total")
}
