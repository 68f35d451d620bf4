//! What happened, from three sides: the database's log, the stream, and the frames of every client.
//! They must tell the same story, move by move.

pub mod board;
mod check;
#[cfg(test)]
mod check_tests;
mod log;
mod stream;

pub use check::{Story, check_frames, check_game};
pub use log::{LogRow, outbox_is_empty, read_log};
pub use stream::{StreamEvent, read_stream};

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::load::GameRecord;
use crate::supervisor::{Stack, connect_nats};

/// The stream catches up within this after the last move, broker restarts included.
const CATCH_UP_DEADLINE: Duration = Duration::from_mins(1);
/// One question at a time.
const CONNECTIONS_MAX: u32 = 1;

/// The verdict over some games.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// One sentence for each difference; empty if all agrees.
    pub faults: Vec<String>,
    /// Events in the log.
    pub events: usize,
    /// Frames that clients were sent.
    pub frames: usize,
    /// The moves of each game, in UCI, in the order of the records.
    pub moves: Vec<Vec<String>>,
}

/// Waits until the stream has caught up, and compares log, stream and frames of every game.
///
/// # Errors
/// Something cannot be read, or the stream does not catch up.
pub async fn judge(stack: &Stack, records: &[GameRecord]) -> Result<Verdict> {
    let games: Vec<Uuid> = records.iter().map(|record| record.game).collect();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .connect(&stack.postgres_addresses.owner_url)
        .await
        .context("Postgres cannot be connected to")?;
    outbox_is_empty(&pool, &games, CATCH_UP_DEADLINE).await?;
    let logs = read_log(&pool, &games).await?;
    pool.close().await;
    let nats = connect_nats(&stack.nats_addresses.auditor_url).await?;
    let streams = read_stream(&nats, &games).await?;
    let mut verdict = Verdict {
        faults: vec![],
        events: 0,
        frames: 0,
        moves: vec![],
    };
    for record in records {
        let log = logs.get(&record.game).map_or(&[][..], Vec::as_slice);
        let stream = streams.get(&record.game).map_or(&[][..], Vec::as_slice);
        let recordings = record.recordings();
        if log.is_empty() {
            verdict
                .faults
                .push(format!("game {} has no log", record.game));
        }
        verdict.faults.extend(check_game(&Story {
            game: record.game,
            log,
            stream,
            recordings: &recordings,
        }));
        verdict.events += log.len();
        verdict.frames += recordings
            .iter()
            .map(|recording| recording.frames.len())
            .sum::<usize>();
        verdict
            .moves
            .push(log.iter().filter_map(|row| row.uci.clone()).collect());
    }
    Ok(verdict)
}
