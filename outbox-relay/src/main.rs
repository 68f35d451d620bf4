//! The binary: parse, telemetry, run, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outbox_relay::commands::help::{EXAMPLES, EXIT_CODES, variables};
use outbox_relay::commands::{Command, CommandError, Found, execute};
use outbox_relay::config::{Config, ops_addr};
use outbox_relay::error::{RelayError, chain};
use shared::env::{BadVariable, EXIT_BAD_CONFIGURATION, Env, ProcessEnv};
use shared::lifecycle::Lifecycle;
use shared::telemetry::{self, TelemetryError};
use tokio::net::TcpListener;

/// The exit code of what could not be done.
const EXIT_FAILED: u8 = 1;
/// The exit code of a command that found something an operator should look at.
const EXIT_ATTENTION: u8 = 3;
/// The exit code where the server, or the stream, is not fit to be published to: `EX_CONFIG` of
/// sysexits(3). Starting again changes nothing.
const EXIT_UNFIT: u8 = 78;

/// Drains the Postgres table `outbox_events` into NATS JetStream: in order per key, each event
/// once, whatever crashes. Configured by environment variables alone.
#[derive(Debug, Parser)]
#[command(version, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Cli {
    #[command(subcommand)]
    command: Option<Todo>,
}

#[derive(Debug, Subcommand)]
enum Todo {
    /// Relay until SIGTERM (the default).
    ///
    /// Any number of instances share 64 shards by leases. On SIGTERM the batch in flight is finished
    /// and the shards are handed over, within 15 s.
    #[command(after_long_help = format!("{}\n{EXIT_CODES}", variables()))]
    Run,
    #[command(flatten)]
    Operate(Command),
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
    #[error(transparent)]
    Command(CommandError),
}

impl MainError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::BadVariable(_) => EXIT_BAD_CONFIGURATION,
            Self::Relay(RelayError::Unfit(_))
            | Self::Command(CommandError::Relay(RelayError::Unfit(_))) => EXIT_UNFIT,
            _ => EXIT_FAILED,
        }
    }
}

impl From<CommandError> for MainError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::BadVariable(bad) => Self::BadVariable(bad),
            other => Self::Command(other),
        }
    }
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
    match start(cli) {
        Ok(Found::Well) => ExitCode::SUCCESS,
        Ok(Found::Attention) => ExitCode::from(EXIT_ATTENTION),
        Err(error) => {
            eprintln!("outbox-relay: {}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(cli: Cli) -> Result<Found, MainError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(MainError::Runtime)?;
    match cli.command {
        None | Some(Todo::Run) => {
            let telemetry = telemetry::init("outbox-relay", &ProcessEnv)?;
            let ended = runtime.block_on(run());
            telemetry.shutdown();
            ended.map(|()| Found::Well)
        }
        // A command's output is its own: only warnings are logged beside it.
        Some(Todo::Operate(command)) => {
            let telemetry = telemetry::init("outbox-relay", &QuietEnv)?;
            let ended = runtime.block_on(execute(command, &ProcessEnv));
            telemetry.shutdown();
            Ok(ended?)
        }
    }
}

async fn run() -> Result<(), MainError> {
    let config = Config::from_env(&ProcessEnv)?;
    let ops_addr = ops_addr(&ProcessEnv)?;
    let listener = TcpListener::bind(ops_addr)
        .await
        .map_err(MainError::Listen)?;
    Ok(outbox_relay::run(config, listener, Lifecycle::new()).await?)
}

/// The process's environment, with errors alone logged unless `RUST_LOG` says otherwise.
struct QuietEnv;

impl Env for QuietEnv {
    fn get(&self, name: &str) -> Option<String> {
        let set = ProcessEnv.get(name);
        match name {
            "RUST_LOG" => set.or_else(|| Some("error".to_owned())),
            _ => set,
        }
    }
}
