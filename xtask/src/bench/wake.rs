//! `cargo xtask bench wake`: what it costs to tell relays that rows wait, and how soon they know.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::supervisor::connect_nats;
use sqlx::postgres::PgListener;
use tokio::task::JoinSet;

use super::Load;
use super::relay::latency;
use super::relay_rig::{RelayRig, SyncMode};
use super::report::Report;
use super::traffic::{Bell, Pace, Waking, produce};

/// What `--help` says beyond one line.
pub(super) const HELP: &str = "\
What it costs to tell relays that rows wait, and how soon they know: NOTIFY in the transaction, \
NOTIFY after it, a message on outbox.wake after it, and nothing, so that relays poll.

First, clients append events as fast as the database lets them, one a transaction, while somebody \
listens and no relay runs: their throughput, as a ratio to that without waking. Then, with a relay, \
--rate events a second: from a producer's commit to a consumer of the stream.";

/// Clients unless told otherwise.
const CLIENTS: u32 = 64;
/// How long each throughput is taken unless told otherwise, in seconds.
const SECONDS: u64 = 10;
/// Events a second of the latency: so few that each is waited for by itself.
const RATE: u32 = 20;

/// Arguments of `cargo xtask bench wake`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Clients that append
    #[arg(long, value_name = "NUMBER", default_value_t = CLIENTS,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,

    /// How long each figure is taken
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    seconds: u64,

    /// Events a second of the latency
    #[arg(long, value_name = "NUMBER", default_value_t = RATE,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            clients: CLIENTS,
            seconds: SECONDS,
            rate: RATE,
        }
    }
}

/// Measures.
///
/// # Errors
/// A part does not start.
pub(crate) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let mut report = Report::new("wake", load);
    let lasts = Duration::from_secs(load.of(args.seconds).max(2));
    throughputs(args, lasts, &mut report).await?;
    for waking in Waking::ALL {
        report.section(format!(
            "{} events/s, {}, sync_interval: default",
            args.rate,
            waking.label()
        ));
        tracing::info!("{} events/s, {}", args.rate, waking.label());
        let listen = matches!(waking, Waking::NotifyAfter | Waking::NotifyInside);
        let env = [("OUTBOX_LISTEN", if listen { "true" } else { "false" })];
        let rig = RelayRig::start(SyncMode::Default, &env).await?;
        let taken = latency::take(&rig, waking, args.rate, lasts).await;
        rig.end().await;
        let taken = taken?;
        report.figure("commit → consumer, p50", taken.percentile_ms(50), "ms");
        report.figure("commit → consumer, p99", taken.percentile_ms(99), "ms");
    }
    Ok(report)
}

/// Each way of waking once, on the same servers, without a relay.
async fn throughputs(args: &Args, lasts: Duration, report: &mut Report) -> Result<()> {
    report.section(format!("{} clients, one event a transaction", args.clients));
    let rig = RelayRig::prepare(SyncMode::Default, &[]).await?;
    let outcome = async {
        let _heard = hear(&rig).await?;
        // The first run meets cold files: it is not counted.
        throughput(&rig, Waking::Nothing, args.clients, lasts / 2).await?;
        let mut base = None;
        for waking in Waking::ALL {
            tracing::info!("{} clients, {}", args.clients, waking.label());
            let found = throughput(&rig, waking, args.clients, lasts).await?;
            let base = *base.get_or_insert(found);
            report.figure(waking.label(), found, "tx/s");
            report.figure(format!("{} ÷ none", waking.label()), found / base, "");
        }
        Ok(())
    }
    .await;
    rig.end().await;
    outcome
}

/// Somebody who listens on both ways, as relays do.
async fn hear(rig: &RelayRig) -> Result<JoinSet<()>> {
    use futures_util::StreamExt as _;

    let mut listener = PgListener::connect_with(&rig.pool)
        .await
        .context("the listener")?;
    listener.listen("outbox_wake").await?;
    let client = connect_nats(&rig.relays.nats_addresses.relay_url).await?;
    let mut hints = client.subscribe("outbox.wake").await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { while listener.recv().await.is_ok() {} });
    tasks.spawn(async move { while hints.next().await.is_some() {} });
    Ok(tasks)
}

/// Transactions a second.
async fn throughput(rig: &RelayRig, waking: Waking, clients: u32, lasts: Duration) -> Result<f64> {
    let bell = Bell::default();
    let nats_url = &rig.relays.nats_addresses.gateway_url;
    let postgres_url = &rig.relays.postgres.addresses.owner_url;
    let _passing = bell.pass_on(waking, nats_url, postgres_url).await?;
    let pace = Pace {
        per_second: None,
        lasts,
        clients,
    };
    let committed = produce(&rig.pool, pace, waking, &bell).await?;
    sqlx::query("truncate outbox_events")
        .execute(&rig.pool)
        .await?;
    Ok(committed.count() as f64 / lasts.as_secs_f64())
}
