//! The developer's commands: `cargo xtask play`, `cargo xtask test`, `cargo xtask sqlx`.

mod build;
mod console;
mod play;
mod smoke;

use std::process::ExitCode;

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
    Play(play::Args),
}

fn main() -> ExitCode {
    console::init();
    let outcome = match Cli::parse().command {
        Command::Play(args) => play::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
