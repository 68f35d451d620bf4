//! The pool of connections to Postgres, and what every use of it has in common: a deadline, one
//! way to answer a failure, and whether the schema is there at all.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use shared::lifecycle::Lifecycle;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::DatabaseConfig;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::problem::{Problem, Reason};

/// The migrations of this build, embedded.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Postgres gives up on a statement after this long, so that a lock held elsewhere cannot use up
/// the ten seconds within which a write must be answered.
const STATEMENT_TIMEOUT_MS: u32 = 5_000;
/// A transaction that its instance has forgotten must not hold locks.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 10_000;
/// A free connection, the opening of a new one included; leaves time for the statement itself.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that does not answer a ping on its way back to the pool is closed: after a frozen
/// server it would otherwise keep its place for as long as TCP retransmits.
const RELEASE_PING_TIMEOUT: Duration = Duration::from_secs(2);
/// All database work of one request. A server that is frozen rather than gone never answers; the
/// client is told within ten seconds all the same, with two to spare.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(8);
/// How often an instance that is not ready yet looks again.
const READINESS_POLL: Duration = Duration::from_millis(250);

/// A pool that connects when it is first used, so that the service starts without Postgres.
///
/// # Panics
/// Never: [`DatabaseConfig`] has parsed the address already.
#[must_use]
pub fn pool(config: &DatabaseConfig, instance: &str) -> PgPool {
    let options: PgConnectOptions = config
        .url
        .expose_secret()
        .parse()
        .unwrap_or_else(|_| unreachable!("the address was parsed with the configuration"));
    let options = options
        .application_name(&format!("game-api {instance}"))
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            (
                "idle_in_transaction_session_timeout",
                IDLE_IN_TRANSACTION_TIMEOUT_MS,
            ),
        ]);
    PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| {
            Box::pin(async move {
                match timeout(RELEASE_PING_TIMEOUT, connection.ping()).await {
                    Ok(answer) => answer.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .connect_lazy_with(options)
}

/// Why database work gave no result.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The database, or the way there, said no.
    #[error("the database refused or could not be reached")]
    Database(#[from] sqlx::Error),
    /// No answer within [`WORK_TIMEOUT`].
    #[error("the database did not answer within {} s", WORK_TIMEOUT.as_secs())]
    TimedOut,
}

/// Database work with a deadline. A write that runs into it has an unknown outcome.
///
/// # Errors
/// The database's error, or [`WorkError::TimedOut`].
pub async fn bounded<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, WorkError> {
    match timeout(WORK_TIMEOUT, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(WorkError::TimedOut),
    }
}

/// An error and its sources in one line, for a log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// How failed database work is logged, counted and answered.
#[derive(Clone, Debug)]
pub struct Failures {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Failures {
    /// Failures of one instance.
    #[must_use]
    pub fn new(health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        Self { health, metrics }
    }

    /// A write that failed or whose outcome is not known: counted, held against `/health`.
    pub fn write(&self, error: &dyn std::error::Error) -> Problem {
        self.health.write_failed();
        self.metrics.persistence_failures_total.inc();
        tracing::error!(error = chain(error), "a write failed");
        Reason::PersistenceFailure.into()
    }

    /// A read that failed; nothing was changed.
    #[must_use]
    pub fn read(error: &dyn std::error::Error) -> Problem {
        tracing::warn!(error = chain(error), "a read failed");
        Problem::new(Reason::Unavailable, "the database cannot be read right now")
    }
}

/// Whether the database has answered and has this build's migrations.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<Result<(), String>>);

impl Readiness {
    /// Starts to look, until it is so once. What happens to the database later does not take the
    /// instance out of rotation: no other instance would be better off.
    #[must_use]
    pub fn watch(pool: PgPool, life: &Lifecycle) -> Self {
        let waiting = Err("the database has not answered yet".to_owned());
        let (sender, receiver) = watch::channel(waiting);
        let draining = life.draining();
        life.spawn_task("readiness", async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = look_until_ready(&pool, &sender) => {}
            }
        });
        Self(receiver)
    }

    /// Good once the database has answered and has this build's migrations.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn check(&self) -> Result<(), String> {
        self.0.borrow().clone()
    }
}

async fn look_until_ready(pool: &PgPool, sender: &watch::Sender<Result<(), String>>) {
    loop {
        let found = migrated(pool).await;
        if let Err(why) = &found {
            let changed = sender.borrow().as_ref() != Err(why);
            if changed {
                tracing::info!(why, "not ready");
            }
        }
        let ready = found.is_ok();
        drop(sender.send_replace(found));
        if ready {
            tracing::info!("ready");
            return;
        }
        sleep(READINESS_POLL).await;
    }
}

async fn migrated(pool: &PgPool) -> Result<(), String> {
    let applied = bounded(
        sqlx::query_scalar::<_, i64>("select version from _sqlx_migrations where success")
            .fetch_all(pool),
    )
    .await;
    match applied {
        // A newer schema is fine: migrations only expand. Their numbers are no measure of it: areas
        // have ranges of their own, so a later migration may have a lower number.
        Ok(applied) if MIGRATIONS.iter().all(|own| applied.contains(&own.version)) => Ok(()),
        Ok(_) => Err("the database lacks migrations: run `game-api migrate`".to_owned()),
        Err(WorkError::Database(sqlx::Error::Database(error)))
            if error.code().as_deref() == Some("42P01") =>
        {
            Err("the database has no migrations: run `game-api migrate`".to_owned())
        }
        Err(error) => Err(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_leaves_time_for_the_answer() {
        let begun = Instant::now();
        let error = bounded(pending::<Result<(), sqlx::Error>>())
            .await
            .unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(chain(&error), "the database did not answer within 8 s");
    }

    #[test]
    fn a_log_line_has_every_cause_once() {
        let error = WorkError::from(sqlx::Error::PoolTimedOut);
        let line = chain(&error);
        assert!(
            line.starts_with("the database refused or could not be reached: "),
            "{line}"
        );
    }
}
