//! `cargo xtask bench relay`: how fast the outbox reaches the stream, and what it costs.

pub(super) mod drain;
pub(super) mod latency;
mod naive;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use e2e::environment;
use e2e::supervisor::connect_nats;

use super::held_open::HeldOpen;
use super::machine::fsync_ms;
use super::relay_rig::{RelayRig, SyncMode};
use super::report::{Bound, Budget, Report};
use super::{Load, event, raw};
use drain::{Drained, drain, vacuum};
use naive::Naive;

/// What `--help` says beyond one line.
pub(super) const HELP: &str = "\
How fast one relay drains a backlog, how soon an event stands in the stream, and what it costs.

drain    a backlog, beside the same messages in raw fenced batches without a database, and beside a \
naive loop (SELECT … FOR UPDATE SKIP LOCKED, publish one by one, DELETE, COMMIT)
held     the same backlog twice: while a transaction is held open elsewhere, and without
latency  from a producer's commit to a consumer of the stream, at 1 and at --rate events a second, \
beside the naive loop at --rate

Each on a nats-server that syncs every write (sync_interval: always), on one that does so and stages \
batches in memory, and on one that does not.";

/// Batches in flight, the relay's default of `OUTBOX_WORKERS`.
const WORKERS: u64 = 4;
/// Events behind a fence at most, the relay's default of `OUTBOX_BATCH_MAX`.
const BATCH: u64 = 999;
/// Events of a backlog unless told otherwise.
const EVENTS: u64 = 500_000;
/// Events a second unless told otherwise.
const RATE: u32 = 1000;
/// How long a latency is taken unless told otherwise, in seconds.
const SECONDS: u64 = 30;
/// How long the naive loop drains: its rate does not depend on how much waits.
const NAIVE_DRAIN: Duration = Duration::from_secs(10);
/// What waits for it meanwhile; more than it can do.
const NAIVE_BACKLOG: u64 = 60_000;

/// Arguments of `cargo xtask bench relay`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure; can be given several times
    #[arg(long = "part", value_enum, value_name = "PART",
          default_values_t = [Part::Drain, Part::Held, Part::Latency])]
    parts: Vec<Part>,

    /// How the nats-server syncs; can be given several times
    #[arg(long = "sync", value_enum, value_name = "SYNC",
          default_values_t = SyncMode::ALL)]
    syncs: Vec<SyncMode>,

    /// Events of the backlog that is drained
    #[arg(long, value_name = "NUMBER", default_value_t = EVENTS)]
    events: u64,

    /// Events a second of the latency under load
    #[arg(long, value_name = "NUMBER", default_value_t = RATE,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// How long each latency is taken
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    seconds: u64,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A backlog, beside raw batches and a naive loop
    Drain,
    /// A backlog while a transaction is held open elsewhere
    Held,
    /// From commit to consumer
    Latency,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            parts: vec![Part::Drain, Part::Held, Part::Latency],
            syncs: SyncMode::ALL.to_vec(),
            events: EVENTS,
            rate: RATE,
            seconds: SECONDS,
        }
    }
}

/// Measures.
///
/// # Errors
/// A part does not start, or nothing moves.
pub(crate) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let mut report = Report::new("relay", load);
    report.section("the disk");
    let fsync = fsync_ms(&environment::target_dir()).context("the disk cannot be written to")?;
    report.figure("512 bytes and fdatasync, median", fsync, "ms");
    for sync in &args.syncs {
        for part in &args.parts {
            // Each on servers of its own: what one leaves behind is not another's load.
            let rig = RelayRig::start(*sync, &[]).await?;
            let run = Run {
                rig: &rig,
                sync: *sync,
                args,
                load,
            };
            let outcome = match part {
                Part::Drain => run.drain(&mut report).await,
                Part::Held => run.held(&mut report).await,
                Part::Latency => run.latency(&mut report).await,
            };
            rig.end().await;
            outcome?;
        }
    }
    Ok(report)
}

struct Run<'a> {
    rig: &'a RelayRig,
    sync: SyncMode,
    args: &'a Args,
    load: Load,
}

