//! What is read of games travels together: whoever asks while a query is in flight is served by
//! the next one, with all who have asked meanwhile.
//!
//! When an instance dies, all its clients come to the others at once, and each game that is not
//! watched there yet is read. One query a game would be thousands of round trips, and would take
//! all connections from the writes; so it is one for the rows of many games, and one for their logs.
//! And when two players are at different instances, each instance reads the game before each of its
//! own player's moves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::ids::GameId;
use shared::lifecycle::Lifecycle;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::entity::{Game, Logged, Seq};
use super::repo::{self, CorruptRow};
use crate::database::chain;
use crate::metrics::Metrics;

/// Events of one game in one query: a page of its log.
pub(crate) const LOG_PAGE: usize = 256;
/// Games of one query: with a full ring of each some 4 MB, and a few milliseconds.
const BATCH_GAMES_MAX: usize = 64;
/// Games that may wait; beyond it whoever asks is told to try again.
const QUEUE_MAX: usize = 65_536;
/// Whoever has not been served by then is told to try again: so long at most are viewers kept
/// waiting while the database is away.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The queries of one batch; what takes longer has failed.
const QUERY_MAX: Duration = Duration::from_secs(5);

/// What is asked of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Its row.
    Row,
    /// Its row and so many events of the end of its log.
    Opening(i64),
    /// A page of its log.
    LogAfter(Seq),
}

/// A game's row, and the end of its log.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) game: Arc<Game>,
    pub(crate) events: Vec<Arc<Logged>>,
}

/// Why a game could not be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("too much is being read right now")]
    Crowded,
    /// The lane has said why.
    #[error("the database cannot be read right now")]
    Away,
    #[error("the database holds what cannot be read")]
    Corrupt(#[from] CorruptRow),
}

#[derive(Debug, Default)]
struct Answer {
    game: Option<Arc<Game>>,
    events: Vec<Arc<Logged>>,
}

#[derive(Debug)]
struct Waiting {
    game: GameId,
    part: Part,
    answer: oneshot::Sender<Result<Answer, ReadError>>,
}

/// The way to the one query in flight.
#[derive(Clone, Debug)]
pub(crate) struct ReadLane(mpsc::Sender<Waiting>);

impl ReadLane {
    /// Starts the worker that reads. It ends with the last one who could ask.
    pub(crate) fn start(pool: PgPool, metrics: Arc<Metrics>, life: &Lifecycle) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let worker = Worker {
            pool,
            metrics,
            queue,
            connection: None,
        };
        life.spawn_task("read lane", worker.run(life.stopping()));
        Self(sender)
    }

    /// A game's row.
    pub(crate) async fn row(&self, game: GameId) -> Result<Option<Arc<Game>>, ReadError> {
        Ok(self.ask(game, Part::Row).await?.game)
    }

    /// A game's row and its last `events`: not older than the row, and newer if there was a commit
    /// between the two queries.
    pub(crate) async fn opening(
        &self,
        game: GameId,
        events: usize,
    ) -> Result<Option<Opening>, ReadError> {
        let part = Part::Opening(i64::try_from(events).unwrap_or(i64::MAX));
        let Answer { game, events } = self.ask(game, part).await?;
        Ok(game.map(|game| Opening { game, events }))
    }

    /// A game's events after `seq`, at most [`LOG_PAGE`].
    pub(crate) async fn log_after(
        &self,
        game: GameId,
        seq: Seq,
    ) -> Result<Vec<Arc<Logged>>, ReadError> {
        Ok(self.ask(game, Part::LogAfter(seq)).await?.events)
    }

    async fn ask(&self, game: GameId, part: Part) -> Result<Answer, ReadError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { game, part, answer };
        self.0.try_send(waiting).map_err(|_| ReadError::Crowded)?;
        match timeout(WAIT_MAX, answered).await {
            Ok(answer) => answer.unwrap_or(Err(ReadError::Away)),
            Err(_) => Err(ReadError::Crowded),
        }
    }
}

struct Worker {
    pool: PgPool,
    metrics: Arc<Metrics>,
    queue: mpsc::Receiver<Waiting>,
    connection: Option<PoolConnection<Postgres>>,
}

/// Why a batch could not be read.
#[derive(Debug, thiserror::Error)]
enum BatchError {
    #[error("the database refused or could not be reached")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
}

type Answers = Vec<Result<Answer, ReadError>>;

impl Worker {
    async fn run(mut self, stopping: CancellationToken) {
        loop {
            let mut batch = Vec::new();
            let count = tokio::select! {
                count = self.queue.recv_many(&mut batch, BATCH_GAMES_MAX) => count,
                () = stopping.cancelled() => return,
            };
            if count == 0 {
                return;
            }
            // Nobody waits any more for what took too long.
            batch.retain(|waiting| !waiting.answer.is_closed());
            if !batch.is_empty() {
                self.serve(batch).await;
            }
        }
    }

