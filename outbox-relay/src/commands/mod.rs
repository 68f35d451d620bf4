//! What operators ask and do. Each command prints for people, or JSON with `--json`.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::config::{BrokerConfig, Config, DatabaseConfig};
use crate::connect;
use crate::error::{RelayError, database_sentence};
use crate::stream::error::BrokerError;
use shared::env::{BadVariable, Env};

mod dead;
pub mod help;
mod progress;
mod replay;
mod repo;
mod status;
mod verify;

/// Connections of a command.
const CONNECTIONS: usize = 1;

/// A command beside `run`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what waits, who publishes it, and whether the stream is verified.
    ///
    /// Needs `DATABASE_URL` alone, and works while NATS is away and no relay runs. Exit code 0 if
    /// nothing needs an operator, 3 if there are dead letters, or shards that nobody publishes or that
    /// are not verified.
    Status {
        /// One line a shard.
        #[arg(long)]
        shards: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// List, show, retry, skip or drop events that could not be published.
    ///
    /// With `OUTBOX_POISON=block`, the later events of a dead letter's key wait until it is retried,
    /// skipped or dropped. Needs `DATABASE_URL` alone.
    Dead {
        /// What to do.
        #[command(subcommand)]
        what: DeadCommand,
    },
    /// Send published events once more, to consumers that ask for them.
    ///
    /// They go to `replay.<their subject>`, outside the stream, with the header `fogline-replay: true`:
    /// nobody who listens to `events.>` mistakes them for new ones. Needs `DATABASE_URL` and `NATS_URL`;
    /// gives the events of a key in the order in which they were published, as far back as published
    /// rows are kept (`OUTBOX_RETENTION_HOURS`).
    Replay {
        /// Only events of this key.
        #[arg(long, required_unless_present = "since")]
        key: Option<String>,
        /// Only events published at this time or later, such as 2026-01-31T12:00:00Z.
        #[arg(long)]
        since: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Compare stream and database, and publish again, in order, what the stream has lost.
    ///
    /// Publishing pauses until every shard has passed; running relays take their part of the work,
    /// and without any the command does all of it. Needs `DATABASE_URL` and `NATS_URL`. The relay does
    /// this by itself when it notices that the stream was lost: by hand it is for what it cannot
    /// notice, such as messages deleted in the midst of the stream. Exit code 3 if the stream holds
    /// events that the database does not know.
    Verify {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadCommand {
    /// List them, oldest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show one with its payload.
    Show {
        /// Its event id.
        event_id: Uuid,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Put one back under its old id: it is published next, and its key goes on behind it.
    Retry {
        /// Its event id.
        event_id: Uuid,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Let its key go on without it; the letter stays listed.
    Skip {
        /// Its event id.
        event_id: Uuid,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Remove one for good; its key goes on without it.
    Drop {
        /// Its event id.
        event_id: Uuid,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// How to print.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A variable that is missing or cannot be used.
    #[error(transparent)]
    BadVariable(#[from] BadVariable),
    /// The database does not answer, or has no outbox.
    #[error("{}", database_sentence(.0))]
    Database(sqlx::Error),
    /// The broker does not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The relay that does the work ended.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// There is no such dead letter.
    #[error("there is no dead letter with the event id {0}")]
    NoLetter(Uuid),
    /// An argument that cannot be used.
    #[error("{0}")]
    BadArgument(String),
    /// The output is closed.
    #[error("cannot print")]
    Print(#[from] io::Error),
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// What a command found, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that needs anybody.
    Well,
    /// Something that an operator should look at.
    Attention,
}

/// Does what was asked.
///
/// # Errors
/// What kept it from being done.
pub async fn execute(command: Command, env: &(dyn Env + Sync)) -> Result<Found, CommandError> {
    match command {
        Command::Status { shards, output } => status::print(&pool(env)?, shards, output).await,
        Command::Dead { what } => dead::execute(&pool(env)?, what).await,
        Command::Replay { key, since, output } => {
            let broker = BrokerConfig::from_env(env)?;
            replay::execute(&pool(env)?, &broker, key, since, output).await
        }
        Command::Verify { output } => verify::execute(Config::from_env(env)?, output).await,
    }
}

fn pool(env: &dyn Env) -> Result<PgPool, CommandError> {
    Ok(connect(&DatabaseConfig::from_env(env)?, CONNECTIONS)?)
}

fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// `3s`, `2m 05s`, `1h 02m`, `4d 01h`.
fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let text = |seconds| for_people(Duration::from_secs(seconds));
        assert_eq!(
            [text(3), text(125), text(3_720), text(349_200)],
            ["3s", "2m 05s", "1h 02m", "4d 01h"]
        );
    }
}