impl Run<'_> {
    async fn drain(&self, report: &mut Report) -> Result<()> {
        let (rig, name) = (self.rig, self.sync.label());
        let events = self.load.of(self.args.events);
        report.section(format!("drain of {events} events, {name}"));
        tracing::info!("draining {events} events, {name}");
        let drained = drain(rig, events).await?;
        drained.add_to(report);
        rig.relays.relays[0].end().await;
        tracing::info!("the same in raw fenced batches");
        let client = connect_nats(&rig.relays.nats_addresses.relay_url).await?;
        let plan = raw::Plan {
            events,
            batch: BATCH,
            lanes: WORKERS,
        };
        let raw = raw::publish(&client, plan).await?;
        report.figure("raw fenced batches of the same messages", raw, "events/s");
        let naive = self.naive_drain().await?;
        report.figure("a naive loop", naive, "events/s");
        report.figure("relay ÷ naive loop", drained.per_second / naive, "");
        drain_budgets(report, &drained, raw, name);
        Ok(())
    }

    async fn naive_drain(&self) -> Result<f64> {
        tracing::info!("a naive loop drains for {} s", NAIVE_DRAIN.as_secs());
        event::append_backlog(&self.rig.pool, self.load.of(NAIVE_BACKLOG)).await?;
        self.index_for_naive().await?;
        let naive = Naive::connect(self.rig).await?;
        naive.drain_for(NAIVE_DRAIN).await
    }

    /// The naive loop reads by id alone: it gets an index for that.
    async fn index_for_naive(&self) -> Result<()> {
        for statement in [
            "create index if not exists bench_naive on outbox_events (id)",
            "analyze outbox_events",
        ] {
            sqlx::query(statement).execute(&self.rig.pool).await?;
        }
        Ok(())
    }

    async fn held(&self, report: &mut Report) -> Result<()> {
        let (rig, name) = (self.rig, self.sync.label());
        let events = self.load.of(self.args.events);
        report.section(format!(
            "drain of {events} events while a transaction is held open elsewhere, {name}"
        ));
        tracing::info!("draining {events} events without a transaction held open, {name}");
        let without = drain(rig, events).await?;
        vacuum(rig).await?;
        tracing::info!("and with one");
        let held = HeldOpen::begin(rig).await?;
        let with = drain(rig, events).await?;
        held.end().await?;
        report.figure("without", without.per_second, "events/s");
        report.figure("with", with.per_second, "events/s");
        report.figure("CPU of Postgres without", without.cpu.postgres, "µs/event");
        report.figure("CPU of Postgres with", with.cpu.postgres, "µs/event");
        report.budget(Budget {
            name: format!("with a transaction held open ÷ without, {name}"),
            value: with.per_second / without.per_second,
            unit: "",
            must: Bound::AtLeast(0.7),
            aim: Bound::AtLeast(0.95),
        });
        Ok(())
    }

    async fn latency(&self, report: &mut Report) -> Result<()> {
        let (rig, name, rate) = (self.rig, self.sync.label(), self.args.rate);
        let lasts = Duration::from_secs(self.load.of(self.args.seconds).max(3));
        for per_second in [1, rate] {
            report.section(format!("{per_second} events/s, {name}"));
            tracing::info!("{per_second} events/s for {} s, {name}", lasts.as_secs());
            let taken = latency::at_rate(rig, per_second, lasts).await?;
            taken.add_to(report);
        }
        rig.relays.relays[0].end().await;
        self.index_for_naive().await?;
        report.section(format!("{rate} events/s through a naive loop, {name}"));
        tracing::info!("{rate} events/s through a naive loop, {name}");
        let naive = Naive::connect(rig).await?;
        let taken = tokio::select! {
            taken = latency::at_rate(rig, rate, lasts / 2) => taken?,
            ended = naive.run() => return ended.context("the naive loop ended"),
        };
        taken.add_to(report);
        Ok(())
    }
}

fn drain_budgets(report: &mut Report, drained: &Drained, raw: f64, name: &str) {
    report.budget(Budget {
        name: format!("drain ÷ raw fenced batches, {name}"),
        value: drained.per_second / raw,
        unit: "",
        must: Bound::AtLeast(0.5),
        aim: Bound::AtLeast(0.8),
    });
    report.budget(Budget {
        name: format!("drain, {name}"),
        value: drained.per_second,
        unit: "events/s",
        must: Bound::AtLeast(14_500.0),
        aim: Bound::AtLeast(50_000.0),
    });
    report.budget(Budget {
        name: format!("CPU of relay and Postgres, {name}"),
        value: drained.cpu.relay + drained.cpu.postgres,
        unit: "µs/event",
        must: Bound::AtMost(141.0),
        aim: Bound::AtMost(141.0),
    });
    report.budget(Budget {
        name: format!("peak memory of the relay, {name}"),
        value: drained.memory_peak_bytes as f64 / f64::from(1 << 20),
        unit: "MiB",
        must: Bound::AtMost(100.0),
        aim: Bound::AtMost(50.0),
    });
}
