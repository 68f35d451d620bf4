//! A backlog, drained by one relay.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bench::event;
use crate::bench::processes::{CpuAnEvent, Processes};
use crate::bench::relay_rig::RelayRig;
use crate::bench::report::Report;
use crate::bench::scrape::Scrape;

/// Between two questions to the relay how far it is.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A drain that has not ended by then has stalled.
const DEADLINE: Duration = Duration::from_mins(5);

/// What a drain took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) per_second: f64,
    pub(crate) cpu: CpuAnEvent,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_peak_bytes: u64,
}

/// Ends the relay, appends a backlog, starts the relay again and waits until all is published.
/// Taking the shards over is part of it.
pub(crate) async fn drain(rig: &RelayRig, events: u64) -> Result<Drained> {
    let relay = &rig.relays.relays[0];
    relay.end().await;
    event::append_backlog(&rig.pool, events).await?;
    // What the appending has left to write is not the drain's.
    sqlx::query("checkpoint").execute(&rig.pool).await?;
    relay.start_again().await?;
    let processes = Processes::of(&rig.relays)?;
    let (before, begun) = (processes.cpu(), Instant::now());
    while published(rig).await? < events as f64 {
        if begun.elapsed() > DEADLINE {
            bail!("the drain has stalled:\n{}", relay.log_tail());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let (memory_bytes, memory_peak_bytes) = processes.relay_memory_bytes();
    Ok(Drained {
        per_second: events as f64 / took,
        cpu: processes.cpu().an_event_since(before, events as f64),
        memory_bytes,
        memory_peak_bytes,
    })
}

impl Drained {
    pub(crate) fn add_to(self, report: &mut Report) {
        report.figure("relay", self.per_second, "events/s");
        self.cpu.add_to(report);
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
    }
}

/// How many events the relay has published since it was started.
async fn published(rig: &RelayRig) -> Result<f64> {
    Scrape::of(rig.relays.ops(0))
        .await?
        .value("outbox_published_total")
}

/// Takes out what earlier drains have left, as autovacuum does a while later.
pub(crate) async fn vacuum(rig: &RelayRig) -> Result<()> {
    sqlx::query("vacuum (analyze) outbox_events")
        .execute(&rig.pool)
        .await
        .context("vacuum")?;
    Ok(())
}
