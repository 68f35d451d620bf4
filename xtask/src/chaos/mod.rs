//! `cargo xtask chaos`: faults under load, at full size. Short versions of the same run as tests.

mod gateway;
mod relay;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Put faults to a part of the stack under load, and compare what came of it with what was committed. \
Everything runs on this machine, in processes of its own, and is gone afterwards. Exit code 1 if \
anything is wrong.";

/// Arguments of `cargo xtask chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The gateways, under a thousand players and spectators
    #[command(long_about = gateway::HELP)]
    Gateway(gateway::Args),
    /// The outbox and its relays, without any game
    #[command(long_about = relay::HELP)]
    Relay(relay::Args),
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    match &args.part {
        Part::Gateway(args) => gateway::run(args).await,
        Part::Relay(args) => relay::run(args).await,
    }
}
