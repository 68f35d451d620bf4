//! `game-api migrate`: brings the database to this build's schema, and with `--roles` makes the
//! login roles of the two services.
//!
//! Roles belong to the whole Postgres server and hold passwords, so they are made here and not by a
//! migration. What each may do belongs to the schema: the migrations define `fogline_grant()`,
//! which grants to those of the two roles that exist, and call it; it is called here once more, so
//! that it does not matter whether the roles or the schema came first.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use shared::env::{BadVariable, Env, millis_or, required_secret};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{DatabaseConfig, Variable};
use crate::database::{MIGRATIONS, chain};

/// Between two attempts to reach Postgres.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Any number that nothing else locks: two `migrate` at once take turns.
const LOCK: i64 = 0x0046_6f67_6c69_6e65;

/// The variables of `migrate`.
pub const VARIABLES: [Variable; 4] = [
    Variable {
        name: "DATABASE_URL",
        what: "postgres://user:password@host:port/database of a user who owns the schema, and who \
               may create roles if --roles is given; required",
    },
    Variable {
        name: "MIGRATE_WAIT_MS",
        what: "how long to wait for Postgres to come up, ms, 0 to 3600000; default 60000",
    },
    Variable {
        name: "FOGLINE_API_PASSWORD",
        what: "password of the role fogline_api; required with --roles",
    },
    Variable {
        name: "FOGLINE_RELAY_PASSWORD",
        what: "password of the role fogline_relay; required with --roles",
    },
];

/// What to do to which database.
#[derive(Clone, Debug)]
pub struct MigrateConfig {
    /// Where.
    pub database: DatabaseConfig,
    /// How long to wait for the server.
    pub wait: Duration,
    /// The roles to make, if any.
    pub roles: Vec<Role>,
}

/// A login role of a service.
#[derive(Clone, Debug)]
pub struct Role {
    /// `fogline_api` or `fogline_relay`.
    pub name: &'static str,
    /// What it logs in with.
    pub password: SecretString,
    /// Postgres ends a statement of this role after so many milliseconds.
    pub statement_timeout_ms: u32,
    /// And a transaction in which nothing happens after so many.
    pub idle_in_transaction_timeout_ms: u32,
}

impl MigrateConfig {
    /// Reads the variables of [`VARIABLES`].
    ///
    /// # Errors
    /// The first variable that is missing or cannot be used.
    pub fn from_env(env: &dyn Env, with_roles: bool) -> Result<Self, BadVariable> {
        let roles = if with_roles {
            vec![
                Role {
                    name: "fogline_api",
                    password: required_secret(env, "FOGLINE_API_PASSWORD", "a password")?,
                    statement_timeout_ms: 5_000,
                    idle_in_transaction_timeout_ms: 10_000,
                },
                // The relay's batches and its verification read more at a time.
                Role {
                    name: "fogline_relay",
                    password: required_secret(env, "FOGLINE_RELAY_PASSWORD", "a password")?,
                    statement_timeout_ms: 30_000,
                    idle_in_transaction_timeout_ms: 10_000,
                },
            ]
        } else {
            Vec::new()
        };
        Ok(Self {
            database: DatabaseConfig::from_env(env)?,
            wait: millis_or(env, "MIGRATE_WAIT_MS", 60_000, 0..=3_600_000)?,
            roles,
        })
    }
}

/// Why the database is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres did not come up in time.
    #[error("Postgres could not be reached within {} s", wait.as_secs())]
    Unreachable {
        /// How long was waited.
        wait: Duration,
        /// The last failure.
        source: sqlx::Error,
    },
    /// A role could not be made or changed.
    #[error("the role {role} could not be made; the user of DATABASE_URL needs CREATEROLE")]
    Role {
        /// Its name.
        role: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// A migration failed; nothing of it stays.
    #[error("a migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Something else failed.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

/// Waits for Postgres, makes the roles, applies the migrations, grants.
///
/// # Errors
/// See [`MigrateError`]. Run again, it goes on where it stopped.
pub async fn migrate(config: &MigrateConfig) -> Result<(), MigrateError> {
    let mut connection = connect(config).await?;
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut connection)
        .await?;
    for role in &config.roles {
        make_role(&mut connection, role)
            .await
            .map_err(|source| MigrateError::Role {
                role: role.name,
                source,
            })?;
        tracing::info!(role = role.name, "the role can log in");
    }
    MIGRATIONS.run(&mut connection).await?;
    sqlx::query("select fogline_grant()")
        .execute(&mut connection)
        .await?;
    tracing::info!(
        version = MIGRATIONS.iter().map(|migration| migration.version).max(),
        "the database is up to date"
    );
    connection.close().await?;
    Ok(())
}

async fn connect(config: &MigrateConfig) -> Result<PgConnection, MigrateError> {
    let options: PgConnectOptions = config.database.url.expose_secret().parse()?;
    let options = options.application_name("game-api migrate");
    let deadline = Instant::now() + config.wait.max(RETRY_PAUSE);
    let mut said = false;
    loop {
        let failure = match timeout_at(deadline, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => failure,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(MigrateError::Unreachable {
                wait: config.wait,
                source: failure,
            });
        }
        if !said {
            said = true;
            tracing::info!(error = chain(&failure), "waiting for Postgres");
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Makes the role, or gives it this password again.
async fn make_role(connection: &mut PgConnection, role: &Role) -> Result<(), sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(role.name)
            .fetch_one(&mut *connection)
            .await?;
    let verb = if exists { "alter" } else { "create" };
    // CREATE ROLE takes no parameters; the server itself quotes what goes into the statement.
    let statement: String = sqlx::query_scalar(
        "select format('%s role %I login nosuperuser nocreatedb nocreaterole password %L', $1, $2, $3)",
    )
    .bind(verb)
    .bind(role.name)
    .bind(role.password.expose_secret())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut *connection)
        .await?;
    for (setting, value) in [
        ("statement_timeout", role.statement_timeout_ms),
        (
            "idle_in_transaction_session_timeout",
            role.idle_in_transaction_timeout_ms,
        ),
    ] {
        let statement = format!("alter role {} set {setting} = {value}", role.name);
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
