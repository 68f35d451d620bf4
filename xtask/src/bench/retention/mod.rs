//! `cargo xtask bench retention`: what keeping published rows costs, in several layouts.

mod layout;
mod load;
mod schema;
mod sustained;

use std::time::Duration;

use anyhow::Result;

use super::Load;
use super::report::Report;
use layout::Layout;

/// What `--help` says beyond one line.
pub(super) const HELP: &str = "\
What keeping published rows costs, in several layouts, at a sustained rate and while a transaction \
is held open elsewhere, so that vacuum can take nothing away.

Each layout has tables of its own. Events are appended at --rate and taken out by four workers with \
statements like the relay's, without a stream in between; then a backlog is drained as fast as it \
goes. Dead rows, bytes on disk, WAL and processor time are Postgres's own; so is how long vacuum \
takes once the transaction has ended.

With --relay, the outbox as it is instead, with a relay and a stream.";

/// How long the load lasts unless told otherwise, in minutes.
const MINUTES: u64 = 1;
/// Events a second unless told otherwise.
const RATE: u32 = 10_000;

/// Arguments of `cargo xtask bench retention`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Which layouts; can be given several times
    #[arg(long = "layout", value_enum, value_name = "LAYOUT", default_values_t = Layout::ALL)]
    layouts: Vec<Layout>,

    /// How long the load lasts
    #[arg(long, value_name = "MINUTES", default_value_t = MINUTES,
          value_parser = clap::value_parser!(u64).range(1..=120))]
    minutes: u64,

    /// Events a second
    #[arg(long, value_name = "NUMBER", default_value_t = RATE,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Hold no transaction open
    #[arg(long)]
    not_held: bool,

    /// Measure the outbox itself, with a relay and a stream
    #[arg(long)]
    relay: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            layouts: Layout::ALL.into(),
            minutes: MINUTES,
            rate: RATE,
            not_held: false,
            relay: false,
        }
    }
}

/// Measures.
///
/// # Errors
/// A part does not start, or the database refuses.
pub(crate) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let mut report = Report::new("retention", load);
    let plan = sustained::Plan {
        per_second: args.rate,
        lasts: Duration::from_secs(load.of(args.minutes * 60).max(4)),
        held: !args.not_held,
    };
    if args.relay {
        sustained::with_relay(plan, &mut report).await?;
        return Ok(report);
    }
    for layout in &args.layouts {
        sustained::without_stream(*layout, plan, &mut report).await?;
    }
    Ok(report)
}
