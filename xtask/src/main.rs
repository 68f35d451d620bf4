//! The developer's commands: `cargo xtask play`, `test`, `bench`, `chaos`, `gate`, `sqlx`.

mod bench;
mod build;
mod chaos;
mod console;
mod dependencies;
mod gate;
mod page;
mod play;
mod smoke;
mod sqlx;
mod test;
mod workbench;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The developer's commands of Fogline.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole stack on this machine: Postgres, NATS, two gateways, two relays
    #[command(long_about = play::HELP)]
    Play(play::Args),
    /// Run everything that CI runs
    #[command(long_about = test::HELP)]
    Test(test::Args),
    /// Measure the budgets, as ratios in one run on this machine
    #[command(long_about = bench::HELP)]
    Bench(bench::Args),
    /// A server that a benchmark compares with
    #[command(hide = true)]
    Bare(bench::bare::Args),
    /// Put faults to a part of the stack under load, and check what came of it
    #[command(long_about = chaos::HELP)]
    Chaos(chaos::Args),
    /// Check that nobody is sent what the fog hides from them
    #[command(long_about = gate::HELP)]
    Gate(gate::Args),
    /// Renew the committed .sqlx data, by which queries are checked without a database
    Sqlx(sqlx::Args),
}

fn main() -> ExitCode {
    console::init();
    let cli = Cli::parse();
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(&cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Play(args) => Box::pin(play::run(args)).await,
        Command::Test(args) => Box::pin(test::run(args)).await,
        Command::Bench(args) => Box::pin(bench::run(args)).await,
        Command::Bare(args) => Box::pin(bench::bare::run(args)).await,
        Command::Chaos(args) => Box::pin(chaos::run(args)).await,
        Command::Gate(args) => Box::pin(gate::run(args)).await,
        Command::Sqlx(args) => Box::pin(sqlx::run(args)).await,
    }
}