    async fn serve(&mut self, batch: Vec<Waiting>) {
        self.metrics
            .gateway_read_batch_size
            .observe(batch.len() as f64);
        let (wanted, waiters): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| ((waiting.game, waiting.part), waiting.answer))
            .unzip();
        let answers = match self.read(&wanted).await {
            Ok(answers) => answers,
            Err(error) if wanted.len() > 1 && may_be_ones_fault(&error) => {
                self.one_by_one(&wanted).await
            }
            Err(_) => wanted.iter().map(|_| Err(ReadError::Away)).collect(),
        };
        for (waiter, answer) in waiters.into_iter().zip(answers) {
            let _ = waiter.send(answer);
        }
    }

    /// A query that Postgres refused is tried again a game at a time, so that one that cannot be
    /// read never fails its neighbours.
    async fn one_by_one(&mut self, wanted: &[(GameId, Part)]) -> Answers {
        let mut answers = Vec::with_capacity(wanted.len());
        for one in wanted {
            let read = self.read(std::slice::from_ref(one)).await;
            let answer = read.ok().and_then(|mut answers| answers.pop());
            answers.push(answer.unwrap_or(Err(ReadError::Away)));
        }
        answers
    }

    /// Reads; on a connection that turns out to be dead, once more on another.
    async fn read(&mut self, wanted: &[(GameId, Part)]) -> Result<Answers, BatchError> {
        let attempts = async {
            let kept = self.connection.is_some();
            match self.attempt(wanted).await {
                Err(error) if kept && !is_refusal(&error) => self.attempt(wanted).await,
                result => result,
            }
        };
        let read = match timeout(QUERY_MAX, attempts).await {
            Ok(read) => read.map_err(BatchError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &read {
            let (games, error) = (wanted.len(), chain(error));
            tracing::warn!(error, games, "games could not be read");
        }
        read
    }

    async fn attempt(&mut self, wanted: &[(GameId, Part)]) -> Result<Answers, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answers = read(&mut connection, wanted).await?;
        // Only a connection that answered is used again.
        self.connection = Some(connection);
        Ok(answers)
    }

    /// One connection of the pool is kept: giving it back and taking it again would cost two round
    /// trips a batch. Dropped in the middle of a query, it must be closed, not given back.
    async fn connect(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        repo::plan_by_keys(&mut connection).await?;
        Ok(connection)
    }
}

/// Rows first: the end of a log is looked for from where the row says that it is.
async fn read(
    connection: &mut PgConnection,
    wanted: &[(GameId, Part)],
) -> Result<Answers, sqlx::Error> {
    let of_rows: Vec<GameId> = wanted
        .iter()
        .filter(|(_, part)| !matches!(part, Part::LogAfter(_)))
        .map(|(game, _)| *game)
        .collect();
    let rows = if of_rows.is_empty() {
        HashMap::new()
    } else {
        repo::load_each(&mut *connection, &of_rows).await?
    };
    let of_logs: Vec<(GameId, Seq)> = wanted
        .iter()
        .filter_map(|(game, part)| Some((*game, log_from(*part, rows.get(game))?)))
        .collect();
    let logs = if of_logs.is_empty() {
        Vec::new()
    } else {
        let limit = i64::try_from(LOG_PAGE).unwrap_or(i64::MAX);
        repo::events_after_each(&mut *connection, &of_logs, limit).await?
    };
    Ok(answers(wanted, &rows, logs))
}

type Rows = HashMap<GameId, Result<Arc<Game>, CorruptRow>>;

/// After which event the log is wanted, if it is.
fn log_from(part: Part, row: Option<&Result<Arc<Game>, CorruptRow>>) -> Option<Seq> {
    match part {
        Part::Row => None,
        Part::LogAfter(seq) => Some(seq),
        Part::Opening(events) => {
            let row = row?.as_ref().ok()?;
            Some(Seq(row.seq.0.saturating_sub(events).max(0)))
        }
    }
}

/// What each is told; the logs are in the order of those who wanted one.
fn answers(
    wanted: &[(GameId, Part)],
    rows: &Rows,
    logs: Vec<Result<Vec<Arc<Logged>>, CorruptRow>>,
) -> Answers {
    let mut logs = logs.into_iter();
    let answers = wanted.iter().map(|(game, part)| {
        let row = rows.get(game);
        let log = log_from(*part, row).and_then(|_| logs.next());
        Ok(Answer {
            game: row.cloned().transpose()?,
            events: log.transpose()?.unwrap_or_default(),
        })
    });
    answers.collect()
}

/// Whether one game may be to blame for all.
fn may_be_ones_fault(error: &BatchError) -> bool {
    matches!(error, BatchError::Database(error) if is_refusal(error))
}

/// Whether Postgres has refused the query for what it read, as opposed to being away.
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        // Class 57: the server is shutting down or has cancelled the statement.
        sqlx::Error::Database(error) => !error.code().is_some_and(|code| code.starts_with("57")),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    }
}
