//! Group commit: changes that arrive while a statement is in flight travel together in the next
//! one, so throughput is not bounded by round trips and one connection serves thousands of
//! players.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::lifecycle::Lifecycle;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::entity::CommitTimes;
use super::repo::{CommitRow, Outcome, commit_batch, plan_by_keys};
use super::wake::Wake;
use crate::metrics::Metrics;

/// Changes in one statement. At 128 the statement takes a few milliseconds; more only adds to
/// everybody's wait.
const BATCH_CHANGES_MAX: usize = 128;
/// Changes that may wait; beyond it a command is told `unavailable` at once.
const QUEUE_CHANGES_MAX: usize = 4096;
/// One statement, its connection included. Postgres ends a statement after 5 s itself; this is for
/// a server that does not answer at all, and leaves time for the answer within 10 s.
const STATEMENT_MAX: Duration = Duration::from_secs(6);

/// A change was not written, or it is not known whether it was. The command may be sent again
/// under its id.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the write failed or its outcome is unknown")]
pub struct NotWritten;

/// Why a change could not even be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many writes are waiting")]
pub struct QueueFull;

/// What follows a commit; it is called even if nobody waits for the answer any more.
pub type Tell = Box<dyn FnOnce(CommitTimes) + Send>;

struct Waiting {
    row: CommitRow,
    tell: Tell,
    answer: oneshot::Sender<Result<Outcome, NotWritten>>,
}

/// The queue to the one statement in flight.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
}

impl Committer {
    /// Starts the worker that commits; after each batch that has changed anything it rings for the
    /// relays.
    #[must_use]
    pub fn start(pool: PgPool, metrics: Arc<Metrics>, wake: Wake, life: &Lifecycle) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_CHANGES_MAX);
        let worker = Worker {
            pool,
            metrics,
            wake,
            queue: receiver,
            waiting: VecDeque::new(),
            connection: None,
        };
        life.spawn_task("committer", worker.run(life.stopping()));
        Self { queue: sender }
    }

    /// Commits one change with whatever else waits.
    ///
    /// # Errors
    /// [`QueueFull`] outside, [`NotWritten`] inside.
    pub async fn commit(
        &self,
        row: CommitRow,
        tell: Tell,
    ) -> Result<Result<Outcome, NotWritten>, QueueFull> {
        let (answer, outcome) = oneshot::channel();
        self.queue
            .try_send(Waiting { row, tell, answer })
            .map_err(|_| QueueFull)?;
        Ok(outcome.await.unwrap_or(Err(NotWritten)))
    }
}

struct Worker {
    pool: PgPool,
    metrics: Arc<Metrics>,
    wake: Wake,
    queue: mpsc::Receiver<Waiting>,
    waiting: VecDeque<Waiting>,
    connection: Option<PoolConnection<Postgres>>,
}

impl Worker {
    /// Runs until every sender is gone, so that a drain still commits what connections sent.
    async fn run(mut self, stopping: tokio_util::sync::CancellationToken) {
        loop {
            if self.waiting.is_empty() {
                let mut arrived = Vec::new();
                let count = tokio::select! {
                    count = self.queue.recv_many(&mut arrived, BATCH_CHANGES_MAX) => count,
                    () = stopping.cancelled() => return,
                };
                if count == 0 {
                    return;
                }
                self.waiting.extend(arrived);
            }
            while self.waiting.len() < BATCH_CHANGES_MAX
                && let Ok(next) = self.queue.try_recv()
            {
                self.waiting.push_back(next);
            }
            let batch = take_batch(&mut self.waiting, BATCH_CHANGES_MAX);
            if !batch.is_empty() {
                self.commit(batch).await;
            }
        }
    }

