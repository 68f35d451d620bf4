//! From a producer's commit to the stream, at a rate.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::load::Latencies;

use crate::bench::processes::{CpuAnEvent, Processes};
use crate::bench::relay_rig::RelayRig;
use crate::bench::report::Report;
use crate::bench::scrape::{Histogram, Scrape};
use crate::bench::traffic::{Arrivals, Bell, Pace, Waking, produce};

/// The relay's own measure.
const HISTOGRAM: &str = "outbox_commit_to_ack_seconds";
/// Transactions at once at most: at 1,000 a second, more than wait for a slow disk together.
const CLIENTS: u32 = 32;
/// Events of so many seconds at the beginning are not counted.
const SETTLING: Duration = Duration::from_secs(2);
/// What has not arrived so long after the last commit is not waited for: who publishes does not
/// keep up.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was taken.
pub(crate) struct Taken {
    /// From the commit's return at the producer to the event's arrival at a consumer.
    pub(crate) latencies: Latencies,
    /// From the append to the stream's answer, as the relay sees it; nothing where it does not run.
    own: Histogram,
    pub(crate) cpu: CpuAnEvent,
    pub(crate) committed: u64,
    pub(crate) arrived: u64,
    took: Duration,
}

/// Events at a rate, with hints after their commits.
///
/// # Errors
/// The database refuses, or the stream cannot be read.
pub(crate) async fn at_rate(rig: &RelayRig, per_second: u32, lasts: Duration) -> Result<Taken> {
    take(rig, Waking::Hint, per_second, lasts).await
}

/// The same, with the relays woken in another way.
///
/// # Errors
/// The database refuses, or the stream cannot be read.
pub(crate) async fn take(
    rig: &RelayRig,
    waking: Waking,
    per_second: u32,
    lasts: Duration,
) -> Result<Taken> {
    let arrivals = Arrivals::follow(&rig.relays.nats_addresses.auditor_url).await?;
    let (nats, postgres) = (&rig.relays.nats_addresses, &rig.relays.postgres.addresses);
    let bell = Bell::default();
    let _passing = bell
        .pass_on(waking, &nats.gateway_url, &postgres.owner_url)
        .await?;
    let processes = Processes::of(&rig.relays)?;
    let (before, own_before) = (processes.cpu(), own(rig).await);
    let begun = Instant::now();
    let pace = Pace {
        per_second: Some(per_second),
        lasts: lasts + SETTLING,
        clients: CLIENTS.min(per_second),
    };
    let committed = produce(&rig.pool, pace, waking, &bell).await?;
    let count = committed.count();
    let ended = Instant::now();
    while arrivals.moments().count() < count && ended.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let arrived = arrivals.moments().count();
    let settling = SETTLING.as_secs() * u64::from(per_second);
    Ok(Taken {
        latencies: committed.until(arrivals.moments(), settling),
        own: own(rig).await.since(&own_before),
        cpu: processes.cpu().an_event_since(before, arrived as f64),
        committed: count,
        arrived,
        took: begun.elapsed(),
    })
}

/// Nothing where the relay is stopped.
async fn own(rig: &RelayRig) -> Histogram {
    match Scrape::of(rig.relays.ops(0)).await {
        Ok(scrape) => scrape.histogram(HISTOGRAM),
        Err(_) => Histogram::default(),
    }
}

/// As milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Taken {
    /// A percentile, in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        ms(self.latencies.percentile(percent))
    }

    /// As figures of the present section.
    pub(crate) fn add_to(&self, report: &mut Report) {
        report.figure("commit → consumer, p50", self.percentile_ms(50), "ms");
        report.figure("commit → consumer, p99", self.percentile_ms(99), "ms");
        if self.own != Histogram::default() {
            let own = |quantile| self.own.quantile(quantile) * 1e3;
            report.figure("append → stream's answer by the relay, p50", own(0.5), "ms");
            report.figure(
                "append → stream's answer by the relay, p99",
                own(0.99),
                "ms",
            );
        }
        report.figure("events committed", self.committed as f64, "");
        if self.arrived < self.committed {
            report.figure("events that arrived", self.arrived as f64, "");
        }
        let seconds = self.took.as_secs_f64();
        report.figure(
            "arrived a second",
            self.arrived as f64 / seconds,
            "events/s",
        );
        self.cpu.add_to(report);
    }
}
