//! `cargo xtask bench relay`: how fast the outbox reaches the stream, and what it costs.

mod drain;

use anyhow::Result;
use e2e::supervisor::{Durability, Stack, connect_nats};

use super::report::{Bound, Budget, Report};
use super::rig::{self, RigOptions};
use super::{Load, raw};
use drain::drain;

/// Batches in flight, the relay's default of `OUTBOX_WORKERS`.
const WORKERS: u64 = 4;
/// Events behind a fence at most, the relay's default of `OUTBOX_BATCH_MAX`.
const BATCH: u64 = 999;
/// Events of a backlog unless told otherwise.
const EVENTS: u64 = 500_000;
/// The stream keeps all that a run publishes.
const STREAM_BYTES_MAX: u64 = 32 << 30;

/// Arguments of `cargo xtask bench relay`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Events of the backlog that is drained
    #[arg(long, value_name = "NUMBER", default_value_t = EVENTS)]
    events: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self { events: EVENTS }
    }
}

/// Measures.
///
/// # Errors
/// A part does not start, or nothing moves.
pub(crate) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let mut report = Report::new("relay", load);
    let events = load.of(args.events);
    for (broker, name) in [
        (Durability::PowerCut, "sync_interval: always"),
        (Durability::Kill, "sync_interval: default"),
    ] {
        let options = RigOptions {
            gateways: 0,
            relays: 1,
            broker,
            env: vec![("EVENTS_MAX_BYTES".to_owned(), STREAM_BYTES_MAX.to_string())],
        };
        let stack = rig::start(options).await?;
        let outcome = with_broker(&stack, name, events, &mut report).await;
        stack.end().await;
        outcome?;
    }
    Ok(report)
}

async fn with_broker(stack: &Stack, name: &str, events: u64, report: &mut Report) -> Result<()> {
    let pool = rig::database(stack).await?;
    report.section(format!("drain of {events} events, {name}"));
    let drained = drain(stack, &pool, events).await?;
    drained.add_to(report, name);
    stack.relays[0].end().await;
    pool.close().await;
    let client = connect_nats(&stack.nats_addresses.relay_url).await?;
    let plan = raw::Plan {
        events,
        batch: BATCH,
        lanes: WORKERS,
    };
    let raw = raw::publish(&client, plan).await?;
    report.figure("raw fenced batches of the same messages", raw, "events/s");
    report.budget(Budget {
        name: format!("drain ÷ raw fenced batches, {name}"),
        value: drained.per_second / raw,
        unit: "",
        must: Bound::AtLeast(0.5),
        aim: Bound::AtLeast(0.8),
    });
    Ok(())
}
