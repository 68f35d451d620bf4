//! A load that lasts, while a transaction is held open elsewhere.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::layout::Layout;
use super::load::{Load, Phase};
use super::schema::{self, Extent, SCHEMA, extent, wal_bytes};
use crate::bench::event;
use crate::bench::held_open::HeldOpen;
use crate::bench::processes::Processes;
use crate::bench::relay_rig::{RelayRig, SyncMode};
use crate::bench::report::Report;
use crate::bench::scrape::Scrape;

/// Events of the backlog that is drained at the end.
const BACKLOG: u64 = 100_000;
/// What is in flight has ended after this.
const REST: Duration = Duration::from_millis(500);
/// Between two looks whether it is drained.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A drain that has not ended by then is given up.
const DRAIN_DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks at how large the outbox is.
const EXTENT_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// How much, for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) per_second: u32,
    pub(super) lasts: Duration,
    /// Whether a transaction is held open meanwhile.
    pub(super) held: bool,
}

impl Plan {
    fn title(self, what: &str) -> String {
        format!(
            "{what}: {} events/s for {} s, {}",
            self.per_second,
            self.lasts.as_secs(),
            if self.held {
                "a transaction held open elsewhere"
            } else {
                "no transaction held open"
            }
        )
    }

    async fn hold(self, rig: &RelayRig) -> Result<Option<HeldOpen>> {
        Ok(if self.held {
            Some(HeldOpen::begin(rig).await?)
        } else {
            None
        })
    }
}

/// A layout of its own, without relay and stream.
pub(super) async fn without_stream(layout: Layout, plan: Plan, report: &mut Report) -> Result<()> {
    let rig = RelayRig::prepare(SyncMode::Default, &[]).await?;
    let outcome = layout_on(&rig, layout, plan, report).await;
    rig.end().await;
    outcome
}

async fn layout_on(rig: &RelayRig, layout: Layout, plan: Plan, report: &mut Report) -> Result<()> {
    report.section(plan.title(layout.label()));
    tracing::info!("{}", plan.title(layout.label()));
    let owner_url = &rig.relays.postgres.addresses.owner_url;
    let pool = schema::make(&rig.pool, owner_url, layout).await?;
    let held = plan.hold(rig).await?;
    let processes = Processes::of(&rig.relays)?;
    let (phase, phases) = watch::channel(Phase::Both);
    let load = Load::new(&pool, layout, plan.per_second, phases);
    let counts = load.counts();
    let (cpu, wal) = (processes.cpu(), wal_bytes(&pool).await?);
    let mut tasks = JoinSet::new();
    load.append(&mut tasks);
    load.drain(&mut tasks);
    watch_over(&mut tasks, plan.lasts / 4).await?;
    let read_first = counts.take_read_ms();
    watch_over(&mut tasks, plan.lasts / 2).await?;
    counts.take_read_ms();
    watch_over(&mut tasks, plan.lasts / 4).await?;
    let read_last = counts.take_read_ms();
    phase.send_replace(Phase::Rest);
    tokio::time::sleep(REST).await;
    let settled = counts.settled.load(Ordering::Relaxed) as f64;
    let waiting = counts.appended.load(Ordering::Relaxed) as f64 - settled;
    let cpu = processes.cpu().an_event_since(cpu, settled);
    let wal = (wal_bytes(&pool).await? - wal) / settled.max(1.0);
    report.figure("events taken out", settled, "");
    report.figure("events that wait at the end", waiting, "");
    report.figure("CPU of Postgres", cpu.postgres, "µs/event");
    report.figure("WAL", wal, "B/event");
    report.figure("reading statement, first quarter", read_first, "ms");
    report.figure("reading statement, last quarter", read_last, "ms");
    tell_extents(&pool, SCHEMA, layout, report).await?;
    let (drained, left) = drain_backlog(&load, &phase).await?;
    report.figure("drain of a backlog after that", drained, "events/s");
    if left > 0 {
        report.figure("given up with so many left", left as f64, "");
    }
    phase.send_replace(Phase::End);
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the load panicked")??;
    }
    if let Some(held) = held {
        held.end().await?;
    }
    tell_vacuum(&pool, SCHEMA, pending_table(layout), report).await?;
    pool.close().await;
    Ok(())
}

/// The table whose rows die.
fn pending_table(layout: Layout) -> &'static str {
    match layout {
        Layout::Status => "event",
        _ => "pending",
    }
}

/// Lets time pass; a task that fails meanwhile is an error.
async fn watch_over(tasks: &mut JoinSet<Result<()>>, lasts: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(lasts) => Ok(()),
        Some(ended) = tasks.join_next() => ended.context("a task of the load panicked")?,
    }
}

async fn tell_extents(
    pool: &PgPool,
    schema: &str,
    layout: Layout,
    report: &mut Report,
) -> Result<()> {
    let pending = extent(pool, schema, pending_table(layout)).await?;
    let all = extent(pool, schema, "").await?;
    report.figure("dead rows where they wait", pending.dead_rows as f64, "");
    report.figure(
        "tables where they wait",
        pending.table_bytes as f64 / MIB,
        "MiB",
    );
    report.figure(
        "indexes where they wait",
        pending.index_bytes as f64 / MIB,
        "MiB",
    );
    report.figure("all tables", all.table_bytes as f64 / MIB, "MiB");
    report.figure("all indexes", all.index_bytes as f64 / MIB, "MiB");
    Ok(())
}

