//! The binary: parse, telemetry, run, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outbox_relay::config::{Config, ops_addr};
use outbox_relay::error::{RelayError, chain};
use shared::env::{BadVariable, EXIT_BAD_CONFIGURATION, ProcessEnv};
use shared::lifecycle::Lifecycle;
use shared::telemetry::{self, TelemetryError};
use tokio::net::TcpListener;

/// Drains the Postgres table `outbox_events` into NATS JetStream: in order per key, each event
/// once, whatever crashes. Configured by environment variables; docs/outbox.md has them all.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay until SIGTERM (the default).
    Run,
}

#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error(transparent)]
    BadVariable(#[from] BadVariable),
    #[error(transparent)]
    Telemetry(TelemetryError),
    #[error("OPS_ADDR: cannot listen there")]
    Listen(#[source] std::io::Error),
    #[error("the runtime could not be started")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl From<TelemetryError> for MainError {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::BadVariable(bad) => Self::BadVariable(bad),
            other => Self::Telemetry(other),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outbox-relay: {}", chain(&error));
            match error {
                MainError::BadVariable(_) => ExitCode::from(EXIT_BAD_CONFIGURATION),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn start(cli: &Cli) -> Result<(), MainError> {
    let telemetry = telemetry::init("outbox-relay", &ProcessEnv)?;
    let ended = match cli.command {
        None | Some(Command::Run) => run(),
    };
    telemetry.shutdown();
    ended
}

fn run() -> Result<(), MainError> {
    let config = Config::from_env(&ProcessEnv)?;
    let ops_addr = ops_addr(&ProcessEnv)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(MainError::Runtime)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(ops_addr)
            .await
            .map_err(MainError::Listen)?;
        Ok(outbox_relay::run(config, listener, Lifecycle::new()).await?)
    })
}
