//! `game-api`: parse, telemetry, build, run, exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use game_api::config::{Config, VARIABLES, Variable};
use game_api::database::chain;
use game_api::http::serve::{allow_open_files, listen};
use game_api::migrate::{self, MigrateConfig, migrate};
use game_api::{Listeners, run};
use shared::env::{BadVariable, EXIT_BAD_CONFIGURATION, ProcessEnv};
use shared::lifecycle::Lifecycle;
use shared::telemetry::{self, TelemetryError};

/// A move is some hundred small allocations on the way from socket to socket; see ADR 31.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fogline's game server. Configured by environment variables alone.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves players until SIGTERM or SIGINT (the default)
    Run,
    /// Brings the database to this build's schema, and exits
    Migrate {
        /// Also makes the login roles `fogline_api` and `fogline_relay`, with least privilege
        #[arg(long)]
        roles: bool,
    },
}

/// Variables of every command.
const TELEMETRY: [Variable; 3] = [
    Variable {
        name: "RUST_LOG",
        what: "what is logged; default info",
    },
    Variable {
        name: "LOG_FORMAT",
        what: "text or json; default text",
    },
    Variable {
        name: "OTEL_*",
        what: "the standard variables of OpenTelemetry; nothing is exported without \
               OTEL_EXPORTER_OTLP_ENDPOINT",
    },
];

pub(crate) fn main() -> ExitCode {
    let command = cli().command.unwrap_or(Command::Run);
    let telemetry = match telemetry::init("game-api", &ProcessEnv) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("game-api: {}", chain(&error));
            return match error {
                TelemetryError::BadVariable(_) => EXIT_BAD_CONFIGURATION.into(),
                _ => ExitCode::FAILURE,
            };
        }
    };
    let code = match execute(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "game-api ends with an error");
            if error.is::<BadVariable>() {
                EXIT_BAD_CONFIGURATION.into()
            } else {
                ExitCode::FAILURE
            }
        }
    };
    telemetry.shutdown();
    code
}

fn execute(command: &Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    match command {
        Command::Migrate { roles } => {
            let config = MigrateConfig::from_env(&ProcessEnv, *roles)?;
            runtime.block_on(migrate(&config))?;
        }
        Command::Run => {
            let config = Config::from_env(&ProcessEnv)?;
            runtime.block_on(listen_and_run(config))?;
        }
    }
    Ok(())
}

async fn listen_and_run(config: Config) -> anyhow::Result<()> {
    let (public, ops) = (config.listen.public, config.listen.ops);
    allow_open_files(config.listen.connections_max);
    let listeners = Listeners {
        public: listen(public).with_context(|| format!("cannot listen on LISTEN_ADDR {public}"))?,
        ops: listen(ops).with_context(|| format!("cannot listen on OPS_ADDR {ops}"))?,
    };
    tracing::info!(%public, %ops, instance = config.instance, "listening");
    run(config, listeners, Lifecycle::new()).await?;
    Ok(())
}

fn cli() -> Cli {
    let command = Cli::command()
        .after_help(variables(&VARIABLES))
        .mut_subcommand("run", |run| run.after_help(variables(&VARIABLES)))
        .mut_subcommand("migrate", |migrate| {
            migrate.after_help(variables(&migrate::VARIABLES))
        });
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn variables(of_command: &[Variable]) -> String {
    let lines = of_command
        .iter()
        .chain(&TELEMETRY)
        .map(|variable| format!("  {:<28}{}", variable.name, variable.what));
    let lines: Vec<String> = lines.collect();
    format!("Environment:\n{}", lines.join("\n"))
}