    async fn commit(&mut self, batch: Vec<Waiting>) {
        let (rows, waiters): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.row, (waiting.tell, waiting.answer)))
            .unzip();
        self.metrics
            .game_commit_batch_size
            .observe(rows.len() as f64);
        let started = Instant::now();
        let results: Vec<Result<Outcome, NotWritten>> = match self.statement(&rows).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Failure::Batch) if rows.len() > 1 => self.one_by_one(&rows).await,
            Err(_) => vec![Err(NotWritten); rows.len()],
        };
        self.metrics
            .game_commit_seconds
            .observe(started.elapsed().as_secs_f64());
        if results
            .iter()
            .any(|result| matches!(result, Ok(Outcome::Committed(_))))
        {
            self.wake.ring();
        }
        for ((tell, answer), result) in waiters.into_iter().zip(results) {
            if let Ok(Outcome::Committed(times)) = result {
                tell(times);
            }
            // Whoever has stopped waiting learns the truth by sending the command again.
            let _ = answer.send(result);
        }
    }

    /// A statement that Postgres refused is tried again a change at a time, so that one bad change
    /// never fails its neighbours.
    async fn one_by_one(&mut self, rows: &[CommitRow]) -> Vec<Result<Outcome, NotWritten>> {
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            let single = self.statement(std::slice::from_ref(row)).await;
            results.push(match single {
                Ok(outcomes) => outcomes.first().copied().ok_or(NotWritten),
                Err(_) => Err(NotWritten),
            });
        }
        results
    }

    /// Runs the statement; on a connection that turns out to be dead, once more on another. That
    /// is safe: had the first run committed, the second finds the command ids used.
    async fn statement(&mut self, rows: &[CommitRow]) -> Result<Vec<Outcome>, Failure> {
        let attempts = async {
            match self.attempt(rows).await {
                Err(Failure::Connection) => self.attempt(rows).await,
                result => result,
            }
        };
        timeout(STATEMENT_MAX, attempts).await.unwrap_or_else(|_| {
            tracing::warn!(
                changes = rows.len(),
                "Postgres did not answer a commit in time"
            );
            Err(Failure::Database)
        })
    }

    async fn attempt(&mut self, rows: &[CommitRow]) -> Result<Vec<Outcome>, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(|error| failure(&error))?,
        };
        let outcomes = commit_batch(&mut connection, rows)
            .await
            .map_err(|error| failure(&error))?;
        // Only a connection that answered is used again.
        self.connection = Some(connection);
        Ok(outcomes)
    }

    /// One connection of the pool is kept: giving it back and taking it again would cost a round
    /// trip a statement. Dropped in the middle of a statement, it must be closed, not given back.
    async fn connect(&mut self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        plan_by_keys(&mut connection).await?;
        Ok(connection)
    }
}

/// How a statement failed, and so what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Postgres refused the statement: one change may be to blame.
    Batch,
    /// The connection broke: another may work.
    Connection,
    /// Postgres is away.
    Database,
}

fn failure(error: &sqlx::Error) -> Failure {
    let failure = match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Failure::Connection,
        // Class 57: the server is shutting down or cancelled the statement.
        sqlx::Error::Database(db) if db.code().is_some_and(|code| code.starts_with("57")) => {
            Failure::Connection
        }
        sqlx::Error::Database(_) | sqlx::Error::Encode(_) => Failure::Batch,
        _ => Failure::Database,
    };
    tracing::warn!(%error, ?failure, "a commit failed");
    failure
}

/// Takes the next batch from the front: at most one change a game, and none that nobody waits for.
/// What is left over keeps its order.
fn take_batch(waiting: &mut VecDeque<Waiting>, max: usize) -> Vec<Waiting> {
    let mut games = HashSet::new();
    let mut batch = Vec::new();
    let mut left = VecDeque::new();
    while let Some(next) = waiting.pop_front() {
        if next.answer.is_closed() {
            continue;
        }
        if batch.len() < max && games.insert(next.row.game.id) {
            batch.push(next);
        } else {
            left.push_back(next);
        }
    }
    *waiting = left;
    batch
}
