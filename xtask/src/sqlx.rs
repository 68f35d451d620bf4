//! `cargo xtask sqlx`: the committed `.sqlx` data, by which queries are checked without a database.
//!
//! The macros of sqlx write what they learn from a database into `SQLX_OFFLINE_DIR`, one file a
//! query. They run when rustc expands a crate: so the crates' roots are made to look changed for
//! one `cargo check`, and get their own times back, so that no other build notices.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use ::sqlx::migrate::Migrator;
use ::sqlx::postgres::PgConnectOptions;
use ::sqlx::{ConnectOptions, Connection};
use anyhow::{Context, Result, bail};
use e2e::environment;

use crate::build;
use crate::console::say;
use crate::workbench::Workbench;

/// The packages whose queries are checked.
const PACKAGES: [&str; 3] = ["shared", "game-api", "outbox-relay"];
/// The roots of a package's crates.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];
/// The database that the queries are checked against.
const DATABASE: &str = "fogline_prepare";

/// Arguments of `cargo xtask sqlx`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail if the committed data differs from what the queries need
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let mut bench = Workbench::new()?;
    let outcome = if args.check {
        check(&mut bench).await
    } else {
        write(&mut bench).await
    };
    bench.end().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Fails, naming the files, if the committed data is not what the queries need.
pub(crate) async fn check(bench: &mut Workbench) -> Result<()> {
    let committed = read_dir(&committed_dir())?;
    let needed = read_dir(&prepare(bench).await?)?;
    let names = |from: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>| {
        from.iter()
            .filter(|(name, content)| other.get(*name) != Some(content))
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let (missing, stale) = (names(&needed, &committed), names(&committed, &needed));
    if missing.is_empty() && stale.is_empty() {
        tracing::info!("{} queries, all up to date", needed.len());
        return Ok(());
    }
    bail!(
        ".sqlx is not up to date, run `cargo xtask sqlx`: needed {missing:?}, committed {stale:?}"
    )
}

async fn write(bench: &mut Workbench) -> Result<()> {
    let prepared = prepare(bench).await?;
    let committed = committed_dir();
    if committed.is_dir() {
        fs::remove_dir_all(&committed).context(".sqlx cannot be replaced")?;
    }
    fs::create_dir(&committed).context(".sqlx cannot be made")?;
    let queries = read_dir(&prepared)?;
    for (name, content) in &queries {
        fs::write(committed.join(name), content)
            .with_context(|| format!("{name} cannot be written"))?;
    }
    say(format!(
        "{} queries in {}",
        queries.len(),
        committed.display()
    ));
    Ok(())
}

/// Expands all queries against a freshly migrated database; returns the directory of their data.
async fn prepare(bench: &mut Workbench) -> Result<PathBuf> {
    let url = migrated_database(&bench.database_url().await?).await?;
    let dir = bench.scratch("sqlx")?;
    let mut check = build::cargo();
    check
        .args(["check", "--quiet", "--workspace", "--lib", "--bins"])
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &dir)
        .env("DATABASE_URL", url);
    let touched = Touched::roots()?;
    let outcome = bench.run(check).await;
    drop(touched);
    outcome?;
    Ok(dir)
}

async fn migrated_database(owner_url: &str) -> Result<String> {
    let options: PgConnectOptions = owner_url.parse().context("a Postgres URL")?;
    let mut connection = options
        .connect()
        .await
        .context("Postgres cannot be connected to")?;
    for statement in [
        "drop database if exists fogline_prepare",
        "create database fogline_prepare",
    ] {
        ::sqlx::query(statement)
            .execute(&mut connection)
            .await
            .context(statement)?;
    }
    connection.close().await.context("closing the connection")?;
    let (base, _) = owner_url
        .rsplit_once('/')
        .context("a Postgres URL with a database")?;
    let url = format!("{base}/{DATABASE}");
    let options: PgConnectOptions = url.parse().context("a Postgres URL")?;
    let mut connection = options
        .connect()
        .await
        .context("Postgres cannot be connected to")?;
    Migrator::new(environment::workspace_root().join("migrations"))
        .await
        .context("migrations/ cannot be read")?
        .run(&mut connection)
        .await
        .context("a migration failed")?;
    connection.close().await.context("closing the connection")?;
    Ok(url)
}

fn committed_dir() -> PathBuf {
    environment::workspace_root().join(".sqlx")
}

fn read_dir(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, fs::read(entry.path())?);
    }
    Ok(files)
}

/// Crate roots that look changed, until this is dropped.
struct Touched(Vec<(PathBuf, SystemTime)>);

impl Touched {
    fn roots() -> Result<Self> {
        let mut touched = Self(Vec::new());
        for package in PACKAGES {
            for root in ROOTS.map(|root| environment::workspace_root().join(package).join(root)) {
                if root.is_file() {
                    let modified = root.metadata()?.modified()?;
                    touch(&root, now())?;
                    touched.0.push((root, modified));
                }
            }
        }
        Ok(touched)
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (path, modified) in &self.0 {
            if let Err(error) = touch(path, *modified) {
                tracing::warn!("{error:#}");
            }
        }
    }
}

fn touch(path: &Path, modified: SystemTime) -> Result<()> {
    File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(modified))
        .with_context(|| format!("the time of {} cannot be set", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "a file's time, not a rule's")]
fn now() -> SystemTime {
    SystemTime::now()
}
