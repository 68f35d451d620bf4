//! `cargo xtask bench`: measures the budgets, as ratios in one run on one machine.
//!
//! Two build profiles have no part in a measurement: the services and this program itself, which
//! makes the load and plays the references, are built for release, and the debug build that cargo
//! started hands over to that one.

pub(crate) mod bare;
mod event;
mod gateway;
mod held_open;
mod machine;
mod peers;
mod processes;
mod raw;
mod relay;
mod relay_rig;
mod report;
mod retention;
mod rig;
mod scrape;
mod swarm;
mod traffic;
mod wake;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use e2e::supervisor::Interrupts;

use crate::build;
use report::Report;

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Measure the budgets, as ratios in one run on this machine: a private Postgres and nats-server, \
release builds, and beside each figure a reference measured in the same run. docs/benchmarks.md \
says what each command measures and what was found.

Absolute figures differ from machine to machine, and on a busy machine from minute to minute: run \
it with nothing else running. Without a command, all of them run, one after the other, except \
`peers`, which needs what only it needs.";

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,

    /// Print the report as JSON instead of as a table
    #[arg(long, global = true)]
    json: bool,

    /// A tenth of the load: to see that it works, not what it gives
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// How fast the relay drains a backlog, how soon an event stands in the stream, and what it costs
    #[command(long_about = relay::HELP)]
    Relay(relay::Args),
    /// What it costs to tell relays that rows wait, and how soon they know
    #[command(long_about = wake::HELP)]
    Wake(wake::Args),
    /// What keeping published rows costs in several layouts, while a transaction is held open
    #[command(long_about = retention::HELP)]
    Retention(retention::Args),
    /// What sockets cost in memory and CPU, and how soon they are back after a crash
    Gateway(gateway::Args),
    /// Other outbox relays beside ours; not part of a run without a command
    #[command(long_about = peers::HELP)]
    Peers(peers::Args),
}

/// How much of its load a benchmark runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Full,
    /// A tenth: its figures mean nothing.
    Quick,
}

impl Load {
    /// So much of a count.
    fn of(self, count: u64) -> u64 {
        match self {
            Self::Full => count,
            Self::Quick => (count / 10).max(1),
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return hand_over(args);
    }
    let load = if args.quick { Load::Quick } else { Load::Full };
    let mut interrupts = Interrupts::listen()?;
    let whats = match &args.what {
        Some(what) => vec![what.clone()],
        None => What::all(),
    };
    for what in whats {
        let report = tokio::select! {
            report = what.measure(load) => report?,
            () = interrupts.next() => bail!("interrupted"),
        };
        report.tell(args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl What {
    /// What runs without a command. `peers` needs other toolchains, and what they download.
    fn all() -> Vec<Self> {
        vec![
            Self::Relay(relay::Args::default()),
            Self::Wake(wake::Args::default()),
            Self::Retention(retention::Args::default()),
            Self::Gateway(gateway::Args::default()),
        ]
    }

    fn needs_the_relay_alone(&self) -> bool {
        matches!(
            self,
            Self::Relay(_) | Self::Wake(_) | Self::Retention(_) | Self::Peers(_)
        )
    }

    async fn measure(&self, load: Load) -> Result<Report> {
        match self {
            Self::Relay(args) => Box::pin(relay::measure(args, load)).await,
            Self::Wake(args) => Box::pin(wake::measure(args, load)).await,
            Self::Retention(args) => Box::pin(retention::measure(args, load)).await,
            Self::Gateway(args) => Box::pin(gateway::measure(args, load)).await,
            Self::Peers(args) => Box::pin(peers::measure(args, load)).await,
        }
    }
}

/// Builds for release what the benchmark needs and becomes the release build of this program.
fn hand_over(args: &Args) -> Result<ExitCode> {
    if args.what.as_ref().is_some_and(What::needs_the_relay_alone) {
        build::relay_for_release()?;
    } else {
        build::for_release()?;
    }
    let program = build::release_dir().join("xtask");
    let error = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).with_context(|| format!("{} cannot be run", program.display()))
}