/// Appends a backlog, then drains it as fast as it goes; gives events a second, and how many were
/// left when it took too long.
async fn drain_backlog(load: &Load, phase: &watch::Sender<Phase>) -> Result<(f64, u64)> {
    let counts = load.counts();
    load.append_some(BACKLOG).await?;
    let before = counts.settled.load(Ordering::Relaxed);
    let all = counts.appended.load(Ordering::Relaxed);
    phase.send_replace(Phase::Drain);
    let begun = Instant::now();
    let mut settled = before;
    while settled < all && begun.elapsed() < DRAIN_DEADLINE {
        tokio::time::sleep(LOOK_EVERY).await;
        settled = counts.settled.load(Ordering::Relaxed);
    }
    let rate = (settled - before) as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, all.saturating_sub(settled)))
}

/// What is left to be done once nothing hinders vacuum any more.
async fn tell_vacuum(pool: &PgPool, schema: &str, table: &str, report: &mut Report) -> Result<()> {
    let begun = Instant::now();
    sqlx::query(AssertSqlSafe(format!("vacuum {schema}.{table}")))
        .execute(pool)
        .await
        .context("vacuum")?;
    report.figure(
        "vacuum once the transaction has ended",
        begun.elapsed().as_secs_f64(),
        "s",
    );
    let after = extent(pool, schema, table).await?;
    let bytes = (after.table_bytes + after.index_bytes) as f64;
    report.figure(
        "tables and indexes where they wait, then",
        bytes / MIB,
        "MiB",
    );
    Ok(())
}

/// The outbox as it is, with a relay and a stream.
pub(super) async fn with_relay(plan: Plan, report: &mut Report) -> Result<()> {
    let rig = RelayRig::start(SyncMode::Always, &[]).await?;
    let outcome = relay_on(&rig, plan, report).await;
    rig.end().await;
    outcome
}

async fn relay_on(rig: &RelayRig, plan: Plan, report: &mut Report) -> Result<()> {
    report.section(plan.title("the outbox with a relay, sync_interval: always"));
    tracing::info!("{}", plan.title("the outbox with a relay"));
    let held = plan.hold(rig).await?;
    let processes = Processes::of(&rig.relays)?;
    let (cpu, wal) = (processes.cpu(), wal_bytes(&rig.pool).await?);
    let begun = Instant::now();
    let mut marks = vec![own(rig).await?];
    let (mut appended, mut oldest_max, mut pending_max) = (0_u64, 0.0_f64, 0.0_f64);
    let (mut highest, mut next_look) = (Extent::default(), Instant::now());
    for nth in 1..=4_u32 {
        while begun.elapsed() < plan.lasts * nth / 4 {
            let due = u128::from(plan.per_second) * begun.elapsed().as_millis() / 1000;
            let count = u64::try_from(due)?.saturating_sub(appended);
            if count > 0 {
                event::append_from(&rig.pool, appended, count).await?;
                appended += count;
            }
            if Instant::now() >= next_look {
                highest = highest.max(extent(&rig.pool, "public", "outbox_events").await?);
                next_look = Instant::now() + EXTENT_EVERY;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let scrape = own(rig).await?;
        oldest_max = oldest_max.max(scrape.value("outbox_oldest_pending_age_seconds")?);
        pending_max = pending_max.max(scrape.value("outbox_pending")?);
        marks.push(scrape);
    }
    let published = marks[4].value("outbox_published_total")?;
    report.figure("events appended", appended as f64, "");
    report.figure("events published meanwhile", published, "");
    report.figure("pending, highest of four looks", pending_max, "");
    report.figure("oldest age, highest of four looks", oldest_max, "s");
    for (name, nth) in [("first", 1), ("last", 4)] {
        const HISTOGRAM: &str = "outbox_commit_to_ack_seconds";
        let before = marks[nth - 1].histogram(HISTOGRAM);
        let own = marks[nth].histogram(HISTOGRAM).since(&before);
        for (percent, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            report.figure(
                format!("append → stream's answer, {name} quarter, {percent}"),
                own.quantile(quantile) * 1e3,
                "ms",
            );
        }
    }
    processes
        .cpu()
        .an_event_since(cpu, published)
        .add_to(report);
    let wal = (wal_bytes(&rig.pool).await? - wal) / published.max(1.0);
    report.figure("WAL", wal, "B/event");
    report.figure(
        "dead rows of outbox_events, highest",
        highest.dead_rows as f64,
        "",
    );
    report.figure(
        "outbox_events, largest",
        highest.table_bytes as f64 / MIB,
        "MiB",
    );
    report.figure(
        "its indexes, largest",
        highest.index_bytes as f64 / MIB,
        "MiB",
    );
    let kept = extent(&rig.pool, "public", "outbox_published").await?;
    report.figure("outbox_published", kept.table_bytes as f64 / MIB, "MiB");
    report.figure("its indexes", kept.index_bytes as f64 / MIB, "MiB");
    if let Some(held) = held {
        held.end().await?;
    }
    tell_vacuum(&rig.pool, "public", "outbox_events", report).await
}

async fn own(rig: &RelayRig) -> Result<Scrape> {
    Scrape::of(rig.relays.ops(0)).await
}
