//! A private Postgres: one cluster in the run's directory, on the loopback address alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::child::{Child, ChildSpec};
use super::ports::loopback;
use super::process::Launch;
use super::readiness::Readiness;
use super::run_dir::RunDir;
use super::secret;
use crate::provision::{PostgresBinaries, RunAs};

/// First start of a fresh cluster, on a slow disk.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// A fast shutdown disconnects clients and writes a checkpoint.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// Two gateways and two relays hold about ten connections each; tests with a database each, more.
const CONNECTIONS_MAX: u16 = 300;

/// The role that owns the database.
const OWNER: &str = "fogline";
/// The role for whoever wants to look: it reads everything and writes nothing.
const READER: &str = "reader";
/// Its password. It guards nothing that the loopback address does not.
const READER_PASSWORD: &str = "reader";
/// The database of the services.
const DATABASE: &str = "fogline";

/// What a crash may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Commits survive a power cut, as in production.
    PowerCut,
    /// Commits survive the death of every process, and no more: for tests, which then need not wait
    /// for the disk.
    Kill,
}

/// Addresses of a Postgres.
#[derive(Clone, Debug)]
pub struct PostgresAddresses {
    /// The owner of the database.
    pub owner_url: String,
    /// For the gateways: a role with the least privilege.
    pub api_url: String,
    /// For the relays: the same.
    pub relay_url: String,
    /// For whoever wants to look, where it could be arranged.
    pub reader_url: Option<String>,
}

/// A private Postgres that runs.
#[derive(Debug)]
pub struct Postgres {
    /// Its supervision.
    pub child: Child,
    /// Where it is reached.
    pub addresses: PostgresAddresses,
    /// Passwords of the services' roles, which `game-api migrate --roles` makes.
    pub roles: RolePasswords,
}

/// Passwords of the services' roles.
#[derive(Clone, Debug)]
pub struct RolePasswords {
    /// Of `fogline_api`.
    pub api: String,
    /// Of `fogline_relay`.
    pub relay: String,
}

impl Postgres {
    /// Makes a fresh cluster, starts it and waits until it answers.
    ///
    /// # Errors
    /// No cluster can be made, or it does not start.
    pub async fn start(
        binaries: &PostgresBinaries,
        run_dir: &RunDir,
        port: u16,
        durability: Durability,
    ) -> Result<Self> {
        let home = run_dir.path().join("postgres");
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        let run_as = RunAs::for_postgres(binaries, &home)?;
        let password = secret::password();
        init_cluster(binaries, &run_as, run_dir, &home, &password)?;
        let url = |user: &str, password: &str, database: &str| {
            format!("postgres://{user}:{password}@{}/{database}", loopback(port))
        };
        let admin_url = url(OWNER, &password, "postgres");
        let child = Child::start(ChildSpec {
            name: "Postgres".to_owned(),
            launch: launch(binaries, run_as, run_dir, &home, port, durability),
            readiness: Readiness::Postgres(admin_url.clone()),
            ready_deadline: READY_DEADLINE,
            // "Fast": SIGTERM would wait for the clients to leave.
            end_signal: Signal::INT,
            end_deadline: END_DEADLINE,
        });
        child.ready().await?;
        make_database(&admin_url).await?;
        let roles = RolePasswords {
            api: secret::password(),
            relay: secret::password(),
        };
        let addresses = PostgresAddresses {
            owner_url: url(OWNER, &password, DATABASE),
            api_url: url("fogline_api", &roles.api, DATABASE),
            relay_url: url("fogline_relay", &roles.relay, DATABASE),
            reader_url: Some(url(READER, READER_PASSWORD, DATABASE)),
        };
        Ok(Self {
            child,
            addresses,
            roles,
        })
    }
}

fn init_cluster(
    binaries: &PostgresBinaries,
    run_as: &RunAs,
    run_dir: &RunDir,
    home: &Path,
    password: &str,
) -> Result<()> {
    let password_file = run_dir.path().join("postgres-password");
    fs::write(&password_file, password).context("the password file cannot be written")?;
    // initdb runs as another account and has the file open as its standard input instead.
    let input = fs::File::open(&password_file).context("the password file cannot be read")?;
    let output = run_as
        .command(&binaries.program("initdb"))
        .args([
            "--username",
            OWNER,
            "--auth",
            "scram-sha-256",
            "--pwfile",
            "/dev/stdin",
        ])
        .args([
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
            "--pgdata",
            "data",
        ])
        .current_dir(home)
        .env("LC_ALL", "C")
        .stdin(Stdio::from(input))
        .output()
        .context("initdb cannot be run")?;
    fs::remove_file(&password_file).context("the password file cannot be removed")?;
    if !output.status.success() {
        bail!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn launch(
    binaries: &PostgresBinaries,
    run_as: RunAs,
    run_dir: &RunDir,
    home: &Path,
    port: u16,
    durability: Durability,
) -> Launch {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // No socket file: nothing outside the run's directory.
        "unix_socket_directories=".to_owned(),
        format!("max_connections={CONNECTIONS_MAX}"),
        "shared_buffers=128MB".to_owned(),
        "max_wal_size=1GB".to_owned(),
        "log_line_prefix=%m [%p] %a ".to_owned(),
    ];
    if durability == Durability::Kill {
        settings.extend(
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]
            .map(str::to_owned),
        );
    }
    let mut args = vec!["-D".to_owned(), home.join("data").display().to_string()];
    args.extend(
        settings
            .into_iter()
            .flat_map(|setting| ["-c".to_owned(), setting]),
    );
    Launch {
        program: binaries.program("postgres"),
        args,
        env: vec![("LC_ALL".to_owned(), "C".to_owned())],
        env_prefixes_removed: vec!["PG"],
        dir: home.to_path_buf(),
        log: run_dir.logs().join("postgres.log"),
        run_as,
    }
}

/// The services' database, and the role that may only look.
async fn make_database(admin_url: &str) -> Result<()> {
    let options: sqlx::postgres::PgConnectOptions = admin_url.parse()?;
    let mut connection = options
        .connect()
        .await
        .context("Postgres cannot be connected to")?;
    for statement in [
        format!("create database {DATABASE}"),
        format!("create role {READER} login password '{READER_PASSWORD}' in role pg_read_all_data"),
        format!("alter role {READER} set default_transaction_read_only = on"),
        format!("alter role {READER} set statement_timeout = '60s'"),
    ] {
        execute(&mut connection, &statement).await?;
    }
    connection.close().await.context("closing the connection")
}

async fn execute(connection: &mut PgConnection, statement: &str) -> Result<()> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(|_| ())
        .with_context(|| format!("Postgres refused: {statement}"))
}
